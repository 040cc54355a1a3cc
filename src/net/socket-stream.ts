import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import type { Addresses } from '../core/types.ts';
import { type ByteStream, type StreamOwner, unmapped } from './byte-stream.ts';

/** A connection on Node's public API: a `net.Socket`, or a `tls.TLSSocket` over one. */
export class SocketStream implements ByteStream {
  readonly reusesBuffers = false;
  private error: string | undefined;
  private waiting = false;
  private gone = false;

  /** `socket` must allow half-open. `base` is the TCP socket below TLS. */
  constructor(
    private readonly socket: Socket,
    public owner: StreamOwner,
    private readonly base: Socket = socket,
  ) {
    if (base === socket) socket.setNoDelay(true);
    socket.pause();
    // Node still hands out what it holds after `destroy`.
    socket.on('data', (bytes: Buffer) => {
      if (!this.gone) this.owner.onData(this, bytes);
    });
    socket.on('end', () => {
      if (!this.gone) this.owner.onEnd(this);
    });
    const failed = (error: Error & { code?: string }) => {
      this.error ??= error.code ?? error.message;
    };
    socket.on('error', failed);
    if (base !== socket) base.on('error', failed);
    socket.on('close', () => this.closed());
  }

  get pendingBytes(): number {
    return this.gone ? 0 : this.socket.writableLength;
  }

  read(wanted: boolean): void {
    if (this.gone) return;
    if (wanted) this.socket.resume();
    else this.socket.pause();
  }

  write(bytes: Uint8Array): boolean {
    const { socket } = this;
    if (this.gone || socket.writableEnded) return true;
    socket.write(bytes, this.written);
    this.waiting = socket.writableLength > 0;
    return !this.waiting;
  }

  end(): void {
    if (!this.gone && !this.socket.writableEnded) this.socket.end();
  }

  reset(): void {
    if (this.gone) return;
    // The system refuses a reset behind a FIN (EINVAL), and Node then never closes the connection.
    // While it connects, Node would wait for the connection before it resets it.
    if (this.socket.writableEnded || this.base.connecting) {
      this.destroy();
      return;
    }
    // The TCP socket under TLS can be reset, the TLS socket cannot. It follows by itself; destroyed
    // here, it would be freed at once, also inside a handshake that is about to go on with it.
    this.base.resetAndDestroy();
    this.closed();
  }

  destroy(): void {
    if (this.gone) return;
    this.socket.destroy();
    this.base.destroy();
    this.closed();
  }

  addresses(): Addresses | undefined {
    const { localAddress, localPort, remoteAddress, remotePort } = this.base;
    if (localAddress === undefined || remoteAddress === undefined) return undefined;
    return {
      local: { address: unmapped(localAddress), port: localPort ?? 0 },
      remote: { address: unmapped(remoteAddress), port: remotePort ?? 0 },
    };
  }

  acceptTls(secureContext: SecureContext, leftover: Uint8Array): ByteStream {
    const { socket } = this;
    if (this.gone) return this;
    this.gone = true;
    socket.pause();
    for (const name of ['data', 'end', 'error', 'close']) socket.removeAllListeners(name);
    if (leftover.length > 0) socket.unshift(leftover);
    const tls = new TLSSocket(socket, { isServer: true, secureContext });
    // Node keeps errors behind the handshake to itself where no `tls.Server` made the socket.
    tls.on('_tlsError', (error: Error) => tls.destroy(error));
    const stream = new SocketStream(tls, this.owner, socket);
    tls.once('secure', () => {
      if (stream.gone) return;
      // Renegotiation (TLS 1.2) is an attack surface that no client needs (RFC 9325, section 3.5).
      if (tls.getProtocol() !== 'TLSv1.3') tls.disableRenegotiation();
      stream.owner.onSecure(stream);
    });
    return stream;
  }

  private readonly written = (error?: Error | null): void => {
    if (error || !this.waiting || this.gone || this.socket.writableLength > 0) return;
    this.waiting = false;
    this.owner.onDrain(this);
  };

  private closed(): void {
    if (this.gone) return;
    this.gone = true;
    this.owner.onClose(this, this.error);
  }
}
