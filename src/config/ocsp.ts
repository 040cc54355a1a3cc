import type { X509Certificate } from 'node:crypto';
import { contextTag, type DerElement, DerReader, onlyElement, readTime, TAG } from '../core/der.ts';
import { quote } from '../core/text.ts';
import { readNamedFile } from './files.ts';
import type { ConfigSource, Path } from './source.ts';
import type { TlsIdentity } from './types.ts';

/**
 * What is stapled for a certificate: `ocsp` as it is written, proven to fit. Without a result, a
 * problem was reported.
 */
export async function loadOcsp(
  written: string | undefined,
  {
    leaf,
    issuer,
  }: { readonly leaf: X509Certificate; readonly issuer: X509Certificate | undefined },
  path: Path,
  source: ConfigSource,
): Promise<Pick<TlsIdentity, 'ocsp'> | undefined> {
  if (written === undefined) return {};
  if (written !== 'fetch') return readOcspResponse(written, leaf, path, source);
  if (!/^OCSP - URI:http:\/\//m.test(leaf.infoAccess ?? '')) {
    source.problem(path, 'the certificate names no OCSP responder to fetch from');
    return undefined;
  }
  if (issuer === undefined) {
    source.problem(path, "the issuer's certificate is not in the chain: OCSP asks by it");
    return undefined;
  }
  return { ocsp: 'fetch' };
}

async function readOcspResponse(
  written: string,
  leaf: X509Certificate,
  path: Path,
  source: ConfigSource,
): Promise<Pick<TlsIdentity, 'ocsp'> | undefined> {
  const named = await readNamedFile('OCSP response', written, path, source);
  if (named === undefined) return undefined;
  const { file, bytes } = named;
  const responses = parseOcspResponse(bytes);
  const serial = leaf.serialNumber.replace(/^0+/, '');
  const response = responses?.find((single) => single.serial === serial);
  if (responses === undefined || response === undefined) {
    const trouble =
      responses === undefined ? 'is not an OCSP response (DER)' : 'is for another certificate';
    source.problem(path, `${quote(file)} ${trouble}`);
    return undefined;
  }
  const { nextUpdate } = response;
  if (nextUpdate !== undefined && nextUpdate < Date.now()) {
    const message = `the OCSP response ${quote(file)} expired on ${new Date(nextUpdate).toUTCString()}`;
    source.warning(path, message);
  }
  return { ocsp: { response: bytes.toString('base64') } };
}

const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1';

/** Identifier octets of `good` and `unknown`, as a CertStatus; `revoked` has contents. */
const GOOD = 0x80;
const UNKNOWN = 0x82;

interface SingleResponse {
  /** Hexadecimal digits in upper case, without leading zeros. */
  readonly serial: string;
  /** Milliseconds since 1970; undefined: newer information is always to be had. */
  readonly nextUpdate: number | undefined;
}

/**
 * What a successful OCSP response (RFC 6960 section 4.2) tells of; undefined if it is none. The
 * signature is for clients to check.
 */
function parseOcspResponse(bytes: Buffer): SingleResponse[] | undefined {
  try {
    const response = new DerReader(onlyElement(bytes, TAG.sequence).content);
    const status = response.take(TAG.enumerated).content;
    if (status.length !== 1 || status[0] !== 0) return undefined;
    const typed = response.inside(contextTag(0)).inside(TAG.sequence);
    if (typed.takeObjectIdentifier() !== BASIC_RESPONSE) return undefined;
    const { content } = onlyElement(typed.take(TAG.octetString).content, TAG.sequence);
    const data = new DerReader(content).inside(TAG.sequence);
    data.takeIf(contextTag(0)); // version
    data.takeIf(contextTag(1)) ?? data.take(contextTag(2)); // responderID
    data.take(TAG.generalizedTime); // producedAt
    return data.inside(TAG.sequence).takeAll(TAG.sequence).map(singleResponse);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function singleResponse({ content }: DerElement): SingleResponse {
  const single = new DerReader(content);
  const certId = single.inside(TAG.sequence);
  certId.take(TAG.sequence); // hash algorithm
  certId.take(TAG.octetString); // hash of the issuer's name
  certId.take(TAG.octetString); // hash of the issuer's key
  const number = Buffer.from(certId.take(TAG.integer).content).toString('hex');
  single.takeIf(GOOD) ?? single.takeIf(contextTag(1)) ?? single.take(UNKNOWN); // status
  single.take(TAG.generalizedTime); // thisUpdate
  const next = single.takeExplicit(0, TAG.generalizedTime);
  return {
    serial: number.toUpperCase().replace(/^0+/, ''),
    nextUpdate: next && readTime(next),
  };
}
