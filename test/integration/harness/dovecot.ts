import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeMessage } from './messages.ts';
import { freePort, startServer } from './process.ts';
import { ServerFolder, type ServerTls } from './servers/server-folder.ts';

export const PASSWORD = 'correct horse';

/**
 * The accounts. No others can log in: `alice` and `bob` get in only when something makes
 * `alice@example.com` of `alice`, while `dora` exists with the realm left away.
 */
export const users = ['alice@example.com', 'bob@other.example', 'dora'] as const;

/** What every mailbox holds, in order, as POP3 and IMAP hand it out. */
export const mailbox: readonly string[] = [
  makeMessage('small', 2_000),
  makeMessage('large', 5 * 1024 * 1024),
  makeMessage('last', 1_500),
];

/** Where dovecot can listen: plaintext, with STARTTLS if it has TLS, or implicit TLS with an s. */
export type DovecotListener = 'pop3' | 'pop3s' | 'imap' | 'imaps' | 'sieve' | 'lmtp';

/** What dovecot can serve. POP3 and IMAP also have a listener for implicit TLS. */
const services = {
  pop3: { name: 'pop3-login', implicitTls: 'pop3s' },
  imap: { name: 'imap-login', implicitTls: 'imaps' },
  sieve: { name: 'managesieve-login', implicitTls: undefined },
  lmtp: { name: 'lmtp', implicitTls: undefined },
} as const;

export type DovecotProtocol = keyof typeof services;

export interface DovecotOptions {
  /** By default POP3 alone. */
  readonly protocols?: readonly [DovecotProtocol, ...DovecotProtocol[]];
  /** By default all is plaintext. */
  readonly tls?: ServerTls;
}

export interface Dovecot {
  /** The port of the first protocol. */
  readonly port: number;
  /** @throws Error when it does not listen there */
  portOf(listener: DovecotListener): number;
  /** The user of the next session that dovecot's own log says has logged in. */
  nextLogin(): Promise<string>;
  /** The messages of a user that were delivered and not looked at since, as they are stored. */
  delivered(user: (typeof users)[number]): readonly string[];
  stop(): Promise<unknown>;
}

type Ports = ReadonlyMap<DovecotListener, number>;

/** Starts dovecot for {@link users} with {@link mailbox}. */
export async function startDovecot(options: DovecotOptions = {}): Promise<Dovecot> {
  const folder = await ServerFolder.make();
  const served = options.protocols ?? ['pop3'];
  const ports = await choosePorts(served, options.tls !== undefined);
  const portOf = (listener: DovecotListener): number => {
    const port = ports.get(listener);
    if (port === undefined) throw new Error(`dovecot does not listen for ${listener}`);
    return port;
  };
  for (const name of ['base', 'state']) folder.folder(name);
  for (const user of users) fillMailbox(folder, user);
  const { uid, gid } = folder.account;
  folder.file(
    'passwd',
    users.map((user) => `${user}:{PLAIN}${PASSWORD}:${uid}:${gid}::${folder.path}\n`).join(''),
  );
  const config = folder.file('dovecot.conf', configuration(folder, served, ports, options.tls));
  const port = portOf(served[0]);
  const server = await startServer('dovecot', ['-F', '-c', config], port, folder.processOptions);
  let read = 0;
  return {
    port,
    portOf,
    nextLogin: async () => {
      const lines = await server.stderr.waitFor(/ Login: user=<.*>\n/, read);
      read += lines.length;
      return lines.slice(lines.lastIndexOf('<') + 1, -2);
    },
    delivered: (user) => {
      const place = join(folder.path, 'mail', user, 'new');
      return readdirSync(place).map((name) => readFileSync(join(place, name), 'latin1'));
    },
    stop: () => server.stop(),
  };
}

async function choosePorts(served: readonly DovecotProtocol[], tls: boolean): Promise<Ports> {
  const ports = new Map<DovecotListener, number>();
  for (const name of served) {
    ports.set(name, await freePort());
    const { implicitTls } = services[name];
    if (tls && implicitTls !== undefined) ports.set(implicitTls, await freePort());
  }
  return ports;
}

function fillMailbox(folder: ServerFolder, user: string): void {
  for (const part of ['new', 'cur', 'tmp']) folder.folder(`mail/${user}/${part}`);
  mailbox.forEach((message, index) => {
    folder.file(`mail/${user}/cur/${1_000 + index}.test:2,`, message.replaceAll('\r\n', '\n'));
  });
}

function configuration(
  folder: ServerFolder,
  served: readonly DovecotProtocol[],
  ports: Ports,
  tls: ServerTls | undefined,
): string {
  const { path, account } = folder;
  return `
base_dir = ${path}/base
state_dir = ${path}/state
log_path = /dev/stderr
auth_verbose = yes
protocols = ${served.join(' ')}
listen = 127.0.0.1
${tlsSettings(folder, tls)}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
default_internal_user = ${account.name}
default_internal_group = ${account.group}
default_login_user = ${account.name}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:${path}/mail/%u
mail_max_userip_connections = 0
login_log_format_elements = login user=<%u>
passdb {
  driver = passwd-file
  args = ${path}/passwd
}
userdb {
  driver = passwd-file
  args = ${path}/passwd
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
${served.map((protocol) => service(protocol, ports)).join('')}`;
}

function tlsSettings(folder: ServerFolder, tls: ServerTls | undefined): string {
  if (tls === undefined) return 'ssl = no';
  return `ssl = yes
ssl_cert = <${folder.file('cert.pem', tls.cert)}
ssl_key = <${folder.file('key.pem', tls.key)}`;
}

function service(protocol: DovecotProtocol, ports: Ports): string {
  const { name, implicitTls } = services[protocol];
  return `service ${name} {
  chroot =
  service_count = 0
  inet_listener ${protocol} {
    address = 127.0.0.1
    port = ${ports.get(protocol)}
  }
${implicitTls === undefined ? '' : tlsListener(implicitTls, ports)}}
`;
}

/** Port 0 keeps dovecot from listening where it does by default. */
function tlsListener(name: DovecotListener, ports: Ports): string {
  return `  inet_listener ${name} {
    address = 127.0.0.1
    port = ${ports.get(name) ?? 0}
    ssl = yes
  }
`;
}
