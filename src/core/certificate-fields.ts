import { contextTag, DerReader, onlyElement, readNumber, TAG } from './der.ts';

/** What is in a certificate (RFC 5280, 4.1), as far as Node.js does not tell it. */
export interface CertificateFields {
  /** From 1. */
  readonly version: number;
  /** A whole INTEGER. */
  readonly serial: Uint8Array;
  /** Whole Names, as they stand in it. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** A whole SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  /** Dotted numbers. */
  readonly signatureAlgorithm: string;
  readonly extensions: readonly Extension[];
}

export interface Extension {
  /** Dotted numbers. */
  readonly id: string;
  readonly critical: boolean;
  /** DER. */
  readonly value: Uint8Array;
}

/** Identifier octets of a certificate's issuerUniqueID and subjectUniqueID, which nobody has. */
const UNIQUE_IDS = [0x81, 0x82];

/** @throws RangeError when it is not DER, or no certificate */
export function certificateFields(der: Uint8Array): CertificateFields {
  const certificate = new DerReader(onlyElement(der, TAG.sequence).content);
  const tbs = certificate.inside(TAG.sequence);
  const signatureAlgorithm = certificate.inside(TAG.sequence).takeObjectIdentifier();
  certificate.take(TAG.bitString); // signature
  certificate.end();
  const version = tbs.takeExplicit(0, TAG.integer);
  const serial = tbs.take(TAG.integer).raw;
  tbs.take(TAG.sequence); // signature algorithm
  const issuer = tbs.take(TAG.sequence).raw;
  tbs.take(TAG.sequence); // validity
  const subject = tbs.take(TAG.sequence).raw;
  const publicKey = tbs.take(TAG.sequence).raw;
  for (const tag of UNIQUE_IDS) tbs.takeIf(tag);
  const extensions = tbs.takeIf(contextTag(3));
  tbs.end();
  return {
    version: 1 + (version === undefined ? 0 : readNumber(version)),
    serial,
    issuer,
    subject,
    publicKey,
    signatureAlgorithm,
    extensions: extensions === undefined ? [] : readExtensions(extensions.content),
  };
}

function readExtensions(content: Uint8Array): Extension[] {
  const list = new DerReader(onlyElement(content, TAG.sequence).content);
  return list.takeAll(TAG.sequence).map((extension) => {
    const reader = new DerReader(extension.content);
    const id = reader.takeObjectIdentifier();
    const critical = reader.takeFlag();
    const value = reader.take(TAG.octetString).content;
    reader.end();
    return { id, critical, value };
  });
}

/**
 * The bits of a public key: what hashes of keys are made of.
 *
 * @param publicKey - a whole SubjectPublicKeyInfo
 * @throws RangeError when it is none
 */
export function publicKeyBits(publicKey: Uint8Array): Uint8Array {
  const info = new DerReader(onlyElement(publicKey, TAG.sequence).content);
  info.take(TAG.sequence); // algorithm
  const bits = info.takeWholeBits();
  info.end();
  return bits;
}
