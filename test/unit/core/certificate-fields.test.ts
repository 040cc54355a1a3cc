import { createPublicKey, X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { certificateFields, publicKeyBits } from '../../../src/core/certificate-fields.ts';
import { contextTag } from '../../../src/core/der.ts';
import { createAuthority, issueCertificate } from '../../../src/net/certificate.ts';
import {
  bitString,
  boolean,
  element,
  explicit,
  implicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
} from '../../../src/net/der-writer.ts';

const authority = new X509Certificate(createAuthority('Test').certPem);

describe('the fields of a certificate', () => {
  it('are what Node.js says of it', () => {
    const { certPem } = issueCertificate({
      authority: createAuthority('Other'),
      names: ['a.test'],
    });
    const certificate = new X509Certificate(certPem);
    const fields = certificateFields(certificate.raw);
    expect(fields.version).toBe(3);
    expect(fields.signatureAlgorithm).toBe('1.2.840.10045.4.3.2');
    expect(Buffer.from(fields.serial).toString('hex').slice(4).toUpperCase()).toBe(
      certificate.serialNumber,
    );
    expect(Buffer.from(fields.subject).includes('a.test')).toBe(true);
    expect(Buffer.from(fields.issuer).includes('Other')).toBe(true);
    const key = Buffer.from(fields.publicKey);
    expect(
      createPublicKey({ key, format: 'der', type: 'spki' }).equals(certificate.publicKey),
    ).toBe(true);
    expect(publicKeyBits(key)).toHaveLength(65);
    expect(fields.extensions.map(({ id, critical }) => `${id} ${critical}`)).toEqual([
      '2.5.29.19 true',
      '2.5.29.15 true',
      '2.5.29.37 false',
      '2.5.29.17 false',
      '2.5.29.14 false',
      '2.5.29.35 false',
    ]);
  });

  it('are refused wherever the certificate is cut off, or goes on', () => {
    for (let cut = 0; cut < authority.raw.length; cut++) {
      expect(() => certificateFields(authority.raw.subarray(0, cut))).toThrow(RangeError);
    }
    const longer = Buffer.concat([authority.raw, Buffer.from([0])]);
    expect(() => certificateFields(longer)).toThrow(RangeError);
  });
});

describe('an odd certificate', () => {
  const none = Buffer.alloc(0);
  const version = explicit(0, integer(Buffer.from([2])));
  const algorithm = sequence(objectIdentifier('1.2.3'));
  const key = sequence(algorithm, bitString(Buffer.from([7])));
  const extension = (...flag: Buffer[]) =>
    sequence(objectIdentifier('1.2.4'), ...flag, octetString(none));

  function read(odd: { version?: Buffer; behindKey?: Buffer; end?: Buffer }) {
    const { behindKey = none, end = none } = odd;
    const front = [odd.version ?? version, integer(Buffer.from([1])), algorithm];
    const tbs = sequence(...front, sequence(), sequence(), sequence(), key, behindKey);
    return certificateFields(sequence(tbs, algorithm, bitString(none), end));
  }

  it('has no version, or no extensions', () => {
    expect(read({ version: none }).version).toBe(1);
    expect(read({})).toMatchObject({ version: 3, extensions: [] });
    expect([...publicKeyBits(read({}).publicKey)]).toEqual([7]);
  });

  it('has unique identifiers, and says what is the default', () => {
    const ids = [implicit(1, Buffer.from([0])), implicit(2, Buffer.from([0]))];
    const extensions = explicit(3, sequence(extension(boolean(false)), extension(boolean(true))));
    const fields = read({ behindKey: Buffer.concat([...ids, extensions]) });
    expect(fields.extensions.map(({ critical }) => critical)).toEqual([false, true]);
  });

  it.each<[string, Parameters<typeof read>[0]]>([
    ['two versions', { version: element(contextTag(0), version, version) }],
    ['a negative version', { version: explicit(0, integer(Buffer.from([0xff]))) }],
    ['something behind the key', { behindKey: boolean(true) }],
    ['something behind the extensions', { behindKey: explicit(3, sequence(), sequence()) }],
    ['an extension without a value', { behindKey: explicit(3, sequence(sequence())) }],
    ['more in an extension', { behindKey: explicit(3, sequence(extension(none, algorithm))) }],
    ['something behind the signature', { end: algorithm }],
  ])('is refused: %s', (_, odd) => {
    expect(() => read(odd)).toThrow(RangeError);
  });
});
