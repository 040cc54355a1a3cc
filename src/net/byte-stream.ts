import type { SecureContext } from 'node:tls';
import type { Addresses } from '../core/types.ts';

/** Who gets what happens on a stream. Calls may come while another call into the stream runs. */
export interface StreamOwner {
  /** The connection that `connect` began is open. */
  onConnect(stream: ByteStream): void;
  /**
   * `bytes` are valid only during the call, or until a write of them has drained: the stream must
   * not be read before.
   */
  onData(stream: ByteStream, bytes: Uint8Array): void;
  /** FIN from the peer. */
  onEnd(stream: ByteStream): void;
  /** Everything written has reached the kernel. Only after a `write` that answered false. */
  onDrain(stream: ByteStream): void;
  /** TLS is up. */
  onSecure(stream: ByteStream): void;
  /** The connection is gone, or never came. Once, and nothing after it. */
  onClose(stream: ByteStream, error: string | undefined): void;
}

/** One connection as a stream of bytes: TCP, or TLS over it. */
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
  /** FIN, behind everything written. */
  end(): void;
  /** RST at once, where the system allows it. */
  reset(): void;
  /** Closes at once; what was not sent is lost. */
  destroy(): void;
  /** What `onData` hands over is read into again after the call: keep a copy. */
  readonly reusesBuffers: boolean;
  /**
   * Puts TLS on the connection, as its server, and answers the stream to use from now on. Only
   * while nothing is pending. `leftover` is what was already read of the client's first record. The
   * owner hears `onSecure` when the handshake is complete, or `onClose`.
   */
  acceptTls(secureContext: SecureContext, leftover: Uint8Array): ByteStream;
  /** Undefined once the connection is gone. */
  addresses(): Addresses | undefined;
}

/** IPv4 clients of an IPv6 listener have IPv4 addresses. */
export function unmapped(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
