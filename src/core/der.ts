/**
 * Reads DER (X.690): the parts of it that certificates, OCSP, PKCS#12 and TLS sessions need. What BER
 * allows beyond it is an error, as is everything else that is not in its one form. All errors are
 * RangeErrors.
 */

/** Identifier octets. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The identifier octet of `[number]`, constructed. @param number - 0 to 30 */
export function contextTag(number: number): number {
  return 0xa0 | number;
}

/** One element of a DER text. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  /** Identifier, length and content as they stand in the text. */
  readonly raw: Uint8Array;
}

/** Splits a run of elements. @throws RangeError when one of them is malformed */
export function readElements(bytes: Uint8Array): DerElement[] {
  const elements: DerElement[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const next = readElement(bytes.subarray(offset));
    elements.push(next);
    offset += next.raw.length;
  }
  return elements;
}

/** Reads the first element. @throws RangeError when it is not whole, or too long to be sensible */
export function readElement(bytes: Uint8Array): DerElement {
  const [tag, first] = bytes;
  if (tag === undefined || first === undefined) throw new RangeError('DER element is cut off');
  // The number of the tag would follow in octets of its own; nothing that is read has so many.
  if ((tag & 0x1f) === 0x1f) throw new RangeError('DER tag is not supported');
  const octets = first < 0x80 ? 0 : first & 0x7f;
  // Four octets of length would be a certificate of 16 MB and more; 0x80 alone is not DER.
  if (first === 0x80 || octets > 3) throw new RangeError('DER length is not supported');
  const start = 2 + octets;
  const length = octets === 0 ? first : bytes.subarray(2, start).reduce((n, b) => n * 256 + b, 0);
  if (start + length > bytes.length) throw new RangeError('DER element is cut off');
  const isShortest = octets === 0 || (length >= 0x80 && bytes[2] !== 0);
  if (!isShortest) throw new RangeError('DER length is longer than it need be');
  return {
    tag,
    content: bytes.subarray(start, start + length),
    raw: bytes.subarray(0, start + length),
  };
}

/**
 * Takes the elements of one content in turn. Strict: an element that is not the expected one is an
 * error, and so is, for {@link DerReader.end}, one that is left over.
 */
export class DerReader {
  private rest: Uint8Array;

  constructor(content: Uint8Array) {
    this.rest = content;
  }

  get isAtEnd(): boolean {
    return this.rest.length === 0;
  }

  /** The next element, if it has this identifier octet. @throws RangeError when it is malformed */
  takeIf(tag: number): DerElement | undefined {
    if (this.rest[0] !== tag) return undefined;
    const next = readElement(this.rest);
    this.rest = this.rest.subarray(next.raw.length);
    return next;
  }

  /** The next element. @throws RangeError when it has another identifier octet or is malformed */
  take(tag: number): DerElement {
    const next = this.takeIf(tag);
    if (next === undefined) {
      const found = this.rest[0] === undefined ? 'the end' : `tag ${this.rest[0]}`;
      throw new RangeError(`DER has ${found} instead of tag ${tag}`);
    }
    return next;
  }

  /** All that are left. @throws RangeError like {@link DerReader.take} */
  takeAll(tag: number): DerElement[] {
    const elements: DerElement[] = [];
    while (!this.isAtEnd) elements.push(this.take(tag));
    return elements;
  }

  /** A reader of what is in the next element. @throws RangeError like {@link DerReader.take} */
  inside(tag: number): DerReader {
    return new DerReader(this.take(tag).content);
  }

  /**
   * What `[number] EXPLICIT` wraps, if that is next.
   *
   * @throws RangeError when it is anything but one element with this identifier octet
   */
  takeExplicit(number: number, tag: number): DerElement | undefined {
    const next = this.takeIf(contextTag(number));
    return next && onlyElement(next.content, tag);
  }

  /** An INTEGER. @throws RangeError when it is not from 0 to 2^31 - 1 */
  takeNumber(): number {
    return readNumber(this.take(TAG.integer));
  }

  /** A BOOLEAN DEFAULT FALSE, also where it is FALSE all the same, as in many a certificate. */
  takeFlag(): boolean {
    const flag = this.takeIf(TAG.boolean);
    if (flag === undefined) return false;
    const [value, ...more] = flag.content;
    if (more.length > 0 || (value !== 0x00 && value !== 0xff)) {
      throw new RangeError('DER boolean is neither true nor false');
    }
    return value === 0xff;
  }

  /** An OBJECT IDENTIFIER in dotted numbers. @throws RangeError when it has over 64 octets */
  takeObjectIdentifier(): string {
    return dottedNumbers(this.take(TAG.objectIdentifier).content);
  }

  /** A BIT STRING that is made of whole octets. @throws RangeError when it is not */
  takeWholeBits(): Uint8Array {
    const { content } = this.take(TAG.bitString);
    if (content[0] !== 0) throw new RangeError('DER bit string has unused bits');
    return content.subarray(1);
  }

  /** @throws RangeError when something is left */
  end(): void {
    if (!this.isAtEnd) throw new RangeError('DER has more elements than it should');
  }
}

/** The element that is all of these bytes. @throws RangeError when they are anything else */
export function onlyElement(bytes: Uint8Array, tag: number): DerElement {
  const reader = new DerReader(bytes);
  const only = reader.take(tag);
  reader.end();
  return only;
}

/** An INTEGER. @throws RangeError when it is not from 0 to 2^31 - 1 */
export function readNumber({ content }: DerElement): number {
  const [first = 0x80, second] = content;
  const isShortest = first !== 0 || second === undefined || second >= 0x80;
  if (first >= 0x80 || content.length > 4 || !isShortest) {
    throw new RangeError('DER integer is not a number in bounds');
  }
  return content.reduce((number, octet) => number * 256 + octet, 0);
}

/**
 * A UTCTime or GeneralizedTime as milliseconds since the epoch.
 *
 * @throws RangeError when it is not in the one form that RFC 5280 allows (4.1.2.5): UTC, whole
 * seconds; or when calendar or clock have no such time
 */
export function readTime({ tag, content }: DerElement): number {
  const text = content.length > 15 ? '' : String.fromCharCode(...content);
  // Two digits are a year from 1950 to 2049.
  const century = text < '5' ? '20' : '19';
  const digits = tag === TAG.utcTime ? `${century}${text}` : text;
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(digits)?.slice(1).map(Number);
  const isTime = tag === TAG.utcTime || tag === TAG.generalizedTime;
  if (parts === undefined || !isTime) throw new RangeError('DER time is not one of RFC 5280');
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts;
  const before = daysUntil(year, month);
  const isDay = month >= 1 && month <= 12 && day >= 1 && before + day <= daysUntil(year, month + 1);
  if (!isDay || hour > 23 || minute > 59 || second > 59) {
    throw new RangeError('DER time does not exist');
  }
  return ((((before + day - 1) * 24 + hour) * 60 + minute) * 60 + second) * 1000;
}

/** Days from 1970 to the first of a month in the Gregorian calendar; month 13 is the next January. */
function daysUntil(year: number, month: number): number {
  // Years are taken to begin in March: then the leap day is their last one, and the days of the
  // months before it grow evenly, 153 in five months.
  const months = year * 12 + month - 3;
  const march = Math.floor(months / 12);
  const leapDays = Math.floor(march / 4) - Math.floor(march / 100) + Math.floor(march / 400);
  const since = Math.floor((153 * (months - march * 12) + 2) / 5);
  return march * 365 + leapDays + since - 719_468;
}

function dottedNumbers(content: Uint8Array): string {
  const ends = (content.at(-1) ?? 0x80) < 0x80;
  if (!ends || content.length > 64) throw new RangeError('DER object identifier is malformed');
  // Some arcs have 128 bits.
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const octet of content) {
    if (arc === 0n && octet === 0x80) throw new RangeError('DER object identifier is malformed');
    arc = arc * 128n + BigInt(octet & 0x7f);
    if (octet >= 0x80) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [first = 0n, ...others] = arcs;
  const root = first < 80n ? first / 40n : 2n;
  return [root, first - root * 40n, ...others].join('.');
}
