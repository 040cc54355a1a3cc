// Imported: the global is a getter, which hot paths would call each time.
import { Buffer } from 'node:buffer';
import type { Effect, Reading } from '../core/effects.ts';
import { Flow, type FlowSetup } from '../core/flow.ts';
import type { IoEvent, TimerName } from '../core/io-events.ts';
import type { RuleEventName } from '../core/rule-events.ts';
import {
  type HelloInfo,
  type RuleError,
  RuleRun,
  type RuleServices,
  type RuleSession,
  type RunOutcome,
  type Selection,
  type TlsInfo,
} from '../core/rule-run.ts';
import {
  type Addresses,
  assertNever,
  type Endpoint,
  type LogLevel,
  type Side,
} from '../core/types.ts';
import type { ByteStream, StreamEnd, StreamOwner } from './byte-stream.ts';
import { type Clock, type Expiring, ticks } from './clock.ts';
import { openConnection } from './connector.ts';
import { FlowTls, type TlsHost } from './flow-tls.ts';

/** What the flows of one virtual server, in one generation of its configuration, share. */
export interface FlowHost extends TlsHost {
  readonly virtualServer: string;
  readonly setup: FlowSetup;
  /** Milliseconds. */
  readonly timeouts: Readonly<Record<TimerName, number>>;
  /** Bytes that may wait for a slow peer before nothing more is read that could add to them. */
  readonly queueLimit: number;
  /** Whether the course of each flow is logged. */
  readonly debug: boolean;
  readonly clock: Clock;
  /** A new connection's place in the sandbox; undefined without rules. */
  openSession(): RuleSession | undefined;
  tlsProfile(side: Side): { readonly name: string; readonly detachable: boolean } | undefined;
  hasPool(name: string): boolean;
  select(pool: string, failed: readonly Endpoint[]): { selection: Selection; error?: string };
  log(level: LogLevel, message: string, flow: FlowDriver, rule?: string): void;
  ruleError(error: RuleError, flow: FlowDriver): void;
  /** A defect of Portreeve's own; the flow is ended. */
  internalError(error: unknown, flow: FlowDriver): void;
  opened(flow: FlowDriver): void;
  closed(flow: FlowDriver): void;
}

/** Up to this many bytes are copied rather than lent. */
const SMALL = 4096;

/** Carries out what a Flow orders, on real streams, and tells it what happens there. */
export class FlowDriver implements StreamOwner, RuleServices, Expiring {
  readonly virtualServer: string;
  private readonly flow: Flow;
  private readonly session: RuleSession | undefined;
  private client: ByteStream;
  private server: ByteStream | undefined;
  private serverConnected = false;
  serverEndpoint: Endpoint | undefined;
  private readonly known: { client?: Addresses | undefined; server?: Addresses | undefined } = {};
  /** What the flow wants; a slow peer may forbid it. */
  private clientReading: Reading = 'off';
  private serverReading: Reading = 'off';
  /** Its read buffer is still being written from: nothing may be read into it. */
  private clientLends = false;
  private serverLends = false;
  /** The flow hears of nothing but the end. */
  private spliced = false;
  /** Undefined before TLS has anything to do with this flow. */
  private secure: FlowTls | undefined;
  private run: RuleRun | undefined;
  private busy = false;
  private over = false;
  /** What happened while the flow was busy: the first, and the rest. */
  private next: IoEvent | undefined;
  private readonly inbox: IoEvent[] = [];
  /** Ticks at which timers are due; 0: not set. */
  private readonly due = { connect: 0, handshake: 0, collect: 0, linger: 0, handler: 0 };
  /** The earliest of `due`; 0: none. */
  private nextDue = 0;
  private lastActive: number;

  constructor(
    private readonly host: FlowHost,
    take: (owner: StreamOwner) => ByteStream,
  ) {
    this.virtualServer = host.virtualServer;
    this.flow = new Flow(host.setup);
    this.client = take(this);
    this.session = host.openSession();
    this.lastActive = host.clock.tick;
    // Once the connection is gone, the system does not know its addresses any more.
    if (this.session !== undefined || host.debug) this.known.client = this.client.addresses();
    host.clock.add(this);
    host.opened(this);
    this.feed({ type: 'accepted' });
  }

  /** Ends the flow at the operator's wish. */
  abort(reason: string): void {
    this.feed({ type: 'abort', reason });
  }

  // ---- between the flow and the world --------------------------------------------------------

  feed(event: IoEvent): void {
    if (this.busy) {
      if (this.next === undefined) this.next = event;
      else this.inbox.push(event);
      return;
    }
    this.busy = true;
    try {
      let next: IoEvent | undefined = event;
      while (next !== undefined) {
        for (const effect of this.flow.handle(next)) this.carryOut(effect);
        next = this.next;
        this.next = this.inbox.length === 0 ? undefined : this.inbox.shift();
      }
    } catch (error) {
      this.crash(error);
    }
    this.busy = false;
  }

  private carryOut(effect: Effect): void {
    switch (effect.type) {
      case 'runRules':
        this.runRules(effect.event);
        return;
      case 'select':
        this.feed({ type: 'selected', ...this.host.select(effect.pool, effect.failed) });
        return;
      case 'connect':
        this.connect(effect.server);
        return;
      case 'write':
        this.write(effect.side, effect.bytes);
        return;
      case 'end':
        this.secure?.giveUp(effect.side);
        this.stream(effect.side)?.end(effect.truncated);
        return;
      case 'reset':
        this.stream(effect.side)?.reset();
        return;
      case 'destroy':
        this.destroy(effect.side);
        return;
      case 'read':
        if (effect.side === 'client') this.clientReading = effect.reading;
        else this.serverReading = effect.reading;
        this.applyReading();
        return;
      case 'startTls':
        this.startTls(effect.side, effect.leftover, effect.asks);
        return;
      case 'acceptTls':
        this.flowTls().accept();
        return;
      case 'stopTls':
        this.readNoMore(effect.side);
        this.flowTls().stop(effect.side);
        return;
      case 'clientCertificate':
        this.flowTls().setCertificate(effect.mode);
        return;
      case 'setTimer':
        this.setTimer(effect.timer, this.host.clock.tick + ticks(this.host.timeouts[effect.timer]));
        return;
      case 'clearTimer':
        this.setTimer(effect.timer, 0);
        return;
      case 'abandonRules':
        this.run = undefined;
        this.session?.close();
        return;
      case 'splice':
        this.splice();
        return;
      case 'log':
        this.host.log(effect.level, effect.message, this);
        return;
      case 'ruleError':
        this.host.ruleError(effect.error, this);
        return;
      case 'done':
        this.finish();
        return;
      default:
        assertNever(effect);
    }
  }

  private write(side: Side, bytes: Uint8Array): void {
    const stream = this.stream(side);
    if (stream === undefined || stream.write(bytes)) return;
    if (stream.pendingBytes > this.host.queueLimit) this.applyReading();
  }

  stream(side: Side): ByteStream | undefined {
    return side === 'client' ? this.client : this.server;
  }

  replaceStream(side: Side, stream: ByteStream): void {
    if (side === 'client') this.client = stream;
    else this.server = stream;
  }

  private sideOf(stream: ByteStream): Side {
    return stream === this.client ? 'client' : 'server';
  }

  private finish(): void {
    this.over = true;
    this.next = undefined;
    this.inbox.length = 0;
    this.host.clock.delete(this);
    this.host.closed(this);
    try {
      this.session?.close();
    } catch (error) {
      this.host.internalError(error, this);
    }
  }

  /** Our own defect must hurt this flow only. */
  crash(error: unknown): void {
    this.host.internalError(error, this);
    if (this.over) return;
    this.finish();
    this.client.destroy();
    this.server?.destroy();
  }

  // ---- rules -----------------------------------------------------------------------------------

  private runRules(event: RuleEventName): void {
    const { session } = this;
    if (session === undefined) throw new Error('a flow without rules fired an event');
    if (this.host.debug) this.host.log('debug', this.describe(event), this);
    const run = new RuleRun(event, this.flow, this);
    this.run = run;
    this.ruleOutcome(session.run(run, this.settled));
  }

  /** A suspended handler has ended; never called after the session was closed. */
  private readonly settled = (outcome: RunOutcome): void => this.ruleOutcome(outcome);

  private ruleOutcome(outcome: RunOutcome): void {
    switch (outcome.type) {
      case 'done':
        if (this.run?.event === 'CLIENTSSL_HANDSHAKE') this.secure?.forgetHello();
        this.feed({ type: 'ruleDone', actions: this.run?.actions ?? [] });
        return;
      case 'suspended':
        this.feed({ type: 'ruleSuspended' });
        return;
      case 'failed':
        this.feed({ type: 'ruleFailed', error: outcome.error });
        return;
      default:
        assertNever(outcome);
    }
  }

  private describe(event: RuleEventName): string {
    const side = event.startsWith('SERVER') ? this.flow.server : this.flow.client;
    return event.endsWith('_DATA') ? `${event} ${side.payload.length} bytes` : event;
  }

  addresses(side: Side): Addresses | undefined {
    if (side === 'server' && !this.serverConnected) return undefined;
    this.known[side] ??= this.stream(side)?.addresses();
    return this.known[side];
  }

  tlsProfile(side: Side): { readonly name: string; readonly detachable: boolean } | undefined {
    return this.host.tlsProfile(side);
  }

  tls(side: Side): TlsInfo | undefined {
    return this.stream(side)?.tls;
  }

  clientHello(): HelloInfo | undefined {
    return this.secure?.hello;
  }

  serverName(side: Side): string | undefined {
    return this.secure?.serverName(side);
  }

  hasPool(name: string): boolean {
    return this.host.hasPool(name);
  }

  log(level: LogLevel, rule: string, message: string): void {
    this.host.log(level, message, this, rule);
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  }

  // ---- streams ---------------------------------------------------------------------------------

  private connect(server: Endpoint): void {
    this.serverConnected = false;
    this.known.server = undefined;
    this.serverEndpoint = server;
    this.server = openConnection(server, this);
  }

  private destroy(side: Side): void {
    const stream = this.stream(side);
    // A connection that never opened was nobody's: the flow does not hear of its end.
    if (side === 'server' && !this.serverConnected) this.server = undefined;
    stream?.destroy();
  }

  /** Reads a side if the flow wants to, unless a slow peer has bytes waiting that this would add to. */
  applyReading(): void {
    const { client, server, clientReading, serverReading } = this;
    const limit = this.host.queueLimit;
    const clientIsSlow = client.pendingBytes > limit;
    const serverIsSlow = server !== undefined && server.pendingBytes > limit;
    // Rules may answer a side to itself; what is direct adds to the other side only.
    const readClient = clientReading !== 'off' && !serverIsSlow && !this.clientLends;
    const readHello = this.secure?.readsHello ?? false;
    const mayRead = readClient && (clientReading === 'direct' || !clientIsSlow);
    client.read(mayRead || (readHello && !this.clientLends));
    if (server === undefined || !this.serverConnected) return;
    const readServer = serverReading !== 'off' && !clientIsSlow && !this.serverLends;
    server.read(readServer && (serverReading === 'direct' || !serverIsSlow));
  }

  /** What comes while TLS changes is nothing to pass on. */
  private readNoMore(side: Side): void {
    if (side === 'client') this.clientReading = 'off';
    else this.serverReading = 'off';
  }

  private startTls(side: Side, leftover: Uint8Array, asks: boolean): void {
    this.readNoMore(side);
    this.known[side] ??= this.stream(side)?.addresses();
    this.flowTls().start(side, leftover, asks);
  }

  private flowTls(): FlowTls {
    this.secure ??= new FlowTls(this, this.host);
    return this.secure;
  }

  private splice(): void {
    this.spliced = true;
    this.clientReading = 'direct';
    this.serverReading = 'direct';
    this.applyReading();
  }

  onConnect(stream: ByteStream): void {
    if (stream !== this.server) return;
    this.serverConnected = true;
    if (this.host.debug) this.host.log('debug', 'connected to the server', this);
    this.feed({ type: 'connected' });
  }

  onData(stream: ByteStream, bytes: Uint8Array): void {
    this.lastActive = this.host.clock.tick;
    const isClient = stream === this.client;
    if (isClient && this.secure?.readsHello) {
      this.secure.received(stream.reusesBuffers ? Buffer.from(bytes) : bytes);
      return;
    }
    if ((isClient ? this.clientReading : this.serverReading) === 'direct') {
      this.relay(stream, isClient, bytes);
      return;
    }
    const kept = stream.reusesBuffers ? Buffer.from(bytes) : bytes;
    this.feed({ type: 'data', side: isClient ? 'client' : 'server', bytes: kept });
  }

  /** Moves bytes that nobody looks at. */
  private relay(from: ByteStream, isClient: boolean, bytes: Uint8Array): void {
    const to = isClient ? this.server : this.client;
    if (to === undefined) return;
    if (from.reusesBuffers && bytes.length <= SMALL) {
      // Small writes leave later: a copy costs less than to stop and start reading.
      to.write(Buffer.from(bytes));
      if (to.pendingBytes > this.host.queueLimit) this.applyReading();
      return;
    }
    if (to.write(bytes)) return;
    if (isClient) this.clientLends = from.reusesBuffers;
    else this.serverLends = from.reusesBuffers;
    this.applyReading();
  }

  onEnd(stream: ByteStream, truncated: boolean): void {
    this.lastActive = this.host.clock.tick;
    if (this.spliced) (stream === this.client ? this.server : this.client)?.end(truncated);
    else this.feed({ type: 'ended', side: this.sideOf(stream), truncated });
  }

  onDrain(stream: ByteStream): void {
    this.lastActive = this.host.clock.tick;
    if (stream === this.client) {
      this.serverLends = false;
    } else {
      this.clientLends = false;
    }
    this.secure?.drained(this.sideOf(stream));
    this.applyReading();
  }

  onSecure(stream: ByteStream): void {
    const side = this.sideOf(stream);
    if (this.stream(side) !== stream) return;
    if (this.host.debug) this.host.log('debug', `TLS is up on the ${side} side`, this);
    this.secure?.secured(side);
  }

  onPlain(
    stream: ByteStream,
    below: ByteStream,
    rest: Uint8Array,
    end: StreamEnd | undefined,
  ): void {
    const side = this.sideOf(stream);
    if (this.stream(side) !== stream) return;
    if (this.host.debug) this.host.log('debug', `TLS is off on the ${side} side`, this);
    this.replaceStream(side, below);
    this.feed({ type: 'unsecured', side });
    if (rest.length > 0) this.feed({ type: 'data', side, bytes: rest });
    if (end !== undefined) this.feed({ type: 'ended', side, ...end });
  }

  onClose(stream: ByteStream, error: string | undefined): void {
    if (this.over || (stream !== this.client && stream !== this.server)) return;
    if (stream === this.server && !this.serverConnected) {
      this.server = undefined;
      this.feed({ type: 'connectFailed', error: error ?? 'closed' });
      return;
    }
    const side = this.sideOf(stream);
    this.feed({ type: 'closed', side, ...(error !== undefined && { error }) });
  }

  // ---- time ------------------------------------------------------------------------------------

  private setTimer(timer: TimerName, tick: number): void {
    if (timer === 'idle') return;
    this.due[timer] = tick;
    if (tick !== 0 && (this.nextDue === 0 || tick < this.nextDue)) this.nextDue = tick;
  }

  onTick(tick: number): void {
    if (tick - this.lastActive > ticks(this.host.timeouts.idle)) {
      this.lastActive = tick;
      this.feed({ type: 'timer', timer: 'idle' });
    }
    if (this.nextDue === 0 || tick < this.nextDue) return;
    this.nextDue = 0;
    for (const timer of TIMERS) {
      const due = this.due[timer];
      if (due !== 0 && due <= tick) {
        this.due[timer] = 0;
        this.feed({ type: 'timer', timer });
      } else {
        this.setTimer(timer, due);
      }
    }
  }
}

const TIMERS = ['connect', 'handshake', 'collect', 'linger', 'handler'] as const;
