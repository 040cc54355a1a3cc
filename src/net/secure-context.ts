import { createHash, randomBytes } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';

/** What TLS towards clients is made of. */
export interface SecureContextSettings {
  /** The certificate with its chain, and its key. */
  readonly pem: { readonly cert: string; readonly key: string };
  readonly passphrase?: string;
  readonly minVersion: NonNullable<SecureContextOptions['minVersion']>;
  readonly maxVersion: NonNullable<SecureContextOptions['maxVersion']>;
  /** OpenSSL's notation. */
  readonly ciphers?: string;
}

/**
 * The context for the handshakes of one virtual server with one profile.
 *
 * @param ticketKeys - 48 bytes; sessions resume wherever they are the same, and nowhere else
 */
export function serverContext(settings: SecureContextSettings, ticketKeys: Buffer): SecureContext {
  const { pem, passphrase, minVersion, maxVersion, ciphers } = settings;
  return createSecureContext({
    ...pem,
    minVersion,
    maxVersion,
    ...(passphrase !== undefined && { passphrase }),
    ...(ciphers !== undefined && { ciphers }),
    // Sessions of one virtual server and profile mean nothing to another. At most 32 characters.
    sessionIdContext: createHash('sha256').update(ticketKeys).digest('hex').slice(0, 32),
    ticketKeys,
  });
}

export function newTicketKeys(): Buffer {
  return randomBytes(48);
}

export type { SecureContext };
