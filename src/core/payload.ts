import type { ReplaceAction } from './rule-actions.ts';

const EMPTY = new Uint8Array(0);

/**
 * The bytes of one side that have arrived and not gone on. A single chunk is held as it came; only
 * when more arrive are they copied together, into room that doubles, so that many small segments
 * cost linear time.
 */
export class Payload {
  private store: Uint8Array = EMPTY;
  private start = 0;
  private end = 0;
  /** True when `store` was made here: only then may its spare room be written to. */
  private owned = false;

  get length(): number {
    return this.end - this.start;
  }

  /** A view of the held bytes, valid until the payload changes. */
  bytes(): Uint8Array {
    if (this.start === 0 && this.end === this.store.length) return this.store;
    return this.store.subarray(this.start, this.end);
  }

  append(chunk: Uint8Array): void {
    if (this.length === 0) {
      this.store = chunk;
      this.owned = false;
      this.start = 0;
      this.end = chunk.length;
      return;
    }
    const needed = this.length + chunk.length;
    if (this.end + chunk.length > this.store.length || !this.owned) this.grow(needed);
    this.store.set(chunk, this.end);
    this.end += chunk.length;
  }

  /** Removes and returns the first `length` bytes (fewer if fewer are held). */
  take(length: number): Uint8Array {
    if (length >= this.length) {
      const all = this.bytes();
      this.clear();
      return all;
    }
    const taken = this.store.subarray(this.start, this.start + length);
    this.start += length;
    return taken;
  }

  replace(edit: Pick<ReplaceAction, 'offset' | 'length' | 'data'>): void {
    if (edit.offset === 0 && edit.length >= this.length) {
      this.clear();
      this.append(edit.data);
      return;
    }
    const held = this.bytes();
    const from = Math.min(edit.offset, held.length);
    const to = Math.min(from + edit.length, held.length);
    const next = new Uint8Array(from + edit.data.length + held.length - to);
    next.set(held.subarray(0, from), 0);
    next.set(edit.data, from);
    next.set(held.subarray(to), from + edit.data.length);
    this.store = next;
    this.owned = true;
    this.start = 0;
    this.end = next.length;
  }

  clear(): void {
    this.store = EMPTY;
    this.owned = false;
    this.start = 0;
    this.end = 0;
  }

  clone(): Payload {
    const copy = new Payload();
    copy.append(this.bytes());
    return copy;
  }

  private grow(needed: number): void {
    const store = new Uint8Array(Math.max(needed * 2, 256));
    store.set(this.bytes(), 0);
    this.end -= this.start;
    this.start = 0;
    this.store = store;
    this.owned = true;
  }
}
