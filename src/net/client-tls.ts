import { existsSync, readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Endpoint } from '../core/types.ts';
import {
  commonOptions,
  type Identity,
  identityOptions,
  NO_RENEGOTIATION,
  type TlsSettings,
} from './server-tls.ts';
import type { ClientTls } from './tls-start.ts';

/** What TLS towards servers is made of. */
export interface ClientTlsSettings extends TlsSettings {
  readonly verify: boolean;
  /** Absent: the member's host. */
  readonly serverName?: string;
  /** Shown when the server asks for a certificate. */
  readonly identity?: Identity;
}

/** Sessions kept for resumption, of so many servers. */
const MOST_SESSIONS = 1000;

/** Where systems keep the authorities that they trust. */
const SYSTEM_AUTHORITIES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** TLS towards the servers of one virtual server. */
export class ClientTlsProfile {
  private readonly context: SecureContext;
  private readonly sessions = new Map<string, Buffer>();

  constructor(private readonly settings: ClientTlsSettings) {
    const { identity, ca = systemAuthorities() } = settings;
    this.context = createSecureContext({
      ...commonOptions(settings),
      ...(identity !== undefined && identityOptions([identity])),
      ...(ca !== undefined && { ca }),
      secureOptions: NO_RENEGOTIATION,
    });
  }

  connect(server: Endpoint): ClientTls {
    const { settings, sessions } = this;
    // Neither SNI nor certificates have the dot of a root (RFC 6066, section 3).
    const serverName = (settings.serverName ?? server.host ?? server.address).replace(/\.$/, '');
    const key = `${server.address} ${server.port} ${serverName}`;
    return {
      role: 'client',
      context: this.context,
      alpn: settings.alpn,
      detachable: settings.detachable,
      serverName,
      verify: settings.verify,
      session: sessions.get(key),
      onSession: (session) => this.keep(key, session),
    };
  }

  private keep(key: string, session: Buffer): void {
    const { sessions } = this;
    sessions.delete(key);
    sessions.set(key, session);
    const [oldest] = sessions.keys();
    if (sessions.size > MOST_SESSIONS && oldest !== undefined) sessions.delete(oldest);
  }
}

/** Undefined: those that come with Node.js. */
function systemAuthorities(): string | undefined {
  const file = SYSTEM_AUTHORITIES.find((path) => existsSync(path));
  return file && readFileSync(file, 'utf8');
}
