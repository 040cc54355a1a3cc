import { isIP } from 'node:net';
import { quote } from '../core/text.ts';
import { isHostName } from './address.ts';
import type { ServerSslDocument } from './schema.ts';
import type { ConfigSource, Path } from './source.ts';
import { type LoadedIdentity, loadIdentity } from './tls-identity.ts';
import { isUsable, loadTlsParameters } from './tls-parameters.ts';
import { loadTrust } from './tls-trust.ts';
import type { ServerSslProfile } from './types.ts';
import { label } from './validate.ts';

/**
 * Makes a server-ssl profile and proves that TLS can be done with it. What is wrong is reported to
 * `source`; without a result, something was.
 */
export async function loadServerSsl(
  name: string,
  document: ServerSslDocument,
  source: ConfigSource,
): Promise<ServerSslProfile | undefined> {
  const path: Path = ['profiles', 'serverSsl', name];
  const parameters = loadTlsParameters(document, path, source);
  const own = await loadOwnCertificate(document, path, source);
  const trust = await loadTrust(document, path, source);
  const { verify = true, serverName } = document;
  if (!verify) warnOfTrust(document, path, source);
  if (!isServerName(serverName, [...path, 'serverName'], source)) return undefined;
  if (!parameters || !own || !trust) return undefined;
  const { loaded } = own;
  const ownCiphers = document.ciphers !== undefined;
  if (
    loaded !== undefined &&
    !isUsable(loaded.identity, parameters, { path: loaded.path, profile: path, ownCiphers }, source)
  ) {
    return undefined;
  }
  return {
    name,
    verify,
    ...parameters,
    ...trust,
    ...(serverName === undefined ? {} : { serverName }),
    ...(loaded === undefined ? {} : { identity: loaded.identity }),
  };
}

/** Without a result, a problem was reported. */
async function loadOwnCertificate(
  document: ServerSslDocument,
  path: Path,
  source: ConfigSource,
): Promise<{ readonly loaded?: LoadedIdentity } | undefined> {
  const { cert, key, chain, passphrase, pkcs12 } = document;
  if ([cert, key, chain, passphrase, pkcs12].every((part) => part === undefined)) return {};
  const loaded = await loadIdentity(document, path, source);
  return loaded && { loaded };
}

function warnOfTrust(document: ServerSslDocument, path: Path, source: ConfigSource): void {
  for (const key of ['ca', 'crl'] as const) {
    if (document[key] === undefined) continue;
    source.warning([...path, key], `${label([...path, key])} has no effect without "verify"`);
  }
}

/** RFC 6066 section 3: a name without a dot at the end, and no address. */
function isServerName(name: string | undefined, path: Path, source: ConfigSource): boolean {
  if (name === undefined) return true;
  if (isIP(name) === 0 && isHostName(name) && !name.endsWith('.')) return true;
  source.problem(path, `${quote(name)} is not the name of a host, such as "mail.example.com"`);
  return false;
}
