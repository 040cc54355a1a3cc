import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { createAuthority, issueCertificate } from '../../../src/net/certificate.ts';
import type { SecureContextSettings } from '../../../src/net/secure-context.ts';
import { Peer } from './peer.ts';

const authority = createAuthority('Test');
const { certPem, keyPem } = issueCertificate({ authority, names: ['localhost'] });

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';
export const TLS_VERSIONS: readonly TlsVersion[] = ['TLSv1.2', 'TLSv1.3'];

/** A server's settings for both versions, with a certificate for localhost. */
export function tlsSettings(): SecureContextSettings {
  const pem = { cert: certPem, key: keyPem };
  return { pem, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' };
}

function clientOptions(version: TlsVersion): ConnectionOptions {
  const { certPem: ca } = authority;
  return { ca, servername: 'localhost', minVersion: version, maxVersion: version };
}

/** TLS as its client on a peer's connection; the peer itself must not be used any more. */
export function connectTls(peer: Peer, version: TlsVersion = 'TLSv1.3'): Peer {
  peer.socket.removeAllListeners('data');
  return new Peer(connect({ ...clientOptions(version), socket: peer.socket }));
}

/** The socket below a TLS client, where the test decides when the client's bytes go out. */
export class Tap extends Duplex {
  /** What the client sends is held until `letGo`. */
  holds = true;
  held = Buffer.alloc(0);
  readonly client: TLSSocket;

  constructor(
    private readonly below: Peer,
    version: TlsVersion,
  ) {
    super({ allowHalfOpen: true });
    below.socket.removeAllListeners('data');
    below.socket.on('data', (bytes) => this.push(bytes));
    below.socket.on('end', () => this.push(null));
    below.socket.on('close', () => this.destroy());
    this.client = connect({ ...clientOptions(version), socket: this });
    this.client.on('error', () => {});
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

  /** Writes as the client, and waits until the records are here. */
  async send(...pieces: readonly Uint8Array[]): Promise<void> {
    const written = pieces.map(
      (piece) => new Promise((resolve) => this.client.write(piece, resolve)),
    );
    await Promise.all(written);
  }

  /** Ends as the client: its close_notify is held, too. */
  async finish(): Promise<void> {
    const finished = once(this.client, 'finish');
    this.client.end();
    await finished;
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
