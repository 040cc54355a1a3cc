import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import type { ByteStream, StreamOwner } from './byte-stream.ts';
import { SocketStream } from './socket-stream.ts';

/**
 * Puts TLS on an accepted connection, as its server. `leftover` is what was already read of the
 * client's first record. The owner hears `onSecure` when the handshake is complete, or `onClose`.
 */
export function acceptTls(
  socket: Socket,
  leftover: Uint8Array,
  secureContext: SecureContext,
  owner: StreamOwner,
): ByteStream {
  if (leftover.length > 0) socket.unshift(leftover);
  const tls = new TLSSocket(socket, { isServer: true, secureContext });
  const stream = new SocketStream(tls, owner, socket);
  tls.once('secure', () => {
    // Renegotiation (TLS 1.2) is an attack surface that no client of ours needs (RFC 9325 3.5).
    if (tls.getProtocol() !== 'TLSv1.3') tls.disableRenegotiation();
    stream.owner.onSecure(stream);
  });
  return stream;
}
