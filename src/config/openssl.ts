import { createSecureContext, type SecureContextOptions } from 'node:tls';

/** Why OpenSSL refuses these options, in its words; undefined if it does not. */
export function contextError(options: SecureContextOptions): string | undefined {
  try {
    createSecureContext(options);
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) return 'unknown error';
    return 'reason' in error && typeof error.reason === 'string' ? error.reason : error.message;
  }
}
