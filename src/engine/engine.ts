import { resolve } from 'node:path';
import {
  type ClientSslProfile,
  type Config,
  type FileWatcher,
  type VirtualServerConfig,
  watchFiles,
} from '../config/index.ts';
import type { Logger } from '../core/logger.ts';
import { Clock } from '../net/clock.ts';
import type { Listener } from '../net/listener.ts';
import { TicketSecrets } from '../net/ticket-keys.ts';
import { type Blueprint, draw, type VirtualServerPlan } from './blueprint.ts';
import { Generation, type GenerationContext } from './generation.ts';
import { isSameAddress, listenFailure } from './listening.ts';
import { LivePool } from './live-pool.ts';
import { EngineStartError, type Problem, withoutRepeats } from './problem.ts';
import { Staples } from './staples.ts';
import { openListener, VirtualServer } from './virtual-server.ts';

export interface EngineOptions {
  readonly logger: Logger;
  /** Reload when the configuration, a rule or a certificate is saved. */
  readonly watch: boolean;
}

/** A listening address of a running engine. */
export interface ListenerInfo {
  readonly virtualServer: string;
  readonly address: string;
  readonly port: number;
}

/** A plan with what its new connections would belong to. */
interface Candidate extends VirtualServerPlan {
  readonly generation: Generation;
}

/** A configuration at work. */
export class Engine {
  private readonly clock = new Clock();
  private readonly tickets = new Map<string, TicketSecrets>();
  private readonly staples: Staples;
  private virtualServers = new Map<string, VirtualServer>();
  /** Virtual servers that the configuration no longer has, while connections are open on them. */
  private readonly retired = new Set<VirtualServer>();
  /** Shared by all generations, and brought up to date in place. */
  private readonly pools = new Map<string, LivePool>();
  private config: Config | undefined;
  private watcher: FileWatcher | undefined;
  private reloading: Promise<boolean> = Promise.resolve(true);
  private stopping = false;

  private constructor(
    private readonly file: string,
    private readonly logger: Logger,
  ) {
    this.staples = new Staples(logger);
  }

  /** Starts serving. @throws EngineStartError when a file has mistakes or an address is taken */
  static async start(file: string, options: EngineOptions): Promise<Engine> {
    const engine = new Engine(resolve(file), options.logger);
    const blueprint = await draw(engine.file, options.logger);
    if (blueprint.built === undefined) {
      throw new EngineStartError('configuration', withoutRepeats(blueprint.problems));
    }
    engine.tellWarnings(blueprint);
    const refused = await engine.putToWork(blueprint.built);
    if (refused.length > 0) throw new EngineStartError('listening', refused);
    if (options.watch) {
      engine.watcher = watchFiles(
        () => void engine.reload(),
        (error) => options.logger.error('cannot watch files; changes may go unnoticed', { error }),
      );
      await engine.watcher.set(blueprint.files);
    }
    return engine;
  }

  get listeners(): readonly ListenerInfo[] {
    return [...this.virtualServers.values()].flatMap(({ name, endpoint }) =>
      endpoint === undefined ? [] : [{ virtualServer: name, ...endpoint }],
    );
  }

  /**
   * Reads everything again. If all of it is right it serves the new connections; if anything is
   * wrong, nothing changes, and the log tells what. Settles with whether it was right.
   */
  reload(): Promise<boolean> {
    this.reloading = this.reloading
      .then(() => this.reloadOnce())
      .catch((error: unknown) => {
        this.logger.error('internal error; the last good configuration goes on', { error });
        return false;
      });
    return this.reloading;
  }

  /**
   * Stops listening, waits until the connections have ended or the drain timeout is over, then
   * ends them. A second call ends them at once.
   */
  async stop(): Promise<void> {
    const servers = [...this.virtualServers.values(), ...this.retired];
    if (this.stopping) {
      for (const server of servers) server.abort('stopped');
      return;
    }
    this.stopping = true;
    for (const server of servers) server.close();
    for (const pool of this.pools.values()) pool.close();
    this.staples.close();
    const timer = setTimeout(() => {
      for (const server of servers) server.abort('the drain timeout is over');
    }, this.config?.drainTimeout ?? 0);
    await Promise.all([this.watcher?.close(), ...servers.map((server) => server.idle())]);
    clearTimeout(timer);
  }

  private async reloadOnce(): Promise<boolean> {
    if (this.stopping) return false;
    const blueprint = await draw(this.file, this.logger);
    await this.watcher?.set(blueprint.files);
    let problems: readonly Problem[] = withoutRepeats(blueprint.problems);
    if (blueprint.built !== undefined) problems = await this.putToWork(blueprint.built);
    if (this.stopping) return false;
    for (const problem of problems) this.tell('error', problem);
    if (problems.length > 0) {
      this.logger.error('reload refused; the last good configuration goes on');
      return false;
    }
    this.tellWarnings(blueprint);
    this.logger.info('reloaded');
    return true;
  }

  private tellWarnings(blueprint: Blueprint): void {
    for (const warning of blueprint.warnings) this.tell('warn', warning);
  }

  private tell(level: 'error' | 'warn', problem: Problem): void {
    const { file, line, column, message, hint, excerpt } = problem;
    const place = [file, line, column].filter((part) => part !== undefined).join(':');
    this.logger[level](`${place}: ${message}`, {
      ...(hint !== undefined && { hint }),
      ...(excerpt !== undefined && { excerpt }),
    });
  }

  /** Brings the running virtual servers in line with the plans, all or nothing; nothing after `stop`. */
  private async putToWork(built: NonNullable<Blueprint['built']>): Promise<readonly Problem[]> {
    const { config, plans } = built;
    const context: GenerationContext = {
      logger: this.logger,
      clock: this.clock,
      pools: this.pools,
      ticketSecrets: (profile) => this.ticketSecrets(profile),
      staple: (identity) => this.staples.current(identity),
    };
    // Before anything is opened: from the first change on, nothing may fail any more.
    const candidates: readonly Candidate[] = plans.map((plan) => ({
      ...plan,
      generation: new Generation(plan.config, plan.rules, context),
    }));
    const pools = await this.openPools(config);
    const { opened, problems } = await this.openNew(plans);
    if (problems.length > 0 || this.stopping) {
      for (const listener of opened.values()) listener.close();
      for (const pool of pools.values()) if (this.pools.get(pool.name) !== pool) pool.close();
      return problems;
    }
    this.usePools(pools);
    this.staples.use(config);
    const next = new Map<string, VirtualServer>();
    for (const candidate of candidates) {
      const { name } = candidate.config;
      const server = this.refresh(candidate, config);
      next.set(name, server ?? this.begin(candidate, plans, opened.get(name)));
    }
    for (const [name, server] of this.virtualServers) {
      if (next.get(name) !== server) this.retire(server, config);
    }
    this.virtualServers = next;
    this.config = config;
    return [];
  }

  /** The pools of a configuration; those that it leaves as they are stay the same objects. */
  private async openPools(config: Config): Promise<Map<string, LivePool>> {
    const pools = new Map<string, LivePool>();
    for (const pool of config.pools.values()) {
      const running = this.pools.get(pool.name);
      pools.set(pool.name, running?.isFor(pool) ? running : await LivePool.open(pool, this.logger));
    }
    return pools;
  }

  private usePools(pools: ReadonlyMap<string, LivePool>): void {
    for (const [name, pool] of this.pools) {
      if (pools.get(name) !== pool) pool.close();
      this.pools.delete(name);
    }
    for (const [name, pool] of pools) this.pools.set(name, pool);
  }

  /** Opens the addresses that nobody listens on yet, by the names of their virtual servers. */
  private async openNew(
    plans: readonly VirtualServerPlan[],
  ): Promise<{ opened: Map<string, Listener>; problems: readonly Problem[] }> {
    const opened = new Map<string, Listener>();
    const problems: Problem[] = [];
    for (const plan of plans) {
      const { name, listen } = plan.config;
      if (listen === undefined || this.keepsListening(plan.config)) continue;
      if (this.donorFor(plan, plans) !== undefined) continue;
      try {
        opened.set(name, await openListener(listen));
      } catch (error) {
        const running = [...this.virtualServers.values()].flatMap((server) => server.listen ?? []);
        const message = listenFailure(plan.config, error, running);
        problems.push({ file: this.file, message });
      }
    }
    return { opened, problems };
  }

  private keepsListening({ name, listen }: VirtualServerConfig): boolean {
    const running = this.virtualServers.get(name);
    return running !== undefined && isSameAddress(running.listen, listen);
  }

  /**
   * The running virtual server that listens where a plan's shall listen, and is to leave there: it
   * was renamed or removed, or the addresses of two were swapped.
   */
  private donorFor(
    plan: VirtualServerPlan,
    plans: readonly VirtualServerPlan[],
  ): VirtualServer | undefined {
    const { listen } = plan.config;
    if (listen === undefined || listen.port === 0) return undefined;
    const stays = (server: VirtualServer) =>
      plans.some(({ config }) => config.name === server.name && this.keepsListening(config));
    return [...this.virtualServers.values()].find(
      (server) => isSameAddress(server.listen, listen) && !stays(server),
    );
  }

  /** A new virtual server, on a listener that was opened for it or that another one leaves. */
  private begin(
    candidate: Candidate,
    plans: readonly VirtualServerPlan[],
    opened: Listener | undefined,
  ): VirtualServer {
    const listener = opened ?? this.donorFor(candidate, plans)?.takeListener();
    const { generation, fingerprint } = candidate;
    return new VirtualServer(generation, fingerprint, this.logger, listener);
  }

  /** Gives a running virtual server its new generation, unless nothing about it has changed. */
  private refresh(candidate: Candidate, config: Config): VirtualServer | undefined {
    const { generation, fingerprint } = candidate;
    if (!this.keepsListening(candidate.config)) return undefined;
    const server = this.virtualServers.get(candidate.config.name);
    if (server !== undefined && server.fingerprint !== fingerprint) {
      server.use(generation, fingerprint, ending(config));
    }
    return server;
  }

  private retire(server: VirtualServer, config: Config): void {
    server.close();
    this.retired.add(server);
    void server.idle().then(() => this.retired.delete(server));
    const end = ending(config);
    if (end !== 'keep')
      setTimeout(() => server.abort('the virtual server was removed'), end.afterMs).unref();
  }

  private ticketSecrets({ name, ticketKeys, sessionTimeout }: ClientSslProfile): TicketSecrets {
    const key = JSON.stringify([name, ticketKeys, sessionTimeout]);
    let secrets = this.tickets.get(key);
    if (secrets === undefined) {
      const given = ticketKeys?.map((text) => Buffer.from(text, 'base64'));
      secrets = new TicketSecrets(given, sessionTimeout);
      this.tickets.set(key, secrets);
    }
    return secrets;
  }
}

function ending(config: Config): 'keep' | { afterMs: number } {
  switch (config.reload.connections) {
    case 'keep':
      return 'keep';
    case 'drain':
      return { afterMs: config.drainTimeout };
    case 'close':
      return { afterMs: 0 };
  }
}
