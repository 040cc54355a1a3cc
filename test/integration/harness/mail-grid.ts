import type { Dovecot } from './dovecot.ts';
import type { Exim } from './servers/exim.ts';

const protocols = ['pop3', 'imap', 'smtp'] as const;
export type MailProtocol = (typeof protocols)[number];

/** How TLS begins on one side: not at all, by a command, or with the first byte. */
const securities = ['plain', 'starttls', 'implicit'] as const;
export type Security = (typeof securities)[number];

/** How TLS begins on both sides. */
export interface Cell {
  readonly name: string;
  readonly client: Security;
  readonly server: Security;
}

export function cell(client: Security, server: Security): Cell {
  return { name: `client ${client}, server ${server}`, client, server };
}

/** Every way to have TLS on one side with every way to have it on the other. */
export const cells: readonly Cell[] = securities.flatMap((client) =>
  securities.map((server) => cell(client, server)),
);

/** The name of the virtual server for a protocol in a cell. */
export function virtualServerName(protocol: MailProtocol, { client, server }: Cell): string {
  return `${protocol}.${client}.${server}`;
}

/** Whom a client logs in as: a rule on its side adds the realm. */
export function userIn({ client }: Cell): string {
  return client === 'plain' ? 'alice@example.com' : 'alice';
}

/** Ports of 127.0.0.1. */
export type MailPorts = Readonly<Record<MailProtocol, Readonly<Record<Security, number>>>>;

/** Where these servers listen: those with STARTTLS serve plaintext as well. */
export function portsOf(dovecot: Dovecot, exim: Exim): MailPorts {
  const { port, tlsPort } = exim;
  if (tlsPort === undefined) throw new Error('exim has no TLS');
  const [pop3, imap] = [dovecot.portOf('pop3'), dovecot.portOf('imap')];
  return {
    pop3: { plain: pop3, starttls: pop3, implicit: dovecot.portOf('pop3s') },
    imap: { plain: imap, starttls: imap, implicit: dovecot.portOf('imaps') },
    smtp: { plain: port, starttls: port, implicit: tlsPort },
  };
}

/**
 * A virtual server for every protocol in each of the cells. It shows the certificate in cert.pem, and
 * trusts the one in server.pem.
 */
export function gridConfig(ports: MailPorts, some: readonly Cell[]): object {
  const virtualServers = protocols.flatMap((protocol) =>
    some.map((one) => [virtualServerName(protocol, one), virtualServer(protocol, one)]),
  );
  const pools = protocols.flatMap((protocol) =>
    securities.map((security) => [
      `${protocol}.${security}`,
      { members: [`127.0.0.1:${ports[protocol][security]}`] },
    ]),
  );
  return {
    virtualServers: Object.fromEntries(virtualServers),
    pools: Object.fromEntries(pools),
    profiles: {
      clientSsl: { own: { cert: 'cert.pem', key: 'key.pem' } },
      serverSsl: { trusting: { ca: 'server.pem' } },
    },
  };
}

function virtualServer(protocol: MailProtocol, { client, server }: Cell): object {
  const upstream = { rule: 'starttls-upstream', options: { protocol } };
  const own = { rule: `${protocol}-starttls`, options: { tls: client, realm: 'example.com' } };
  return {
    listen: '127.0.0.1:0',
    ...(client === 'plain' ? {} : { clientSsl: 'own' }),
    ...(server === 'plain' ? {} : { serverSsl: 'trusting' }),
    pool: `${protocol}.${server}`,
    rules: [...(server === 'starttls' ? [upstream] : []), ...(client === 'plain' ? [] : [own])],
  };
}

/** Whether this is TLS records and nothing else (RFC 8446, section 5.1). The last may be cut off. */
export function isTls(bytes: string): boolean {
  const data = Buffer.from(bytes, 'latin1');
  let at = 0;
  while (at + 5 <= data.length) {
    const [type = 0, version] = data.subarray(at);
    if (type < 20 || type > 23 || version !== 3) return false;
    at += 5 + data.readUInt16BE(at + 3);
  }
  return at > 0;
}

/** What exim delivers, while several clients send at the same time. */
export class Deliveries {
  private readonly messages = new Map<string, string>();
  private next: Promise<void> | undefined;

  constructor(private readonly exim: Exim) {}

  /** Waits for the message with this subject, and takes it. */
  async take(subject: string): Promise<string> {
    for (;;) {
      const message = this.messages.get(subject);
      if (message !== undefined) {
        this.messages.delete(subject);
        return message;
      }
      this.next ??= this.store().finally(() => {
        this.next = undefined;
      });
      await this.next;
    }
  }

  private async store(): Promise<void> {
    const message = await this.exim.nextMessage();
    const [, subject = ''] = /^Subject: (.*)\r$/m.exec(message) ?? [];
    this.messages.set(subject, message);
  }
}
