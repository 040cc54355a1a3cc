import type { GuestMemory } from './guest-memory.ts';

/**
 * QuickJS's serialized form, as far as it is needed: strings and bytes go in by it, which is the
 * fastest way there is and safe for every character, and ropes come out by it. The guest only ever
 * reads what was written here, never what a rule made.
 */

const VERSION = 5;
const STRING = 7;
const TYPED_ARRAY = 14;
const ARRAY_BUFFER = 15;
const UINT8 = 2;
/** The largest length of a buffer that cannot grow: -1, none. */
const NO_MAXIMUM = [0xff, 0xff, 0xff, 0xff, 0x0f];

/** More than what stands before the data ever takes. */
export const SERIAL_HEAD = 24;

const WIDE_CHARACTER = /[^\0-\xff]/;

/** True when a text has characters above 0xFF, so that each takes two bytes. */
export function isWide(text: string): boolean {
  return WIDE_CHARACTER.test(text);
}

export function writeText(memory: GuestMemory, at: number, text: string, wide: boolean): void {
  const head = writeBytes(memory, at, [VERSION, 0, STRING]);
  const start = writeLength(memory, head, text.length * 2 + (wide ? 1 : 0));
  memory.heap.write(text, start, wide ? 'utf16le' : 'latin1');
}

/** A string of one character for each byte. */
export function writeBinary(memory: GuestMemory, at: number, bytes: Uint8Array): void {
  // Every payload that a rule reads comes this way: no array, no loop.
  const { heap } = memory;
  heap[at] = VERSION;
  heap[at + 1] = 0;
  heap[at + 2] = STRING;
  heap.set(bytes, writeLength(memory, at + 3, bytes.length * 2));
}

export function writeUint8Array(memory: GuestMemory, at: number, bytes: Uint8Array): void {
  let to = writeBytes(memory, at, [VERSION, 0, TYPED_ARRAY, UINT8]);
  to = writeLength(memory, to, bytes.length);
  // It begins at offset 0 of its buffer.
  to = writeBytes(memory, to, [0, ARRAY_BUFFER]);
  to = writeLength(memory, to, bytes.length);
  memory.heap.set(bytes, writeBytes(memory, to, NO_MAXIMUM));
}

/** The text of a serialized string. @throws GuestFault when it reaches outside the memory. */
export function readText(memory: GuestMemory, at: number): string {
  let start = at + 3;
  let head = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = memory.heap[start++] ?? 0;
    head += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  return memory.text(start, Math.floor(head / 2), head % 2 === 1);
}

function writeBytes(memory: GuestMemory, at: number, bytes: readonly number[]): number {
  let to = at;
  for (const byte of bytes) memory.heap[to++] = byte;
  return to;
}

/** Seven bits a byte, the lowest first. */
function writeLength(memory: GuestMemory, at: number, length: number): number {
  let to = at;
  let rest = length;
  while (rest > 0x7f) {
    memory.heap[to++] = (rest % 0x80) + 0x80;
    rest = Math.floor(rest / 0x80);
  }
  memory.heap[to] = rest;
  return to + 1;
}
