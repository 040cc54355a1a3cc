import { connect } from 'node:net';
import type { Endpoint } from '../core/types.ts';
import type { ByteStream, StreamOwner } from './byte-stream.ts';
import { internals } from './internals.ts';
import { connectRaw } from './raw-stream.ts';
import { SocketStream } from './socket-stream.ts';

/** Opens a TCP connection. The owner hears `onConnect`, or `onClose` with the error. */
export function openConnection(to: Endpoint, owner: StreamOwner): ByteStream {
  if (internals !== undefined) return connectRaw(to, owner);
  const socket = connect({ host: to.address, port: to.port, allowHalfOpen: true });
  const stream = new SocketStream(socket, owner);
  socket.once('connect', () => stream.owner.onConnect(stream));
  return stream;
}
