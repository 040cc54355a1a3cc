import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { certificateFields, publicKeyBits } from '../core/certificate-fields.ts';
import { onlyElement, TAG } from '../core/der.ts';
import { toPem } from '../core/pem.ts';
import {
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  set,
  time,
  utf8String,
} from './der-writer.ts';

/** A certificate with its private key (PKCS #8), both as PEM. */
export interface CertificateAndKey {
  readonly certPem: string;
  readonly keyPem: string;
}

/** A certificate authority: what {@link issueCertificate} signs with. */
export type Authority = CertificateAndKey;

const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const;

const DAY = 24 * 60 * 60 * 1000;
const AUTHORITY_DAYS = 3650;
/** With the day before now it makes 398, the most that clients accept of a server's certificate. */
const MAX_DAYS = 397;
/** The limit of a common name (RFC 5280, appendix A.1: ub-common-name). */
const MAX_COMMON_NAME = 64;

const SIGNATURE_ALGORITHM = sequence(objectIdentifier(OID.ecdsaWithSha256));

/**
 * Makes a self-signed certificate authority with a new EC P-256 key, valid for ten years. It can
 * sign servers' certificates, but no further authorities.
 *
 * @param name - its common name, 1 to 64 characters
 * @throws RangeError when the name is empty or too long
 */
export function createAuthority(name: string): Authority {
  if (name.length === 0 || name.length > MAX_COMMON_NAME) {
    throw new RangeError(`the authority's name must have 1 to ${MAX_COMMON_NAME} characters`);
  }
  const { publicKey, privateKey } = newKeyPair();
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const keyId = keyIdentifier(spki);
  const subject = distinguishedName(name);
  const extensions = [
    extension(OID.basicConstraints, true, sequence(boolean(true), integer(Buffer.from([0])))),
    // keyCertSign (5) and cRLSign (6)
    extension(OID.keyUsage, true, bitString(Buffer.from([0x06]), 1)),
    extension(OID.subjectKeyIdentifier, false, octetString(keyId)),
  ];
  const tbs = tbsCertificate({ issuer: subject, subject, spki, days: AUTHORITY_DAYS, extensions });
  return { certPem: signedPem(tbs, privateKey), keyPem: keyPem(privateKey) };
}

/**
 * Issues a TLS server's certificate with a new EC P-256 key.
 *
 * @param options.names - DNS names (also `*.example.com`) and IP addresses; at least one
 * @param options.days - how long it is valid from now on, 1 to 397 (90). It begins a day ago, for
 * clients with slow clocks.
 * @throws TypeError when a name is neither a DNS name nor an IP address, or the authority's key is
 * not an EC key that belongs to its certificate
 * @throws RangeError when `days` is out of range, there is no name, or the authority's certificate
 * is not DER inside
 */
export function issueCertificate(options: {
  readonly authority: Authority;
  readonly names: readonly string[];
  readonly days?: number;
}): CertificateAndKey {
  const { authority, names, days = 90 } = options;
  if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS) {
    throw new RangeError(`days must be a whole number from 1 to ${MAX_DAYS}`);
  }
  const [firstName] = names;
  if (firstName === undefined) throw new RangeError('a certificate needs at least one name');
  const alternativeNames = sequence(...names.map(generalName));
  const signer = readAuthority(authority);
  const { publicKey, privateKey } = newKeyPair();
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  // A name too long for a common name leaves the subject empty; then the SAN is critical.
  const named = firstName.length <= MAX_COMMON_NAME;
  const extensions = [
    extension(OID.basicConstraints, true, sequence()),
    // digitalSignature (0)
    extension(OID.keyUsage, true, bitString(Buffer.from([0x80]), 7)),
    extension(OID.extendedKeyUsage, false, sequence(objectIdentifier(OID.serverAuth))),
    extension(OID.subjectAltName, !named, alternativeNames),
    extension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(spki))),
    extension(OID.authorityKeyIdentifier, false, sequence(implicit(0, signer.keyId))),
  ];
  const subject = named ? distinguishedName(firstName) : sequence();
  const tbs = tbsCertificate({ issuer: signer.subject, subject, spki, days, extensions });
  return { certPem: signedPem(tbs, signer.key), keyPem: keyPem(privateKey) };
}

interface Signer {
  readonly key: KeyObject;
  /** The bytes of its name. They must not be encoded anew: clients compare names byte by byte. */
  readonly subject: Uint8Array;
  readonly keyId: Uint8Array;
}

function readAuthority({ certPem, keyPem }: Authority): Signer {
  const certificate = new X509Certificate(certPem);
  const key = createPrivateKey(keyPem);
  if (key.asymmetricKeyType !== 'ec') throw new TypeError("the authority's key is not an EC key");
  if (!certificate.checkPrivateKey(key)) {
    throw new TypeError("the authority's key does not belong to its certificate");
  }
  const { subject, publicKey, extensions } = certificateFields(certificate.raw);
  // Its own identifier need not be the hash that we would take.
  const own = extensions.find(({ id }) => id === OID.subjectKeyIdentifier)?.value;
  const keyId = own ? onlyElement(own, TAG.octetString).content : keyIdentifier(publicKey);
  return { key, subject, keyId };
}

function newKeyPair(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** SHA-1 of the key's bits (RFC 5280, 4.2.1.2, method 1). */
function keyIdentifier(spki: Uint8Array): Buffer {
  return createHash('sha1').update(publicKeyBits(spki)).digest();
}

function distinguishedName(commonName: string): Buffer {
  return sequence(set(sequence(objectIdentifier(OID.commonName), utf8String(commonName))));
}

function extension(oid: string, critical: boolean, value: Uint8Array): Buffer {
  const flag = critical ? [boolean(true)] : [];
  return sequence(objectIdentifier(oid), ...flag, octetString(value));
}

/** @throws TypeError for anything but a DNS name or an IP address. */
function generalName(name: string): Buffer {
  // A zone index (`fe80::1%eth0`) means nothing to anyone else.
  if (isIP(name) !== 0 && !name.includes('%')) {
    return implicit(7, Buffer.from(ipaddr.parse(name).toByteArray()));
  }
  if (!isDnsName(name)) {
    throw new TypeError(`${JSON.stringify(name)} is neither a DNS name nor an IP address`);
  }
  return implicit(2, Buffer.from(name, 'latin1'));
}

function isDnsName(name: string): boolean {
  const labels = name.replace(/^\*\./, '').split('.');
  const fits = (label: string) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label);
  return name.length <= 253 && labels.every(fits) && !/^\d+$/.test(labels.at(-1) ?? '');
}

function tbsCertificate(parts: {
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  readonly days: number;
  readonly extensions: readonly Uint8Array[];
}): Buffer {
  const now = Date.now();
  // Both ends belong to the validity, hence the second less.
  const notAfter = new Date(now + parts.days * DAY - 1000);
  return sequence(
    explicit(0, integer(Buffer.from([2]))), // version 3
    integer(serialNumber()),
    SIGNATURE_ALGORITHM,
    parts.issuer,
    sequence(time(new Date(now - DAY)), time(notAfter)),
    parts.subject,
    parts.spki,
    explicit(3, sequence(...parts.extensions)),
  );
}

/** 126 random bits; the two above them make it positive and its length fixed. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes;
}

function signedPem(tbs: Buffer, key: KeyObject): string {
  return toPem(sequence(tbs, SIGNATURE_ALGORITHM, bitString(sign('sha256', tbs, key))));
}

function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}
