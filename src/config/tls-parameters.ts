import { getCiphers } from 'node:tls';
import { didYouMean, quote } from '../core/text.ts';
import { contextError } from './openssl.ts';
import type { ServerSslDocument } from './schema.ts';
import type { ConfigSource, Path } from './source.ts';
import type { TlsIdentity, TlsParameters, TlsVersion } from './types.ts';

type ParametersDocument = Pick<
  ServerSslDocument,
  'minVersion' | 'maxVersion' | 'ciphers' | 'alpn' | 'detachable'
>;

/** Forward secrecy and authenticated encryption only; AES-128-GCM, the fastest, first. */
const modernCiphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
];

/** TLS 1.1 and before have no others; their SHA-1 signatures are below OpenSSL's level 1. */
const oldCiphers = [
  'ECDHE-ECDSA-AES128-SHA',
  'ECDHE-RSA-AES128-SHA',
  'ECDHE-ECDSA-AES256-SHA',
  'ECDHE-RSA-AES256-SHA',
  '@SECLEVEL=0',
];

/**
 * Versions, ciphers and the like, with their defaults, proven to leave something that TLS can be
 * done with. Without a result, a problem was reported.
 */
export function loadTlsParameters(
  document: ParametersDocument,
  path: Path,
  source: ConfigSource,
): TlsParameters | undefined {
  const {
    minVersion = 'TLSv1.2',
    maxVersion = 'TLSv1.3',
    alpn = [],
    detachable = false,
  } = document;
  if (minVersion > maxVersion) {
    const wrong = document.minVersion === undefined ? 'maxVersion' : 'minVersion';
    const message = `no TLS version is left from ${minVersion} to ${maxVersion}`;
    source.problem([...path, wrong], message);
    return undefined;
  }
  const versions = { minVersion, maxVersion };
  if (!ciphersFit(document.ciphers, versions, [...path, 'ciphers'], source)) return undefined;
  const names = minVersion < 'TLSv1.2' ? [...modernCiphers, ...oldCiphers] : modernCiphers;
  return { ...versions, ciphers: document.ciphers ?? names.join(':'), alpn, detachable };
}

function ciphersFit(
  ciphers: string | undefined,
  versions: { readonly minVersion: TlsVersion; readonly maxVersion: TlsVersion },
  path: Path,
  source: ConfigSource,
): boolean {
  if (ciphers === undefined) return true;
  warnOfCiphers(ciphers, path, source);
  const { minVersion, maxVersion } = versions;
  const names = ciphers.split(':');
  const isTls13 = (name: string) => name.startsWith('TLS_');
  const usable =
    (maxVersion === 'TLSv1.3' && names.some(isTls13)) ||
    (minVersion < 'TLSv1.3' && !names.every(isTls13));
  const reason =
    contextError({ ciphers, ...versions }) ??
    (usable ? undefined : 'none of them is for the TLS versions allowed');
  if (reason !== undefined) source.problem(path, `OpenSSL cannot use these ciphers: ${reason}`);
  else if (minVersion < 'TLSv1.2' && !ciphers.includes('@SECLEVEL=0')) {
    const message = `OpenSSL does not use ${minVersion} unless "@SECLEVEL=0" is among the ciphers`;
    source.warning(path, message);
  }
  return reason === undefined;
}

/** OpenSSL passes over names that it does not know, as long as one is left. */
function warnOfCiphers(ciphers: string, path: Path, source: ConfigSource): void {
  for (const cipher of ciphers.split(':')) {
    if (/^[!+@-]|^$/.test(cipher) || contextError({ ciphers: cipher }) === undefined) continue;
    const names = getCiphers().map((name) => name.toUpperCase());
    source.warning(path, `no cipher here is called ${quote(cipher)}`, didYouMean(cipher, names));
  }
}

/**
 * Whether OpenSSL takes the certificate with these parameters; if not, a problem was reported at
 * `path`, or at the ciphers where the certificate is good without them.
 */
export function isUsable(
  { material }: TlsIdentity,
  { ciphers, minVersion, maxVersion }: TlsParameters,
  place: { readonly path: Path; readonly profile: Path; readonly ownCiphers: boolean },
  source: ConfigSource,
): boolean {
  const reason = contextError({ ...material, ciphers, minVersion, maxVersion });
  if (reason === undefined) return true;
  const defaults = { ciphers: modernCiphers.join(':') };
  // A list of ciphers can also demand a strength of the certificate (`@SECLEVEL=4`).
  if (place.ownCiphers && contextError({ ...material, ...defaults }) === undefined) {
    const message = `OpenSSL cannot use these ciphers with this certificate: ${reason}`;
    source.problem([...place.profile, 'ciphers'], message);
  } else {
    source.problem(place.path, `OpenSSL refuses this certificate: ${reason}`);
  }
  return false;
}
