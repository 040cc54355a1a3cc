import { type DerElement, DerReader, onlyElement, readTime, TAG } from '../core/der.ts';
import { quote } from '../core/text.ts';
import { contextError } from './openssl.ts';
import { readCertificates, readPemFile, warnOfDates } from './pem.ts';
import type { ServerSslDocument } from './schema.ts';
import type { ConfigSource, Path } from './source.ts';

/** What certificates of the other end are verified with; PEM. */
export interface TlsTrust {
  readonly ca?: string;
  readonly crl?: string;
}

/** Reads `ca` and `crl` of a profile. Without a result, a problem was reported. */
export async function loadTrust(
  document: Pick<ServerSslDocument, 'ca' | 'crl'>,
  path: Path,
  source: ConfigSource,
): Promise<TlsTrust | undefined> {
  const ca = document.ca && (await readAuthorities(document.ca, [...path, 'ca'], source));
  const crl = document.crl && (await readCrls(document.crl, [...path, 'crl'], source));
  const missing = (written: string | undefined, found: string | undefined) =>
    written !== undefined && found === undefined;
  if (missing(document.ca, ca) || missing(document.crl, crl)) return undefined;
  return { ...(ca === undefined ? {} : { ca }), ...(crl === undefined ? {} : { crl }) };
}

async function readAuthorities(
  written: string,
  path: Path,
  source: ConfigSource,
): Promise<string | undefined> {
  const certificates = await readCertificates(written, path, source);
  for (const certificate of certificates ?? []) warnOfDates(certificate, path, source);
  return certificates?.map(String).join('');
}

async function readCrls(
  written: string,
  path: Path,
  source: ConfigSource,
): Promise<string | undefined> {
  const pem = await readPemFile('CRL', written, path, source);
  if (pem === undefined) return undefined;
  if (pem.blocks.some((block) => contextError({ crl: block }) !== undefined)) {
    source.problem(path, `${quote(pem.file)} has a damaged CRL in it`);
    return undefined;
  }
  for (const block of pem.blocks) {
    const end = crlEnd(block);
    if (end === undefined || end >= Date.now()) continue;
    const message = `a CRL in ${quote(pem.file)} expired on ${new Date(end).toUTCString()}`;
    source.warning(path, message, 'certificates that it is for are refused');
  }
  return pem.blocks.join('');
}

/** nextUpdate of a CRL (RFC 5280 section 5.1.2.5), in milliseconds since 1970. */
function crlEnd(block: string): number | undefined {
  const der = Buffer.from(block.replace(/-----[^-]*-----/g, ''), 'base64');
  try {
    const list = new DerReader(onlyElement(der, TAG.sequence).content).inside(TAG.sequence);
    list.takeIf(TAG.integer); // version
    list.take(TAG.sequence); // signature
    list.take(TAG.sequence); // issuer
    takeTime(list); // thisUpdate
    const end = takeTime(list);
    return end && readTime(end);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function takeTime(reader: DerReader): DerElement | undefined {
  return reader.takeIf(TAG.utcTime) ?? reader.takeIf(TAG.generalizedTime);
}
