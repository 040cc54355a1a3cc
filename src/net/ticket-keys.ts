import { hkdfSync, randomBytes } from 'node:crypto';

const SECRET_BYTES = 48;
/** What OpenSSL takes: a name, an HMAC key and an AES key of 16 bytes each. */
const KEY_BYTES = 48;
const NAME_BYTES = 16;

/** A ticket begins with the name of the key that it was made with. */
export function isMadeWith(ticket: Uint8Array, key: Buffer): boolean {
  if (ticket.length < NAME_BYTES) return false;
  return key.compare(ticket, 0, NAME_BYTES, 0, NAME_BYTES) === 0;
}

/**
 * The secrets from which the keys of session tickets are derived. Each scope (a virtual server, a
 * profile, a name, a policy for client certificates) has keys of its own, so that a ticket counts
 * nowhere else; processes with the same secrets accept each other's tickets.
 */
export class TicketSecrets {
  /** Changes with the secrets. */
  version = 0;
  private secrets: readonly Buffer[];
  private rotatedAt: number;

  /**
   * @param given - secrets that stay as they are, the first of which makes tickets; without them
   *   there is a new one for each period, and the one before it still reads tickets
   * @param period - seconds; tickets must not live longer
   * @param now - a clock in milliseconds that never goes back
   */
  constructor(
    private readonly given: readonly Buffer[] | undefined,
    private readonly period: number,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.secrets = given ?? [randomBytes(SECRET_BYTES)];
    this.rotatedAt = now();
  }

  /** The keys of a scope, the one that makes tickets first. */
  keysFor(scope: string): readonly Buffer[] {
    return this.secrets.map((secret) =>
      Buffer.from(hkdfSync('sha256', secret, '', scope, KEY_BYTES)),
    );
  }

  /** Changes the secrets when it is time. */
  rotate(): void {
    if (this.given !== undefined) return;
    const periods = (this.now() - this.rotatedAt) / (this.period * 1000);
    if (periods < 1) return;
    const fresh = randomBytes(SECRET_BYTES);
    const [last] = this.secrets;
    this.secrets = periods < 2 && last !== undefined ? [fresh, last] : [fresh];
    this.rotatedAt = this.now();
    this.version += 1;
  }
}
