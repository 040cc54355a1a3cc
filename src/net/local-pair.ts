import { Buffer } from 'node:buffer';
import type { Addresses } from '../core/types.ts';
import type { ByteStream, StreamEnd, StreamOwner } from './byte-stream.ts';
import { NOBODY } from './nobody.ts';
import { TlsLayer } from './tls-layer.ts';
import type { TlsStart } from './tls-start.ts';

/** Bytes that one end takes before the other has read them, like the system's buffers of a socket. */
const BUFFER = 256 * 1024;

/** On its way to one end. */
interface Chunk {
  readonly bytes: Uint8Array;
  /** Its memory is the writer's, who waits until it is delivered. */
  readonly lent: boolean;
}

/**
 * One end of a connection inside the process. What one end does reaches the other in a later turn of
 * the event loop: no owner is called from within a call of another, and two that answer each other
 * do not keep the process from everything else.
 */
class LocalStream implements ByteStream {
  owner: StreamOwner = NOBODY;
  // Bytes are copied once. To pass on the writer's own memory, it would have to be known when the
  // reader's owner has done with it, which TLS that starts meanwhile hides.
  readonly reusesBuffers = false;

  private peer: LocalStream | undefined;
  private inbox: Chunk[] = [];
  /** How many of `inbox` are delivered. */
  private delivered = 0;
  /** Bytes in `inbox` that are lent. */
  private lentBytes = 0;
  /** The others. */
  private bufferedBytes = 0;
  /** What comes behind `inbox`. */
  private inboxEnd: StreamEnd | undefined;
  private reading = false;
  private scheduled = false;
  /** A write waits for its drain. */
  private waiting = false;
  private ended = false;
  private endAsked = false;
  /** The peer has reset the connection. */
  private broken = false;
  private gone = false;

  constructor(private readonly ends: Addresses) {}

  join(peer: LocalStream): void {
    this.peer = peer;
  }

  get pendingBytes(): number {
    return this.gone ? 0 : (this.peer?.lentBytes ?? 0);
  }

  get tls(): undefined {
    return undefined;
  }

  addresses(): Addresses | undefined {
    return this.gone ? undefined : this.ends;
  }

  read(wanted: boolean): void {
    if (this.gone) return;
    this.reading = wanted;
    if (wanted) this.schedule();
  }

  write(bytes: Uint8Array): boolean {
    const { peer } = this;
    if (this.gone || this.endAsked || bytes.length === 0 || peer === undefined) return true;
    if (peer.gone) {
      // As a system does: it takes the bytes, and then hears that nobody wants them.
      this.broken = true;
      this.schedule();
      return true;
    }
    const taken = peer.take(bytes);
    if (!taken) this.waiting = true;
    return taken;
  }

  end(truncated: boolean): void {
    if (this.gone || this.endAsked) return;
    this.endAsked = true;
    this.peer?.takeEnd({ truncated });
    this.schedule();
  }

  reset(): void {
    if (this.gone) return;
    this.peer?.breakOff(true);
    this.close(undefined);
  }

  /** FIN for the peer, or RST where bytes of either end are lost by it. */
  destroy(): void {
    if (this.gone) return;
    const loses = this.inbox.length > this.delivered || this.pendingBytes > 0;
    if (loses) this.peer?.breakOff(false);
    else if (!this.endAsked) this.peer?.takeEnd({ truncated: false });
    this.close(undefined);
  }

  startTls(start: TlsStart, leftover: Uint8Array): ByteStream {
    return this.gone ? this : new TlsLayer(this, start, leftover);
  }

  stopTls(): void {
    throw new Error('there is no TLS on this stream');
  }

  // ---- from the peer ---------------------------------------------------------------------------

  /** False: the bytes must stay as they are. */
  private take(bytes: Uint8Array): boolean {
    const lent = this.lentBytes > 0 || this.bufferedBytes + bytes.length > BUFFER;
    this.inbox.push({ bytes: lent ? bytes : Buffer.from(bytes), lent });
    if (lent) this.lentBytes += bytes.length;
    else this.bufferedBytes += bytes.length;
    this.schedule();
    return !lent;
  }

  private takeEnd(end: StreamEnd): void {
    this.inboxEnd = end;
    this.schedule();
  }

  /** What is lent goes back to the writer, who is gone; the rest may still be read. */
  private breakOff(atOnce: boolean): void {
    const kept = atOnce ? [] : this.inbox.slice(this.delivered).filter(({ lent }) => !lent);
    this.inbox = kept;
    this.delivered = 0;
    this.lentBytes = 0;
    this.broken = true;
    this.schedule();
  }

  // ---- in a turn of its own --------------------------------------------------------------------

  private schedule(): void {
    if (this.scheduled || this.gone) return;
    this.scheduled = true;
    setImmediate(() => this.turn());
  }

  private turn(): void {
    this.scheduled = false;
    this.deliver();
    if (this.broken) this.close('ECONNRESET');
    else this.closeIfOver();
    this.peer?.drained();
  }

  private deliver(): void {
    while (this.reading && !this.gone) {
      const bytes = this.nextPiece();
      if (bytes === undefined) break;
      this.owner.onData(this, bytes);
    }
    const { inboxEnd } = this;
    if (!this.reading || this.gone || this.ended || inboxEnd === undefined) return;
    this.ended = true;
    this.owner.onEnd(this, inboxEnd.truncated);
  }

  /** At most `BUFFER` bytes, whatever was written at once. */
  private nextPiece(): Uint8Array | undefined {
    const chunk = this.inbox[this.delivered];
    if (chunk === undefined) return undefined;
    const { bytes, lent } = chunk;
    if (!lent) {
      this.bufferedBytes -= bytes.length;
      this.forgetFirst();
      return bytes;
    }
    const piece = Buffer.from(bytes.subarray(0, BUFFER));
    this.lentBytes -= piece.length;
    if (piece.length < bytes.length) {
      this.inbox[this.delivered] = { bytes: bytes.subarray(BUFFER), lent };
    } else {
      this.forgetFirst();
    }
    return piece;
  }

  /** `shift` would move all the others each time. */
  private forgetFirst(): void {
    this.delivered += 1;
    if (this.delivered * 2 < this.inbox.length) return;
    this.inbox = this.inbox.slice(this.delivered);
    this.delivered = 0;
  }

  private drained(): void {
    if (this.gone || this.broken || !this.waiting || this.pendingBytes > 0) return;
    this.waiting = false;
    this.owner.onDrain(this);
    this.closeIfOver();
  }

  private closeIfOver(): void {
    if (this.ended && this.endAsked && this.pendingBytes === 0) this.close(undefined);
  }

  private close(error: string | undefined): void {
    if (this.gone) return;
    this.gone = true;
    this.inbox = [];
    this.lentBytes = 0;
    this.owner.onClose(this, error);
  }
}

/**
 * Both ends of a connection inside the process, for a flow that goes on in another virtual server.
 * They are open: `onConnect` does not come. Their owners must be set before the turn of the event
 * loop ends; nothing is told before.
 *
 * @param a - what the first end says of its own address and of the other's
 */
export function localPair(a: Addresses, b: Addresses): [ByteStream, ByteStream] {
  const [first, second] = [new LocalStream(a), new LocalStream(b)];
  first.join(second);
  second.join(first);
  return [first, second];
}
