import type { Server } from 'node:net';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import type { SecureContext, TLSSocket } from 'node:tls';
import type { ChainLink } from './tls-session.ts';

/*
 * The one file that touches Node's internals: TCP and TLS handles without `net.Socket` and
 * `TLSSocket` on top. Those objects cost more than the kernel's own work for a short connection and
 * a third of a TLS handshake, and they cannot read accepted connections into a reused buffer.
 *
 * `internals` looks at the shape of everything used here and is undefined where some of it is
 * missing; `socket-stream.ts`, on the public API, serves then. `test/unit/net` holds both to the
 * same cases, so that a Node that changes something is noticed.
 */

/** What TCP and TLS handles have in common: libuv's stream as Node shows it. */
export interface StreamHandle {
  /** Called for each read; answers the buffer for the next one, or undefined to keep it. */
  onread: (this: StreamHandle) => Uint8Array | undefined;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: StreamRequest, bytes: Uint8Array): number;
  shutdown(request: StreamRequest): number;
  /** Ours: the stream on top of the handle. */
  portreeveStream?: ReadTarget | undefined;
  /** Ours: keeps memory alive that the handle knows by its address only. */
  portreeveBuffer?: Uint8Array;
}

/** Takes what a handle has read: a count of bytes, or a negative error number. */
export interface ReadTarget {
  received(count: number): Uint8Array | undefined;
}

export interface TcpHandle extends StreamHandle {
  close(callback?: () => void): void;
  reset(callback?: () => void): number;
  setNoDelay(on: boolean): number;
  bind(address: string, port: number): number;
  bind6(address: string, port: number, flags: number): number;
  connect(request: StreamRequest, address: string, port: number): number;
  connect6(request: StreamRequest, address: string, port: number): number;
  getsockname(out: SocketName): number;
  getpeername(out: SocketName): number;
}

export interface TlsHandle extends StreamHandle {
  /** Sends the ClientHello; for the client's role. */
  start(): void;
  setALPNProtocols(list: Uint8Array): void;
  setVerifyMode(request: boolean, reject: boolean): void;
  setOCSPResponse(response: Uint8Array): void;
  setServername(name: string): void;
  setSession(session: Uint8Array): void;
  enableSessionCallbacks(): void;
  onnewsession: (id: Uint8Array, session: Buffer) => void;
  getProtocol(): string | null;
  getCipher(): { readonly name: string } | undefined;
  getALPNNegotiatedProtocol(): string | false | undefined;
  isSessionReused(): boolean;
  getSession(): Uint8Array | undefined;
  getPeerCertificate(withIssuers: boolean): ChainLink | undefined;
  verifyError(): (Error & { code?: string }) | null | undefined;
  onhandshakedone: () => void;
  onhandshakestart: () => void;
  onerror: (error: Error & { code?: string }) => void;
  /** Feeds bytes that were read from below before. */
  receive(bytes: Uint8Array): void;
  destroySSL(): void;
}

export interface SocketName {
  address?: string;
  port?: number;
}

export interface StreamRequest {
  oncomplete: (status: number) => void;
  /** Ours: keeps the bytes alive while the kernel has not taken them. */
  bytes?: Uint8Array;
}

interface Internals {
  TCP: new (type: number) => TcpHandle;
  TCPConnectWrap: new () => StreamRequest;
  WriteWrap: new () => StreamRequest;
  ShutdownWrap: new () => StreamRequest;
  constants: { SOCKET: number };
  streamBaseState: Int32Array;
  kReadBytesOrError: number;
  kLastWriteWasAsync: number;
  TLSWrap: new () => TlsHandle;
  wrap(below: StreamHandle, context: object, isServer: boolean, writing: boolean): TlsHandle;
}

const STREAM_METHODS = ['useUserBuffer', 'readStart', 'readStop', 'writeBuffer', 'shutdown'];
const NAME_METHODS = ['getsockname', 'getpeername'];
const OPEN_METHODS = ['bind', 'bind6', 'connect', 'connect6'];
const TCP_METHODS = ['close', 'reset', 'setNoDelay', ...OPEN_METHODS, ...NAME_METHODS];
const TLS_METHODS = [
  ...['receive', 'destroySSL', 'start', 'enableSessionCallbacks', 'setALPNProtocols'],
  ...['setVerifyMode', 'setOCSPResponse', 'setServername', 'setSession', 'verifyError'],
  ...['getProtocol', 'getCipher', 'getALPNNegotiatedProtocol', 'isSessionReused'],
  ...['getSession', 'getPeerCertificate'],
];

function load(): Internals | undefined {
  // The variable is for the tests of the other way.
  const { binding } = process as unknown as { binding?: (name: string) => object };
  if (binding === undefined || process.env.PORTREEVE_PUBLIC_API_ONLY !== undefined)
    return undefined;
  try {
    const names = ['tcp_wrap', 'stream_wrap', 'tls_wrap'];
    const all = Object.assign({}, ...names.map((name) => binding(name))) as Partial<Internals>;
    const complete =
      has(all.TCP, [...STREAM_METHODS, ...TCP_METHODS]) &&
      has(all.TLSWrap, [...STREAM_METHODS, ...TLS_METHODS]) &&
      [all.TCPConnectWrap, all.WriteWrap, all.ShutdownWrap, all.wrap].every(
        (each) => typeof each === 'function',
      ) &&
      typeof all.streamBaseState?.[all.kReadBytesOrError ?? -1] === 'number' &&
      typeof all.streamBaseState[all.kLastWriteWasAsync ?? -1] === 'number' &&
      all.constants !== undefined;
    return complete ? (all as Internals) : undefined;
  } catch {
    return undefined;
  }
}

function has(type: { prototype: object } | undefined, methods: readonly string[]): boolean {
  return type !== undefined && methods.every((method) => method in type.prototype);
}

/** Undefined where this Node lacks some of them. */
export const internals: Internals | undefined = load();

/** @throws Error where they are missing; ask `internals` first. */
export function needInternals(): Internals {
  if (internals === undefined) throw new Error('this Node has no raw TCP handles');
  return internals;
}

const streamState = internals?.streamBaseState ?? new Int32Array(1);
const readResult = internals?.kReadBytesOrError ?? 0;
const lastWriteWasAsync = internals?.kLastWriteWasAsync ?? 0;

/** The `onread` of every handle. */
export function onRead(this: StreamHandle): Uint8Array | undefined {
  return this.portreeveStream?.received(streamState[readResult] ?? 0);
}

/** Whether the kernel has not taken all of the last write yet. */
export function wroteLater(): boolean {
  return streamState[lastWriteWasAsync] !== 0;
}

/** Puts TLS on a handle on which nothing is being written. */
export function wrapTls(
  below: StreamHandle,
  secureContext: SecureContext,
  isServer: boolean,
): TlsHandle {
  return needInternals().wrap(below, secureContext.context as object, isServer, false);
}

/**
 * Whether it was FIN that made TLS over a handle end, and not close_notify; to be asked when it has
 * just ended. A handle that still reads refuses to start reading.
 */
export function endedByFin(tcp: TcpHandle): boolean {
  return tcp.readStart() !== -constants.errno.EALREADY;
}

/** Whether the end has come to a stream, behind what it still holds. */
export function hasGotEnd(stream: Readable): boolean {
  const { _readableState: state } = stream as unknown as { _readableState?: { ended?: boolean } };
  return state?.ended === true;
}

/** What `TLSSocket` does not show without a `tls.Server`. */
type TlsSocketHandle = Pick<TlsHandle, 'verifyError' | 'setOCSPResponse'>;

/** @throws Error where Node has changed it: a peer must not count as verified then */
export function handleOf(socket: TLSSocket): TlsSocketHandle {
  const { _handle: handle } = socket as unknown as { _handle?: Partial<TlsSocketHandle> | null };
  if (handle?.verifyError === undefined || handle.setOCSPResponse === undefined) {
    throw new Error('this Node does not show what TLS sockets have verified');
  }
  return handle as TlsSocketHandle;
}

/**
 * Takes over the accepting of a listening server: connections arrive as handles instead of
 * `connection` events. False where that is not possible; nothing has changed then.
 */
export function acceptHandles(server: Server, accept: (handle: TcpHandle) => void): boolean {
  const listening = (server as unknown as { _handle?: { onconnection?: unknown } })._handle;
  if (internals === undefined || typeof listening?.onconnection !== 'function') return false;
  listening.onconnection = (status: number, handle: TcpHandle | undefined) => {
    if (status === 0 && handle !== undefined) accept(handle);
  };
  return true;
}
