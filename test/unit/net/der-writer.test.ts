import { describe, expect, it } from 'vitest';
import { readElement } from '../../../src/core/der.ts';
import { objectIdentifier, octetString, time } from '../../../src/net/der-writer.ts';

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
