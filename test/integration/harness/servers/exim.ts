import { once } from 'node:events';
import { chmodSync, copyFileSync, readdirSync, readFileSync, rmSync, watch } from 'node:fs';
import { join } from 'node:path';
import { freePort, startServer, within } from '../process.ts';
import { ServerFolder, type ServerTls } from './server-folder.ts';

const EXIM = '/usr/sbin/exim4';
/** The user that Debian's exim is compiled for. */
const EXIM_USER = 'Debian-exim';

/** Who may log in by AUTH PLAIN and AUTH LOGIN. Mail is taken from everybody, for everybody. */
export const eximUser = { name: 'alice@example.com', password: 'correct horse' } as const;

export interface Exim {
  readonly port: number;
  /** Where TLS begins with the first byte; undefined when exim has no TLS. */
  readonly tlsPort: number | undefined;
  /**
   * Waits for the next message and takes it out of the mailbox: byte for byte what followed DATA,
   * dots undone. Exim adds no header.
   */
  nextMessage(): Promise<string>;
  stop(): Promise<unknown>;
}

/** Starts exim as an SMTP server; with `tls` it offers STARTTLS, and implicit TLS. */
export async function startExim(tls?: ServerTls): Promise<Exim> {
  const folder = await ServerFolder.make();
  const port = await freePort();
  const tlsPort = tls === undefined ? undefined : await freePort();
  const listeners = [
    `daemon_smtp_ports = ${[port, tlsPort ?? []].flat().join(' : ')}`,
    ...(tls === undefined ? ['tls_advertise_hosts ='] : tlsSettings(folder, tls)),
    ...(tlsPort === undefined ? [] : [`tls_on_connect_ports = ${tlsPort}`]),
  ];
  const config = folder.file('exim.conf', configuration(folder.path, listeners));
  folder.folder('spool');
  // A maildir: what is in `new` is whole.
  for (const name of ['new', 'tmp', 'cur']) folder.folder(`mail/${name}`);
  // The installed program changes its user. A copy without that mode does not.
  const program = join(folder.path, 'exim');
  copyFileSync(EXIM, program);
  chmodSync(program, 0o755);
  const server = await startServer(
    program,
    ['-C', config, '-bdf', '-oP', join(folder.path, 'pid')],
    port,
    { ...folder.processOptions, env: asEximUser(folder) },
  );
  return {
    port,
    tlsPort,
    nextMessage: () => nextFile(join(folder.path, 'mail/new')),
    stop: () => server.stop(),
  };
}

/** Only root and exim's own user may start a daemon, so the latter's name becomes one of ours. */
function asEximUser(folder: ServerFolder): Record<string, string> {
  const { uid, gid, name, group } = folder.account;
  const users = [name, EXIM_USER].map((user) => `${user}:x:${uid}:${gid}::/:/bin/false\n`);
  const groups = [group, EXIM_USER].map((entry) => `${entry}:x:${gid}:\n`);
  return {
    LD_PRELOAD: 'libnss_wrapper.so',
    NSS_WRAPPER_PASSWD: folder.file('passwd', users.join('')),
    NSS_WRAPPER_GROUP: folder.file('group', groups.join('')),
  };
}

function tlsSettings(folder: ServerFolder, tls: ServerTls): string[] {
  return [
    'tls_advertise_hosts = *',
    `tls_certificate = ${folder.file('cert.pem', tls.cert)}`,
    `tls_privatekey = ${folder.file('key.pem', tls.key, 0o600)}`,
  ];
}

function configuration(path: string, listeners: readonly string[]): string {
  return `
primary_hostname = mail.example.com
exim_path = ${path}/exim
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
spool_directory = ${path}/spool
log_file_path = ${path}/log-%s
local_interfaces = 127.0.0.1
${listeners.join('\n')}
acl_smtp_auth = anybody
acl_smtp_rcpt = anybody
acl_smtp_data = anybody
received_header_text =
host_lookup =
rfc1413_hosts =
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0

begin acl
anybody:
  accept

begin routers
everything:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = ${path}/mail
  maildir_format
  use_crlf

begin authenticators
${authenticator('PLAIN', ':', '$auth2', '$auth3')}
${authenticator('LOGIN', 'Username:: : Password::', '$auth1', '$auth2')}
`;
}

function authenticator(mechanism: string, prompts: string, name: string, password: string): string {
  const isUser = `eq{${name}}{${eximUser.name}}`;
  const isPassword = `eq{${password}}{${eximUser.password}}`;
  return `${mechanism.toLowerCase()}:
  driver = plaintext
  public_name = ${mechanism}
  server_prompts = ${prompts}
  server_condition = \${if and{{${isUser}}{${isPassword}}}}
  server_set_id = ${name}
  server_advertise_condition = true`;
}

/** Exim delivers after it has answered. */
async function nextFile(folder: string): Promise<string> {
  const changes = watch(folder);
  try {
    for (;;) {
      const changed = once(changes, 'change');
      const [name] = readdirSync(folder);
      if (name !== undefined) {
        const path = join(folder, name);
        const message = readFileSync(path, 'latin1');
        rmSync(path);
        return message;
      }
      await within(10_000, 'exim to deliver a message', () => changed);
    }
  } finally {
    changes.close();
  }
}
