import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { ByteStream } from './byte-stream.ts';

const HEADER = 5;
/** What RFC 8446, section 5.2, and RFC 5246, section 6.2.3, let a record hold at most. */
const LONGEST_RECORD = HEADER + 2 ** 14 + 2048;

const NOTHING: Uint8Array = new Uint8Array(0);

/**
 * The stream that a TLS socket believes to be its connection. Towards one that may be detached it
 * hands out a record at a time, because what follows the record with close_notify is no TLS any
 * more, and OpenSSL would swallow it.
 */
export class TlsTap extends Duplex {
  /** TLS is being taken off: the connection below stays. */
  detaching = false;
  /** Our close_notify has left. */
  ownDone = false;

  /** Not handed out yet: a record, and what came with it. */
  private rest: Uint8Array = NOTHING;
  /** The TLS socket has taken all that was handed out, and reads on. */
  private wanted = false;
  private scheduled = false;
  private belowEnded = false;
  /** The peer's close_notify has come, or plaintext in its place. */
  private peerDone = false;
  private bare = false;
  private drainCallback: (() => void) | undefined;

  constructor(
    private readonly below: ByteStream,
    private readonly detachable: boolean,
    /** Whether the TLS socket has found close_notify, even if nobody has read as far as that. */
    private readonly isOver: () => boolean,
    /** Both ends have said close_notify. */
    private readonly detached: () => void,
  ) {
    // Nothing waits here but in `rest`. The TLS socket on top decides when it is done with.
    super({ allowHalfOpen: true, autoDestroy: false, readableHighWaterMark: 0 });
  }

  /** Takes what the peer has sent. */
  receive(bytes: Uint8Array): void {
    if (!this.detachable) {
      if (!this.push(bytes)) this.below.read(false);
      return;
    }
    this.rest = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    if (this.rest.length > LONGEST_RECORD) this.below.read(false);
    this.handOut();
  }

  /** FIN from the peer. */
  ended(): void {
    this.belowEnded = true;
    if (this.detachable) this.handOut();
    else this.endHere();
  }

  drained(): void {
    if (this.below.pendingBytes > 0) return;
    const callback = this.drainCallback;
    this.drainCallback = undefined;
    callback?.();
  }

  detach(): void {
    this.detaching = true;
  }

  /** The peer has ended TLS, too, while it is being taken off. */
  peerClosed(): void {
    this.peerDone = true;
    this.finishDetaching();
  }

  takeRest(): Uint8Array {
    const { rest } = this;
    this.rest = NOTHING;
    return rest;
  }

  /** Ends the connection below without close_notify, behind what the TLS socket has to send. */
  endBare(socket: TLSSocket): void {
    this.bare = true;
    socket.write(NOTHING, () => this.below.end(true));
  }

  private handOut(): void {
    if (!this.wanted || this.scheduled || this.destroyed) return;
    if (this.peerDone || this.isOver()) return;
    const length = recordLength(this.rest);
    // A peer may go on in plaintext without a close_notify of its own.
    if (length === undefined && this.detaching) this.peerClosed();
    else if (length === undefined) this.handOutFirst(this.rest.length);
    else if (length > 0 && length <= this.rest.length) this.handOutFirst(length);
    else if (this.belowEnded) this.endHere();
    else this.below.read(true);
  }

  private handOutFirst(length: number): void {
    const record = this.rest.subarray(0, length);
    this.rest = this.rest.subarray(length);
    this.wanted = false;
    this.scheduled = true;
    this.push(record);
    // By then the TLS socket has told if it was the last one.
    setImmediate(() => {
      this.scheduled = false;
      this.handOut();
    });
  }

  /** Nothing comes any more; half a record is neither TLS nor plaintext. */
  private endHere(): void {
    this.rest = NOTHING;
    this.push(null);
  }

  private finishDetaching(): void {
    if (this.peerDone && this.ownDone) this.detached();
  }

  override _read(): void {
    this.wanted = true;
    if (this.detachable) this.handOut();
    else this.below.read(true);
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.below.write(chunk)) done();
    else this.drainCallback = done;
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'buffer', done);
  }

  /** Our close_notify has left: writes end when they have drained. */
  override _final(done: (error?: Error | null) => void): void {
    this.ownDone = true;
    if (!this.detaching && !this.bare) this.below.end(false);
    done();
    if (this.detaching) this.finishDetaching();
  }
}

/** The length of the record that begins here; 0: too little is there; undefined: none does. */
function recordLength(bytes: Uint8Array): number | undefined {
  const [type, major] = bytes;
  if (type === undefined) return 0;
  if (type < 20 || type > 24 || (major !== undefined && major !== 3)) return undefined;
  if (bytes.length < HEADER) return 0;
  const length = HEADER + (bytes[3] ?? 0) * 256 + (bytes[4] ?? 0);
  return length > LONGEST_RECORD ? undefined : length;
}
