import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  element,
  objectIdentifier,
  octetString,
  readElement,
  readElements,
  sequence,
  time,
} from '../../../src/net/der.ts';

describe('DER builders', () => {
  it.each([
    ['2.5.29.17', '0603551d11'],
    ['1.2.840.10045.4.3.2', '06082a8648ce3d040302'],
    ['1.3.6.1.5.5.7.3.1', '06082b06010505070301'],
    ['2.999.3', '0603883703'],
  ])('encodes the object identifier %s', (dotted, hex) => {
    expect(objectIdentifier(dotted).toString('hex')).toBe(hex);
  });

  it.each([
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [65_536, '0483010000'],
  ])('encodes a length of %i', (length, hex) => {
    expect(octetString(new Uint8Array(length)).toString('hex').slice(0, hex.length)).toBe(hex);
  });

  it('changes from UTCTime to GeneralizedTime in 2050', () => {
    const before = readElement(time(new Date('2049-12-31T23:59:59.999Z')));
    const after = readElement(time(new Date('2050-01-01T00:00:00Z')));
    expect([before.tag, Buffer.from(before.content).toString()]).toEqual([0x17, '491231235959Z']);
    expect([after.tag, Buffer.from(after.content).toString()]).toEqual([0x18, '20500101000000Z']);
  });
});

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

  it.each(['3080', '30840000000100', '30ff'])('refuses the length in %s', (hex) => {
    expect(() => readElement(Buffer.from(hex, 'hex'))).toThrow(RangeError);
  });

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
