import type { ByteStream, StreamEnd, StreamOwner } from '../../../src/net/byte-stream.ts';
import { ByteLog } from './byte-log.ts';
import { Watched } from './watched.ts';

type Reactions = { [Name in keyof StreamOwner]?: (stream: ByteStream) => void };

/** A stream's owner that writes down what it hears, and does what a test says on the way. */
export class Recorder extends Watched implements StreamOwner {
  /** What happened, in order; data that came in several pieces stands there once. */
  readonly heard: string[] = [];
  /** What the contract forbids: anything behind the close. */
  readonly violations: string[] = [];
  readonly received = new ByteLog();
  drains = 0;
  closed = false;
  /** The end came without close_notify. */
  truncated = false;
  error: string | undefined;
  /** What lies below the TLS that was taken off last. */
  below: ByteStream | undefined;
  /** Gets each piece of data while it is valid; without it, `received` gets a copy. */
  take: ((bytes: Uint8Array, stream: ByteStream) => void) | undefined;

  constructor(private readonly reactions: Reactions = {}) {
    super();
  }

  get ended(): boolean {
    return this.heard.includes('end');
  }

  get secured(): boolean {
    return this.heard.includes('secure');
  }

  onConnect(stream: ByteStream): void {
    this.hear('connect', 'onConnect', stream);
  }

  onData(stream: ByteStream, bytes: Uint8Array): void {
    if (bytes.length === 0) this.violations.push('empty data');
    this.note('data');
    if (this.take !== undefined) this.take(bytes, stream);
    else this.received.append(bytes);
    this.react('onData', stream);
  }

  onEnd(stream: ByteStream, truncated: boolean): void {
    this.noteEnd(truncated);
    this.react('onEnd', stream);
  }

  onDrain(stream: ByteStream): void {
    this.drains += 1;
    this.hear('drain', 'onDrain', stream);
  }

  onSecure(stream: ByteStream): void {
    this.hear('secure', 'onSecure', stream);
  }

  onPlain(
    _stream: ByteStream,
    below: ByteStream,
    rest: Uint8Array,
    end: StreamEnd | undefined,
  ): void {
    this.note('plain');
    this.below = below;
    if (rest.length > 0) {
      this.note('data');
      this.received.append(rest);
    }
    if (end !== undefined) this.noteEnd(end.truncated);
    this.react('onPlain', below);
  }

  onClose(stream: ByteStream, error: string | undefined): void {
    this.note('close');
    this.error = error;
    this.closed = true;
    this.react('onClose', stream);
  }

  untilReceived(length: number): Promise<void> {
    return this.until(() => this.received.length >= length, `${length} bytes`);
  }

  untilClosed(): Promise<void> {
    return this.until(() => this.closed, 'the close');
  }

  /** How often that has happened. */
  count(what: string): number {
    return this.heard.filter((each) => each === what).length;
  }

  /** Waits until `count` handshakes are complete in all. */
  untilSecured(count = 1): Promise<void> {
    return this.until(() => this.count('secure') >= count, `handshake number ${count}`);
  }

  /** Waits until `count` layers of TLS have been taken off in all. */
  async untilPlain(count = 1): Promise<ByteStream> {
    await this.until(() => this.count('plain') >= count, `the end of TLS number ${count}`);
    if (this.below === undefined) throw new Error('there is nothing below');
    return this.below;
  }

  protected story(): string {
    return `heard ${this.heard.join(', ')} and ${this.received.length} bytes; ${this.error ?? 'no error'}`;
  }

  private noteEnd(truncated: boolean): void {
    const { heard } = this;
    if (heard.includes('end', heard.lastIndexOf('plain') + 1)) {
      this.violations.push('a second end');
    }
    this.truncated = truncated;
    this.note('end');
  }

  private hear(what: string, name: keyof StreamOwner, stream: ByteStream): void {
    this.note(what);
    this.react(name, stream);
  }

  private note(what: string): void {
    if (this.closed) this.violations.push(`${what} behind the close`);
    if (what !== 'data' || this.heard.at(-1) !== 'data') this.heard.push(what);
  }

  private react(name: keyof StreamOwner, stream: ByteStream): void {
    this.reactions[name]?.(stream);
    this.changed();
  }
}
