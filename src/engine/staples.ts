import { X509Certificate } from 'node:crypto';
import type { Config, TlsIdentity } from '../config/index.ts';
import type { Logger } from '../core/logger.ts';
import { OcspStaple } from '../net/ocsp-staple.ts';
import type { Identity } from '../net/server-tls.ts';

interface Held {
  readonly staple: OcspStaple;
  readonly identity: TlsIdentity;
}

/** The OCSP responses of all certificates that have one stapled. */
export class Staples {
  /** By certificate. */
  private held = new Map<string, Held>();

  constructor(private readonly logger: Logger) {}

  /** The response for a certificate, in DER; undefined: none, or none any more. */
  current({ leaf }: Identity): Buffer | undefined {
    return this.held.get(leaf)?.staple.current();
  }

  /** Takes the certificates of a configuration; what it leaves as it is goes on. */
  use(config: Config): void {
    const next = new Map<string, Held>();
    for (const { identities } of config.clientSsl.values()) {
      for (const identity of identities) {
        // Profiles may share a certificate: the first that wants a response says which.
        if (next.has(identity.leaf)) continue;
        const running = this.held.get(identity.leaf);
        const held = running && isSame(running.identity, identity) ? running : this.open(identity);
        if (held !== undefined) next.set(identity.leaf, held);
      }
    }
    for (const [leaf, held] of this.held) if (next.get(leaf) !== held) held.staple.close();
    this.held = next;
  }

  close(): void {
    for (const { staple } of this.held.values()) staple.close();
  }

  private open(identity: TlsIdentity): Held | undefined {
    const { ocsp, leaf, issuer, names } = identity;
    if (ocsp === undefined) return undefined;
    const warn = (message: string) => this.logger.warn(message, { certificate: names[0] });
    if (issuer === undefined) {
      warn('no OCSP response is stapled: the certificate file has no issuer in it');
      return undefined;
    }
    try {
      const staple = new OcspStaple({
        certificate: new X509Certificate(leaf),
        issuer: new X509Certificate(issuer),
        ...(ocsp !== 'fetch' && { response: Buffer.from(ocsp.response, 'base64') }),
      });
      staple.start(warn);
      return { staple, identity };
    } catch (error) {
      warn(`no OCSP response is stapled: ${error instanceof Error ? error.message : error}`);
      return undefined;
    }
  }
}

function isSame(a: TlsIdentity, b: TlsIdentity): boolean {
  return a.issuer === b.issuer && JSON.stringify(a.ocsp) === JSON.stringify(b.ocsp);
}
