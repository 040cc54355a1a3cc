// Imported: the global is a getter, which hot paths would call each time.
import { Buffer } from 'node:buffer';
import type { QuickJs } from './quickjs-wasm.ts';

/**
 * The guest is out of memory (`memory`), or did what a sound guest cannot (`sandbox`). It never
 * crosses the guest's frames: callbacks keep it until the guest has returned.
 */
export class GuestFault extends Error {
  constructor(
    readonly reason: 'memory' | 'sandbox',
    message: string,
  ) {
    super(message);
    this.name = 'GuestFault';
  }
}

/**
 * One guest's memory. What the guest says of itself (addresses, lengths) is checked against its
 * bounds, so that a forged pointer reaches nothing outside.
 */
export class GuestMemory {
  /** The whole memory. Replaced when it grows. */
  heap: Buffer;
  private words: Int32Array;
  private seen: Uint8Array;

  constructor(private readonly quickJs: QuickJs) {
    this.seen = quickJs.HEAPU8;
    this.heap = Buffer.from(this.seen.buffer);
    this.words = new Int32Array(this.seen.buffer);
  }

  /** To be called after every call into the guest: it may have made the memory grow. */
  sync(): void {
    if (this.seen === this.quickJs.HEAPU8) return;
    this.seen = this.quickJs.HEAPU8;
    this.heap = Buffer.from(this.seen.buffer);
    this.words = new Int32Array(this.seen.buffer);
  }

  /** The signed word at a multiple of four. @throws GuestFault outside the memory. */
  int(at: number): number {
    const word = this.words[at >>> 2];
    if (word === undefined) throw wildPointer();
    return word;
  }

  /** The unsigned word at a multiple of four. @throws GuestFault outside the memory. */
  word(at: number): number {
    return this.int(at) >>> 0;
  }

  setWord(at: number, word: number): void {
    this.words[at >>> 2] = word;
  }

  /** @throws GuestFault when the guest has no room. */
  allocate(bytes: number): number {
    const at = this.quickJs._malloc(bytes);
    this.sync();
    if (at === 0) throw new GuestFault('memory', 'out of memory');
    return at;
  }

  free(at: number): void {
    this.quickJs._free(at);
  }

  /** Writes a C string into newly allocated memory. */
  cString(text: string): number {
    const length = Buffer.byteLength(text);
    const at = this.allocate(length + 1);
    this.heap.write(text, at, 'utf8');
    this.heap[at + length] = 0;
    return at;
  }

  /** A copy of bytes. @throws GuestFault outside the memory. */
  copy(at: number, bytes: number): Uint8Array {
    this.check(at, bytes);
    const copy = Buffer.allocUnsafe(bytes);
    this.heap.copy(copy, 0, at, at + bytes);
    return copy;
  }

  /** Characters of one or (`wide`) two bytes as text. @throws GuestFault outside the memory. */
  text(at: number, length: number, wide: boolean): string {
    const bytes = wide ? length * 2 : length;
    this.check(at, bytes);
    return this.heap.toString(wide ? 'utf16le' : 'latin1', at, at + bytes);
  }

  private check(at: number, bytes: number): void {
    if (at + bytes > this.heap.length) throw wildPointer();
  }
}

function wildPointer(): GuestFault {
  return new GuestFault('sandbox', 'the guest holds a wild pointer');
}
