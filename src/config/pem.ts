import { X509Certificate } from 'node:crypto';
import { basename } from 'node:path';
import { onlyElement, TAG } from '../core/der.ts';
import { quote } from '../core/text.ts';
import { readNamedFile } from './files.ts';
import type { ConfigSource, Path } from './source.ts';

/** What is looked for in PEM files (RFC 7468; the older names as OpenSSL knows them). */
const kinds = {
  certificate: {
    file: 'certificate file',
    labels: ['CERTIFICATE', 'X509 CERTIFICATE'],
    command: 'x509',
  },
  'private key': {
    file: 'key file',
    labels: [
      'PRIVATE KEY',
      'ENCRYPTED PRIVATE KEY',
      'RSA PRIVATE KEY',
      'EC PRIVATE KEY',
      'DSA PRIVATE KEY',
    ],
    command: 'pkey',
  },
  CRL: { file: 'CRL file', labels: ['X509 CRL'], command: 'crl' },
} as const;

interface PemFile {
  /** Absolute path. */
  readonly file: string;
  /** At least one. */
  readonly blocks: readonly [string, ...string[]];
}

/** All PEM blocks of a kind in a file, as they are. Without a result, a problem was reported. */
export async function readPemFile(
  kind: keyof typeof kinds,
  written: string,
  path: Path,
  source: ConfigSource,
): Promise<PemFile | undefined> {
  const named = await readNamedFile(kinds[kind].file, written, path, source);
  if (named === undefined) return undefined;
  const { file, bytes } = named;
  const labels: readonly string[] = kinds[kind].labels;
  const [first, ...others] = pemBlocks(bytes).filter(({ label }) => labels.includes(label));
  if (first !== undefined) return { file, blocks: [first.text, ...others.map((b) => b.text)] };
  const der = derContent(bytes);
  if (der !== undefined) {
    const name = quote(basename(file));
    const hint = `openssl ${kinds[kind].command} -inform DER -in ${name} -out NAME.pem converts it`;
    source.problem(path, `${quote(file)} is DER, not PEM`, isPkcs12(der) ? PKCS12_HINT : hint);
  } else {
    source.problem(path, `${quote(file)} has no PEM ${kind} in it`);
  }
  return undefined;
}

const PKCS12_HINT = 'it looks like PKCS#12, which goes into "pkcs12"';

/** What is in the sequence that a file in DER consists of; undefined if it is no such file. */
function derContent(bytes: Uint8Array): Uint8Array | undefined {
  try {
    return onlyElement(bytes, TAG.sequence).content;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** RFC 7292 section 4: a sequence that begins with the number 3. */
function isPkcs12(content: Uint8Array): boolean {
  return Buffer.from(content.subarray(0, 3)).toString('hex') === '020103';
}

interface PemBlock {
  readonly label: string;
  readonly text: string;
}

/** The text between blocks may be anything in any encoding. */
function pemBlocks(bytes: Buffer): PemBlock[] {
  const [, ...parts] = bytes.toString('latin1').split('-----BEGIN ');
  return parts.flatMap((part) => {
    const label = part.slice(0, part.indexOf('-----'));
    const end = part.indexOf(`-----END ${label}-----`);
    const body = part.slice(0, end).replaceAll('\r\n', '\n');
    return end < 0 ? [] : [{ label, text: `-----BEGIN ${body}-----END ${label}-----\n` }];
  });
}

/** Parses all certificates of a file. Without a result, a problem was reported. */
export async function readCertificates(
  written: string,
  path: Path,
  source: ConfigSource,
): Promise<X509Certificate[] | undefined> {
  const pem = await readPemFile('certificate', written, path, source);
  try {
    return pem?.blocks.map((block) => new X509Certificate(block));
  } catch {
    source.problem(path, `${quote(pem?.file ?? written)} has a damaged certificate in it`);
    return undefined;
  }
}

/** Certificates and their dates are the operator's to renew: what is not valid now is a warning. */
export function warnOfDates(certificate: X509Certificate, path: Path, source: ConfigSource): void {
  const subject = quote(certificate.subject.replaceAll('\n', ', '));
  const now = Date.now();
  if (Date.parse(certificate.validTo) < now) {
    source.warning(path, `certificate ${subject} expired on ${certificate.validTo}`);
  } else if (Date.parse(certificate.validFrom) > now) {
    source.warning(path, `certificate ${subject} is not valid before ${certificate.validFrom}`);
  }
}
