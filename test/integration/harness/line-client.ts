import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { OutputLog } from './output-log.ts';

/** How a connection came to its end: the peer's FIN, or anything rougher. */
export type Ending = 'end' | 'reset';

/**
 * A connection of a protocol of lines, such as POP3, whose every byte the test decides: for what
 * real clients never do.
 */
export class LineClient {
  private static readonly open = new Set<LineClient>();

  readonly received = new OutputLog();
  /** Settles when the connection is over. */
  readonly ended: Promise<Ending>;
  private read = 0;
  private settle: (ending: Ending) => void = () => undefined;

  private constructor(
    private readonly raw: Socket,
    private socket: Socket = raw,
  ) {
    this.ended = new Promise((resolve) => {
      this.settle = resolve;
    });
    this.listen();
    LineClient.open.add(this);
    raw.on('close', (hadError) => {
      LineClient.open.delete(this);
      this.received.end();
      this.settle(hadError ? 'reset' : 'end');
    });
  }

  /** @throws what the system says when nobody accepts the connection */
  static async connect(port: number, address = '127.0.0.1'): Promise<LineClient> {
    const socket = connect(port, address);
    await once(socket, 'connect');
    return new LineClient(socket);
  }

  /** Ends what a test has left open. */
  static destroyAll(): void {
    for (const client of LineClient.open) client.destroy();
  }

  /** Connects, reads the greeting, and begins TLS by STLS. */
  static async connectWithStls(port: number, ca: string): Promise<LineClient> {
    const client = await LineClient.connect(port);
    await client.reply();
    await client.ask('STLS');
    await client.startTls(ca);
    return client;
  }

  /** Handshakes at once; verifies the certificate against `ca`, in PEM. */
  async startTls(ca: string): Promise<void> {
    this.raw.removeAllListeners('data');
    this.socket = connectTls({ socket: this.raw, ca, servername: 'localhost' });
    this.listen();
    await once(this.socket, 'secureConnect');
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** The next line from the server, without its line end. */
  async reply(): Promise<string> {
    return (await this.next('\r\n')).slice(0, -2);
  }

  /** Sends a command and waits for its one-line reply. */
  ask(command: string): Promise<string> {
    this.send(`${command}\r\n`);
    return this.reply();
  }

  /** Sends a command and waits for the lines of its reply, with the dot that ends them. */
  async askForLines(command: string): Promise<string> {
    const status = await this.ask(command);
    if (!status.startsWith('+OK')) throw new Error(`${command}: ${status}`);
    return this.lines();
  }

  /** The lines that follow a status line, with the dot that ends them. */
  async lines(): Promise<string> {
    this.read -= 2; // There may be none but the dot.
    return (await this.next('\r\n.\r\n')).slice(2);
  }

  /** Received, and not yet asked for. */
  get unread(): string {
    return this.received.slice(this.read);
  }

  reset(): void {
    this.raw.resetAndDestroy();
  }

  destroy(): void {
    this.raw.destroy();
  }

  private async next(end: string): Promise<string> {
    const text = await this.received.waitFor(end, this.read);
    this.read += text.length;
    return text;
  }

  private listen(): void {
    this.socket.on('data', (chunk: Buffer) => this.received.append(chunk));
    this.socket.on('error', () => undefined); // `ended` tells.
  }
}
