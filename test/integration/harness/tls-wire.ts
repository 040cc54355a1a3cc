import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import type { Ending } from './line-client.ts';
import { OutputLog } from './output-log.ts';

/** How a client sends its part of a handshake. */
export interface HandshakeOptions extends ConnectionOptions {
  /** Sends the first flight behind this text, in one segment, and reads up to `goAhead` first. */
  readonly glued?: { readonly command: string; readonly goAhead: string };
  /** Sends every byte in a segment of its own. */
  readonly dripped?: boolean;
}

/** What TLS reads and writes in place of a socket. */
class Bytes extends Duplex {
  constructor(private readonly send: (chunk: Buffer) => void) {
    super();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.send(chunk);
    done();
  }
}

/** A client that decides over every byte and segment, in plaintext and inside TLS. */
export class TlsWire {
  private static readonly open = new Set<TlsWire>();

  /** What came before TLS. */
  readonly plain = new OutputLog();
  /** What came inside TLS. */
  readonly inside = new OutputLog();
  /** Settles when the connection is over. */
  readonly ended: Promise<Ending>;
  private read = 0;
  private bytes: Bytes | undefined;
  private tls: TLSSocket | undefined;

  private constructor(private readonly socket: Socket) {
    TlsWire.open.add(this);
    socket.on('data', (chunk: Buffer) => {
      if (this.bytes === undefined) this.plain.append(chunk);
      else this.bytes.push(chunk);
    });
    socket.on('error', () => undefined); // `ended` tells.
    this.ended = new Promise((resolve) => {
      socket.on('close', (hadError) => {
        TlsWire.open.delete(this);
        for (const log of [this.plain, this.inside]) log.end();
        this.bytes?.destroy();
        resolve(hadError ? 'reset' : 'end');
      });
    });
  }

  static async connect(port: number): Promise<TlsWire> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new TlsWire(socket);
  }

  /** Ends what a test has left open. */
  static destroyAll(): void {
    for (const wire of TlsWire.open) wire.socket.destroy();
  }

  /** Received in plaintext, and not yet asked for. */
  get unread(): string {
    return this.plain.slice(this.read);
  }

  /** The TLS session. */
  get session(): TLSSocket {
    if (this.tls === undefined) throw new Error('TLS has not begun');
    return this.tls;
  }

  /** In one segment. @param data - text has one character a byte */
  send(data: string | Buffer): void {
    this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
  }

  /** The same, and waits until the system has it, or the connection is over. */
  async write(data: Buffer): Promise<void> {
    await new Promise<void>((resolve) => {
      this.socket.write(data, () => resolve());
    });
  }

  /** What the server says next in plaintext, up to and with what is wanted. */
  async next(wanted: string | RegExp): Promise<string> {
    const text = await this.plain.waitFor(wanted, this.read);
    this.read += text.length;
    return text;
  }

  /**
   * Handshakes as `localhost`.
   * @throws Error when it fails, or the connection ends
   */
  async startTls(options: HandshakeOptions): Promise<void> {
    const { glued, dripped = false, ...tlsOptions } = options;
    let prefix = Buffer.from(glued?.command ?? '', 'latin1');
    const bytes = new Bytes((chunk) => {
      const whole = Buffer.concat([prefix, chunk]);
      prefix = Buffer.alloc(0);
      for (const piece of dripped ? whole : [whole]) {
        this.socket.write(typeof piece === 'number' ? Buffer.of(piece) : piece);
      }
    });
    const tls = connectTls({ servername: 'localhost', ...tlsOptions, socket: bytes });
    this.tls = tls;
    tls.on('data', (chunk: Buffer) => this.inside.append(chunk));
    const failed = new Promise<never>((_, reject) => {
      tls.on('error', reject);
      tls.on('close', () => reject(new Error('the connection ended in the handshake')));
    });
    failed.catch(() => undefined); // After the handshake, `ended` tells.
    const secured = once(tls, 'secureConnect');
    secured.catch(() => undefined);
    if (glued !== undefined) await this.next(glued.goAhead);
    const early = Buffer.from(this.unread, 'latin1');
    this.read += early.length;
    this.bytes = bytes;
    if (early.length > 0) bytes.push(early);
    if (this.socket.destroyed) bytes.destroy();
    await Promise.race([secured, failed]);
  }

  /** Sends `data` inside TLS and waits for the answer, from the first byte inside TLS on. */
  ask(data: string, wanted: string | RegExp): Promise<string> {
    this.session.write(data, 'latin1');
    return this.inside.waitFor(wanted);
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }
}

/** The records of a ClientHello, as a client with these options sends it. */
export async function clientHello(options: ConnectionOptions = {}): Promise<Buffer> {
  const { promise, take } = firstChunk();
  const tls = connectTls({ servername: 'localhost', ...options, socket: new Bytes(take) });
  tls.on('error', () => undefined);
  try {
    return await promise;
  } finally {
    tls.destroy();
  }
}

function firstChunk(): { promise: Promise<Buffer>; take: (chunk: Buffer) => void } {
  let take: (chunk: Buffer) => void = () => undefined;
  const promise = new Promise<Buffer>((resolve) => {
    take = resolve;
  });
  return { promise, take };
}
