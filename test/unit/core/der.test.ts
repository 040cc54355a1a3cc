import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  contextTag,
  DerReader,
  onlyElement,
  readElement,
  readElements,
  readTime,
  TAG,
} from '../../../src/core/der.ts';
import {
  bitString,
  boolean,
  element,
  explicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
} from '../../../src/net/der-writer.ts';

describe('DER reader', () => {
  it('reads back what was built', () => {
    const strings = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 });
    fc.assert(
      fc.property(strings, (contents) => {
        const text = sequence(...contents.map((content) => octetString(content)));
        const inner = readElements(readElement(text).content);
        expect(inner.map(({ tag }) => tag)).toEqual(contents.map(() => 0x04));
        expect(inner.map(({ content }) => Buffer.from(content).toString('hex'))).toEqual(
          contents.map((content) => Buffer.from(content).toString('hex')),
        );
      }),
    );
  });

  it('refuses every cut of an element', () => {
    const text = element(0x30, new Uint8Array(200));
    for (let cut = 0; cut < text.length; cut++) {
      expect(() => readElement(text.subarray(0, cut))).toThrow(RangeError);
    }
  });

  it.each(['3080', '30840000000100', '30ff', '30810100', '3082000100', '1f8100', 'bf2000'])(
    'refuses what begins like %s',
    (hex) => {
      expect(() => readElement(Buffer.from(hex, 'hex'))).toThrow(RangeError);
    },
  );

  it('ends on any bytes, with elements or with a RangeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          const total = readElements(bytes).reduce((sum, { raw }) => sum + raw.length, 0);
          expect(total).toBe(bytes.length);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});

describe('DerReader', () => {
  it('takes elements in turn, and what is optional if it is there', () => {
    const reader = new DerReader(
      sequence(boolean(true), octetString(Buffer.from('x')), explicit(1, boolean(false))),
    ).inside(TAG.sequence);
    expect(reader.takeIf(TAG.integer)).toBeUndefined();
    expect([...reader.take(TAG.boolean).content]).toEqual([0xff]);
    expect(reader.takeExplicit(0, TAG.boolean)).toBeUndefined();
    expect([...reader.take(TAG.octetString).raw]).toEqual([0x04, 1, 0x78]);
    expect(reader.isAtEnd).toBe(false);
    expect([...(reader.takeExplicit(1, TAG.boolean)?.content ?? [])]).toEqual([0]);
    expect(reader.isAtEnd).toBe(true);
    expect(() => reader.end()).not.toThrow();
  });

  it('refuses what is not expected, missing, left over or cut off', () => {
    const reader = new DerReader(boolean(true));
    expect(() => reader.take(TAG.integer)).toThrow(
      new RangeError('DER has tag 1 instead of tag 2'),
    );
    expect(() => reader.end()).toThrow(RangeError);
    reader.take(TAG.boolean);
    expect(() => reader.take(TAG.integer)).toThrow(
      new RangeError('DER has the end instead of tag 2'),
    );
    expect(() => new DerReader(Buffer.from([0x30, 1])).takeIf(TAG.sequence)).toThrow(RangeError);
  });

  it('takes from an explicit tag one element and no more', () => {
    for (const items of [[], [boolean(true), boolean(true)], [octetString(Buffer.alloc(1))]]) {
      const reader = new DerReader(explicit(0, ...items));
      expect(() => reader.takeExplicit(0, TAG.boolean)).toThrow(RangeError);
    }
  });

  it('reads bytes that are one element and no more', () => {
    const one = boolean(true);
    expect([...onlyElement(one, TAG.boolean).content]).toEqual([0xff]);
    expect(() => onlyElement(Buffer.concat([one, one]), TAG.boolean)).toThrow(RangeError);
    expect(() => onlyElement(new Uint8Array(), TAG.boolean)).toThrow(RangeError);
  });
});

describe('what DerReader takes of a type', () => {
  const reader = (hex: string) => new DerReader(Buffer.from(hex, 'hex'));

  it.each([
    ['020100', 0],
    ['02017f', 127],
    ['02020080', 128],
    ['02047fffffff', 2 ** 31 - 1],
  ])('the integer %s', (hex, number) => {
    expect(reader(hex).takeNumber()).toBe(number);
    expect(new DerReader(integer(Buffer.from(hex.slice(4), 'hex'))).takeNumber()).toBe(number);
  });

  it.each(['0200', '0201ff', '02020001', '02050080000000', '020500ffffffff', '0a0100'])(
    'no integer in %s',
    (hex) => {
      expect(() => reader(hex).takeNumber()).toThrow(RangeError);
    },
  );

  it('flags, which are false where they are absent', () => {
    expect(new DerReader(boolean(true)).takeFlag()).toBe(true);
    expect(new DerReader(boolean(false)).takeFlag()).toBe(false);
    const other = new DerReader(octetString(Buffer.alloc(0)));
    expect(other.takeFlag()).toBe(false);
    expect(other.isAtEnd).toBe(false);
    for (const hex of ['0100', '010101', '0102ffff']) {
      expect(() => reader(hex).takeFlag(), hex).toThrow(RangeError);
    }
  });

  it('bits that fill octets', () => {
    const key = Buffer.from([1, 2]);
    expect([...new DerReader(bitString(key)).takeWholeBits()]).toEqual([1, 2]);
    expect(() => new DerReader(bitString(key, 1)).takeWholeBits()).toThrow(RangeError);
    expect(() => reader('0300').takeWholeBits()).toThrow(RangeError);
  });

  it('object identifiers', () => {
    const arc = fc.bigInt({ min: 0n, max: 2n ** 53n - 1n });
    const roots = fc.constantFrom('0.0', '0.39', '1.2', '1.39', '2.5', '2.40', '2.999');
    fc.assert(
      fc.property(roots, fc.array(arc, { maxLength: 6 }), (root, arcs) => {
        const dotted = [root, ...arcs].join('.');
        expect(new DerReader(objectIdentifier(dotted)).takeObjectIdentifier()).toBe(dotted);
      }),
    );
    // Such as those that are made of a UUID.
    const wide = reader('061369' + '8284d4c2a5c0d1b6f7e3818ea0d9c4b2a105');
    expect(wide.takeObjectIdentifier()).toMatch(/^2\.25\.\d{36,}$/);
  });

  it.each(['0600', '060180', '06022a86', '06022a80', '06032a8001', `0641${'01'.repeat(65)}`])(
    'no object identifier in %s',
    (hex) => {
      expect(() => reader(hex).takeObjectIdentifier()).toThrow(RangeError);
    },
  );

  it('all elements that are left, if they are of one type', () => {
    const flags = Buffer.concat([boolean(true), boolean(false)]);
    expect(new DerReader(flags).takeAll(TAG.boolean).map(({ content }) => content[0])).toEqual([
      0xff, 0,
    ]);
    expect(new DerReader(Buffer.alloc(0)).takeAll(TAG.boolean)).toEqual([]);
    const mixed = Buffer.concat([flags, octetString(flags)]);
    expect(() => new DerReader(mixed).takeAll(TAG.boolean)).toThrow(RangeError);
  });

  it('never anything else, whatever the bytes, than a value or a RangeError', () => {
    const tag = fc.constantFrom(...Object.values(TAG), contextTag(0));
    fc.assert(
      fc.property(tag, fc.uint8Array({ maxLength: 20 }), (first, content) => {
        const text = element(first, content);
        const takes: (() => unknown)[] = [
          () => new DerReader(text).takeNumber(),
          () => new DerReader(text).takeFlag(),
          () => new DerReader(text).takeObjectIdentifier(),
          () => new DerReader(text).takeWholeBits(),
          () => new DerReader(text).takeExplicit(0, TAG.integer),
          () => readTime(onlyElement(text, first)),
        ];
        for (const take of takes) {
          try {
            take();
          } catch (error) {
            expect(error).toBeInstanceOf(RangeError);
          }
        }
      }),
    );
  });
});

describe('readTime', () => {
  const read = (text: string, tag: number = TAG.generalizedTime) =>
    readTime(onlyElement(element(tag, Buffer.from(text, 'latin1')), tag));
  const digitsOf = (iso: string) => `${iso.replace(/[-:T]|\..*/g, '')}Z`;

  it.each([
    '1970-01-01T00:00:00.000Z',
    '2024-02-29T23:59:59.000Z',
    '2000-02-29T00:00:00.000Z',
    '9999-12-31T23:59:59.000Z',
    '0000-01-01T00:00:00.000Z',
  ])('reads %s', (iso) => {
    expect(read(digitsOf(iso))).toBe(Date.parse(iso));
  });

  it('agrees with Date on every day', () => {
    const date = fc.date({
      min: new Date('0000-01-01T00:00:00Z'),
      max: new Date('9999-12-31T23:59:59Z'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(date, (some) => {
        expect(read(digitsOf(some.toISOString()))).toBe(Math.floor(some.getTime() / 1000) * 1000);
      }),
      { numRuns: 1000 },
    );
  });

  it('agrees with Date on which days there are', () => {
    for (const year of ['1900', '2000', '2023', '2024']) {
      for (let month = 0; month <= 13; month++) {
        for (const day of [0, 1, 28, 29, 30, 31, 32]) {
          const [mm, dd] = [month, day].map((number) => String(number).padStart(2, '0'));
          const iso = `${year}-${mm}-${dd}T00:00:00.000Z`;
          const time = Date.parse(iso);
          if (!Number.isNaN(time) && new Date(time).toISOString() === iso) {
            expect(read(digitsOf(iso)), iso).toBe(time);
          } else {
            expect(() => read(digitsOf(iso)), iso).toThrow('does not exist');
          }
        }
      }
    }
  });

  it.each([
    ['491231235959Z', '2049-12-31T23:59:59Z'],
    ['500101000000Z', '1950-01-01T00:00:00Z'],
    ['000229000000Z', '2000-02-29T00:00:00Z'],
  ])('reads the two digits of a year: %s', (text, iso) => {
    expect(read(text, TAG.utcTime)).toBe(Date.parse(iso));
  });

  it.each([
    '',
    '20240101000000',
    '240101000000Z',
    '20240101000000.5Z',
    '20240101000000+0100',
    '202401010000Z',
    '20230229000000Z',
    '20230101240000Z',
    '20230101006000Z',
    '20230101000060Z',
    '20230101000000Z\n',
    '-0230101000000Z',
  ])('refuses %j', (text) => {
    expect(() => read(text)).toThrow(RangeError);
  });

  it('refuses one form under the tag of the other, and other types', () => {
    expect(() => read('20240101000000Z', TAG.utcTime)).toThrow(RangeError);
    expect(() => read('2401010000Z', TAG.utcTime)).toThrow(RangeError);
    expect(() => read('20240101000000Z', TAG.octetString)).toThrow(RangeError);
  });
});
