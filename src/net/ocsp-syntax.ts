import { X509Certificate } from 'node:crypto';
import { contextTag, type DerElement, DerReader, onlyElement, readTime, TAG } from '../core/der.ts';
import { toPem } from '../core/pem.ts';

/**
 * The syntax of OCSP responses (RFC 6960, 4.2.1), read from hostile bytes: what they say, and nothing
 * about whether it is true. Every RangeError means that a response is malformed.
 */

export type CertificateStatus = 'good' | 'revoked' | 'unknown';

/** BasicOCSPResponse. */
export interface BasicResponse extends ResponseData {
  /** The bytes that are signed. */
  readonly signedData: Uint8Array;
  /** An object identifier. */
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
  readonly certificates: readonly X509Certificate[];
}

export interface ResponseData {
  /** Who says to have signed: a Name, or an OCTET STRING with the SHA-1 of the key. */
  readonly responder: DerElement;
  readonly singles: readonly SingleResponse[];
}

/** Times: milliseconds since the epoch. */
export interface SingleResponse {
  /** The object identifier of the hash in the CertID. */
  readonly hash: Uint8Array;
  /** What follows it there: hashes of the issuer's name and key, and the serial. */
  readonly certIdRest: Uint8Array;
  readonly status: CertificateStatus;
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
}

/** Certificates in a response: one responder, and perhaps its chain. Each costs a signature check. */
const MAX_CERTIFICATES = 8;

const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1';

/** The values of OCSPResponseStatus other than successful. */
const FAILURES: Readonly<Record<number, string>> = {
  1: 'malformedRequest',
  2: 'internalError',
  3: 'tryLater',
  5: 'sigRequired',
  6: 'unauthorized',
};

/**
 * Reads an OCSPResponse.
 *
 * @throws RangeError when it is malformed
 * @throws Error when it is a failure of the responder, or of a type other than basic
 */
export function readBasicResponse(der: Uint8Array): BasicResponse {
  const basic = new DerReader(onlyElement(successfulContent(der), TAG.sequence).content);
  const data = basic.take(TAG.sequence);
  const algorithm = algorithmIdentifier(basic);
  const signature = basic.takeWholeBits();
  const certificates = embeddedCertificates(basic);
  basic.end();
  return {
    ...responseData(data.content),
    signedData: data.raw,
    algorithm,
    signature,
    certificates,
  };
}

/** The BasicOCSPResponse in an OCSPResponse. */
function successfulContent(der: Uint8Array): Uint8Array {
  const response = new DerReader(onlyElement(der, TAG.sequence).content);
  const [status, ...more] = response.take(TAG.enumerated).content;
  if (status === undefined || more.length > 0) throw new RangeError('its status is not one octet');
  if (status !== 0) {
    throw new Error(`the OCSP responder answered with ${FAILURES[status] ?? `status ${status}`}`);
  }
  const bytes = response.takeExplicit(0, TAG.sequence);
  response.end();
  if (bytes === undefined) throw new RangeError('it is successful and empty');
  const typed = new DerReader(bytes.content);
  if (typed.takeObjectIdentifier() !== BASIC_RESPONSE) {
    throw new Error('the OCSP response is not of the basic type');
  }
  const { content } = typed.take(TAG.octetString);
  typed.end();
  return content;
}

/** The parameters are NULL or absent for all algorithms that are of use here. */
function algorithmIdentifier(reader: DerReader): Uint8Array {
  return reader.inside(TAG.sequence).take(TAG.objectIdentifier).raw;
}

function embeddedCertificates(basic: DerReader): readonly X509Certificate[] {
  const list = new DerReader(basic.takeExplicit(0, TAG.sequence)?.content ?? new Uint8Array());
  const certificates: X509Certificate[] = [];
  while (!list.isAtEnd) {
    if (certificates.length === MAX_CERTIFICATES) {
      throw new RangeError(`it has more than ${MAX_CERTIFICATES} certificates`);
    }
    certificates.push(embeddedCertificate(list.take(TAG.sequence).raw));
  }
  return certificates;
}

function embeddedCertificate(raw: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(toPem(raw));
  } catch (error) {
    throw new RangeError('a certificate in it cannot be read', { cause: error });
  }
}

function responseData(content: Uint8Array): ResponseData {
  const data = new DerReader(content);
  // Version 1, which is 0, is the default and the only one.
  const version = data.takeExplicit(0, TAG.integer)?.content ?? [0];
  if (version.length !== 1 || version[0] !== 0) throw new RangeError('its version is not 1');
  const responder = data.takeExplicit(1, TAG.sequence) ?? data.takeExplicit(2, TAG.octetString);
  if (responder === undefined) throw new RangeError('it does not say who signed it');
  readTime(data.take(TAG.generalizedTime)); // producedAt
  const list = data.inside(TAG.sequence);
  data.takeExplicit(1, TAG.sequence); // extensions
  data.end();
  const singles: SingleResponse[] = [];
  while (!list.isAtEnd) singles.push(singleResponse(list.inside(TAG.sequence)));
  return { responder, singles };
}

function singleResponse(single: DerReader): SingleResponse {
  const certId = single.inside(TAG.sequence);
  const hash = algorithmIdentifier(certId);
  const rest = [TAG.octetString, TAG.octetString, TAG.integer].map((tag) => certId.take(tag).raw);
  certId.end();
  const status = certificateStatus(single);
  const thisUpdate = readTime(single.take(TAG.generalizedTime));
  const next = single.takeExplicit(0, TAG.generalizedTime);
  const nextUpdate = next && readTime(next);
  single.takeExplicit(1, TAG.sequence); // extensions
  single.end();
  if (nextUpdate !== undefined && nextUpdate < thisUpdate) {
    throw new RangeError('its nextUpdate is before its thisUpdate');
  }
  return { hash, certIdRest: Buffer.concat(rest), status, thisUpdate, nextUpdate };
}

function certificateStatus(single: DerReader): CertificateStatus {
  const revoked = single.takeIf(contextTag(1));
  if (revoked !== undefined) {
    const information = new DerReader(revoked.content);
    readTime(information.take(TAG.generalizedTime));
    information.takeExplicit(0, TAG.enumerated); // reason
    information.end();
    return 'revoked';
  }
  // [0] and [2] IMPLICIT NULL
  const good = single.takeIf(0x80);
  const { content } = good ?? single.take(0x82);
  if (content.length !== 0) throw new RangeError('its certificate status is not empty');
  return good === undefined ? 'unknown' : 'good';
}
