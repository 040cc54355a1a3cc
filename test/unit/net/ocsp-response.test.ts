import { copyFile } from 'node:fs/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TAG } from '../../../src/core/der.ts';
import {
  element,
  integer,
  objectIdentifier,
  octetString,
  sequence,
} from '../../../src/net/der-writer.ts';
import { ocspExpiry, readOcspResponse } from '../../../src/net/ocsp-response.ts';
import { type Issued, type Leaf, OcspLab, SERIAL } from './ocsp-lab.ts';

const DAY = 24 * 60 * 60 * 1000;
const EKU = ['extendedKeyUsage = OCSPSigning'];

let lab: OcspLab;
let authority: Issued;
let delegate: Issued;
let leaf: Leaf;
let good: Buffer;

beforeAll(async () => {
  lab = await OcspLab.open();
  authority = await lab.authority('Authority');
  delegate = await lab.issue('Responder', authority, { extensions: EKU });
  leaf = await lab.leaf(authority, 1);
  good = await lab.respond(leaf, authority, delegate, '-ndays', '3');
});
afterAll(() => lab.close());

function read(der: Uint8Array, of: Leaf = leaf, now = Date.now()) {
  return readOcspResponse(der, of.certificate, of.issuer, now);
}

/** An OCSPResponse around something else than a BasicOCSPResponse. */
function wrapped(type: Buffer, content: Uint8Array): Buffer {
  return sequence(
    element(TAG.enumerated, Buffer.from([0])),
    element(0xa0, sequence(type, octetString(content))),
  );
}

describe('a response of OpenSSL', () => {
  it.each(['good', 'revoked', 'unknown'] as const)('tells that a certificate is %s', async (s) => {
    const of = await lab.leaf(authority, 1, SERIAL[s]);
    const der = await lab.respond(of, authority, delegate, '-ndays', '3');
    const response = read(der, of);
    expect(response.status).toBe(s);
    expect(response.der.equals(der)).toBe(true);
    expect(Math.abs(response.thisUpdate - Date.now())).toBeLessThan(10_000);
    expect(response.nextUpdate).toBe(response.thisUpdate + 3 * DAY);
  });

  it('may have been signed by the issuer itself', async () => {
    const der = await lab.respond(leaf, authority, authority, '-ndays', '1', '-resp_no_certs');
    expect(read(der).status).toBe('good');
  });

  it('may name its signer by key', async () => {
    for (const signer of [authority, delegate]) {
      const der = await lab.respond(leaf, authority, signer, '-ndays', '1', '-resp_key_id');
      expect(read(der).status).toBe('good');
    }
  });

  it('may name the certificate by SHA-256', async () => {
    const request = await lab.request(leaf, 'sha256');
    const der = await lab.respondTo(request, authority, delegate, '-ndays', '1');
    expect(read(der).status).toBe('good');
    const other = await lab.leaf(authority, 1, '1234');
    expect(() => read(der, other)).toThrow('the OCSP response is about another certificate');
  });

  it('is refused when it names the certificate by another hash', async () => {
    const request = await lab.request(leaf, 'sha384');
    const der = await lab.respondTo(request, authority, delegate, '-ndays', '1');
    expect(() => read(der)).toThrow('the OCSP response is about another certificate');
  });

  it('may be signed by a delegate whose certificate has the PEM of another in it', async () => {
    const other = Buffer.from(`\n${authority.certificate}`).toString('hex');
    const extensions = [...EKU, `1.2.3.4 = DER:${other}`];
    const signer = await lab.issue('Responder', authority, { extensions });
    const der = await lab.respond(leaf, authority, signer, '-ndays', '1');
    expect(read(der).status).toBe('good');
  });

  it.each(['sha256', 'sha384', 'sha512'])(
    'may be signed with %s, by EC and RSA',
    async (digest) => {
      const key = ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'];
      const rsa = await lab.issue('RSA', authority, { extensions: EKU, key });
      for (const signer of [rsa, delegate]) {
        const der = await lab.respond(leaf, authority, signer, '-ndays', '1', '-rmd', digest);
        expect(read(der).status).toBe('good');
      }
    },
  );

  it.each(['ED25519', 'ED448'])('may be signed with %s', async (algorithm) => {
    const signer = await lab.issue('Edwards', authority, {
      extensions: EKU,
      key: ['-algorithm', algorithm],
    });
    const der = await lab.respond(leaf, authority, signer, '-ndays', '1');
    expect(read(der).status).toBe('good');
  });

  it('is refused with a signature over SHA-1', async () => {
    const der = await lab.respond(leaf, authority, delegate, '-ndays', '1', '-rmd', 'sha1');
    expect(() => read(der)).toThrow(/signature algorithm .* is not supported/);
  });
});

describe('the time of a response', () => {
  it('ends with nextUpdate', () => {
    const { thisUpdate, nextUpdate = 0 } = read(good);
    expect(read(good, leaf, nextUpdate).status).toBe('good');
    expect(() => read(good, leaf, nextUpdate + 1)).toThrow(
      `the OCSP response expired at ${new Date(nextUpdate).toISOString()}`,
    );
    expect(nextUpdate).toBe(thisUpdate + 3 * DAY);
  });

  it('ends after a day without nextUpdate', async () => {
    const der = await lab.respond(leaf, authority, delegate);
    const response = read(der);
    expect(response.nextUpdate).toBeUndefined();
    expect(ocspExpiry(response)).toBe(response.thisUpdate + DAY);
    expect(read(der, leaf, response.thisUpdate + DAY).status).toBe('good');
    expect(() => read(der, leaf, response.thisUpdate + DAY + 1)).toThrow(/expired/);
  });

  it('begins with thisUpdate, as far as clocks agree', async () => {
    // The issuer, as no delegate is valid before it was issued.
    const der = await lab.respond(leaf, authority, authority, '-ndays', '3');
    const { thisUpdate } = read(der);
    const soon = thisUpdate - 5 * 60_000;
    expect(read(der, leaf, soon).status).toBe('good');
    expect(() => read(der, leaf, soon - 1)).toThrow(
      `the OCSP response is not valid before ${new Date(thisUpdate).toISOString()}`,
    );
  });
});

describe('a response that proves nothing', () => {
  it('is about another certificate of the issuer', async () => {
    const other = await lab.leaf(authority, 1, '1234');
    expect(() => read(good, other)).toThrow('the OCSP response is about another certificate');
  });

  it('is about the same serial of another issuer', async () => {
    const twin = await lab.authority('Authority');
    const other = await lab.leaf(twin, 1);
    expect(() => read(good, other)).toThrow('the OCSP response is about another certificate');
  });

  it.each([
    ['has no OCSPSigning', []],
    ['is for servers only', ['extendedKeyUsage = serverAuth']],
  ])('is signed by a certificate that %s', async (_, extensions) => {
    const signer = await lab.issue('Responder', authority, { extensions });
    const der = await lab.respond(leaf, authority, signer, '-ndays', '1');
    expect(() => read(der)).toThrow(/neither the issuer nor a delegate/);
  });

  it('is signed by a delegate of another authority of the same name', async () => {
    const twin = await lab.authority('Authority');
    const signer = await lab.issue('Responder', twin, { extensions: EKU });
    const der = await lab.respond(leaf, authority, signer, '-ndays', '1');
    expect(() => read(der)).toThrow(/neither the issuer nor a delegate/);
  });

  it('is signed by another key with the name of the issuer', async () => {
    const twin = await lab.authority('Authority');
    const der = await lab.respond(leaf, authority, twin, '-ndays', '1');
    expect(() => read(der)).toThrow('the signature of the OCSP response is wrong');
  });

  it('is signed by a key of another kind with the name of the issuer', async () => {
    const twin = await lab.authority('Authority', ['-algorithm', 'ED25519']);
    const der = await lab.respond(leaf, authority, twin, '-ndays', '1');
    expect(() => read(der)).toThrow('the signature of the OCSP response is wrong');
  });

  it('comes without the certificate of its delegate', async () => {
    const der = await lab.respond(leaf, authority, delegate, '-ndays', '1', '-resp_no_certs');
    expect(() => read(der)).toThrow(/neither the issuer nor a delegate/);
  });

  it('is signed by a delegate that names another issuer, with the key of this one', async () => {
    const renamed = { name: 'renamed', certificate: authority.certificate };
    await copyFile(lab.file(`${authority.name}.key`), lab.file('renamed.key'));
    const files = ['-key', 'renamed.key', '-out', 'renamed.pem'];
    await lab.openssl('req', '-x509', ...files, '-subj', '/CN=Another', '-days', '9');
    const signer = await lab.issue('Responder', renamed, { extensions: EKU });
    const der = await lab.respond(leaf, authority, signer, '-ndays', '1');
    expect(() => read(der)).toThrow(/neither the issuer nor a delegate/);
  });

  it('is signed by a delegate whose certificate is not valid yet', () => {
    const before = Date.parse(delegate.certificate.validFrom) - 1;
    expect(() => read(good, leaf, before)).toThrow(/neither the issuer nor a delegate/);
  });

  it('is signed by a delegate whose certificate is over', async () => {
    const signer = await lab.issue('Responder', authority, { extensions: EKU, days: 1 });
    const der = await lab.respond(leaf, authority, signer, '-ndays', '9');
    expect(read(der).status).toBe('good');
    expect(() => read(der, leaf, Date.now() + 2 * DAY)).toThrow(
      /neither the issuer nor a delegate/,
    );
  });

  it('has a broken signature', async () => {
    const der = await lab.respond(leaf, authority, delegate, '-ndays', '1', '-badsig');
    expect(() => read(der)).toThrow('the signature of the OCSP response is wrong');
  });
});

describe('hostile bytes', () => {
  it.each([
    [1, 'malformedRequest'],
    [2, 'internalError'],
    [3, 'tryLater'],
    [5, 'sigRequired'],
    [6, 'unauthorized'],
    [77, 'status 77'],
  ])('tell of the failure %i', (status, name) => {
    const der = sequence(element(TAG.enumerated, Buffer.from([status])));
    expect(() => read(der)).toThrow(`the OCSP responder answered with ${name}`);
  });

  it('are cut at every place', () => {
    for (let cut = 0; cut < good.length; cut++) {
      expect(() => read(good.subarray(0, cut))).toThrow(/^the OCSP response is malformed: /);
    }
  });

  it('go on behind the response', () => {
    expect(() => read(Buffer.concat([good, Buffer.from([0])]))).toThrow(/malformed: .* more/);
  });

  it('have another type of response, or none', () => {
    const der = wrapped(objectIdentifier('1.2.3'), sequence());
    expect(() => read(der)).toThrow('the OCSP response is not of the basic type');
    const empty = sequence(element(TAG.enumerated, Buffer.from([0])));
    expect(() => read(empty)).toThrow(/malformed: it is successful and empty/);
    const wide = sequence(element(TAG.enumerated, Buffer.from([0, 0])));
    expect(() => read(wide)).toThrow(/malformed: its status/);
  });

  it('are too many, as a whole or in certificates', () => {
    expect(() => read(new Uint8Array(64 * 1024 + 1))).toThrow(/malformed: .* 64 KiB/);
    const algorithm = sequence(objectIdentifier('1.2.840.10045.4.3.2'));
    const signature = element(TAG.bitString, Buffer.from([0, 1]));
    const basic = (certificates: readonly Uint8Array[]) =>
      wrapped(
        objectIdentifier('1.3.6.1.5.5.7.48.1.1'),
        sequence(sequence(), algorithm, signature, element(0xa0, sequence(...certificates))),
      );
    const { raw } = delegate.certificate;
    expect(() => read(basic(Array.from({ length: 9 }, () => raw)))).toThrow(/more than 8/);
    expect(() => read(basic(Array.from({ length: 8 }, () => raw)))).toThrow(/does not say who/);
    expect(() => read(basic([sequence(integer(Buffer.from([1])))]))).toThrow(/cannot be read/);
  });

  it('are changed at any places: refused, or the same answer', () => {
    const original = read(good);
    const now = Date.now();
    const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255), fc.nat(3), fc.nat(3));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        let der = Buffer.from(good);
        for (const [at, octet, removed, added] of changes) {
          const start = at % der.length;
          const piece = Buffer.alloc(added, octet);
          der = Buffer.concat([der.subarray(0, start), piece, der.subarray(start + removed)]);
        }
        const { status, thisUpdate, nextUpdate } = original;
        try {
          expect(read(der, leaf, now)).toEqual({ der, status, thisUpdate, nextUpdate });
        } catch (error) {
          expect((error as Error).message).toMatch(/OCSP respon/);
        }
      }),
      { numRuns: 1500 },
    );
  });

  it('have one octet changed: refused, or the same answer', () => {
    const now = Date.now();
    const { status, thisUpdate, nextUpdate } = read(good);
    for (let at = 0; at < good.length; at++) {
      const der = Buffer.from(good);
      der[at] = (der[at] ?? 0) ^ 0x01;
      try {
        expect(read(der, leaf, now)).toEqual({ der, status, thisUpdate, nextUpdate });
      } catch (error) {
        expect((error as Error).message).toMatch(/OCSP respon/);
      }
    }
  });
});
