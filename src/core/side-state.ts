import type { Reading } from './effects.ts';
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
  /** Started by the handlers that run now. */
  isNew: boolean;
}

/** The first bytes of a TLS record that carries a handshake (RFC 8446 5.1). */
export function looksLikeTls(bytes: Uint8Array): boolean {
  return bytes[0] === 0x16 && (bytes.length === 1 || bytes[1] === 0x03);
}

/** One side of a flow: its bytes on their way in, and where its connection and its TLS stand. */
export class SideState implements SideView {
  open = false;
  tls: TlsState = 'none';
  depth = 0;
  /** The rules were asked about the ClientHello. */
  helloSeen = false;
  /** The shell was told to take TLS off. */
  closingOrdered = false;
  /** Arrived, and not let go. */
  readonly payload = new Payload();
  collect: Collect | undefined;
  /** What the shell was told. */
  reading: Reading = 'off';
  /** FIN has come from the peer. */
  peerEnded = false;
  /** It came without the end of TLS before it. */
  truncated = false;
  /** The peer's FIN was passed on to the other side, or needs not be. */
  endPassed = false;
  /** FIN was ordered towards the peer. */
  endSent = false;
  /** What still arrives is of no interest. */
  discarding = false;
  closed = false;
  /** A rule has let bytes go. */
  released = false;

  /** Let go, but the other side cannot take it yet. */
  private readonly outbox = new Payload();
  /** Let go towards the TLS layer that is about to start on this side. */
  private readonly leftover = new Payload();

  constructor(readonly side: Side) {}

  /** Bytes held for rules, or for the TLS layer that is about to start. */
  get held(): number {
    return this.payload.length + this.leftover.length;
  }

  /** Bytes let go that the other side cannot take yet. */
  get output(): number {
    return this.outbox.length;
  }

  /** TLS is being put on or taken off: neither rules nor the other side see bytes of it. */
  get isChanging(): boolean {
    return this.tls === 'hello' || this.tls === 'handshake' || this.tls === 'closing';
  }

  /** Open, and nothing about it waits for anyone. */
  get isQuiet(): boolean {
    return (
      this.open &&
      this.collect === undefined &&
      !this.peerEnded &&
      !this.endSent &&
      this.output === 0 &&
      !this.discarding &&
      (this.tls === 'none' || this.tls === 'secured')
    );
  }

  /** Takes bytes from the peer. */
  receive(bytes: Uint8Array): void {
    if (this.discarding) return;
    this.payload.append(bytes);
    const { collect } = this;
    if (collect === undefined) this.release(this.payload.length);
    else if (collect.skip > 0) this.passSkipped(collect);
    else collect.due = 'changed';
  }

  /** Starts a collect; the last one wins. */
  startCollect(action: CollectAction): void {
    this.collect = { length: action.length, skip: action.skip ?? 0, due: 'no', isNew: true };
    // What is held while TLS is taken off came inside it, and is not for this collect.
    if (this.collect.skip > 0 && this.tls !== 'closing') this.passSkipped(this.collect);
  }

  private passSkipped(collect: Collect): void {
    const passed = Math.min(collect.skip, this.payload.length);
    this.release(passed);
    collect.skip -= passed;
    if (collect.skip === 0) collect.due = 'skipped';
  }

  /**
   * The handlers of an event are done. A collect that they started looks at what is held already,
   * if they took bytes off it; without that condition it could fire for ever.
   */
  handlersDone(heldBefore: number): void {
    const { collect } = this;
    if (collect === undefined || !collect.isNew) return;
    collect.isNew = false;
    const progress = this.payload.length < heldBefore;
    if (progress && collect.length !== undefined && collect.skip === 0) collect.due = 'changed';
  }

  /** Whether the data event is to fire. */
  isDue(): boolean {
    const { collect } = this;
    if (collect === undefined || collect.due === 'no') return false;
    return collect.due === 'skipped' || this.payload.length >= (collect.length ?? 1);
  }

  /** Lets held bytes go: to the other side, or into the TLS layer that is about to start. */
  release(length: number): void {
    if (length === 0) return;
    const bytes = this.payload.take(length);
    if (this.tls === 'pending') this.leftover.append(bytes);
    else this.outbox.append(bytes);
  }

  takeOutput(): Uint8Array {
    return this.outbox.take(this.outbox.length);
  }

  /** Everything received in plaintext that is neither released nor removed, when TLS starts. */
  takeLeftover(): Uint8Array {
    this.collect = undefined;
    this.release(this.payload.length);
    return this.leftover.take(this.leftover.length);
  }

  /** TLS will not start after all: what was let go towards it goes to the other side. */
  cancelTls(): void {
    this.tls = this.depth > 0 ? 'secured' : 'none';
    if (this.leftover.length > 0) this.outbox.append(this.leftover.take(this.leftover.length));
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
