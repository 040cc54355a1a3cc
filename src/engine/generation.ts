import { commandTable } from '../commands/index.ts';
import type { ClientSslProfile, VirtualServerConfig } from '../config/index.ts';
import type { FlowSetup } from '../core/flow.ts';
import type { TimerName } from '../core/io-events.ts';
import type { Logger } from '../core/logger.ts';
import type { RuleEventName } from '../core/rule-events.ts';
import type {
  CertificateMode,
  RuleError,
  RuleServices,
  RuleSession,
  Selection,
} from '../core/rule-run.ts';
import { type Endpoint, formatEndpoint, type LogLevel, type Side } from '../core/types.ts';
import type { ClientHello } from '../net/client-hello.ts';
import { ClientTlsProfile } from '../net/client-tls.ts';
import type { Clock } from '../net/clock.ts';
import type { FlowDriver, FlowHost } from '../net/flow-driver.ts';
import { ServerTlsProfile, type Staple } from '../net/server-tls.ts';
import type { TicketSecrets } from '../net/ticket-keys.ts';
import type { ClientTls, ServerTls } from '../net/tls-start.ts';
import { buildRuleInstance, type LoadedRules, type RuleInstance } from '../sandbox/index.ts';
import type { LivePool } from './live-pool.ts';

const LEVELS: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 2, debug: 3 };
const NO_EVENTS: ReadonlySet<RuleEventName> = new Set();

/** What generations need of the engine. */
export interface GenerationContext {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly pools: ReadonlyMap<string, LivePool>;
  /** What session tickets of a profile are made with; the same over reloads. */
  ticketSecrets(profile: ClientSslProfile): TicketSecrets;
  /** OCSP responses, kept fresh over reloads. */
  readonly staple: Staple;
}

/** Loads the rules of a virtual server and runs RULE_INIT. */
export function loadRules(config: VirtualServerConfig, logger: Logger): Promise<LoadedRules> {
  const services: RuleServices = {
    virtualServer: config.name,
    addresses: () => undefined,
    tlsProfile: () => undefined,
    tls: () => undefined,
    clientHello: () => undefined,
    serverName: () => undefined,
    hasPool: () => false,
    log: (level, rule, message) => {
      logger[level](message, { virtualServer: config.name, rule });
    },
    after: () => () => {},
  };
  return buildRuleInstance({ rules: config.rules, commands: commandTable, services });
}

/**
 * A virtual server in one state of its configuration, rules and certificates. Connections end on
 * the generation that they began with.
 */
export class Generation implements FlowHost {
  readonly virtualServer: string;
  readonly setup: FlowSetup;
  readonly timeouts: Readonly<Record<TimerName, number>>;
  readonly queueLimit: number;
  readonly debug: boolean;
  readonly clock: Clock;
  readonly flows = new Set<FlowDriver>();
  /** Called when a flow of this generation has ended. */
  onClosed: () => void = () => {};

  private instance: RuleInstance | undefined;
  private readonly clientSsl: ServerTlsProfile | undefined;
  private readonly serverSsl: ClientTlsProfile | undefined;

  constructor(
    readonly config: VirtualServerConfig,
    private readonly rules: LoadedRules | undefined,
    private readonly context: GenerationContext,
  ) {
    const { tcp } = config;
    this.virtualServer = config.name;
    this.instance = rules?.instance;
    this.clock = context.clock;
    this.debug = this.wants('debug');
    this.queueLimit = tcp.queueLimit;
    this.setup = {
      events: rules?.instance?.events ?? NO_EVENTS,
      clientTls: config.clientSsl !== undefined,
      serverTls: config.serverSsl !== undefined,
      pool: config.pool?.name,
      collectLimit: tcp.collectLimit,
    };
    this.timeouts = {
      connect: tcp.connectTimeout,
      handshake: tcp.handshakeTimeout,
      collect: tcp.collectTimeout,
      idle: tcp.idleTimeout,
      linger: tcp.lingerTimeout,
      handler: tcp.handlerTimeout,
    };
    const { name, clientSsl, serverSsl } = config;
    this.clientSsl =
      clientSsl &&
      new ServerTlsProfile(name, clientSsl, context.ticketSecrets(clientSsl), context.staple);
    this.serverSsl = serverSsl && new ClientTlsProfile(serverSsl);
    this.watchInstance();
  }

  openSession(): RuleSession | undefined {
    return this.instance?.open();
  }

  tlsProfile(side: Side): { readonly name: string; readonly detachable: boolean } | undefined {
    return side === 'client' ? this.config.clientSsl : this.config.serverSsl;
  }

  acceptingTls(hello: ClientHello, certificate: CertificateMode | undefined): ServerTls | string {
    if (this.clientSsl === undefined) throw new Error('TLS without a client-ssl profile');
    return this.clientSsl.accept(hello, certificate);
  }

  connectingTls(server: Endpoint): ClientTls {
    if (this.serverSsl === undefined) throw new Error('TLS without a server-ssl profile');
    return this.serverSsl.connect(server);
  }

  hasPool(name: string): boolean {
    return this.context.pools.has(name);
  }

  select(pool: string, failed: readonly Endpoint[]): { selection: Selection; error?: string } {
    const choice = this.context.pools
      .get(pool)
      ?.pool.pick({ failed, random: Math.random, now: performance.now() });
    if (choice?.type === 'member') return { selection: { pool, server: choice.member.endpoint } };
    if (choice?.type === 'full') return { selection: { pool }, error: 'all members are full' };
    return { selection: { pool }, error: choice?.reason ?? 'there is no such pool' };
  }

  log(level: LogLevel, message: string, flow: FlowDriver, rule?: string): void {
    if (!this.wants(level)) return;
    this.context.logger[level](message, {
      ...this.fields(flow),
      ...(rule !== undefined && { rule }),
    });
  }

  ruleError(error: RuleError, flow: FlowDriver): void {
    const { rule, event, message, file, line, column, excerpt } = error;
    const place = file === undefined ? '' : ` at ${file}:${line ?? 0}:${column ?? 0}`;
    this.context.logger.error(`rule ${rule} failed in ${event}${place}: ${message}`, {
      ...this.fields(flow),
      rule,
      ...(excerpt !== undefined && { excerpt }),
    });
  }

  internalError(error: unknown, flow: FlowDriver): void {
    this.context.logger.error('internal error; the connection is closed', {
      ...this.fields(flow),
      error,
    });
  }

  opened(flow: FlowDriver): void {
    this.flows.add(flow);
  }

  closed(flow: FlowDriver): void {
    this.flows.delete(flow);
    this.onClosed();
  }

  /** Ends all connections at once. */
  abort(reason: string): void {
    for (const flow of [...this.flows]) flow.abort(reason);
  }

  private wants(level: LogLevel): boolean {
    return LEVELS[level] <= LEVELS[this.context.logger.level];
  }

  private fields(flow: FlowDriver): Record<string, unknown> {
    const client = flow.addresses('client')?.remote;
    return {
      virtualServer: this.virtualServer,
      ...(client && { client: formatEndpoint(client) }),
    };
  }

  /** Replaces an instance that a fault has spoiled, for the connections to come. */
  private watchInstance(): void {
    const { instance } = this;
    if (instance === undefined) return;
    instance.onRetired = () => {
      if (this.instance === instance) void this.replaceInstance();
    };
  }

  private async replaceInstance(): Promise<void> {
    const { logger } = this.context;
    logger.warn('the sandbox is replaced after a fault of its rules', {
      virtualServer: this.virtualServer,
    });
    // From the sources of this generation: what was saved meanwhile may be wrong, or refused.
    const again = await this.rules?.rebuild();
    if (again?.instance === undefined) {
      logger.error('the rules do not load any more; the spoiled sandbox stays', {
        virtualServer: this.virtualServer,
        error: again?.problems[0]?.message,
      });
      return;
    }
    this.instance = again.instance;
    this.watchInstance();
  }
}
