import { randomInt } from 'node:crypto';
import ipaddr from 'ipaddr.js';
import type { Endpoint } from '../core/types.ts';
import { type Accept, Listener } from './listener.ts';
import { NOBODY, refuse } from './nobody.ts';

/** Connections that the kernel holds ready: one is wanted, strangers may be before it. */
const BACKLOG = 16;

/** Ports that are tried at most: a peer that asks again and again must not make it costly. */
const TRIES = 128;

export interface EphemeralOptions {
  /** An IP address of this machine. */
  readonly address: string;
  /** The lowest and the highest port, 1 to 65535; without them the system chooses. */
  readonly ports?: readonly [number, number];
  /** The only IP address that may connect; without it the first to come is taken. */
  readonly peer?: string;
  /** How long to wait for the connection, in milliseconds, up to 2^31 - 1. */
  readonly timeoutMs: number;
}

/** Why an ephemeral listener does not listen any more. */
export type EphemeralEnd = 'accepted' | 'timedOut' | 'closed';

/** Waits for one connection on a port of its own, as for the data of an FTP transfer. */
export class EphemeralListener {
  readonly endpoint: Endpoint;
  /** Settles when it has ended; never rejects. */
  readonly ended: Promise<EphemeralEnd>;
  /** Connections from other addresses, which were reset. */
  strangers = 0;

  private readonly peer: string | undefined;
  private readonly timer: NodeJS.Timeout;
  private settle: (end: EphemeralEnd) => void = () => {};
  private over = false;

  private constructor(
    private readonly listener: Listener,
    options: EphemeralOptions,
    private readonly accept: Accept,
  ) {
    this.endpoint = listener.endpoint;
    this.peer = options.peer && canonical(options.peer);
    this.ended = new Promise((resolve) => {
      this.settle = resolve;
    });
    this.timer = setTimeout(() => this.end('timedOut'), options.timeoutMs);
    listener.accept = (take) => this.arrived(take);
  }

  /**
   * Listens, on a port of the range chosen at random.
   *
   * @param accept - called at most once, when the listener is closed already
   * @throws Error with the system's code: EADDRINUSE when no port was found free
   */
  static async open(options: EphemeralOptions, accept: Accept): Promise<EphemeralListener> {
    const [lowest, highest] = options.ports ?? [0, 0];
    const ports = Array.from({ length: highest - lowest + 1 }, (_, i) => lowest + i);
    for (let tries = Math.min(ports.length, TRIES); ; tries--) {
      const index = randomInt(ports.length);
      const port = ports[index] ?? 0;
      ports[index] = ports.at(-1) ?? 0;
      ports.pop();
      try {
        const listener = await Listener.open(options.address, port, refuse, BACKLOG);
        return new EphemeralListener(listener, options, accept);
      } catch (error) {
        if (tries === 1 || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      }
    }
  }

  /** Waits no more. */
  close(): void {
    this.end('closed');
  }

  private arrived(take: Parameters<Accept>[0]): void {
    if (this.over) {
      refuse(take);
      return;
    }
    const stream = take(NOBODY);
    const remote = stream.addresses()?.remote.address;
    // A connection that is gone already has no address any more.
    if (remote === undefined) {
      stream.destroy();
      return;
    }
    if (this.peer !== undefined && canonical(remote) !== this.peer) {
      this.strangers += 1;
      stream.reset();
      return;
    }
    this.end('accepted');
    this.accept((owner) => {
      stream.owner = owner;
      return stream;
    });
  }

  private end(end: EphemeralEnd): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.timer);
    this.listener.close();
    this.settle(end);
  }
}

/** One text for each address; IPv4 in its own form. */
function canonical(address: string): string {
  return ipaddr.process(address).toString();
}
