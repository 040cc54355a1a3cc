/**
 * 32 bits of a text, evenly spread: FNV-1a over its UTF-16 units, then `mix`. Not for secrets: who
 * chooses the text can choose the result. Other seeds give other, unrelated results.
 */
export function hashText(text: string, seed = 0): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return mix(hash);
}

/** Spreads every bit of a number over 32 bits: the last step of MurmurHash3. */
export function mix(number: number): number {
  let bits = number ^ (number >>> 16);
  bits = Math.imul(bits, 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
