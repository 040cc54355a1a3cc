import { isIPv6, type Server, Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { Addresses, Endpoint } from '../core/types.ts';
import type { ByteStream, StreamOwner } from './byte-stream.ts';
import { giveBuffer, LARGEST, takeBuffer } from './read-buffers.ts';

/*
 * The one file that touches Node's internals: TCP handles without `net.Socket` on top. A socket
 * object costs more than the kernel's own work for a short connection, and cannot read accepted
 * connections into a reused buffer. `rawTcpAvailable` looks at the shape of what is used here;
 * where it is missing, the caller takes `socket-stream.ts`, which needs the public API only.
 */

interface Handle {
  onread: (this: Handle, arrayBuffer?: ArrayBuffer) => Uint8Array | undefined;
  /** Ours: the stream on top of the handle. */
  portreeveStream?: RawTcp | undefined;
  /** Ours: keeps memory alive that the handle knows by its address only. */
  portreeveBuffer?: Uint8Array;
  readonly writeQueueSize: number;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: Request, bytes: Uint8Array): number;
  shutdown(request: Request): number;
  close(callback?: () => void): void;
  reset(callback?: () => void): number;
  setNoDelay(on: boolean): number;
  connect(request: Request, address: string, port: number): number;
  connect6(request: Request, address: string, port: number): number;
  bind(address: string, port: number): number;
  getsockname(out: SocketName): number;
  getpeername(out: SocketName): number;
}

interface SocketName {
  address?: string;
  port?: number;
}

interface Request {
  oncomplete: (status: number) => void;
  /** Keeps the bytes alive while the kernel has not taken them. */
  bytes?: Uint8Array;
}

interface Internals {
  TCP: new (type: number) => Handle;
  TCPConnectWrap: new () => Request;
  WriteWrap: new () => Request;
  ShutdownWrap: new () => Request;
  constants: { SOCKET: number };
  streamBaseState: Int32Array;
  kReadBytesOrError: number;
  kLastWriteWasAsync: number;
}

const UV_EOF = -4095;

function loadInternals(): Internals | undefined {
  const binding = (process as unknown as { binding?: (name: string) => object }).binding;
  if (binding === undefined) return undefined;
  try {
    const all = { ...binding('tcp_wrap'), ...binding('stream_wrap') } as Partial<Internals>;
    const prototype = all.TCP?.prototype as Partial<Handle> | undefined;
    const complete =
      typeof all.TCPConnectWrap === 'function' &&
      typeof all.WriteWrap === 'function' &&
      typeof all.ShutdownWrap === 'function' &&
      all.streamBaseState !== undefined &&
      typeof all.kReadBytesOrError === 'number' &&
      typeof all.kLastWriteWasAsync === 'number' &&
      ['useUserBuffer', 'writeBuffer', 'readStart', 'readStop', 'reset', 'shutdown'].every(
        (name) => prototype !== undefined && name in prototype,
      );
    return complete ? (all as Internals) : undefined;
  } catch {
    return undefined;
  }
}

const internals = loadInternals();

/** Whether this Node has the internals that RawTcp needs. */
export const rawTcpAvailable = internals !== undefined;

function need(): Internals {
  if (internals === undefined) throw new Error('this Node has no raw TCP handles');
  return internals;
}

/** Streams with a large read buffer, looked at by `shrinkIdleBuffers`. */
const large = new Set<RawTcp>();

/** Gives connections that have not read since the last call their small buffer back. Call once a second or so. */
export function shrinkIdleBuffers(): void {
  for (const stream of large) stream.shrinkIfIdle();
}

/** A write request is used again unless the kernel kept it. */
let spareWrite: Request | undefined;

/** A TCP connection on Node's bare handle. */
export class RawTcp implements ByteStream {
  readonly reusesBuffers = true;
  private handle: Handle | undefined;
  private buffer: Uint8Array;
  private bufferSize = 0;
  private readSinceSweep = false;
  private reading = false;
  private started = false;
  /** The owner paused inside `onData`: it may still be writing from the buffer. */
  private lent = false;
  private ended = false;
  private endAsked = false;
  private shutDown = false;
  private writing = false;
  private queue: Uint8Array[] | undefined;
  private queuedBytes = 0;

  constructor(
    handle: Handle,
    public owner: StreamOwner,
  ) {
    this.handle = handle;
    this.buffer = takeBuffer(0);
    handle.portreeveStream = this;
    handle.setNoDelay(true);
  }

  get pendingBytes(): number {
    return this.queuedBytes + (this.writing ? (this.handle?.writeQueueSize ?? 0) : 0);
  }

  read(wanted: boolean): void {
    const { handle } = this;
    if (handle === undefined || this.ended || this.reading === wanted) return;
    this.reading = wanted;
    if (!wanted) {
      handle.readStop();
      return;
    }
    this.lent = false;
    if (!this.started) {
      this.started = true;
      handle.onread = onRead;
      handle.useUserBuffer(this.buffer);
    }
    const error = handle.readStart();
    if (error !== 0) this.fail(error);
  }

  write(bytes: Uint8Array): boolean {
    if (this.handle === undefined || this.endAsked) return true;
    if (!this.writing) return this.send(bytes);
    this.queue ??= [];
    this.queue.push(bytes);
    this.queuedBytes += bytes.length;
    return false;
  }

  end(): void {
    if (this.endAsked || this.handle === undefined) return;
    this.endAsked = true;
    if (!this.writing) this.shutdown();
  }

  reset(): void {
    const { handle } = this;
    if (handle === undefined) return;
    // The system refuses a reset behind a FIN (EINVAL); the close that follows discards just as well.
    if (!this.endAsked && handle.reset() === 0) this.forget();
    else this.destroy();
    this.owner.onClose(this, undefined);
  }

  destroy(): void {
    const { handle } = this;
    if (handle === undefined) return;
    handle.close();
    this.forget();
    this.owner.onClose(this, undefined);
  }

  addresses(): Addresses | undefined {
    const { handle } = this;
    if (handle === undefined) return undefined;
    const local: SocketName = {};
    const remote: SocketName = {};
    if (handle.getsockname(local) !== 0 || handle.getpeername(remote) !== 0) return undefined;
    return { local: endpoint(local), remote: endpoint(remote) };
  }

  /** Opens the connection; the owner hears `onConnect` or `onClose`. */
  connect(to: Endpoint): void {
    const { handle } = this;
    if (handle === undefined) return;
    const { TCPConnectWrap } = need();
    const request = new TCPConnectWrap();
    request.oncomplete = (status) => {
      if (this.handle === undefined) return;
      if (status !== 0) this.fail(status);
      else this.owner.onConnect(this);
    };
    const error = isIPv6(to.address)
      ? handle.connect6(request, to.address, to.port)
      : handle.connect(request, to.address, to.port);
    if (error !== 0) queueMicrotask(() => this.fail(error));
  }

  toSocket(): Socket {
    const { handle } = this;
    if (handle === undefined || this.writing) throw new Error('the connection is closed or busy');
    if (this.reading) handle.readStop();
    handle.portreeveBuffer = this.buffer;
    this.lent = true;
    this.forget();
    // Neither option is in the types: it is how Node itself makes sockets of handles.
    return new Socket({ handle, allowHalfOpen: true, manualStart: true } as object);
  }

  /** Called by the handle. Answers the buffer to read into next when that changes. */
  received(count: number): Uint8Array | undefined {
    if (count <= 0) {
      if (count === UV_EOF) this.peerEnded();
      else if (count < 0) this.fail(count);
      return undefined;
    }
    const { buffer } = this;
    this.readSinceSweep = true;
    this.owner.onData(this, count === buffer.length ? buffer : buffer.subarray(0, count));
    this.lent = !this.reading;
    // While reading goes on, nobody holds the bytes: a larger buffer may take over.
    if (this.lent || count < buffer.length || this.bufferSize === LARGEST) return undefined;
    return this.resizeBuffer(this.bufferSize + 1);
  }

  shrinkIfIdle(): void {
    if (this.readSinceSweep || !this.reading || this.handle === undefined) {
      this.readSinceSweep = false;
      return;
    }
    // Each call adds a small listener to the handle, which lives as long as the connection.
    this.handle.useUserBuffer(this.resizeBuffer(0));
  }

  private resizeBuffer(size: number): Uint8Array {
    giveBuffer(this.bufferSize, this.buffer);
    this.buffer = takeBuffer(size);
    this.bufferSize = size;
    if (size > 0) large.add(this);
    else large.delete(this);
    return this.buffer;
  }

  private send(bytes: Uint8Array): boolean {
    const { handle } = this;
    if (handle === undefined) return true;
    const { WriteWrap, streamBaseState, kLastWriteWasAsync } = need();
    const request = spareWrite ?? new WriteWrap();
    spareWrite = undefined;
    const error = handle.writeBuffer(request, bytes);
    if (error !== 0) {
      this.fail(error);
      return true;
    }
    if (streamBaseState[kLastWriteWasAsync] === 0) {
      spareWrite = request;
      return true;
    }
    this.writing = true;
    request.bytes = bytes;
    request.oncomplete = (status) => this.written(status);
    return false;
  }

  private written(status: number): void {
    if (this.handle === undefined) return;
    this.writing = false;
    if (status !== 0) {
      this.fail(status);
      return;
    }
    const next = this.takeQueue();
    if (next !== undefined && !this.send(next)) return;
    if (this.endAsked) this.shutdown();
    else this.owner.onDrain(this);
  }

  private takeQueue(): Uint8Array | undefined {
    const { queue } = this;
    if (queue === undefined || queue.length === 0) return undefined;
    this.queue = undefined;
    this.queuedBytes = 0;
    return queue.length === 1 ? queue[0] : Buffer.concat(queue);
  }

  private shutdown(): void {
    const { handle } = this;
    if (handle === undefined) return;
    const { ShutdownWrap } = need();
    const request = new ShutdownWrap();
    request.oncomplete = () => this.finished();
    // 1: done at once. An error means that the peer is gone; its close tells the rest.
    if (handle.shutdown(request) !== 0) this.finished();
  }

  private finished(): void {
    if (this.handle === undefined) return;
    this.shutDown = true;
    if (this.ended) this.destroy();
  }

  private peerEnded(): void {
    this.read(false);
    this.ended = true;
    this.owner.onEnd(this);
    if (this.shutDown) this.destroy();
  }

  private fail(status: number): void {
    const { handle } = this;
    if (handle === undefined) return;
    handle.close();
    this.forget();
    this.owner.onClose(this, errorName(status));
  }

  /** Lets go of the handle and of the memory; a buffer that may still be written from is not used again. */
  private forget(): void {
    const { handle } = this;
    if (handle === undefined) return;
    handle.portreeveStream = undefined;
    this.handle = undefined;
    this.reading = false;
    large.delete(this);
    this.queue = undefined;
    this.queuedBytes = 0;
    if (!this.lent) giveBuffer(this.bufferSize, this.buffer);
  }
}

function onRead(this: Handle): Uint8Array | undefined {
  const { streamBaseState, kReadBytesOrError } = need();
  return this.portreeveStream?.received(streamBaseState[kReadBytesOrError] ?? 0);
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

/** IPv4 clients of an IPv6 listener have IPv4 addresses. */
export function unmapped(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

/** Opens a connection, from a local address if one is given. */
export function connectRaw(to: Endpoint, owner: StreamOwner): RawTcp {
  const { TCP, constants } = need();
  const stream = new RawTcp(new TCP(constants.SOCKET), owner);
  stream.connect(to);
  return stream;
}

/**
 * Takes over the accepting of a listening server: connections arrive as raw streams instead of
 * `connection` events. False where that is not possible; nothing has changed then.
 */
export function acceptRaw(server: Server, accept: (handle: Handle) => void): boolean {
  const listening = (server as unknown as { _handle?: { onconnection?: unknown } })._handle;
  if (internals === undefined || typeof listening?.onconnection !== 'function') return false;
  listening.onconnection = (status: number, handle: Handle | undefined) => {
    if (status === 0 && handle !== undefined) accept(handle);
  };
  return true;
}

export type RawHandle = Handle;
