import { isIP } from 'node:net';
import { connect, TLSSocket } from 'node:tls';
import type { TlsInfo } from '../core/rule-run.ts';
import type { Addresses } from '../core/types.ts';
import type { ByteStream, StreamEnd, StreamOwner } from './byte-stream.ts';
import { handleOf, hasGotEnd } from './internals.ts';
import { SocketTlsInfo } from './tls-session.ts';
import { refusalOf, type TlsStart } from './tls-start.ts';
import { TlsTap } from './tls-tap.ts';

/**
 * TLS over any stream, on the public API: slower than TLS on a bare handle, but it can be taken off
 * again, and there may be more of it inside.
 */
export class TlsLayer implements ByteStream, StreamOwner {
  readonly reusesBuffers = false;
  owner: StreamOwner;

  private readonly tap: TlsTap;
  private readonly socket: TLSSocket;
  private error: string | undefined;
  /** A write waits for its drain. */
  private waiting = false;
  /** `end` was called. */
  private ending = false;
  /** The peer's close_notify has come, or FIN without it. */
  private ended = false;
  /** FIN came without it. */
  private truncated = false;
  /** The end of the stream below. */
  private endBelow: StreamEnd | undefined;
  /** Nobody wants what the stream below has brought. */
  private dropped = false;
  /** The stream below is gone. */
  private closedBelow = false;
  private gone = false;

  constructor(
    private readonly below: ByteStream,
    private readonly start: TlsStart,
    leftover: Uint8Array,
  ) {
    this.owner = below.owner;
    below.owner = this;
    const isOver = () => hasGotEnd(this.socket);
    this.tap = new TlsTap(below, start.detachable, isOver, () => this.plain());
    // Before the socket's own listener.
    this.tap.on('end', () => {
      this.truncated = !isOver();
    });
    this.socket = openSocket(this.tap, start);
    this.watch();
    // What came behind the leftover must not overtake it.
    below.read(false);
    // What it may bring about finds an owner that knows of this stream.
    process.nextTick(() => {
      if (this.gone) return;
      if (leftover.length > 0) this.tap.receive(leftover);
      below.read(true);
    });
  }

  private watch(): void {
    const { socket } = this;
    socket.pause();
    socket.on('data', (bytes: Buffer) => {
      if (!this.gone) this.owner.onData(this, bytes);
    });
    socket.on('end', () => this.peerEnded());
    socket.on('error', (error: Error & { code?: string }) => {
      this.fail(error.code ?? error.message);
    });
    // Node keeps errors behind the handshake to itself where no `tls.Server` made the socket.
    socket.on('_tlsError', (error: Error & { code?: string }) => {
      this.fail(error.code ?? error.message);
    });
    socket.on('close', () => {
      if (!this.tap.detaching) this.destroy();
    });
    socket.once(this.start.role === 'server' ? 'secure' : 'secureConnect', () => this.secured());
  }

  get tls(): TlsInfo | undefined {
    return this.gone ? undefined : new SocketTlsInfo(this.socket);
  }

  get pendingBytes(): number {
    return this.gone ? 0 : this.socket.writableLength + this.below.pendingBytes;
  }

  read(wanted: boolean): void {
    if (this.gone || this.tap.detaching) return;
    if (wanted) this.socket.resume();
    else this.socket.pause();
  }

  write(bytes: Uint8Array): boolean {
    const { socket } = this;
    if (this.gone || this.ending || this.tap.detaching) return true;
    socket.write(bytes, this.written);
    this.waiting = this.pendingBytes > 0;
    return !this.waiting;
  }

  private readonly written = (error?: Error | null): void => {
    if (!error) this.drained();
  };

  private drained(): void {
    if (this.gone || !this.waiting || this.pendingBytes > 0) return;
    this.waiting = false;
    this.owner.onDrain(this);
  }

  end(truncated: boolean): void {
    if (this.gone || this.ending || this.tap.detaching) return;
    this.ending = true;
    if (truncated) this.tap.endBare(this.socket);
    else this.socket.end();
  }

  reset(): void {
    this.drop('reset');
  }

  destroy(): void {
    this.drop('destroy');
  }

  private drop(how: 'reset' | 'destroy'): void {
    if (this.gone) return;
    this.dropped = true;
    if (this.closedBelow) this.closed();
    else this.below[how]();
  }

  startTls(start: TlsStart, leftover: Uint8Array): ByteStream {
    return this.gone ? this : new TlsLayer(this, start, leftover);
  }

  stopTls(): void {
    if (!this.start.detachable) throw new Error('this TLS layer is not detachable');
    if (this.gone || this.tap.detaching) return;
    this.tap.detach();
    this.socket.resume();
    if (this.ended) this.tap.peerClosed();
    this.socket.end();
  }

  addresses(): Addresses | undefined {
    return this.below.addresses();
  }

  // ---- from the socket on top ------------------------------------------------------------------

  private secured(): void {
    if (this.gone) return;
    const refusal = refusalOf(this.start, new SocketTlsInfo(this.socket));
    if (refusal === undefined) this.owner.onSecure(this);
    else this.fail(refusal);
  }

  private peerEnded(): void {
    if (this.gone) return;
    this.ended = true;
    if (this.tap.detaching) this.tap.peerClosed();
    else this.owner.onEnd(this, this.truncated);
    if (this.closedBelow) this.closed();
  }

  /** Both ends of TLS are through: what is below goes on without it. */
  private plain(): void {
    if (this.gone) return;
    this.gone = true;
    const { below, endBelow, owner } = this;
    const rest = this.tap.takeRest();
    below.read(false);
    below.owner = owner;
    this.socket.destroy();
    const truncated = this.truncated || endBelow?.truncated === true;
    owner.onPlain(this, below, rest, endBelow && { truncated });
  }

  private fail(error: string): void {
    this.error ??= error;
    this.destroy();
  }

  // ---- from the stream below -------------------------------------------------------------------

  onConnect(): void {}

  onData(_stream: ByteStream, bytes: Uint8Array): void {
    this.tap.receive(this.below.reusesBuffers ? Buffer.from(bytes) : bytes);
  }

  onEnd(_stream: ByteStream, truncated: boolean): void {
    this.endBelow = { truncated };
    this.tap.ended();
  }

  onDrain(): void {
    this.tap.drained();
    this.drained();
  }

  onSecure(): void {}

  onPlain(): void {}

  onClose(_stream: ByteStream, error: string | undefined): void {
    // A peer that has all it wants need not wait for the ends of the layers below.
    if (!this.ended || !this.tap.ownDone) this.error ??= error;
    this.closedBelow = true;
    // Both ends are through, but there is something left to read.
    const isWhole = this.error === undefined && this.endBelow !== undefined;
    if (!isWhole || this.ended || this.dropped) this.closed();
  }

  private closed(): void {
    if (this.gone) return;
    this.gone = true;
    this.socket.destroy();
    this.owner.onClose(this, this.error);
  }
}

function openSocket(tap: TlsTap, start: TlsStart): TLSSocket {
  const common = { secureContext: start.context, ALPNProtocols: [...start.alpn] };
  if (start.role === 'client') {
    const { serverName, session, onSession } = start;
    const socket = connect({
      ...common,
      socket: tap,
      // `refusalOf` judges.
      rejectUnauthorized: false,
      ...(isIP(serverName) === 0 && { servername: serverName }),
      ...(session !== undefined && { session }),
    });
    socket.on('session', onSession);
    return socket;
  }
  const { certificate, ocsp } = start;
  const socket = new TLSSocket(tap, {
    ...common,
    isServer: true,
    requestCert: certificate !== 'none',
    rejectUnauthorized: certificate === 'require',
  });
  if (ocsp !== undefined) handleOf(socket).setOCSPResponse(ocsp);
  return socket;
}
