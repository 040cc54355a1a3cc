import type { Socket } from 'node:net';
import type { Addresses } from '../core/types.ts';
import { type ByteStream, type StreamOwner, unmapped } from './byte-stream.ts';
import { TlsLayer } from './tls-layer.ts';
import type { TlsStart } from './tls-start.ts';

/** A TCP connection on Node's public API. */
export class SocketStream implements ByteStream {
  readonly reusesBuffers = false;
  private error: string | undefined;
  private waiting = false;
  private gone = false;

  /** `socket` must allow half-open. */
  constructor(
    private readonly socket: Socket,
    public owner: StreamOwner,
  ) {
    socket.setNoDelay(true);
    socket.pause();
    // Node still hands out what it holds after `destroy`.
    socket.on('data', (bytes: Buffer) => {
      if (!this.gone) this.owner.onData(this, bytes);
    });
    socket.on('end', () => {
      if (!this.gone) this.owner.onEnd(this, false);
    });
    socket.on('error', (error: Error & { code?: string }) => {
      this.error ??= error.code ?? error.message;
    });
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
    if (this.socket.writableEnded || this.socket.connecting) {
      this.destroy();
      return;
    }
    this.socket.resetAndDestroy();
    this.closed();
  }

  destroy(): void {
    if (this.gone) return;
    this.socket.destroy();
    this.closed();
  }

  addresses(): Addresses | undefined {
    const { localAddress, localPort, remoteAddress, remotePort } = this.socket;
    if (localAddress === undefined || remoteAddress === undefined) return undefined;
    return {
      local: { address: unmapped(localAddress), port: localPort ?? 0 },
      remote: { address: unmapped(remoteAddress), port: remotePort ?? 0 },
    };
  }

  get tls(): undefined {
    return undefined;
  }

  startTls(start: TlsStart, leftover: Uint8Array): ByteStream {
    return this.gone ? this : new TlsLayer(this, start, leftover);
  }

  stopTls(): void {
    throw new Error('there is no TLS on this stream');
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
