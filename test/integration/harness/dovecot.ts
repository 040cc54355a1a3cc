import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { makeMessage } from './messages.ts';
import { freePort, run, startServer, temporaryFolder } from './process.ts';

/** The number of nobody and of nogroup: dovecot refuses to hand out mail as root. */
const NOBODY = 65534;

export const PASSWORD = 'correct horse';

/**
 * The accounts. No others can log in: `alice` and `bob` get in only when something makes
 * `alice@example.com` of `alice`, while `dora` exists with the realm left away.
 */
export const users = ['alice@example.com', 'bob@other.example', 'dora'] as const;

/** What every mailbox holds, in order, as POP3 hands it out. */
export const mailbox: readonly string[] = [
  makeMessage('small', 2_000),
  makeMessage('large', 5 * 1024 * 1024),
  makeMessage('last', 1_500),
];

export interface Dovecot {
  readonly port: number;
  /** The user of the next session that dovecot's own log says has logged in. */
  nextLogin(): Promise<string>;
  stop(): Promise<unknown>;
}

/** Starts dovecot as a POP3 server without TLS, for {@link users} with {@link mailbox}. */
export async function startDovecot(): Promise<Dovecot> {
  const self = userInfo();
  const owner = self.uid === 0 ? { uid: NOBODY, gid: NOBODY } : { uid: self.uid, gid: self.gid };
  const folder = temporaryFolder();
  const port = await freePort();
  const file = (name: string, content: string): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    chownSync(path, owner.uid, owner.gid);
    return path;
  };
  const makeFolder = (name: string): void => {
    mkdirSync(join(folder, name));
    chownSync(join(folder, name), owner.uid, owner.gid);
  };
  chownSync(folder, owner.uid, owner.gid);
  for (const name of ['base', 'state', 'mail']) makeFolder(name);
  for (const user of users) {
    for (const part of ['', '/new', '/cur', '/tmp']) makeFolder(`mail/${user}${part}`);
    mailbox.forEach((message, index) => {
      file(`mail/${user}/cur/${1_000 + index}.test:2,`, message.replaceAll('\r\n', '\n'));
    });
  }
  file(
    'passwd',
    users
      .map((user) => `${user}:{PLAIN}${PASSWORD}:${owner.uid}:${owner.gid}::${folder}\n`)
      .join(''),
  );
  const account = self.uid === 0 ? 'nobody' : self.username;
  const group = (await run('id', ['-gn', account])).stdout.trim();
  const config = file('dovecot.conf', configuration(folder, port, account, group));
  const server = await startServer('dovecot', ['-F', '-c', config], port, { folder, ...owner });
  let read = 0;
  return {
    port,
    nextLogin: async () => {
      const lines = await server.stderr.waitFor(/ Login: user=<.*>\n/, read);
      read += lines.length;
      return lines.slice(lines.lastIndexOf('<') + 1, -2);
    },
    stop: () => server.stop(),
  };
}

function configuration(folder: string, port: number, account: string, group: string): string {
  return `
base_dir = ${folder}/base
state_dir = ${folder}/state
log_path = /dev/stderr
auth_verbose = yes
protocols = pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
default_internal_user = ${account}
default_internal_group = ${group}
default_login_user = ${account}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:${folder}/mail/%u
mail_max_userip_connections = 0
login_log_format_elements = login user=<%u>
passdb {
  driver = passwd-file
  args = ${folder}/passwd
}
userdb {
  driver = passwd-file
  args = ${folder}/passwd
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
service pop3-login {
  chroot =
  service_count = 0
  inet_listener pop3 {
    address = 127.0.0.1
    port = ${port}
  }
  inet_listener pop3s {
    port = 0
  }
}
`;
}
