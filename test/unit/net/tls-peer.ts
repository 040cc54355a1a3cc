import { once } from 'node:events';
import { Duplex } from 'node:stream';
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  TLSSocket,
  type TLSSocketOptions,
} from 'node:tls';
import { createAuthority, issueCertificate } from '../../../src/net/certificate.ts';
import { NO_RENEGOTIATION } from '../../../src/net/server-tls.ts';
import type { ClientTls, ServerTls } from '../../../src/net/tls-start.ts';
import { Peer } from './peer.ts';

export const authority = createAuthority('Test');
const { certPem, keyPem } = issueCertificate({ authority, names: ['localhost'] });

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';
export const TLS_VERSIONS: readonly TlsVersion[] = ['TLSv1.2', 'TLSv1.3'];

/** TLS as a server, of both versions, with a certificate for localhost. */
export function serverTls(detachable = false): ServerTls {
  const context = createSecureContext({
    ...{ cert: certPem, key: keyPem },
    minVersion: 'TLSv1.2',
    secureOptions: NO_RENEGOTIATION,
    sessionIdContext: 'test',
  });
  const common = { role: 'server', context, alpn: [], detachable } as const;
  return { ...common, certificate: 'none', ocsp: undefined };
}

/** TLS as a client that wants localhost. */
export function clientTls(detachable = false): ClientTls {
  const context = createSecureContext({
    ca: authority.certPem,
    minVersion: 'TLSv1.2',
    secureOptions: NO_RENEGOTIATION,
  });
  const common = { role: 'client', context, alpn: [], detachable, verify: true } as const;
  return { ...common, serverName: 'localhost', session: undefined, onSession: () => {} };
}

export function clientOptions(version: TlsVersion): ConnectionOptions {
  const { certPem: ca } = authority;
  return { ca, servername: 'localhost', minVersion: version, maxVersion: version };
}

/** Gives back what a peer has received from there on: TLS may have come with what was before it. */
export function unread(peer: Peer, from: number): void {
  const { socket, received } = peer;
  socket.pause();
  socket.removeAllListeners('data');
  if (received.length > from) socket.unshift(received.bytes.subarray(from));
}

/** TLS as its client on a peer's connection; the peer itself must not be used any more. */
export function connectTls(
  peer: Peer,
  version: TlsVersion = 'TLSv1.3',
  options: ConnectionOptions = {},
): Peer {
  peer.socket.removeAllListeners('data');
  return new Peer(connect({ ...clientOptions(version), socket: peer.socket, ...options }));
}

export function serverOptions(version: TlsVersion): TLSSocketOptions {
  const versions = { minVersion: version, maxVersion: version };
  const secureContext = createSecureContext({ cert: certPem, key: keyPem, ...versions });
  return { isServer: true, secureContext };
}

/** The same as its server. */
export function acceptTls(
  peer: Peer,
  version: TlsVersion = 'TLSv1.3',
  options: TLSSocketOptions = {},
): Peer {
  peer.socket.removeAllListeners('data');
  return new Peer(new TLSSocket(peer.socket, { ...serverOptions(version), ...options }));
}

/** The socket below a peer's TLS, where the test decides when its bytes go out. */
export class Tap extends Duplex {
  /** What TLS sends is held until `letGo`. */
  holds = true;
  held = Buffer.alloc(0);
  readonly tls: TLSSocket;
  /** How many bytes have come. */
  arrived = 0;
  private readonly forwarding = {
    data: (bytes: Buffer) => {
      this.arrived += bytes.length;
      this.push(bytes);
    },
    end: () => this.push(null),
    close: () => this.destroy(),
  };

  constructor(
    readonly below: Peer,
    version: TlsVersion,
    role: 'client' | 'server' = 'client',
  ) {
    super({ allowHalfOpen: true });
    const { socket } = below;
    socket.removeAllListeners('data');
    for (const [event, listener] of Object.entries(this.forwarding)) socket.on(event, listener);
    socket.resume();
    this.tls =
      role === 'client'
        ? connect({ ...clientOptions(version), socket: this })
        : new TLSSocket(this, serverOptions(version));
    this.tls.on('error', () => {});
  }

  /** Sends `length` held bytes in one segment; all by default. */
  letGo(length: number = this.held.length): void {
    const bytes = this.held.subarray(0, length);
    this.held = this.held.subarray(bytes.length);
    if (bytes.length > 0) this.below.socket.write(bytes);
  }

  /** Holds nothing back any more. */
  flow(): void {
    this.holds = false;
    this.letGo();
  }

  /** Writes inside TLS, and waits until the records are here. */
  async send(...pieces: readonly Uint8Array[]): Promise<void> {
    const written = pieces.map((piece) => new Promise((resolve) => this.tls.write(piece, resolve)));
    await Promise.all(written);
  }

  /** Ends TLS: its close_notify is held, too. */
  async finish(): Promise<void> {
    const finished = once(this.tls, 'finish');
    this.tls.end();
    await finished;
  }

  /**
   * Leaves the connection as it is without TLS. What came behind the close_notify of the stream under
   * test is lost.
   */
  release(): Peer {
    const { socket } = this.below;
    for (const [event, listener] of Object.entries(this.forwarding)) socket.off(event, listener);
    this.tls.destroy();
    return new Peer(socket);
  }

  /** Sends close_notify, and what is held. */
  async closeNotify(): Promise<void> {
    this.holds = true;
    await this.finish();
    this.letGo();
  }

  /** The ClientHello, held. */
  async hello(): Promise<Buffer> {
    if (this.held.length === 0) await once(this, 'held');
    return this.held;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.held = Buffer.concat([this.held, chunk]);
    if (this.holds) this.emit('held');
    else this.letGo();
    done();
  }

  override _final(done: () => void): void {
    if (!this.holds) this.below.socket.end();
    done();
  }
}
