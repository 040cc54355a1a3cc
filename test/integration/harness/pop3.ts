import type { Certificate } from './certificate.ts';

export const REALM = 'example.com';

/** A virtual server for {@link pop3Config}; what is left away is as in a common installation. */
export interface MailServer {
  readonly listen?: string;
  readonly tcp?: string;
  /** Options of the bundled rule, besides the realm. */
  readonly options?: { readonly tls?: 'starttls' | 'implicit'; readonly requireTls?: boolean };
}

/** A configuration that puts TLS in front of the POP3 server on a port of 127.0.0.1. */
export function pop3Config(
  backendPort: number,
  servers: Readonly<Record<string, MailServer>>,
): object {
  const virtualServers = Object.entries(servers).map(([name, server]) => [
    name,
    {
      listen: server.listen ?? '127.0.0.1:0',
      clientSsl: 'mail',
      pool: 'dovecot',
      ...(server.tcp === undefined ? {} : { tcp: server.tcp }),
      rules: [{ rule: 'pop3-starttls', options: { realm: REALM, ...server.options } }],
    },
  ]);
  return {
    virtualServers: Object.fromEntries(virtualServers),
    pools: { dovecot: { members: [`127.0.0.1:${backendPort}`] } },
    profiles: {
      clientSsl: { mail: { cert: 'cert.pem', key: 'key.pem' } },
      tcp: { short: { collectTimeout: '500ms', handshakeTimeout: '500ms' } },
    },
  };
}

/** The files that {@link pop3Config} names. */
export function certificateFiles(certificate: Certificate): Record<string, string> {
  return { 'cert.pem': certificate.cert, 'key.pem': certificate.key };
}
