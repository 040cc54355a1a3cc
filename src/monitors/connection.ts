import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { quote } from '../core/text.ts';
import type { Endpoint } from '../core/types.ts';
import { checkCertificate, tlsOptions } from './certificate.ts';
import type { TlsRequirements } from './types.ts';

/** The most that a server may say to a probe, in bytes. */
const MOST_BYTES = 65_536;

const TIMED_OUT = 'timed out';
const CLOSED = 'the server closed the connection';

/**
 * Opens a connection, has a probe work with it, and ends it politely if that succeeds. Nothing is
 * left open in any case.
 *
 * @param signal - its abort is the deadline of all of it
 * @throws Error that tells what was waited for and what has come
 */
export async function withConnection(
  server: Endpoint,
  signal: AbortSignal,
  work: (connection: Connection) => Promise<void> | void,
): Promise<void> {
  signal.throwIfAborted();
  const connection = new Connection(server);
  const onAbort = () => connection.timeOut();
  signal.addEventListener('abort', onAbort);
  try {
    await connection.opened();
    await work(connection);
    await connection.end();
  } finally {
    signal.removeEventListener('abort', onAbort);
    connection.destroy();
  }
}

/**
 * The client's end of a probe. Text has one character a byte. Waits have no time-out of their own:
 * they end when the connection does.
 */
export class Connection {
  private socket: Socket;
  /** What has come and nobody has taken. */
  private held = '';
  /** Bytes that may still come. */
  private room = MOST_BYTES;
  /** Why nothing will come any more. */
  private problem: string | undefined;
  private isSecure = false;
  private wake: () => void = () => {};
  /** What must not be shown. */
  private readonly secrets: RegExp[] = [];
  private readonly onData = (chunk: Buffer) => this.take(chunk);
  private readonly onEnd = () => this.fail(CLOSED);

  constructor(private readonly server: Endpoint) {
    this.socket = connect({ host: server.address, port: server.port, noDelay: true });
    this.attach(this.socket);
  }

  /** This end's address. */
  get localAddress(): string {
    return this.socket.localAddress ?? '';
  }

  async opened(): Promise<void> {
    await this.wait('connection', () => this.socket.readyState === 'open' || undefined);
  }

  /** Sends text, one character a byte. */
  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** From now on this text, one character a byte, is not shown in messages. */
  hide(secret: string): void {
    if (secret === '') return;
    // A server may repeat it in capitals.
    this.secrets.push(new RegExp(secret.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'gi'));
  }

  /** What the server has said, for a message: bounded, harmless, and without secrets. */
  shown(text: string): string {
    return quote(this.secrets.reduce((rest, secret) => rest.replace(secret, '***'), text));
  }

  /**
   * The next line, without its end.
   *
   * @param what - it is, for messages
   */
  line(what: string): Promise<string> {
    return this.wait(what, () => {
      const end = this.held.indexOf('\n');
      if (end < 0) return undefined;
      const line = this.held.slice(0, end);
      this.held = this.held.slice(end + 1);
      return line.endsWith('\r') ? line.slice(0, -1) : line;
    });
  }

  /**
   * Waits until all that has come is enough.
   *
   * @param what - is waited for, for messages
   */
  async until(what: string, isEnough: (text: string) => boolean): Promise<void> {
    await this.wait(what, () => isEnough(this.held) || undefined);
  }

  /** Waits for a line, or for the end of the connection. */
  async lineOrEnd(what: string): Promise<void> {
    await this.wait(what, () => {
      const isOver = this.problem !== undefined && this.problem !== TIMED_OUT;
      return isOver || this.held.includes('\n') || undefined;
    });
  }

  /**
   * Starts TLS and looks at the server's certificate. What came before in plaintext and was not
   * taken is nothing that the server had to say: it could be somebody on the way, whose words would
   * count as said inside TLS.
   */
  async startTls(requirements: TlsRequirements): Promise<void> {
    if (this.held !== '') {
      throw new Error(`the server sent ${this.shown(this.held)} in plaintext where TLS begins`);
    }
    const tls = connectTls({ socket: this.letGo(), ...tlsOptions(this.server, requirements) });
    this.attach(tls);
    tls.once('secureConnect', () => {
      this.isSecure = true;
      this.wake();
    });
    await this.wait('TLS handshake', () => this.isSecure || undefined);
    checkCertificate(tls, this.server, requirements);
  }

  /**
   * Has somebody else use the socket, from now on until the end of the connection.
   *
   * @param what - is waited for, for messages
   */
  async lend<T>(what: string, use: (socket: Socket) => Promise<T>): Promise<T> {
    if (this.problem !== undefined) throw this.missing(what, this.problem);
    try {
      return await use(this.letGo());
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // Only those of Node.js have one.
      if (code === undefined) throw error;
      throw this.missing(what, this.problem ?? (code === 'ECONNRESET' ? CLOSED : message));
    }
  }

  /** Ends the connection with FIN, behind close_notify where there is TLS. */
  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.destroyed) resolve();
      else this.socket.end(() => resolve());
    });
  }

  /** Ends the connection with RST. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  destroy(): void {
    this.socket.destroy();
  }

  timeOut(): void {
    this.fail(TIMED_OUT);
    this.destroy();
  }

  private attach(socket: Socket): void {
    this.socket = socket;
    socket.on('data', this.onData);
    socket.on('end', this.onEnd);
    socket.on('close', this.onEnd);
    socket.once('connect', () => this.wake());
    socket.on('error', (error: SocketError) => this.fail(problemOf(error)));
  }

  /** Errors are still heard, also of what lies below TLS: nobody else would. */
  private letGo(): Socket {
    const { socket } = this;
    socket.off('data', this.onData);
    socket.off('end', this.onEnd);
    socket.off('close', this.onEnd);
    return socket;
  }

  private take(chunk: Buffer): void {
    this.held += chunk.toString('latin1', 0, this.room);
    this.room -= chunk.length;
    if (this.room < 0) {
      this.fail(`more than ${MOST_BYTES} bytes came`);
      this.destroy();
    }
    this.wake();
  }

  private fail(problem: string): void {
    this.problem ??= problem;
    this.wake();
  }

  private async wait<T>(what: string, look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.problem !== undefined) throw this.missing(what, this.problem);
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  private missing(what: string, problem: string): Error {
    const came = this.held === '' ? '' : `; ${this.shown(this.held)} came`;
    return new Error(`no ${what}: ${problem}${came}`);
  }
}

/** OpenSSL's errors have a reason, others of the system a code. */
type SocketError = NodeJS.ErrnoException & { readonly reason?: string };

function problemOf({ reason, code, message }: SocketError): string {
  return reason ?? code ?? message;
}
