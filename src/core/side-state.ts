import { Payload } from './payload.ts';
import type { CollectAction } from './rule-actions.ts';
import type { SideView, TlsState } from './rule-run.ts';
import type { Side } from './types.ts';

/** A running `collect`. */
interface Collect {
  /** Undefined: every segment is due. */
  readonly length: number | undefined;
  /** Bytes still to pass before collecting begins. */
  skip: number;
  /** Why the data event may fire: bytes were skipped as asked, or the payload has changed. */
  due: 'no' | 'skipped' | 'changed';
}

const EMPTY = new Uint8Array(0);

/** The first bytes of a TLS record that carries a handshake (RFC 8446 5.1). */
export function looksLikeTls(bytes: Uint8Array): boolean {
  return bytes[0] === 0x16 && (bytes.length === 1 || bytes[1] === 0x03);
}

/** One side of a flow: its bytes on their way in, and where its connection and its TLS stand. */
export class SideState implements SideView {
  open = false;
  tls: TlsState = 'none';
  /** Arrived, and not let go. */
  readonly payload = new Payload();
  collect: Collect | undefined;
  /** The shell was told to read. */
  reading = false;
  /** FIN has come from the peer. */
  peerEnded = false;
  /** The peer's FIN was passed on to the other side, or needs not be. */
  endPassed = false;
  /** FIN was ordered towards the peer. */
  endSent = false;
  /** What still arrives is of no interest. */
  discarding = false;
  closed = false;

  /** Let go, but the other side cannot take it yet. */
  private readonly outbox = new Payload();
  /** Let go towards the TLS layer that is about to start on this side. */
  private readonly leftover = new Payload();

  constructor(readonly side: Side) {}

  /** Takes bytes from the peer. */
  receive(bytes: Uint8Array): void {
    if (this.discarding) return;
    this.payload.append(bytes);
    const { collect } = this;
    if (collect === undefined) {
      this.release(this.payload.length);
      return;
    }
    if (collect.skip > 0) {
      const passed = Math.min(collect.skip, this.payload.length);
      this.release(passed);
      collect.skip -= passed;
      collect.due = collect.skip === 0 ? 'skipped' : 'no';
    } else {
      collect.due = 'changed';
    }
  }

  /** Starts a collect; the last one wins. `progress`: the same handlers took bytes off the payload. */
  startCollect(action: CollectAction, progress: boolean): void {
    this.collect = {
      length: action.length,
      skip: action.skip ?? 0,
      due: progress && action.length !== undefined && action.skip === undefined ? 'changed' : 'no',
    };
  }

  /** Whether the data event is to fire. */
  isDue(): boolean {
    const { collect } = this;
    if (collect === undefined || collect.due === 'no') return false;
    return collect.due === 'skipped' || this.payload.length >= (collect.length ?? 1);
  }

  release(length: number): void {
    if (length === 0) return;
    const bytes = this.payload.take(length);
    if (this.tls === 'pending') this.leftover.append(bytes);
    else this.outbox.append(bytes);
  }

  /** Whether something waits for the other side. */
  get hasOutput(): boolean {
    return this.outbox.length > 0;
  }

  takeOutput(): Uint8Array {
    return this.outbox.take(this.outbox.length);
  }

  /** Everything received in plaintext that is neither released nor removed, when TLS starts. */
  takeLeftover(): Uint8Array {
    this.collect = undefined;
    this.release(this.payload.length);
    return this.leftover.length === 0 ? EMPTY : this.leftover.take(this.leftover.length);
  }

  /** Forgets everything held: the side is closing. */
  discard(): void {
    this.discarding = true;
    this.collect = undefined;
    this.payload.clear();
    this.outbox.clear();
    this.leftover.clear();
  }
}
