import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls, type SecureVersion, type TLSSocket } from 'node:tls';

/** The stream below a layer of TLS, so that TLS can be taken off without closing that. */
class Shim extends Duplex {
  constructor(private readonly below: Duplex) {
    super({ allowHalfOpen: true });
    below.on('data', this.forward);
    below.on('error', this.fail);
  }

  private readonly forward = (bytes: Buffer): void => {
    this.push(bytes);
  };

  private readonly fail = (error: Error): void => {
    this.destroy(error);
  };

  /** Leaves the stream below alone. */
  release(): void {
    this.below.off('data', this.forward);
    this.below.off('error', this.fail);
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.below.write(bytes, done);
  }
}

interface Layer {
  readonly shim: Shim;
  readonly tls: TLSSocket;
}

/** A client of Node that puts TLS on its connection, in any depth, and takes it off again. */
export class LayeredClient {
  private readonly layers: Layer[] = [];

  private constructor(
    private readonly socket: Socket,
    private readonly ca: string,
  ) {
    socket.setTimeout(20_000, () => socket.destroy(new Error('the server is silent')));
  }

  /** @param ca - PEM */
  static async connect(port: number, ca: string): Promise<LayeredClient> {
    const socket = connectTcp({ port, host: '127.0.0.1' });
    await once(socket, 'connect');
    return new LayeredClient(socket, ca);
  }

  private get top(): Duplex {
    return this.layers.at(-1)?.tls ?? this.socket;
  }

  /** Sends a line and answers the line that comes back. */
  async ask(line: string): Promise<string> {
    const { top } = this;
    let answer = '';
    const whole = new Promise<void>((resolve, reject) => {
      const finish = (error?: Error) => {
        top.off('data', take);
        top.off('error', finish);
        top.off('end', ended);
        if (error) reject(error);
        else resolve();
      };
      const ended = () =>
        finish(new Error(`the connection has ended behind ${answer.slice(-100)}`));
      const take = (bytes: Buffer) => {
        answer += bytes.toString('latin1');
        if (answer.endsWith('\n')) finish();
      };
      top.on('data', take);
      top.on('error', finish);
      top.on('end', ended);
    });
    top.write(line, 'latin1');
    await whole;
    return answer;
  }

  /** Starts TLS. Answers the version that was agreed on. */
  async secure(version: SecureVersion): Promise<string | null> {
    const shim = new Shim(this.top);
    const tls = connectTls({
      socket: shim,
      ca: this.ca,
      servername: 'localhost',
      minVersion: version,
      maxVersion: version,
    });
    await once(tls, 'secureConnect');
    this.layers.push({ shim, tls });
    return tls.getProtocol();
  }

  /** Takes the topmost layer off: the server has sent its close_notify, or will. */
  async unsecure(): Promise<void> {
    const layer = this.layers.pop();
    if (layer === undefined) throw new Error('there is no TLS');
    const { shim, tls } = layer;
    // The server's close_notify may have come with its answer.
    const ended = tls.readableEnded ? undefined : once(tls, 'end');
    tls.resume();
    await new Promise<void>((resolve) => tls.end(resolve));
    await ended;
    shim.release();
  }

  close(): void {
    this.socket.destroy();
  }
}
