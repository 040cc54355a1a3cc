import { constants, createHash, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { CertificateMode } from '../core/rule-run.ts';
import type { ClientHello } from './client-hello.ts';
import { isMadeWith, type TicketSecrets } from './ticket-keys.ts';
import type { ServerTls } from './tls-start.ts';

type Version = NonNullable<SecureContextOptions['minVersion']>;

/** What TLS of both roles is made of. */
export interface TlsSettings {
  readonly name: string;
  readonly minVersion: Version;
  readonly maxVersion: Version;
  /** OpenSSL's notation. */
  readonly ciphers: string;
  readonly alpn: readonly string[];
  readonly detachable: boolean;
  /** PEM. */
  readonly ca?: string;
  /** PEM. */
  readonly crl?: string;
}

/** A certificate with its key. */
export interface Identity {
  /** DNS names in lower case, of which the first label may be `*`, and IP addresses. */
  readonly names: readonly string[];
  readonly material: { readonly cert: string; readonly key: string };
  /** PEM. */
  readonly leaf: string;
}

/** What TLS towards clients is made of. */
export interface ServerTlsSettings extends TlsSettings {
  /** At least one. */
  readonly identities: readonly Identity[];
  readonly strictSni: boolean;
  readonly clientCertificate: CertificateMode;
  readonly sessionTickets: boolean;
  /** Seconds. */
  readonly sessionTimeout: number;
}

/** The current OCSP response for an identity, if there is one. */
export type Staple = (identity: Identity) => Buffer | undefined;

/** Handshakes for one name with one policy: nothing of a session counts outside of it. */
interface Scope {
  /** Digest of all that makes it what it is. */
  readonly id: string;
  readonly identities: readonly Identity[];
  readonly certificate: CertificateMode;
  /** Of the ticket secrets. */
  version: number;
  keys: readonly Buffer[];
  /** One for each of `keys`, made when it is needed. */
  contexts: (SecureContext | undefined)[];
}

/** TLS towards the clients of one virtual server: a certificate and a policy for each ClientHello. */
export class ServerTlsProfile {
  private readonly byName = new Map<string, Identity[]>();
  private readonly scopes = new Map<string, Scope>();

  constructor(
    private readonly virtualServer: string,
    private readonly settings: ServerTlsSettings,
    private readonly secrets: TicketSecrets,
    private readonly staple: Staple,
  ) {
    for (const identity of settings.identities) {
      for (const name of identity.names) {
        const all = this.byName.get(name);
        if (all === undefined) this.byName.set(name, [identity]);
        else if (!all.some((each) => keyType(each) === keyType(identity))) all.push(identity);
      }
    }
    // What is wrong with the settings shows now, and not at the first handshake.
    this.contextFor(this.scope('', this.unnamed(), settings.clientCertificate), undefined);
  }

  /** TLS for the client with this hello, or why there is none. */
  accept(hello: ClientHello, override: CertificateMode | undefined): ServerTls | string {
    const { settings } = this;
    const { serverName } = hello;
    const name = serverName === undefined ? undefined : this.nameFor(serverName);
    if (name === undefined && serverName !== undefined && settings.strictSni) {
      return `there is no certificate for ${serverName}`;
    }
    const certificate = override ?? settings.clientCertificate;
    if (certificate !== 'none' && settings.ca === undefined) {
      return `client-ssl profile ${settings.name} has no "ca" to verify client certificates with`;
    }
    const identities = (name !== undefined && this.byName.get(name)) || this.unnamed();
    const scope = this.scope(name ?? '', identities, certificate);
    const [only] = identities;
    return {
      role: 'server',
      context: this.contextFor(scope, hello.ticket),
      alpn: settings.alpn,
      detachable: settings.detachable,
      certificate,
      ocsp: identities.length === 1 && only !== undefined ? this.staple(only) : undefined,
    };
  }

  /** The name in a certificate that is for a name: itself, or with `*` for the first label (RFC 9525, section 6.3). */
  private nameFor(name: string): string | undefined {
    if (this.byName.has(name)) return name;
    const wildcard = `*${name.slice(name.indexOf('.'))}`;
    return name.includes('.') && this.byName.has(wildcard) ? wildcard : undefined;
  }

  /** For clients whose name no certificate has: the first one, and its twins with other keys. */
  private unnamed(): readonly Identity[] {
    const [first] = this.settings.identities;
    if (first === undefined) return [];
    return this.byName.get(first.names[0] ?? '') ?? [first];
  }

  private scope(
    name: string,
    identities: readonly Identity[],
    certificate: CertificateMode,
  ): Scope {
    const key = `${certificate} ${name}`;
    let scope = this.scopes.get(key);
    if (scope === undefined) {
      const { settings, virtualServer } = this;
      const parts = JSON.stringify([
        ...[virtualServer, settings.name, name, certificate],
        ...[settings.ca ?? '', settings.crl ?? '', ...identities.map(({ leaf }) => leaf)],
      ]);
      const id = createHash('sha256').update(parts).digest('hex');
      scope = { id, identities, certificate, version: -1, keys: [], contexts: [] };
      this.scopes.set(key, scope);
    }
    return scope;
  }

  /** The context with the key that the ticket was made with, or with that for new tickets. */
  private contextFor(scope: Scope, ticket: Uint8Array | undefined): SecureContext {
    const { secrets } = this;
    secrets.rotate();
    if (scope.version !== secrets.version) {
      scope.version = secrets.version;
      scope.keys = secrets.keysFor(scope.id);
      scope.contexts = [];
    }
    const index = ticket ? scope.keys.findIndex((key) => isMadeWith(ticket, key)) : 0;
    return this.contextAt(scope, Math.max(index, 0));
  }

  private contextAt(scope: Scope, index: number): SecureContext {
    const context = scope.contexts[index] ?? this.makeContext(scope, scope.keys[index]);
    scope.contexts[index] = context;
    return context;
  }

  private makeContext(scope: Scope, ticketKeys: Buffer | undefined): SecureContext {
    const { settings } = this;
    const noTickets = settings.sessionTickets ? 0 : constants.SSL_OP_NO_TICKET;
    return createSecureContext({
      ...commonOptions(settings),
      ...identityOptions(scope.identities),
      honorCipherOrder: true,
      ecdhCurve: GROUPS,
      secureOptions: NO_RENEGOTIATION | noTickets,
      sessionTimeout: settings.sessionTimeout,
      // At most 32 characters.
      sessionIdContext: scope.id.slice(0, 32),
      ...(ticketKeys !== undefined && { ticketKeys }),
    });
  }
}

/** For the key exchange, the cheapest first. */
const GROUPS = 'X25519:P-256:P-384';

/** Renegotiation (TLS 1.2) is an attack surface that nobody needs (RFC 9325, section 3.5). */
export const NO_RENEGOTIATION = 0x4000_0000;

const ONE_CRL = /-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g;

export function commonOptions(settings: TlsSettings): SecureContextOptions {
  const { minVersion, maxVersion, ciphers, ca, crl } = settings;
  return {
    minVersion,
    maxVersion,
    ciphers,
    ...(ca !== undefined && { ca }),
    // Node.js reads only the first one of a text.
    ...(crl !== undefined && { crl: crl.match(ONE_CRL) ?? [crl] }),
  };
}

/** Certificates with keys of different types; OpenSSL takes the one that the client can verify. */
export function identityOptions(identities: readonly Identity[]): SecureContextOptions {
  return {
    cert: identities.map(({ material }) => material.cert),
    key: identities.map(({ material }) => material.key),
  };
}

function keyType({ leaf }: Identity): string {
  return new X509Certificate(leaf).publicKey.asymmetricKeyType ?? '';
}
