import { isIPv6 } from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { TlsInfo } from '../core/rule-run.ts';
import type { Addresses, Endpoint } from '../core/types.ts';
import { type ByteStream, type StreamOwner, unmapped } from './byte-stream.ts';
import {
  endedByFin,
  needInternals,
  onRead,
  type ReadTarget,
  type SocketName,
  type StreamHandle,
  type StreamRequest,
  type TcpHandle,
  type TlsHandle,
  wroteLater,
} from './internals.ts';
import { layTls, RawTlsInfo } from './raw-tls.ts';
import { giveBuffer, LARGEST, LARGEST_FOR_TLS, takeBuffer } from './read-buffers.ts';
import { bindSource, type SourceAddress } from './source-address.ts';
import { TlsLayer } from './tls-layer.ts';
import { refusalOf, type TlsStart } from './tls-start.ts';
import { type Flushable, flushLater } from './write-batch.ts';

const UV_EOF = -4095;

/** Larger writes are sent at once, and all those through TLS, which sends in steps of its own. */
const SMALL_WRITE = 4096;

/** What fits into one segment on every path (RFC 9293, section 3.7.1). */
const SMALLEST_SEGMENT = 536;

/** Streams with a large read buffer, looked at by `shrinkIdleBuffers`. */
const large = new Set<RawStream>();

/** Gives connections that have not read since the last call their small buffer back. Call once a second or so. */
export function shrinkIdleBuffers(): void {
  for (const stream of large) stream.shrinkIfIdle();
}

interface WriteRequest extends StreamRequest {
  target?: RawStream | undefined;
}

/** A write request is used again unless the kernel kept it. */
let spareWrite: WriteRequest | undefined;

/** A connection on Node's bare handles: TCP, and TLS over it once that has started. */
export class RawStream implements ByteStream, Flushable, ReadTarget {
  readonly reusesBuffers = true;

  private tcp: TcpHandle | undefined;
  private tlsHandle: TlsHandle | undefined;
  private buffer: Uint8Array;
  private bufferSize = 0;
  private readSinceSweep = false;
  /** The owner wants bytes. */
  private reading = false;
  /** The handle reads. */
  private active = false;
  /** The top handle knows the buffer. */
  private prepared = false;
  /** The owner paused inside `onData`: it may still be writing from the buffer. */
  private lent = false;
  /** Decrypted while nobody was reading: TLS hands out all that a segment held. */
  private early: Uint8Array[] = [];
  /** The end came behind `early`. */
  private endsAfterEarly = false;
  /** FIN came without close_notify before it. */
  private truncated = false;
  private ended = false;
  private endAsked = false;
  /** FIN shall go out without close_notify before it. */
  private endsBare = false;
  private shutDown = false;
  /** Nagle's algorithm cannot hold back a first send of one segment, and is left on until then. */
  private sent = false;
  private noDelay = false;
  private writing = false;
  /** Small writes wait for the end of the turn. */
  private deferred = false;
  /** At most what the kernel has not taken of the write under way. */
  private writingBytes = 0;
  private queue: Uint8Array[] | undefined;
  private queuedBytes = 0;

  constructor(
    tcp: TcpHandle,
    public owner: StreamOwner,
  ) {
    this.tcp = tcp;
    this.buffer = takeBuffer(0);
  }

  private get top(): StreamHandle | undefined {
    return this.tlsHandle ?? this.tcp;
  }

  get pendingBytes(): number {
    return this.queuedBytes + this.writingBytes;
  }

  read(wanted: boolean): void {
    const { top } = this;
    if (top === undefined || this.ended || this.reading === wanted) return;
    this.reading = wanted;
    if (!wanted) {
      this.stopReading();
      return;
    }
    this.deliverEarly();
    if (this.reading) this.startReading(top);
  }

  write(bytes: Uint8Array): boolean {
    if (this.tcp === undefined || this.endAsked) return true;
    const atOnce = bytes.length > SMALL_WRITE || this.tlsHandle !== undefined;
    if (atOnce && !this.writing) return this.send(bytes);
    if (this.queue === undefined) this.queue = [bytes];
    else this.queue.push(bytes);
    this.queuedBytes += bytes.length;
    if (!this.writing) {
      this.writing = true;
      this.deferred = true;
      flushLater(this);
    }
    return false;
  }

  /** Called at the end of the turn in which a small write was queued. */
  flush(): void {
    if (!this.deferred || this.tcp === undefined) return;
    this.deferred = false;
    this.writing = false;
    this.sendQueue();
  }

  /** A last answer reaches the kernel before the connection is closed. */
  private sendDeferred(): void {
    if (!this.deferred) return;
    this.deferred = false;
    this.writing = false;
    const bytes = this.takeQueue();
    if (bytes !== undefined) this.send(bytes);
  }

  get tls(): TlsInfo | undefined {
    return this.tlsHandle && new RawTlsInfo(this.tlsHandle);
  }

  end(truncated: boolean): void {
    if (this.endAsked || this.tcp === undefined) return;
    this.endAsked = true;
    this.endsBare = truncated;
    if (!this.writing) this.shutdown();
  }

  reset(): void {
    this.sendDeferred();
    const { tcp, tlsHandle: tls } = this;
    if (tcp === undefined) return;
    // The system refuses a reset behind a FIN (EINVAL); a close discards just as well.
    if (this.endAsked || tcp.reset(() => tls?.destroySSL()) !== 0) this.closeHandles();
    this.forget();
    this.owner.onClose(this, undefined);
  }

  destroy(): void {
    this.sendDeferred();
    if (this.tcp === undefined) return;
    this.closeHandles();
    this.forget();
    this.owner.onClose(this, undefined);
  }

  addresses(): Addresses | undefined {
    const { tcp } = this;
    if (tcp === undefined) return undefined;
    const local: SocketName = {};
    const remote: SocketName = {};
    if (tcp.getsockname(local) !== 0 || tcp.getpeername(remote) !== 0) return undefined;
    return { local: endpoint(local), remote: endpoint(remote) };
  }

  /** Opens the connection; the owner hears `onConnect` or `onClose`. */
  connect(to: Endpoint, from: SourceAddress | undefined): void {
    const { tcp } = this;
    if (tcp === undefined) return;
    const { TCPConnectWrap } = needInternals();
    const request = new TCPConnectWrap();
    request.oncomplete = (status) => {
      if (this.tcp === undefined) return;
      if (status !== 0) this.fail(errorName(status));
      else this.owner.onConnect(this);
    };
    const connect = isIPv6(to.address) ? 'connect6' : 'connect';
    const bound = from === undefined ? 0 : bindSource(tcp, from, to.address);
    const error = bound || tcp[connect](request, to.address, to.port);
    if (error !== 0) queueMicrotask(() => this.fail(errorName(error)));
  }

  startTls(start: TlsStart, leftover: Uint8Array): ByteStream {
    const { tcp } = this;
    if (tcp === undefined) return this;
    if (this.tlsHandle !== undefined || start.detachable) {
      // Nobody waits for the write before the layer reads.
      if (this.lent) this.top?.useUserBuffer(this.changeBuffer());
      return new TlsLayer(this, start, leftover);
    }
    if (this.writing) throw new Error('TLS can start only on a quiet TCP connection');
    // The handshake sends by itself, and the first answer must not wait behind its tickets.
    this.setNoDelay();
    const tls = layTls(tcp, start);
    tls.onhandshakedone = () => this.secured(start);
    tls.onerror = (error) => this.fail(error.code ?? error.message);
    this.tlsHandle = tls;
    // The TCP handle reads on, for TLS. It knows the old buffer by its address; TLS has one of its own.
    tcp.portreeveBuffer = this.buffer;
    tcp.portreeveStream = undefined;
    this.buffer = takeBuffer(0);
    this.bufferSize = 0;
    this.lent = false;
    this.reading = false;
    this.prepared = false;
    large.delete(this);
    if (start.role === 'client') tls.start();
    this.startReading(tls);
    if (leftover.length > 0) tls.receive(leftover);
    return this;
  }

  stopTls(): void {
    throw new Error('TLS on the bare handle stays until the end');
  }

  /** Called by the handle. Answers the buffer to read into next when that changes. */
  received(count: number): Uint8Array | undefined {
    if (count <= 0) {
      if (count === UV_EOF) this.gotEnd();
      else if (count < 0) this.fail(errorName(count));
      return undefined;
    }
    const { buffer } = this;
    const bytes = count === buffer.length ? buffer : buffer.subarray(0, count);
    if (!this.reading) {
      this.early.push(Buffer.from(bytes));
      return undefined;
    }
    this.readSinceSweep = true;
    // Closed from within, the buffer may still be written from.
    this.lent = true;
    this.owner.onData(this, bytes);
    // Closed, or TLS has started: what follows is for a handle that is done with.
    if (this.buffer !== buffer || this.tcp === undefined) return undefined;
    this.lent = !this.reading;
    const largest = this.tlsHandle === undefined ? LARGEST : LARGEST_FOR_TLS;
    const grows = count === buffer.length && this.bufferSize < largest;
    if (!this.lent) return grows ? this.resizeBuffer(this.bufferSize + 1) : undefined;
    // A lent buffer grows, too: TLS takes its time for every write.
    if (grows) this.setSize(this.bufferSize + 1);
    // TLS may go on at once with what it has decrypted, TCP reads no more before `read`.
    return grows || this.tlsHandle !== undefined ? this.changeBuffer() : undefined;
  }

  shrinkIfIdle(): void {
    if (this.readSinceSweep || !this.reading) {
      this.readSinceSweep = false;
      return;
    }
    // Each call adds a small listener to the handle, which lives as long as the connection.
    this.top?.useUserBuffer(this.resizeBuffer(0));
  }

  private startReading(top: StreamHandle): void {
    this.lent = false;
    if (!this.prepared) {
      this.prepared = true;
      top.portreeveStream = this;
      top.onread = onRead;
      top.useUserBuffer(this.buffer);
    }
    if (this.active) return;
    this.active = true;
    const error = top.readStart();
    if (error !== 0) this.fail(errorName(error));
  }

  private stopReading(): void {
    if (!this.active) return;
    this.active = false;
    this.top?.readStop();
  }

  private deliverEarly(): void {
    while (this.reading && this.early.length > 0) {
      const bytes = this.early.shift();
      if (bytes !== undefined) this.owner.onData(this, bytes);
    }
    if (this.endsAfterEarly && this.early.length === 0) this.peerEnded();
  }

  private secured(start: TlsStart): void {
    const refusal = this.tlsHandle && refusalOf(start, new RawTlsInfo(this.tlsHandle));
    if (refusal !== undefined) {
      // OpenSSL is still at work on the handle.
      queueMicrotask(() => this.fail(refusal));
      return;
    }
    this.owner.onSecure(this);
    // Reading goes on only if the owner asks for it.
    if (!this.reading) this.stopReading();
  }

  /** Another buffer in place of one that is lent. */
  private changeBuffer(): Uint8Array {
    this.lent = false;
    this.buffer = takeBuffer(this.bufferSize);
    return this.buffer;
  }

  private resizeBuffer(size: number): Uint8Array {
    giveBuffer(this.bufferSize, this.buffer);
    this.setSize(size);
    this.buffer = takeBuffer(size);
    return this.buffer;
  }

  private setSize(size: number): void {
    this.bufferSize = size;
    if (size > 0) large.add(this);
    else large.delete(this);
  }

  private setNoDelay(): void {
    if (this.noDelay) return;
    this.noDelay = true;
    this.tcp?.setNoDelay(true);
  }

  private send(bytes: Uint8Array): boolean {
    const { top } = this;
    if (top === undefined) return true;
    const request = spareWrite ?? newWriteRequest();
    spareWrite = undefined;
    request.target = this;
    this.writing = true;
    if (this.sent || bytes.length > SMALLEST_SEGMENT) this.setNoDelay();
    this.sent = true;
    const error = top.writeBuffer(request, bytes);
    if (error !== 0) {
      this.writing = false;
      this.fail(errorName(error));
      return true;
    }
    if (!wroteLater()) {
      this.writing = false;
      request.target = undefined;
      spareWrite = request;
      return true;
    }
    request.bytes = bytes;
    if (this.writing) this.writingBytes = bytes.length;
    // TLS tells an error below it at once, through the request.
    return !this.writing;
  }

  /** Called when the kernel has taken what `send` left it with. */
  written(status: number): void {
    if (this.tcp === undefined) return;
    this.writing = false;
    this.writingBytes = 0;
    if (status !== 0) {
      this.fail(errorName(status));
      return;
    }
    this.sendQueue();
  }

  private sendQueue(): void {
    const next = this.takeQueue();
    if (next !== undefined && !this.send(next)) return;
    if (this.endAsked) this.shutdown();
    if (this.tcp !== undefined) this.owner.onDrain(this);
  }

  private takeQueue(): Uint8Array | undefined {
    const { queue } = this;
    if (queue === undefined || queue.length === 0) return undefined;
    this.queue = undefined;
    this.queuedBytes = 0;
    return queue.length === 1 ? queue[0] : Buffer.concat(queue);
  }

  private shutdown(): void {
    const top = this.endsBare ? this.tcp : this.top;
    if (top === undefined) return;
    if (this.ended && this.tlsHandle === undefined) {
      // Nothing comes any more, so closing sends FIN just as well.
      this.destroy();
      return;
    }
    const { ShutdownWrap } = needInternals();
    const request = new ShutdownWrap();
    request.oncomplete = () => this.finished();
    // 1: done at once. An error means that the peer is gone; its close tells the rest.
    if (top.shutdown(request) !== 0) this.finished();
  }

  private finished(): void {
    if (this.tcp === undefined) return;
    this.shutDown = true;
    if (this.ended) this.destroy();
  }

  private gotEnd(): void {
    const { tcp } = this;
    // While nothing is read, only what was read before can have brought the end.
    this.truncated =
      this.tlsHandle !== undefined && this.active && tcp !== undefined && endedByFin(tcp);
    this.peerEnded();
  }

  private peerEnded(): void {
    this.endsAfterEarly = this.early.length > 0;
    if (this.endsAfterEarly) return;
    this.stopReading();
    this.reading = false;
    this.ended = true;
    this.owner.onEnd(this, this.truncated);
    if (this.shutDown) this.destroy();
  }

  private fail(error: string): void {
    if (this.tcp === undefined) return;
    this.closeHandles();
    this.forget();
    this.owner.onClose(this, error);
  }

  private closeHandles(): void {
    const { tcp, tlsHandle: tls } = this;
    if (tls === undefined) tcp?.close();
    // Writes that TLS still holds refer to it; they must not outlive the connection below.
    else tcp?.close(() => tls.destroySSL());
  }

  /** Lets go of the handles and of the memory; a buffer that may still be written from is not used again. */
  private forget(): void {
    const { top } = this;
    if (top === undefined) return;
    top.portreeveStream = undefined;
    top.portreeveBuffer = this.buffer;
    this.tcp = undefined;
    this.reading = false;
    this.writing = false;
    this.writingBytes = 0;
    this.early = [];
    this.endsAfterEarly = false;
    this.queue = undefined;
    this.queuedBytes = 0;
    large.delete(this);
    if (!this.lent && this.tlsHandle === undefined) giveBuffer(this.bufferSize, this.buffer);
    this.tlsHandle = undefined;
  }
}

function newWriteRequest(): WriteRequest {
  const { WriteWrap } = needInternals();
  const request: WriteRequest = new WriteWrap();
  request.oncomplete = onWritten;
  return request;
}

function onWritten(this: WriteRequest, status: number): void {
  this.target?.written(status);
}

function errorName(status: number): string {
  try {
    return getSystemErrorName(status);
  } catch {
    return `error ${status}`;
  }
}

function endpoint(name: SocketName): Endpoint {
  return { address: unmapped(name.address ?? ''), port: name.port ?? 0 };
}

/** Opens a connection. */
export function connectRaw(to: Endpoint, owner: StreamOwner, from?: SourceAddress): RawStream {
  const { TCP, constants } = needInternals();
  const stream = new RawStream(new TCP(constants.SOCKET), owner);
  stream.connect(to, from);
  return stream;
}
