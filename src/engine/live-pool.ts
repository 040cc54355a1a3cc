import { Pool } from '../balancing/pool.ts';
import type { PoolConfig } from '../config/index.ts';
import type { Logger } from '../core/logger.ts';
import type { Endpoint } from '../core/types.ts';
import { resolveHost } from '../net/resolve.ts';

/** The system's resolver tells no TTL: names are looked up again at this interval, in milliseconds. */
const REFRESH = 30_000;

/** A pool whose members' names are kept resolved. */
export class LivePool {
  readonly pool: Pool;
  private readonly known = new Map<string, readonly string[]>();
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly config: PoolConfig,
    private readonly logger: Logger,
  ) {
    this.pool = new Pool(config.name);
  }

  /** Resolves once; a name that cannot be resolved is left out and tried again later. */
  static async open(config: PoolConfig, logger: Logger): Promise<LivePool> {
    const live = new LivePool(config, logger);
    const named = await live.refresh();
    if (named) {
      live.timer = setInterval(() => void live.refresh(), REFRESH);
      live.timer.unref();
    }
    return live;
  }

  get name(): string {
    return this.config.name;
  }

  isFor(config: PoolConfig): boolean {
    return JSON.stringify(config) === JSON.stringify(this.config);
  }

  /** Stops looking up names. The members stay as they were last. */
  close(): void {
    clearInterval(this.timer);
  }

  /** True when some member has a name that may come to mean something else. */
  private async refresh(): Promise<boolean> {
    const members: Endpoint[] = [];
    let named = false;
    for (const { host, port } of this.config.members) {
      const addresses = await this.addressesOf(host);
      named ||= addresses[0] !== host;
      for (const address of addresses) members.push({ address, port, host });
    }
    this.pool.setMembers(
      members.map((endpoint) => ({ endpoint })),
      performance.now(),
    );
    return named;
  }

  private async addressesOf(host: string): Promise<readonly string[]> {
    try {
      const addresses = await resolveHost(host);
      this.known.set(host, addresses);
      return addresses;
    } catch (error) {
      const known = this.known.get(host) ?? [];
      const then = known.length > 0 ? 'its last addresses are kept' : 'it is left out';
      this.logger.warn(`pool ${this.config.name}: cannot resolve '${host}'; ${then}`, {
        error: error instanceof Error ? error.message : String(error),
      });
      return known;
    }
  }
}
