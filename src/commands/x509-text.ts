import type { X509Certificate } from 'node:crypto';
import type { Extension } from '../core/certificate-fields.ts';
import { contextTag, type DerElement, DerReader, onlyElement, TAG } from '../core/der.ts';

/** The identifier octet of keyIdentifier in an AuthorityKeyIdentifier. */
const KEY_IDENTIFIER = 0x80;
/** That of uniformResourceIdentifier in a GeneralName. */
const URI = 0x86;

const SIGNATURE_ALGORITHMS: Readonly<Record<string, string>> = {
  '1.2.840.10040.4.3': 'dsaWithSHA1',
  '1.2.840.10045.4.1': 'ecdsa-with-SHA1',
  '1.2.840.10045.4.3.1': 'ecdsa-with-SHA224',
  '1.2.840.10045.4.3.2': 'ecdsa-with-SHA256',
  '1.2.840.10045.4.3.3': 'ecdsa-with-SHA384',
  '1.2.840.10045.4.3.4': 'ecdsa-with-SHA512',
  '1.2.840.113549.1.1.4': 'md5WithRSAEncryption',
  '1.2.840.113549.1.1.5': 'sha1WithRSAEncryption',
  '1.2.840.113549.1.1.10': 'rsassaPss',
  '1.2.840.113549.1.1.11': 'sha256WithRSAEncryption',
  '1.2.840.113549.1.1.12': 'sha384WithRSAEncryption',
  '1.2.840.113549.1.1.13': 'sha512WithRSAEncryption',
  '1.2.840.113549.1.1.14': 'sha224WithRSAEncryption',
  '1.3.101.112': 'ED25519',
  '1.3.101.113': 'ED448',
  '2.16.840.1.101.3.4.3.2': 'dsa_with_SHA256',
};

const KEY_USAGES = [
  'Digital Signature',
  'Non Repudiation',
  'Key Encipherment',
  'Data Encipherment',
  'Key Agreement',
  'Certificate Sign',
  'CRL Sign',
  'Encipher Only',
  'Decipher Only',
];

const KEY_PURPOSES: Readonly<Record<string, string>> = {
  '1.3.6.1.4.1.311.20.2.2': 'Microsoft Smartcard Login',
  '1.3.6.1.5.2.3.4': 'PKINIT Client Auth',
  '1.3.6.1.5.5.7.3.1': 'TLS Web Server Authentication',
  '1.3.6.1.5.5.7.3.2': 'TLS Web Client Authentication',
  '1.3.6.1.5.5.7.3.3': 'Code Signing',
  '1.3.6.1.5.5.7.3.4': 'E-mail Protection',
  '1.3.6.1.5.5.7.3.8': 'Time Stamping',
  '1.3.6.1.5.5.7.3.9': 'OCSP Signing',
  '2.5.29.37.0': 'Any Extended Key Usage',
};

interface ExtensionForm {
  /** OpenSSL's. */
  readonly title: string;
  /** The lines of its value. @throws RangeError when it is not understood */
  readonly lines?: (value: Uint8Array, certificate: X509Certificate) => readonly string[];
}

const EXTENSIONS: Readonly<Record<string, ExtensionForm>> = {
  '1.3.6.1.4.1.11129.2.4.2': { title: 'CT Precertificate SCTs' },
  '1.3.6.1.5.5.7.1.1': {
    title: 'Authority Information Access',
    lines: (_value, certificate) => known(certificate.infoAccess).trimEnd().split('\n'),
  },
  '1.3.6.1.5.5.7.1.24': { title: 'TLS Feature' },
  '2.5.29.14': {
    title: 'X509v3 Subject Key Identifier',
    lines: (value) => [hexPairs(onlyElement(value, TAG.octetString).content)],
  },
  '2.5.29.15': { title: 'X509v3 Key Usage', lines: (value) => [keyUsage(value)] },
  '2.5.29.17': {
    title: 'X509v3 Subject Alternative Name',
    lines: (_value, certificate) => [known(certificate.subjectAltName)],
  },
  '2.5.29.18': { title: 'X509v3 Issuer Alternative Name' },
  '2.5.29.19': { title: 'X509v3 Basic Constraints', lines: (value) => [constraints(value)] },
  '2.5.29.30': { title: 'X509v3 Name Constraints' },
  '2.5.29.31': { title: 'X509v3 CRL Distribution Points', lines: distributionPoints },
  '2.5.29.32': { title: 'X509v3 Certificate Policies', lines: policies },
  '2.5.29.35': {
    title: 'X509v3 Authority Key Identifier',
    lines: (value) => [authorityKey(value)],
  },
  '2.5.29.37': {
    title: 'X509v3 Extended Key Usage',
    lines: (value) => [purposes(value).join(', ')],
  },
};

/** OpenSSL's name of an object identifier, such as `sha256WithRSAEncryption`; itself for a rare one. */
export function signatureName(id: string): string {
  return SIGNATURE_ALGORITHMS[id] ?? id;
}

/**
 * The extensions as OpenSSL prints them. The values of those that are not decoded here are the
 * bytes in hexadecimal digits.
 */
export function extensionsText(
  extensions: readonly Extension[],
  certificate: X509Certificate,
): string {
  if (extensions.length === 0) return '(no extensions)';
  const parts = extensions.map(({ id, critical, value }) => {
    const form = EXTENSIONS[id];
    const title = `    ${form?.title ?? id}: ${critical ? 'critical' : ''}`;
    const lines = linesOf(form, value, certificate);
    return [title, ...lines.map((line) => `        ${line}`)].join('\n');
  });
  return ['X509v3 extensions:', ...parts].join('\n');
}

function linesOf(
  form: ExtensionForm | undefined,
  value: Uint8Array,
  certificate: X509Certificate,
): readonly string[] {
  try {
    return form?.lines?.(value, certificate) ?? [hexPairs(value)];
  } catch (error) {
    if (error instanceof RangeError) return [hexPairs(value)];
    throw error;
  }
}

function keyUsage(value: Uint8Array): string {
  const [, ...octets] = onlyElement(value, TAG.bitString).content;
  return KEY_USAGES.filter(
    (_usage, bit) => ((octets[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0,
  ).join(', ');
}

function constraints(value: Uint8Array): string {
  const reader = new DerReader(onlyElement(value, TAG.sequence).content);
  const authority = `CA:${reader.takeFlag() ? 'TRUE' : 'FALSE'}`;
  if (reader.isAtEnd) return authority;
  const text = `${authority}, pathlen:${reader.takeNumber()}`;
  reader.end();
  return text;
}

/** Only keyIdentifier, which hardly any certificate has more than. */
function authorityKey(value: Uint8Array): string {
  return hexPairs(onlyElement(onlyElement(value, TAG.sequence).content, KEY_IDENTIFIER).content);
}

function purposes(value: Uint8Array): string[] {
  const reader = new DerReader(onlyElement(value, TAG.sequence).content);
  const names: string[] = [];
  while (!reader.isAtEnd) {
    const id = reader.takeObjectIdentifier();
    names.push(KEY_PURPOSES[id] ?? id);
  }
  return names;
}

/** Their identifiers, without qualifiers. */
function policies(value: Uint8Array): string[] {
  return sequenceOf(value).map((policy) => {
    const id = new DerReader(policy.content).takeObjectIdentifier();
    return `Policy: ${id === '2.5.29.32.0' ? 'X509v3 Any Policy' : id}`;
  });
}

/** Only those that are nothing but addresses, as most are. */
function distributionPoints(value: Uint8Array): string[] {
  return sequenceOf(value).flatMap((point) => {
    const name = onlyElement(point.content, contextTag(0)).content;
    const addresses = new DerReader(onlyElement(name, contextTag(0)).content).takeAll(URI);
    return ['Full Name:', ...addresses.map(({ content }) => `  URI:${asciiText(content)}`)];
  });
}

/** The sequences in a sequence. @throws RangeError when it is anything else */
function sequenceOf(value: Uint8Array): DerElement[] {
  return new DerReader(onlyElement(value, TAG.sequence).content).takeAll(TAG.sequence);
}

/** What is not a printable character is shown as its number, so that a line stays one line. */
function asciiText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) =>
    byte < 0x20 || byte > 0x7e ? `\\x${hexPair(byte)}` : String.fromCharCode(byte),
  ).join('');
}

/** Such as `0A:1B`. */
export function hexPairs(bytes: Uint8Array): string {
  return Array.from(bytes, hexPair).join(':');
}

function hexPair(byte: number): string {
  return byte.toString(16).padStart(2, '0').toUpperCase();
}

/** @throws RangeError when there is none; Node.js also says null for what it does not understand */
function known<T>(value: T | null | undefined): T {
  if (value === undefined || value === null) throw new RangeError('something is missing');
  return value;
}
