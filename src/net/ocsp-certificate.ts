import { createHash, type X509Certificate } from 'node:crypto';
import { certificateFields, publicKeyBits } from '../core/certificate-fields.ts';
import { TAG } from '../core/der.ts';
import { element, objectIdentifier, octetString, sequence } from './der-writer.ts';

/** The hashes of a CertID, with their object identifiers. */
export const CERT_ID_HASHES = {
  sha1: objectIdentifier('1.3.14.3.2.26'),
  sha256: objectIdentifier('2.16.840.1.101.3.4.2.1'),
} as const;

export type CertIdHash = keyof typeof CERT_ID_HASHES;

/** What follows the hash algorithm in a CertID: hashes of the issuer's name and key, and the serial. */
export function certIdRest(
  certificate: X509Certificate,
  issuer: X509Certificate,
  hash: CertIdHash,
): Buffer {
  const { serial, issuer: issuerName } = certificateFields(certificate.raw);
  const { publicKey } = certificateFields(issuer.raw);
  const hashed = (bytes: Uint8Array) => octetString(createHash(hash).update(bytes).digest());
  return Buffer.concat([hashed(issuerName), hashed(publicKeyBits(publicKey)), serial]);
}

/**
 * The DER of an OCSPRequest (RFC 6960, 4.1.1) for one certificate, without a nonce, so that
 * responders can answer with a response that they hold ready. The CertID has SHA-1, which all of them
 * know: it only names the certificate.
 */
export function ocspRequest(certificate: X509Certificate, issuer: X509Certificate): Buffer {
  const algorithm = sequence(CERT_ID_HASHES.sha1, element(TAG.null));
  const certId = sequence(algorithm, certIdRest(certificate, issuer, 'sha1'));
  const requestList = sequence(sequence(certId));
  return sequence(sequence(requestList));
}

/** The first `http` or `https` URL of an OCSP responder in the certificate's authorityInfoAccess. */
export function ocspResponder(certificate: X509Certificate): URL | undefined {
  const found = certificate.toLegacyObject().infoAccess?.['OCSP - URI'] ?? [];
  return found
    .filter((text) => URL.canParse(text))
    .map((text) => new URL(text))
    .find(({ protocol }) => protocol === 'http:' || protocol === 'https:');
}
