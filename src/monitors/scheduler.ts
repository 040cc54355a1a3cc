import { createHash } from 'node:crypto';
import { type Endpoint, formatEndpoint } from '../core/types.ts';
import { Health } from './health.ts';
import { type Probe, probe as probeServer } from './probe.ts';
import type { MonitorSettings, MonitorStatus } from './types.ts';

/** Hears when the state changes. Must not throw. */
export type StatusListener = (status: MonitorStatus) => void;

/** A listener's hold on a probe. */
export interface Watch {
  /** What is known now; a probe that others began may have results already. */
  readonly status: MonitorStatus;
  /** The listener hears nothing more. The last one to go ends the probe. */
  close(): void;
}

/**
 * The probes of all pools. Who watches the same server with equal settings shares one probe and its
 * state, also across a reload that begins to watch before it lets go.
 */
export class MonitorSet {
  private readonly running = new Map<string, SharedProbe>();
  /** Settings may hold long certificates. */
  private readonly digests = new WeakMap<MonitorSettings, string>();

  /**
   * @param probe - looks at a server once
   * @param random - answers numbers from 0 up to 1, to spread probes
   */
  constructor(
    private readonly probe: Probe = probeServer,
    private readonly random: () => number = Math.random,
  ) {}

  /** How many probes run. */
  get size(): number {
    return this.running.size;
  }

  /** Watches a server. A new probe begins at once, or within the share of its interval for jitter. */
  watch(server: Endpoint, settings: MonitorSettings, listener: StatusListener): Watch {
    const key = `${formatEndpoint(server)} ${server.host ?? ''} ${this.digestOf(settings)}`;
    let shared = this.running.get(key);
    if (shared === undefined) {
      shared = new SharedProbe(this.probe, this.random, server, settings);
      this.running.set(key, shared);
    }
    return this.hold(shared, key, listener);
  }

  /** Ends all probes. Nobody hears anything more. */
  close(): void {
    for (const shared of this.running.values()) shared.close();
    this.running.clear();
  }

  private hold(shared: SharedProbe, key: string, listener: StatusListener): Watch {
    // The same function may listen twice.
    const own: StatusListener = (status) => listener(status);
    shared.listeners.add(own);
    return {
      get status() {
        return shared.status;
      },
      close: () => {
        shared.listeners.delete(own);
        if (shared.listeners.size > 0 || this.running.get(key) !== shared) return;
        shared.close();
        this.running.delete(key);
      },
    };
  }

  private digestOf(settings: MonitorSettings): string {
    const known = this.digests.get(settings);
    if (known !== undefined) return known;
    const digest = createHash('sha256').update(JSON.stringify(settings)).digest('base64');
    this.digests.set(settings, digest);
    return digest;
  }
}

/** Probes one server again and again, never twice at a time. */
class SharedProbe {
  readonly listeners = new Set<StatusListener>();
  private readonly health: Health;
  /** For the next probe, or the deadline of this one. */
  private timer: NodeJS.Timeout;
  private current: AbortController | undefined;
  private isClosed = false;

  constructor(
    private readonly probe: Probe,
    private readonly random: () => number,
    private readonly server: Endpoint,
    private readonly settings: MonitorSettings,
  ) {
    this.health = new Health(settings, Date.now());
    const { interval, jitter } = settings;
    this.timer = setTimeout(() => void this.run(), interval * jitter * random());
  }

  get status(): MonitorStatus {
    return this.health.status;
  }

  close(): void {
    this.isClosed = true;
    this.listeners.clear();
    clearTimeout(this.timer);
    this.current?.abort();
  }

  private async run(): Promise<void> {
    const start = performance.now();
    const hasChanged = await this.look();
    if (this.isClosed) return;
    const { interval, jitter } = this.settings;
    const wait = interval * (1 + jitter * (this.random() - 0.5));
    this.timer = setTimeout(() => void this.run(), Math.max(0, start + wait - performance.now()));
    if (!hasChanged) return;
    const { status } = this;
    // A listener may end watches, and begin new ones: these know the status already.
    for (const listener of [...this.listeners]) {
      if (this.listeners.has(listener)) listener(status);
    }
  }

  /** Probes once. Answers whether the state has changed. */
  private async look(): Promise<boolean> {
    const controller = new AbortController();
    this.current = controller;
    this.timer = setTimeout(() => controller.abort(), this.settings.timeout);
    try {
      await this.probe(this.server, this.settings, controller.signal);
      return this.health.passed(performance.now(), Date.now());
    } catch (error) {
      return this.health.failed((error as Error).message, Date.now());
    } finally {
      clearTimeout(this.timer);
      this.current = undefined;
    }
  }
}
