/** Bytes, or a string of one character a byte. */
export type Data = string | Uint8Array;

const LONGEST_QUOTE = 160;

/** @throws RangeError when a character is above 0xFF. */
export function toBytes(data: Data): Uint8Array {
  return typeof data === 'string' ? Buffer.from(toText(data), 'latin1') : data;
}

/** One character a byte. @throws RangeError when a character is above 0xFF. */
export function toText(data: Data): string {
  if (typeof data !== 'string') {
    return Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1');
  }
  if (/[^\0-\xff]/.test(data)) {
    throw new RangeError(`${quote(data)} has a character above 0xFF, which is no byte`);
  }
  return data;
}

/** Text as a string literal on one line; the middle of a long one is left out. */
export function quote(text: string): string {
  if (text.length <= LONGEST_QUOTE) return literal(text);
  const half = LONGEST_QUOTE / 2;
  const left = text.length - LONGEST_QUOTE;
  return `${literal(text.slice(0, half))} (${left} more) ${literal(text.slice(-half))}`;
}

function literal(text: string): string {
  return JSON.stringify(text).replace(/[\x7f-\xff]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16)}`;
  });
}
