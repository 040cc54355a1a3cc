import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { canonicalHost, isHostName } from './address.ts';

/**
 * The DNS names and IP addresses that a certificate is for. RFC 9525 knows subjectAltName alone; the
 * common name is for certificates of private authorities that have no such extension.
 */
export function certificateNames(certificate: X509Certificate): string[] {
  const { subjectAltName } = certificate;
  // Node.js writes a comma that is part of a name as \u002c.
  const names =
    subjectAltName === undefined
      ? commonNames(certificate)
      : subjectAltName
          .split(', ')
          .flatMap((entry) => /^(?:DNS|IP Address):(.*)$/.exec(entry)?.[1] ?? []);
  const good = names.filter((name) => isIP(name) !== 0 || isHostName(name.replace(/^\*\./, '')));
  return [...new Set(good.map((name) => canonicalHost(name)))];
}

function commonNames(certificate: X509Certificate): string[] {
  const names: unknown = certificate.toLegacyObject().subject.CN;
  return [names].flat().filter((name) => typeof name === 'string');
}
