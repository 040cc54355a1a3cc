import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Endpoint } from '../core/types.ts';
import type { ByteStream, StreamOwner } from './byte-stream.ts';
import { acceptHandles } from './internals.ts';
import { RawStream } from './raw-stream.ts';
import { SocketStream } from './socket-stream.ts';

/** Connections that the kernel holds ready; it has an upper bound of its own. */
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
   * Listens. `host`: a name, an address, or '' for all addresses, IPv6 and IPv4.
   * @throws Error with the system's code, such as EADDRINUSE.
   */
  static async open(host: string, port: number, accept: Accept): Promise<Listener> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    server.listen({ port, backlog: BACKLOG, ...(host !== '' && { host }) });
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
