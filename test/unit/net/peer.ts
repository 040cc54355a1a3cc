import { connect, type Socket } from 'node:net';
import { ByteLog } from './byte-log.ts';
import { Watched } from './watched.ts';

/** The other end of a stream under test: an ordinary socket of Node, TCP or TLS. */
export class Peer extends Watched {
  readonly received = new ByteLog();
  ended = false;
  closed = false;
  error: string | undefined;

  constructor(readonly socket: Socket) {
    super();
    socket.on('data', (bytes: Buffer) => {
      this.received.append(bytes);
      this.changed();
    });
    socket.on('end', () => {
      this.ended = true;
      this.changed();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error ??= error.code ?? error.message;
      this.changed();
    });
    socket.on('close', () => {
      this.closed = true;
      this.changed();
    });
    for (const event of ['connect', 'secureConnect', 'drain']) {
      socket.on(event, () => this.changed());
    }
  }

  static connect(port: number, host = '127.0.0.1'): Peer {
    return new Peer(connect({ port, host, allowHalfOpen: true, noDelay: true }));
  }

  untilReceived(length: number): Promise<void> {
    return this.until(() => this.received.length >= length, `${length} bytes`);
  }

  untilEnded(): Promise<void> {
    return this.until(() => this.ended, 'FIN');
  }

  untilClosed(): Promise<void> {
    return this.until(() => this.closed, 'the close');
  }

  protected story(): string {
    const { ended, closed, error } = this;
    return `peer: ${this.received.length} bytes, ${JSON.stringify({ ended, closed, error })}`;
  }
}
