import { isIP } from 'node:net';
import {
  type ConnectionOptions,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { verifyCode, verifyText } from '../commands/verify-result.ts';
import type { Endpoint } from '../core/types.ts';
import type { TlsRequirements } from './types.ts';

const DAY = 86_400_000;

/** A list of authorities takes milliseconds to read: once for each monitor, not for each probe. */
const contexts = new WeakMap<TlsRequirements, SecureContext>();

/**
 * How TLS towards a server starts. The certificate is looked at after the handshake, by
 * {@link checkCertificate}. Authorities that are no PEM are none, and nothing is trusted then.
 */
export function tlsOptions(server: Endpoint, requirements: TlsRequirements): ConnectionOptions {
  const name = serverName(server, requirements);
  return {
    secureContext: contextOf(requirements),
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    // RFC 6066, section 3: no addresses.
    ...(isIP(name) === 0 && { servername: name }),
  };
}

function contextOf(requirements: TlsRequirements): SecureContext {
  const known = contexts.get(requirements);
  if (known !== undefined) return known;
  const { ca, verify } = requirements;
  const context = createSecureContext(verify && ca !== undefined ? { ca } : {});
  contexts.set(requirements, context);
  return context;
}

function serverName(server: Endpoint, { serverName }: TlsRequirements): string {
  return serverName ?? server.host ?? server.address;
}

/**
 * Looks at the certificate that was shown in a handshake.
 *
 * @throws Error when it is not as it is required
 */
export function checkCertificate(
  tls: TLSSocket,
  server: Endpoint,
  requirements: TlsRequirements,
): void {
  const { verify, minDays } = requirements;
  if (!verify && minDays === undefined) return;
  const certificate = tls.getPeerX509Certificate();
  if (certificate === undefined) throw new Error('the server has shown no certificate');
  if (verify && !tls.authorized) {
    // Node.js keeps the name of OpenSSL's error there, though it declares an Error.
    const code = verifyCode(String(tls.authorizationError));
    throw new Error(`the server's certificate is refused: ${verifyText(code)}`);
  }
  const name = serverName(server, requirements);
  const isForName =
    isIP(name) === 0
      ? certificate.checkHost(name, { subject: 'never' }) !== undefined
      : certificate.checkIP(name) !== undefined;
  if (verify && !isForName) throw new Error(`the server's certificate is not for ${name}`);
  if (minDays !== undefined) checkEnd(certificate.validTo, minDays);
}

function checkEnd(validTo: string, minDays: number): void {
  const end = Date.parse(validTo);
  if (end - Date.now() > minDays * DAY) return;
  throw new Error(
    `the server's certificate expires on ${validTo}, which is within ${minDays} days`,
  );
}
