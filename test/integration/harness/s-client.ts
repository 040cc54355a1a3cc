import { RunningProcess } from './process.ts';

/** What `openssl s_client` is to do. It connects to `localhost` and verifies the certificate. */
export interface SClientTask {
  readonly port: number;
  /** The file of the certificate to trust. */
  readonly ca: string;
  /** The protocol, by OpenSSL's name for it. Without it TLS begins with the first byte. */
  readonly starttls?: string;
  /** The host that the client names in XMPP. */
  readonly host?: string;
}

/** A session in which the test types what `openssl s_client` sends, byte for byte, inside TLS. */
export class SClient {
  private readonly client: RunningProcess;
  private read = 0;

  constructor({ port, ca, starttls, host }: SClientTask) {
    this.client = new RunningProcess('openssl', [
      // Else lines that begin with Q or R would be commands to s_client itself.
      ...['s_client', '-quiet', '-connect', `localhost:${port}`],
      ...['-CAfile', ca, '-verify_return_error', '-verify_hostname', 'localhost'],
      ...(starttls === undefined ? [] : ['-starttls', starttls]),
      ...(host === undefined ? [] : ['-name', host]),
    ]);
  }

  /** @param data - text has one character a byte */
  send(data: string | Buffer): void {
    this.client.stdin?.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
  }

  /** What the server says next, up to and with what is wanted. */
  async next(wanted: string | RegExp): Promise<string> {
    try {
      const text = await this.client.stdout.waitFor(wanted, this.read);
      this.read += text.length;
      return text;
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.client.transcript()}`);
    }
  }

  /** Sends `data` and waits for the answer. */
  ask(data: string | Buffer, wanted: string | RegExp): Promise<string> {
    this.send(data);
    return this.next(wanted);
  }

  /** The next bytes from the server: 1 to 65535 of them. */
  async bytes(count: number): Promise<Buffer> {
    return Buffer.from(await this.next(new RegExp(`^.{${count}}`, 's')), 'latin1');
  }

  /** What s_client says of the certificate once the handshake is done. */
  verified(): Promise<string> {
    return this.client.stderr.waitFor('verify return:1');
  }

  /** The exit code; 0 when TLS was up and the server has ended the session. */
  get ended(): Promise<number | NodeJS.Signals> {
    return this.client.ended;
  }

  /** Ends the session where it is. */
  stop(): Promise<unknown> {
    return this.client.stop();
  }
}
