import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Endpoint } from '../core/types.ts';
import type { ByteStream, StreamOwner } from './byte-stream.ts';
import { acceptHandles } from './internals.ts';
import { RawStream } from './raw-stream.ts';
import { resolveHost } from './resolve.ts';
import { SocketStream } from './socket-stream.ts';

const BACKLOG = 4096;

/** Called for each connection. `take` makes it a stream for its owner; must be called at once. */
export type Accept = (take: (owner: StreamOwner) => ByteStream) => void;

/** A listening address. */
export class Listener {
  /** Set before connections can come, and again when a reload hands the listener on. */
  accept: Accept;

  private constructor(
    private readonly server: Server,
    accept: Accept,
  ) {
    this.accept = accept;
  }

  /**
   * Listens. `host`: a name, an address, or '' for all addresses, IPv6 and IPv4. `backlog`:
   * connections that the kernel holds ready; it has an upper bound of its own.
   * @throws Error with the system's code, such as EADDRINUSE.
   */
  static async open(
    host: string,
    port: number,
    accept: Accept,
    backlog: number = BACKLOG,
  ): Promise<Listener> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    server.listen({ port, backlog, ...(host !== '' && { host }) });
    await once(server, 'listening');
    const listener = new Listener(server, accept);
    const raw = acceptHandles(server, (handle) => {
      listener.accept((owner) => new RawStream(handle, owner));
    });
    if (!raw) {
      server.on('connection', (socket: Socket) => {
        listener.accept((owner) => new SocketStream(socket, owner));
      });
      // A connection that could not be accepted, for want of file descriptors, is no reason to stop.
      server.on('error', () => {});
    }
    return listener;
  }

  /** The address in use, with the port that the system chose for port 0. */
  get endpoint(): Endpoint {
    const { address, port } = this.server.address() as AddressInfo;
    return { address, port };
  }

  /** Stops listening; connections go on. */
  close(): void {
    this.server.close();
  }
}

/** Several ports of one host that listen, or none of them does. */
export class ListenerGroup {
  accept: Accept;
  private listeners: readonly Listener[] = [];

  private constructor(accept: Accept) {
    this.accept = accept;
  }

  /**
   * Listens on all `ports`. `host` is as for `Listener`; a name is looked up once for all of them.
   * @throws Error with the system's code when one of them cannot be had; none listens then.
   */
  static async open(
    host: string,
    ports: readonly number[],
    accept: Accept,
  ): Promise<ListenerGroup> {
    const [address = ''] = host === '' ? [] : await resolveHost(host);
    const group = new ListenerGroup(accept);
    const acceptHere: Accept = (take) => group.accept(take);
    const results = await Promise.allSettled(
      ports.map((port) => Listener.open(address, port, acceptHere)),
    );
    group.listeners = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const failed = results.find((each) => each.status === 'rejected');
    if (failed === undefined) return group;
    group.close();
    throw failed.reason;
  }

  /** In the order of the ports. */
  get endpoints(): readonly Endpoint[] {
    return this.listeners.map(({ endpoint }) => endpoint);
  }

  /** Stops listening; connections go on. */
  close(): void {
    for (const listener of this.listeners) listener.close();
  }
}
