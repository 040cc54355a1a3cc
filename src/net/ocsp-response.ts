import { createHash, type KeyObject, verify, type X509Certificate } from 'node:crypto';
import { certificateFields, publicKeyBits } from '../core/certificate-fields.ts';
import { type DerElement, TAG } from '../core/der.ts';
import { objectIdentifier } from './der-writer.ts';
import { CERT_ID_HASHES, type CertIdHash, certIdRest } from './ocsp-certificate.ts';
import {
  type BasicResponse,
  type CertificateStatus,
  readBasicResponse,
  type SingleResponse,
} from './ocsp-syntax.ts';

/** The state of one certificate, as its issuer attests it. Times: milliseconds since the epoch. */
export interface OcspResponse {
  /** The whole OCSPResponse: what is stapled. */
  readonly der: Buffer;
  readonly status: CertificateStatus;
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
}

/** The most bytes that a response may have; real ones have 300 to 3000. */
export const MAX_OCSP_RESPONSE = 64 * 1024;

/** How far ahead a responder's clock may be, in milliseconds. */
const CLOCK_SKEW = 5 * 60 * 1000;
/** How long a response without nextUpdate is of use, in milliseconds. */
const DAY = 24 * 60 * 60 * 1000;

const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';

interface SignatureAlgorithm {
  readonly oid: Buffer;
  readonly keyType: NonNullable<KeyObject['asymmetricKeyType']>;
  /** `null` where the key's type decides over it. */
  readonly digest: string | null;
}

/** Those of public authorities, and the Edwards curves. SHA-1 proves nothing any more. */
const SIGNATURE_ALGORITHMS: readonly SignatureAlgorithm[] = [
  { oid: objectIdentifier('1.2.840.113549.1.1.11'), keyType: 'rsa', digest: 'sha256' },
  { oid: objectIdentifier('1.2.840.113549.1.1.12'), keyType: 'rsa', digest: 'sha384' },
  { oid: objectIdentifier('1.2.840.113549.1.1.13'), keyType: 'rsa', digest: 'sha512' },
  { oid: objectIdentifier('1.2.840.10045.4.3.2'), keyType: 'ec', digest: 'sha256' },
  { oid: objectIdentifier('1.2.840.10045.4.3.3'), keyType: 'ec', digest: 'sha384' },
  { oid: objectIdentifier('1.2.840.10045.4.3.4'), keyType: 'ec', digest: 'sha512' },
  { oid: objectIdentifier('1.3.101.112'), keyType: 'ed25519', digest: null },
  { oid: objectIdentifier('1.3.101.113'), keyType: 'ed448', digest: null },
];

/**
 * Reads an OCSP response and checks that it is about this certificate, in force, and signed by the
 * issuer or by a responder to which the issuer delegates that (RFC 6960, 3.2 and 4.2.2.2).
 *
 * @param der - hostile; 64 KiB at most
 * @param now - milliseconds since the epoch
 * @throws Error that says what is wrong
 */
export function readOcspResponse(
  der: Uint8Array,
  certificate: X509Certificate,
  issuer: X509Certificate,
  now: number,
): OcspResponse {
  try {
    if (der.length > MAX_OCSP_RESPONSE) throw new RangeError('it has more than 64 KiB');
    const copy = Buffer.from(der);
    const basic = readBasicResponse(copy);
    const { status, thisUpdate, nextUpdate } = singleAbout(basic, certificate, issuer);
    checkSignature(basic, issuer, now);
    const response = { der: copy, status, thisUpdate, nextUpdate };
    checkTimes(response, now);
    return response;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Error(`the OCSP response is malformed: ${error.message}`, { cause: error });
  }
}

/** When it must not be stapled any more: nextUpdate, or a day after thisUpdate. */
export function ocspExpiry(response: Pick<OcspResponse, 'thisUpdate' | 'nextUpdate'>): number {
  return response.nextUpdate ?? response.thisUpdate + DAY;
}

/** The first single response about this certificate: there may be others, and other hashes. */
function singleAbout(
  { singles }: BasicResponse,
  certificate: X509Certificate,
  issuer: X509Certificate,
): SingleResponse {
  const names: readonly CertIdHash[] = ['sha1', 'sha256'];
  const wanted = names.map((name) => ({
    hash: CERT_ID_HASHES[name],
    rest: certIdRest(certificate, issuer, name),
  }));
  const single = singles.find((one) =>
    wanted.some(({ hash, rest }) => hash.equals(one.hash) && rest.equals(one.certIdRest)),
  );
  if (single === undefined) throw new Error('the OCSP response is about another certificate');
  return single;
}

function checkSignature(basic: BasicResponse, issuer: X509Certificate, now: number): void {
  const { responder, algorithm, certificates } = basic;
  const known = SIGNATURE_ALGORITHMS.find(({ oid }) => oid.equals(algorithm));
  if (known === undefined) {
    throw new Error('the signature algorithm of the OCSP response is not supported');
  }
  const signers = [issuer, ...certificates]
    .filter((certificate) => isResponder(certificate, responder))
    .filter((certificate) => certificate === issuer || isDelegate(certificate, issuer, now));
  if (signers.length === 0) {
    throw new Error('the OCSP response is signed by neither the issuer nor a delegate of it');
  }
  if (!signers.some(({ publicKey }) => isSignedBy(basic, known, publicKey))) {
    throw new Error('the signature of the OCSP response is wrong');
  }
}

function isResponder(certificate: X509Certificate, id: DerElement): boolean {
  const { subject, publicKey } = certificateFields(certificate.raw);
  return id.tag === TAG.sequence
    ? Buffer.compare(subject, id.raw) === 0
    : createHash('sha1').update(publicKeyBits(publicKey)).digest().equals(id.content);
}

function isDelegate(certificate: X509Certificate, issuer: X509Certificate, now: number): boolean {
  const { validFrom, validTo } = certificate;
  // What Node calls the key usage is the extended one; it is undefined when there is none.
  const usage: readonly string[] | undefined = certificate.keyUsage;
  return (
    usage?.includes(OCSP_SIGNING) === true &&
    Date.parse(validFrom) <= now &&
    now <= Date.parse(validTo) &&
    certificate.checkIssued(issuer) &&
    certificate.verify(issuer.publicKey)
  );
}

function isSignedBy(
  { signedData, signature }: BasicResponse,
  { keyType, digest }: SignatureAlgorithm,
  key: KeyObject,
): boolean {
  return key.asymmetricKeyType === keyType && verify(digest, signedData, key, signature);
}

function checkTimes(response: OcspResponse, now: number): void {
  const expiry = ocspExpiry(response);
  if (response.thisUpdate > now + CLOCK_SKEW) {
    const from = new Date(response.thisUpdate).toISOString();
    throw new Error(`the OCSP response is not valid before ${from}`);
  }
  if (now > expiry) {
    throw new Error(`the OCSP response expired at ${new Date(expiry).toISOString()}`);
  }
}
