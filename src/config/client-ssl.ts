import { quote } from '../core/text.ts';
import { amount } from './amount.ts';
import { readNamedFile } from './files.ts';
import { type ClientSslDocument, sessionTimeout } from './schema.ts';
import type { ConfigSource, Path } from './source.ts';
import { type LoadedIdentity, loadIdentity } from './tls-identity.ts';
import { isUsable, loadTlsParameters } from './tls-parameters.ts';
import { loadTrust } from './tls-trust.ts';
import type { ClientSslProfile } from './types.ts';
import { label } from './validate.ts';

/**
 * Makes a client-ssl profile and proves that TLS can be done with it. What is wrong is reported to
 * `source`; without a result, something was.
 */
export async function loadClientSsl(
  name: string,
  document: ClientSslDocument,
  source: ConfigSource,
): Promise<ClientSslProfile | undefined> {
  const path: Path = ['profiles', 'clientSsl', name];
  const parameters = loadTlsParameters(document, path, source);
  const loaded = await loadIdentities(document, path, source);
  const trust = await loadTrust(document, path, source);
  const tickets = await loadTicketKeys(document, path, source);
  const settings = {
    strictSni: document.strictSni ?? false,
    clientCertificate: document.clientCertificate ?? 'none',
    sessionTickets: document.sessionTickets ?? true,
    sessionTimeout: amountInSeconds(document, path, source),
  };
  if (!isVerifiable(document, path, source)) return undefined;
  if (!parameters || !loaded || !trust || !tickets) return undefined;
  const ownCiphers = document.ciphers !== undefined;
  const fits = loaded.map((one) =>
    isUsable(one.identity, parameters, { path: one.path, profile: path, ownCiphers }, source),
  );
  if (fits.includes(false)) return undefined;
  warnOfSharedNames(loaded, source);
  const identities = loaded.map(({ identity }) => identity);
  return { name, identities, ...parameters, ...settings, ...trust, ...tickets };
}

/** Undefined if any of them is broken. */
async function loadIdentities(
  document: ClientSslDocument,
  path: Path,
  source: ConfigSource,
): Promise<LoadedIdentity[] | undefined> {
  const loaded = [await loadIdentity(document, path, source)];
  for (const [index, certificate] of (document.certificates ?? []).entries()) {
    loaded.push(await loadIdentity(certificate, [...path, 'certificates', index], source));
  }
  const good = loaded.filter((one) => one !== undefined);
  return good.length === loaded.length ? good : undefined;
}

/** An RSA and an EC certificate for one name go together; of two of a kind one is never used. */
function warnOfSharedNames(loaded: readonly LoadedIdentity[], source: ConfigSource): void {
  const taken = new Set<string>();
  for (const { identity, path, keyType } of loaded) {
    const keys = identity.names.map((name) => ({ name, key: `${keyType} ${name}` }));
    const shared = keys.filter(({ key }) => taken.has(key)).map(({ name }) => name);
    if (shared.length > 0) {
      const message = `a certificate before this one is for ${quote(shared.join(', '))} as well`;
      source.warning(path, `${message}, with the same kind of key`, 'the first one is used');
    }
    for (const { key } of keys) taken.add(key);
  }
}

function isVerifiable(document: ClientSslDocument, path: Path, source: ConfigSource): boolean {
  const { clientCertificate = 'none', ca } = document;
  if (clientCertificate === 'none') {
    for (const key of ['ca', 'crl'] as const) {
      if (document[key] === undefined) continue;
      const message = `${label([...path, key])} is for client certificates, which are not asked for`;
      source.warning([...path, key], message, 'set "clientCertificate"');
    }
  } else if (ca === undefined) {
    const place = [...path, 'clientCertificate'];
    source.problem(place, `${label(place)} needs "ca": who may issue the certificates`);
    return false;
  }
  return true;
}

function amountInSeconds(document: ClientSslDocument, path: Path, source: ConfigSource): number {
  const place = [...path, 'sessionTimeout'];
  return Math.ceil(amount(sessionTimeout, document.sessionTimeout, place, source) / 1000);
}

/** What `openssl rand -base64 48` makes. */
const ticketKeyLine = /^[A-Za-z0-9+/]{64}$/;

const MAX_TICKET_KEYS = 8;

async function loadTicketKeys(
  document: ClientSslDocument,
  profile: Path,
  source: ConfigSource,
): Promise<Pick<ClientSslProfile, 'ticketKeys'> | undefined> {
  if (document.ticketKeys === undefined) return {};
  const path = [...profile, 'ticketKeys'];
  const named = await readNamedFile('file of ticket keys', document.ticketKeys, path, source);
  if (named === undefined) return undefined;
  const { file, bytes } = named;
  const lines = bytes
    .toString('latin1')
    .split('\n')
    .map((line) => line.trim());
  const keys = lines.filter((line) => line !== '');
  const bad = lines.findIndex((line) => line !== '' && !ticketKeyLine.test(line));
  if (bad >= 0 || keys.length === 0 || keys.length > MAX_TICKET_KEYS) {
    // Not what is in the line: it may be a secret.
    const trouble = bad >= 0 ? `line ${bad + 1} is none` : `there are ${keys.length}`;
    const message = `${quote(file)} must be 1 to ${MAX_TICKET_KEYS} lines of 48 bytes in Base64`;
    source.problem(path, `${message}: ${trouble}`, '"openssl rand -base64 48" makes one');
    return undefined;
  }
  if (document.sessionTickets === false) {
    source.warning(path, `${label(path)} has no effect without "sessionTickets"`);
  }
  return { ticketKeys: keys };
}
