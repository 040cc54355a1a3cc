import { contextTag, TAG } from '../core/der.ts';

/** Writes DER (X.690): builders that return whole elements. */

/** One element with the identifier octet as it stands; contents are joined. */
export function element(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const length = contents.reduce((sum, content) => sum + content.length, 0);
  return Buffer.concat([Buffer.from([tag, ...lengthOctets(length)]), ...contents]);
}

function lengthOctets(length: number): readonly number[] {
  if (length < 0x80) return [length];
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return [0x80 | octets.length, ...octets];
}

export function sequence(...items: readonly Uint8Array[]): Buffer {
  return element(TAG.sequence, ...items);
}

export function set(...items: readonly Uint8Array[]): Buffer {
  return element(TAG.set, ...items);
}

/** `[number] EXPLICIT`, constructed. */
export function explicit(number: number, ...items: readonly Uint8Array[]): Buffer {
  return element(contextTag(number), ...items);
}

/** `[number] IMPLICIT` over a primitive type. */
export function implicit(number: number, content: Uint8Array): Buffer {
  return element(0x80 | number, content);
}

export function boolean(value: boolean): Buffer {
  return element(TAG.boolean, Buffer.from([value ? 0xff : 0x00]));
}

/** `bytes`: big endian, two's complement, without superfluous leading octets. */
export function integer(bytes: Uint8Array): Buffer {
  return element(TAG.integer, bytes);
}

export function octetString(bytes: Uint8Array): Buffer {
  return element(TAG.octetString, bytes);
}

/** `unusedBits`: how many of the low bits of the last octet do not count. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return element(TAG.bitString, Buffer.from([unusedBits]), bytes);
}

export function utf8String(text: string): Buffer {
  return element(TAG.utf8String, Buffer.from(text, 'utf8'));
}

/** `dotted`: such as `2.5.29.17`. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...others] = dotted.split('.').map(Number);
  const octets: number[] = [];
  for (const arc of [first * 40 + second, ...others]) {
    const group = [arc % 128];
    for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) {
      group.unshift(0x80 | (rest % 128));
    }
    octets.push(...group);
  }
  return element(TAG.objectIdentifier, Buffer.from(octets));
}

/** A time in whole seconds: UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280, 4.1.2.5). */
export function time(date: Date): Buffer {
  const digits = `${date.toISOString().replace(/[-:T]|\..*/g, '')}Z`;
  return date.getUTCFullYear() < 2050
    ? element(TAG.utcTime, Buffer.from(digits.slice(2)))
    : element(TAG.generalizedTime, Buffer.from(digits));
}
