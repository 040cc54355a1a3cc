import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { FlowSetup } from '../../../src/core/flow.ts';
import type { TimerName } from '../../../src/core/io-events.ts';
import type { RuleEventName } from '../../../src/core/rule-events.ts';
import type {
  RuleError,
  RuleRun,
  RuleSession,
  RunOutcome,
  Selection,
} from '../../../src/core/rule-run.ts';
import type { Endpoint, LogLevel, Side } from '../../../src/core/types.ts';
import type { Clock, Expiring } from '../../../src/net/clock.ts';
import type { FlowDriver, FlowHost } from '../../../src/net/flow-driver.ts';
import type { Listener } from '../../../src/net/listener.ts';
import type { ClientTls, ServerTls } from '../../../src/net/tls-start.ts';
import type { Net } from './lab.ts';
import { Peer } from './peer.ts';
import { clientTls, serverTls } from './tls-peer.ts';
import { Watched } from './watched.ts';

const DONE: RunOutcome = { type: 'done' };

type Settled = (outcome: RunOutcome) => void;
type Handler = (run: RuleRun, settled: Settled) => RunOutcome | undefined;
export type Handlers = Partial<Record<RuleEventName, Handler>>;

/** Rules as functions of the test. */
class Script implements RuleSession {
  constructor(
    private readonly handlers: Handlers,
    private readonly onClose: () => void,
  ) {}

  run(run: RuleRun, settled: Settled): RunOutcome {
    return this.handlers[run.event]?.(run, settled) ?? DONE;
  }

  close(): void {
    this.onClose();
  }
}

export interface FlowOptions {
  readonly handlers?: Handlers;
  readonly timeouts?: Partial<Record<TimerName, number>>;
  readonly queueLimit?: number;
  readonly collectLimit?: number;
  readonly clientTls?: boolean;
  readonly serverTls?: boolean;
  /** TLS of both sides can be taken off again. */
  readonly detachable?: boolean;
  /** Instead of the server of the test. */
  readonly to?: Endpoint;
  /** Called whenever a session is closed. */
  readonly onSessionClosed?: () => void;
}

/** Everything that flows tell of themselves. */
export class TestHost extends Watched implements FlowHost {
  readonly virtualServer = 'test';
  readonly debug = false;
  readonly setup: FlowSetup;
  readonly timeouts: Readonly<Record<TimerName, number>>;
  readonly queueLimit: number;
  readonly clock: Clock;
  readonly flows = new Set<FlowDriver>();
  readonly ticking = new Set<Expiring>();
  readonly logs: string[] = [];
  readonly ruleErrors: RuleError[] = [];
  readonly internalErrors: unknown[] = [];
  sessions = 0;
  server: Endpoint = { address: '127.0.0.1', port: 0 };

  constructor(
    net: Net,
    private readonly options: FlowOptions,
  ) {
    super();
    const { handlers = {}, timeouts = {}, queueLimit = 1024 * 1024 } = options;
    const { clientTls = false, serverTls = false, collectLimit = 1024 * 1024 } = options;
    const events = new Set(Object.keys(handlers) as RuleEventName[]);
    this.setup = { events, clientTls, serverTls, pool: 'servers', collectLimit };
    const minute = 60_000;
    const usual = { connect: minute, handshake: minute, collect: minute, idle: minute };
    this.timeouts = { ...usual, linger: minute, handler: minute, ...timeouts };
    this.queueLimit = queueLimit;
    const { ticking } = this;
    this.clock = new (class extends net.Clock {
      override add(item: Expiring): void {
        ticking.add(item);
        super.add(item);
      }

      override delete(item: Expiring): void {
        ticking.delete(item);
        super.delete(item);
      }
    })();
  }

  openSession(): RuleSession | undefined {
    const { handlers, onSessionClosed } = this.options;
    if (handlers === undefined) return undefined;
    this.sessions += 1;
    let closed = false;
    return new Script(handlers, () => {
      if (!closed) this.sessions -= 1;
      closed = true;
      onSessionClosed?.();
    });
  }

  tlsProfile(_side: Side): { name: string; detachable: boolean } {
    return { name: 'tls', detachable: this.options.detachable ?? false };
  }

  acceptingTls(): ServerTls {
    return serverTls(this.options.detachable);
  }

  connectingTls(): ClientTls {
    return clientTls(this.options.detachable);
  }

  hasPool(name: string): boolean {
    return name === 'servers';
  }

  select(pool: string): { selection: Selection } {
    return { selection: { pool, server: this.options.to ?? this.server } };
  }

  log(level: LogLevel, message: string): void {
    this.logs.push(`${level}: ${message}`);
    this.changed();
  }

  ruleError(error: RuleError): void {
    this.ruleErrors.push(error);
    this.changed();
  }

  internalError(error: unknown): void {
    this.internalErrors.push(error);
    this.changed();
  }

  opened(flow: FlowDriver): void {
    this.flows.add(flow);
    this.changed();
  }

  closed(flow: FlowDriver): void {
    this.flows.delete(flow);
    this.changed();
  }

  untilIdle(): Promise<void> {
    return this.until(() => this.flows.size === 0, 'all flows to end');
  }

  protected story(): string {
    return `${this.flows.size} flows; ${this.logs.join('; ')}; ${this.internalErrors.join('; ')}`;
  }
}

/** A virtual server of its own: clients, flows under test, and the server behind them. */
export class FlowLab {
  private readonly peers = new Set<Peer>();
  private readonly accepted: ((peer: Peer) => void)[] = [];

  private constructor(
    readonly host: TestHost,
    private readonly listener: Listener,
    private readonly server: Server,
  ) {}

  static async open(net: Net, options: FlowOptions = {}): Promise<FlowLab> {
    const host = new TestHost(net, options);
    const listener = await net.Listener.open('127.0.0.1', 0, (take) => {
      new net.FlowDriver(host, take);
    });
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const peer = lab.keep(new Peer(socket));
      lab.accepted.shift()?.(peer);
    });
    const lab = new FlowLab(host, listener, server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    host.server = { address: '127.0.0.1', port: (server.address() as AddressInfo).port };
    return lab;
  }

  /** A client whose connection has been accepted. */
  async client(): Promise<Peer> {
    const peer = this.keep(Peer.connect(this.listener.endpoint.port));
    await peer.until(() => !peer.socket.connecting, 'the connection');
    return peer;
  }

  /** The server's end of the next connection to it. */
  served(): Promise<Peer> {
    return new Promise((resolve) => this.accepted.push(resolve));
  }

  /** A client, the flow, and the server's end of it. */
  async pair(): Promise<{ client: Peer; server: Peer }> {
    const served = this.served();
    const client = await this.client();
    return { client, server: await served };
  }

  /** Does something to the only flow there is. */
  flow(): FlowDriver {
    const [flow] = this.host.flows;
    if (flow === undefined) throw new Error('there is no flow');
    return flow;
  }

  /** Ends what is still open, and waits until no flow is left. */
  async close(): Promise<void> {
    this.listener.close();
    this.server.close();
    for (const peer of this.peers) peer.socket.destroy();
    for (const flow of [...this.host.flows]) flow.abort('the test is over');
    await this.host.untilIdle();
  }

  private keep(peer: Peer): Peer {
    this.peers.add(peer);
    peer.socket.on('close', () => this.peers.delete(peer));
    return peer;
  }
}
