import { connect } from 'node:net';
import type { Endpoint } from '../core/types.ts';
import type { ByteStream, StreamOwner } from './byte-stream.ts';
import { internals } from './internals.ts';
import { connectRaw } from './raw-stream.ts';
import { SocketStream } from './socket-stream.ts';
import type { SourceAddress } from './source-address.ts';

/**
 * Opens a TCP connection. The owner hears `onConnect`, or `onClose` with the error.
 *
 * @param from - where it comes from; the system chooses without it. Errors are EADDRNOTAVAIL for an
 * address that this machine has not and for a port that is in use towards the same destination,
 * EADDRINUSE for a port that somebody listens on.
 */
export function openConnection(to: Endpoint, owner: StreamOwner, from?: SourceAddress): ByteStream {
  if (internals !== undefined) return connectRaw(to, owner, from);
  const source = from && { localAddress: from.address, localPort: from.port };
  const socket = connect({ host: to.address, port: to.port, allowHalfOpen: true, ...source });
  const stream = new SocketStream(socket, owner);
  socket.once('connect', () => stream.owner.onConnect(stream));
  return stream;
}
