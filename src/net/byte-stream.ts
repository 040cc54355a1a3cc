import type { TlsInfo } from '../core/rule-run.ts';
import type { Addresses } from '../core/types.ts';
import type { TlsStart } from './tls-start.ts';

/** The peer sends no more. */
export interface StreamEnd {
  /** TLS did not end before TCP did (RFC 8446, section 6.1). */
  readonly truncated: boolean;
}

/** Who gets what happens on a stream. Calls may come while another call into the stream runs. */
export interface StreamOwner {
  /** The connection that `connect` began is open. */
  onConnect(stream: ByteStream): void;
  /**
   * `bytes` are valid only during the call, or until a write of them has drained: the stream must
   * not be read before.
   */
  onData(stream: ByteStream, bytes: Uint8Array): void;
  /** The peer sends no more. `truncated` is that of `StreamEnd`. */
  onEnd(stream: ByteStream, truncated: boolean): void;
  /** Everything written has reached the kernel. Only after a `write` that answered false. */
  onDrain(stream: ByteStream): void;
  /** TLS is up. */
  onSecure(stream: ByteStream): void;
  /**
   * After `stopTls`: go on with the stream `below`, which is not read. `rest` was sent behind the end
   * of TLS. `end`: and nothing comes behind it, which is not told again.
   */
  onPlain(
    stream: ByteStream,
    below: ByteStream,
    rest: Uint8Array,
    end: StreamEnd | undefined,
  ): void;
  /** The connection is gone, or never came. Once, and nothing after it. */
  onClose(stream: ByteStream, error: string | undefined): void;
}

/** One connection as a stream of bytes: TCP, or TLS over it, or TLS inside TLS. */
export interface ByteStream {
  owner: StreamOwner;
  /** Whether bytes are wanted. A new stream is not read. */
  read(wanted: boolean): void;
  /**
   * Sends bytes. True: they are with the kernel, and their memory is free again. False: they must
   * stay as they are until `onDrain`; more may be written meanwhile.
   */
  write(bytes: Uint8Array): boolean;
  /** Bytes written that are not with the kernel yet. */
  readonly pendingBytes: number;
  /** The end, behind everything written: close_notify and FIN. `truncated`: FIN alone. */
  end(truncated: boolean): void;
  /** RST at once, where the system allows it. */
  reset(): void;
  /** Closes at once; what was not sent is lost. */
  destroy(): void;
  /** What `onData` hands over is read into again after the call: keep a copy. */
  readonly reusesBuffers: boolean;
  /**
   * Puts TLS on the connection, inside the TLS that is there already, and answers the stream to use
   * from now on. Only while nothing is pending. `leftover` is what was already read of the peer's
   * first record. The owner hears `onSecure` when the handshake is complete and the peer is who it
   * has to be, or `onClose`.
   */
  startTls(start: TlsStart, leftover: Uint8Array): ByteStream;
  /**
   * Ends the topmost layer of TLS, behind everything written, and the peer's too; the owner hears
   * `onPlain`, or `onClose`. @throws Error when it was not started as `detachable`
   */
  stopTls(): void;
  /** The topmost layer of TLS; undefined: none. */
  readonly tls: TlsInfo | undefined;
  /** Undefined once the connection is gone. */
  addresses(): Addresses | undefined;
}

/** IPv4 clients of an IPv6 listener have IPv4 addresses. */
export function unmapped(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
