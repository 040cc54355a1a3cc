import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { createSecureContext, getCiphers } from 'node:tls';
import { didYouMean, quote } from '../core/text.ts';
import { readText } from './files.ts';
import type { ClientSslDocument } from './schema.ts';
import type { ConfigSource, Path } from './source.ts';
import type { ClientSslProfile } from './types.ts';

/**
 * Makes a client-ssl profile and proves that TLS can be done with it. What is wrong is reported to
 * `source`; without a result, something was.
 */
export async function loadClientSsl(
  name: string,
  document: ClientSslDocument,
  folder: string,
  source: ConfigSource,
): Promise<ClientSslProfile | undefined> {
  const path: Path = ['profiles', 'clientSsl', name];
  const files = {
    cert: resolve(folder, document.cert),
    key: resolve(folder, document.key),
    ...(document.chain === undefined ? {} : { chain: resolve(folder, document.chain) }),
  };
  const { passphrase, minVersion = 'TLSv1.2', maxVersion = 'TLSv1.3' } = document;
  const parametersFit = checkParameters(document, path, source);
  const certificates = await readCertificates(files.cert, [...path, 'cert'], source);
  const chain =
    files.chain === undefined
      ? []
      : await readCertificates(files.chain, [...path, 'chain'], source);
  const key = await readKey(files.key, passphrase, path, source);
  if (certificates === undefined || chain === undefined || key === undefined) return undefined;
  if (!isPair(certificates, key.object, path, source)) return undefined;
  for (const certificate of certificates) warnOfDates(certificate, [...path, 'cert'], source);
  for (const certificate of chain) warnOfDates(certificate, [...path, 'chain'], source);
  const pem = { cert: [...certificates, ...chain].map(String).join(''), key: key.pem };
  const secret = passphrase === undefined ? {} : { passphrase };
  const refusal = contextError({ ...pem, ...secret });
  if (refusal !== undefined) {
    source.problem([...path, 'cert'], `OpenSSL refuses this certificate: ${refusal}`);
  }
  if (refusal !== undefined || !parametersFit) return undefined;
  const ciphers = document.ciphers === undefined ? {} : { ciphers: document.ciphers };
  // A list of ciphers can also demand a strength of the certificate (`@SECLEVEL=4`).
  const mismatch = contextError({ ...pem, ...secret, ...ciphers, minVersion, maxVersion });
  if (mismatch !== undefined) {
    const message = `OpenSSL cannot use these ciphers with this certificate: ${mismatch}`;
    source.problem([...path, 'ciphers'], message);
    return undefined;
  }
  return { name, ...files, ...secret, minVersion, maxVersion, ...ciphers, pem };
}

async function readCertificates(
  file: string,
  path: Path,
  source: ConfigSource,
): Promise<X509Certificate[] | undefined> {
  source.files.add(file);
  const { text, trouble } = await readText(file);
  if (trouble !== undefined) {
    source.problem(path, `certificate file ${quote(file)} ${trouble}`);
    return undefined;
  }
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  if (blocks === null) {
    source.problem(path, `${quote(file)} has no PEM certificate in it`);
    return undefined;
  }
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    source.problem(path, `${quote(file)} has a damaged certificate in it`);
    return undefined;
  }
}

const privateKeyBlock =
  /-----BEGIN ([A-Z]+ )?PRIVATE KEY-----[\s\S]*?-----END ([A-Z]+ )?PRIVATE KEY-----\n?/;

async function readKey(
  file: string,
  passphrase: string | undefined,
  profile: Path,
  source: ConfigSource,
): Promise<{ pem: string; object: KeyObject } | undefined> {
  source.files.add(file);
  const { text, trouble } = await readText(file);
  if (trouble !== undefined) {
    source.problem([...profile, 'key'], `key file ${quote(file)} ${trouble}`);
    return undefined;
  }
  const [pem] = privateKeyBlock.exec(text) ?? [];
  if (pem === undefined) {
    source.problem([...profile, 'key'], `${quote(file)} has no PEM private key in it`);
    return undefined;
  }
  try {
    return { pem, object: createPrivateKey({ key: pem, passphrase }) };
  } catch {
    explainKey(file, pem, passphrase, profile, source);
    return undefined;
  }
}

/** OpenSSL's own words for a key that it cannot read differ from one version and cipher to the next. */
function explainKey(
  file: string,
  pem: string,
  passphrase: string | undefined,
  profile: Path,
  source: ConfigSource,
): void {
  if (!/BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(pem)) {
    source.problem([...profile, 'key'], `${quote(file)} has a damaged private key in it`);
  } else if (passphrase === undefined) {
    const hint = 'set "passphrase", best from an environment variable';
    source.problem([...profile, 'key'], `the key ${quote(file)} is encrypted`, hint);
  } else {
    const message = `the passphrase does not open the key ${quote(file)}`;
    source.problem([...profile, 'passphrase'], message);
  }
}

function isPair(
  certificates: readonly X509Certificate[],
  key: KeyObject,
  profile: Path,
  source: ConfigSource,
): boolean {
  const match = certificates.findIndex((certificate) => certificate.checkPrivateKey(key));
  if (match === 0) return true;
  const hint =
    match > 0 ? `it belongs to certificate ${match + 1} of the file: put that first` : undefined;
  source.problem([...profile, 'key'], 'the key does not belong to the certificate', hint);
  return false;
}

function warnOfDates(certificate: X509Certificate, path: Path, source: ConfigSource): void {
  const subject = quote(certificate.subject.replaceAll('\n', ', '));
  const now = Date.now();
  if (Date.parse(certificate.validTo) < now) {
    source.warning(path, `certificate ${subject} expired on ${certificate.validTo}`);
  } else if (Date.parse(certificate.validFrom) > now) {
    source.warning(path, `certificate ${subject} is not valid before ${certificate.validFrom}`);
  }
}

function checkParameters(
  document: ClientSslDocument,
  profile: Path,
  source: ConfigSource,
): boolean {
  const { minVersion = 'TLSv1.2', maxVersion = 'TLSv1.3', ciphers } = document;
  if (minVersion > maxVersion) {
    const wrong = document.minVersion === undefined ? 'maxVersion' : 'minVersion';
    source.problem(
      [...profile, wrong],
      `no TLS version is left from ${minVersion} to ${maxVersion}`,
    );
    return false;
  }
  if (ciphers === undefined) return true;
  const place = [...profile, 'ciphers'];
  warnOfCiphers(ciphers, place, source);
  const names = ciphers.split(':');
  const isTls13 = (name: string) => name.startsWith('TLS_');
  const usable =
    (maxVersion === 'TLSv1.3' && names.some(isTls13)) ||
    (minVersion === 'TLSv1.2' && !names.every(isTls13));
  const reason =
    contextError({ ciphers, minVersion, maxVersion }) ??
    (usable ? undefined : 'none of them is for the TLS versions allowed');
  if (reason !== undefined) source.problem(place, `OpenSSL cannot use these ciphers: ${reason}`);
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

/** Why OpenSSL refuses these options, in its words; undefined if it does not. */
function contextError(options: Parameters<typeof createSecureContext>[0]): string | undefined {
  try {
    createSecureContext(options);
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) return 'unknown error';
    return 'reason' in error && typeof error.reason === 'string' ? error.reason : error.message;
  }
}
