import type { ListenAddress } from '../config/index.ts';
import type { Logger } from '../core/logger.ts';
import type { Endpoint } from '../core/types.ts';
import type { ByteStream, StreamOwner } from '../net/byte-stream.ts';
import { FlowDriver } from '../net/flow-driver.ts';
import { Listener } from '../net/listener.ts';
import type { Generation } from './generation.ts';

/** Refused connections are logged at most this often, in milliseconds. */
const LIMIT_LOG_INTERVAL = 10_000;

/** A listener, and the generations that its connections belong to. */
export class VirtualServer {
  private readonly former = new Set<Generation>();
  private connections = 0;
  private refused = 0;
  private lastLimitLog = 0;
  private readonly onIdle: (() => void)[] = [];

  /** Serves the connections of `listener`, if there is one, with `generation`. */
  constructor(
    private current: Generation,
    private print: string,
    private readonly logger: Logger,
    private listener: Listener | undefined,
  ) {
    this.adopt(current);
    if (listener !== undefined) listener.accept = (take) => this.accept(take);
  }

  get name(): string {
    return this.current.virtualServer;
  }

  /** Of the configuration and the rules that new connections get. */
  get fingerprint(): string {
    return this.print;
  }

  get listen(): ListenAddress | undefined {
    return this.current.config.listen;
  }

  get endpoint(): Endpoint | undefined {
    return this.listener?.endpoint;
  }

  /** Serves new connections with another generation. The open ones go on, drain or end. */
  use(generation: Generation, fingerprint: string, end: 'keep' | { afterMs: number }): void {
    const former = this.current;
    this.former.add(former);
    this.current = generation;
    this.print = fingerprint;
    this.adopt(generation);
    // All of them: `keep` may have been the rule until now.
    for (const each of this.former) {
      if (end !== 'keep') endLater(each, end.afterMs, 'the virtual server was reloaded');
      if (each.flows.size === 0) this.former.delete(each);
    }
  }

  /** Stops listening. Connections go on. */
  close(): void {
    this.listener?.close();
    this.listener = undefined;
  }

  /** Gives the listener away, for another virtual server on the same address. */
  takeListener(): Listener | undefined {
    const { listener } = this;
    this.listener = undefined;
    return listener;
  }

  /** Settles when no connection is open. */
  idle(): Promise<void> {
    if (this.connections === 0) return Promise.resolve();
    return new Promise((resolve) => this.onIdle.push(resolve));
  }

  abort(reason: string): void {
    for (const generation of [...this.former, this.current]) generation.abort(reason);
  }

  private adopt(generation: Generation): void {
    generation.onClosed = () => {
      this.connections -= 1;
      if (generation !== this.current && generation.flows.size === 0)
        this.former.delete(generation);
      if (this.connections === 0) for (const settle of this.onIdle.splice(0)) settle();
    };
  }

  private accept(take: (owner: StreamOwner) => ByteStream): void {
    const limit = this.current.config.connectionLimit;
    if (limit > 0 && this.connections >= limit) {
      refuse(take);
      this.logRefusal(limit);
      return;
    }
    this.connections += 1;
    new FlowDriver(this.current, take);
  }

  private logRefusal(limit: number): void {
    this.refused += 1;
    const now = Date.now();
    if (now - this.lastLimitLog < LIMIT_LOG_INTERVAL) return;
    this.lastLimitLog = now;
    this.logger.warn(
      `refused ${this.refused} connections: the connectionLimit of ${limit} is reached`,
      {
        virtualServer: this.name,
      },
    );
    this.refused = 0;
  }
}

/**
 * Listens for a virtual server to come. Until there is one, connections are refused.
 * @throws the system's error
 */
export function openListener({ host, port }: ListenAddress): Promise<Listener> {
  return Listener.open(host, port, refuse);
}

function endLater(generation: Generation, afterMs: number, reason: string): void {
  if (afterMs === 0) {
    generation.abort(reason);
    return;
  }
  setTimeout(() => generation.abort(reason), afterMs).unref();
}

function refuse(take: (owner: StreamOwner) => ByteStream): void {
  take(NOBODY).reset();
}

/** Owns connections that are refused. */
const NOBODY: StreamOwner = {
  onConnect: () => {},
  onData: () => {},
  onEnd: () => {},
  onDrain: () => {},
  onSecure: () => {},
  onPlain: () => {},
  onClose: () => {},
};
