import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TAG } from '../../../src/core/der.ts';
import {
  bitString,
  element,
  explicit,
  implicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
} from '../../../src/net/der-writer.ts';
import { CERT_ID_HASHES, certIdRest } from '../../../src/net/ocsp-certificate.ts';
import { readOcspResponse } from '../../../src/net/ocsp-response.ts';
import { type Issued, type Leaf, OcspLab } from './ocsp-lab.ts';

/** Responses that no sound responder makes, each with a valid signature of the issuer. */

const NOW = Date.UTC(2030, 0, 2);
const VALID = [time('20300101000000Z'), explicit(0, time('20300103000000Z'))];
const GOOD = implicit(0, Buffer.alloc(0));
const ECDSA = objectIdentifier('1.2.840.10045.4.3.2');
const RSA = objectIdentifier('1.2.840.113549.1.1.11');

let lab: OcspLab;
let authority: Issued;
let key: KeyObject;
let leaf: Leaf;

beforeAll(async () => {
  lab = await OcspLab.open();
  authority = await lab.authority('Authority');
  key = createPrivateKey(await readFile(lab.file(`${authority.name}.key`)));
  leaf = await lab.leaf(authority, 1);
});
afterAll(() => lab.close());

function time(text: string): Buffer {
  return element(TAG.generalizedTime, Buffer.from(text));
}

function certId(of: Leaf = leaf): Buffer {
  return sequence(sequence(CERT_ID_HASHES.sha1), certIdRest(of.certificate, of.issuer, 'sha1'));
}

interface Odd {
  readonly version?: Buffer;
  readonly responder?: Buffer;
  readonly producedAt?: string;
  readonly singles?: readonly Buffer[];
  readonly dataEnd?: Buffer;
  readonly algorithm?: Buffer;
  readonly unusedBits?: number;
  readonly end?: Buffer;
  readonly wrapEnd?: Buffer;
}

function read(odd: Odd) {
  const none = Buffer.alloc(0);
  const keyHash = certIdRest(leaf.certificate, leaf.issuer, 'sha1').subarray(22, 44);
  const { responder = explicit(2, keyHash), producedAt = '20300101000000Z' } = odd;
  const { version = none, dataEnd = none, end = none, wrapEnd = none } = odd;
  const { singles = [sequence(certId(), GOOD, ...VALID)] } = odd;
  const list = sequence(...singles);
  const data = sequence(version, responder, time(producedAt), list, dataEnd);
  const signature = bitString(sign('sha256', data, key), odd.unusedBits);
  const basic = sequence(data, sequence(odd.algorithm ?? ECDSA), signature, end);
  const type = objectIdentifier('1.3.6.1.5.5.7.48.1.1');
  const bytes = explicit(0, sequence(type, octetString(basic), wrapEnd));
  const der = sequence(element(TAG.enumerated, Buffer.from([0])), bytes);
  return readOcspResponse(der, leaf.certificate, leaf.issuer, NOW);
}

function single(...parts: readonly Buffer[]): Odd {
  return { singles: [sequence(certId(), ...parts)] };
}

const revoked = (...parts: readonly Buffer[]) => element(0xa1, ...parts);
const REASON = explicit(0, element(TAG.enumerated, Buffer.from([1])));
const EXTENSIONS = explicit(1, sequence());
const EXTRA = element(TAG.null);

describe('a signed response', () => {
  it.each<[string, () => Odd, string]>([
    ['as it should be', () => ({}), 'good'],
    ['with its version', () => ({ version: explicit(0, integer(Buffer.from([0]))) }), 'good'],
    [
      'with extensions',
      () => ({ ...single(GOOD, ...VALID, EXTENSIONS), dataEnd: EXTENSIONS }),
      'good',
    ],
    ['unknown', () => single(implicit(2, Buffer.alloc(0)), ...VALID), 'unknown'],
    ['revoked', () => single(revoked(time('20290101000000Z')), ...VALID), 'revoked'],
    [
      'revoked for a reason',
      () => single(revoked(time('20290101000000Z'), REASON), ...VALID),
      'revoked',
    ],
  ])('is read: %s', (_, odd, status) => {
    expect(read(odd())).toMatchObject({
      status,
      thisUpdate: NOW - 24 * 60 * 60 * 1000,
      nextUpdate: NOW + 24 * 60 * 60 * 1000,
    });
  });

  it('may be about several certificates', async () => {
    const other = await lab.leaf(authority, 1, '1234');
    const foreign = sequence(certId(other), revoked(time('20290101000000Z')), ...VALID);
    const own = sequence(certId(), GOOD, ...VALID);
    expect(read({ singles: [foreign, own] }).status).toBe('good');
    expect(() => read({ singles: [foreign] })).toThrow(/about another certificate/);
    expect(() => read({ singles: [] })).toThrow(/about another certificate/);
  });

  it.each<[string, () => Odd]>([
    ['another version', () => ({ version: explicit(0, integer(Buffer.from([1]))) })],
    ['two versions', () => ({ version: explicit(0, integer(Buffer.from([0])), EXTRA) })],
    ['no responder', () => ({ responder: Buffer.alloc(0) })],
    ['producedAt without seconds', () => ({ producedAt: '203001010000Z' })],
    ['something behind the data', () => ({ dataEnd: EXTRA })],
    ['something behind the signature', () => ({ end: EXTRA })],
    ['something behind the basic response', () => ({ wrapEnd: EXTRA })],
    ['unused bits in the signature', () => ({ unusedBits: 1 })],
    ['no status', () => single(...VALID)],
    ['something in the status', () => single(implicit(0, Buffer.from([1])), ...VALID)],
    ['revoked at no time', () => single(revoked(), ...VALID)],
    ['revoked, and more', () => single(revoked(time('20290101000000Z'), EXTRA), ...VALID)],
    ['no thisUpdate', () => single(GOOD)],
    ['something behind a single response', () => single(GOOD, ...VALID, EXTRA)],
    [
      'nextUpdate before thisUpdate',
      () => single(GOOD, time('20300101000000Z'), explicit(0, time('20291231000000Z'))),
    ],
    [
      'something in a CertID',
      () => ({ singles: [sequence(sequence(certId().subarray(2), EXTRA), GOOD, ...VALID)] }),
    ],
  ])('is malformed: %s', (_, odd) => {
    expect(() => read(odd())).toThrow(/^the OCSP response is malformed: /);
  });

  it('is refused when its algorithm is not one for the key', () => {
    expect(() => read({ algorithm: RSA })).toThrow('the signature of the OCSP response is wrong');
  });
});
