import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { freePort, run, startServer } from '../process.ts';
import { ServerFolder } from './server-folder.ts';

/** SQL that makes the tables of a new server. */
const SYSTEM_TABLES = ['mysql_system_tables.sql', 'mysql_system_tables_data.sql'];

/** Who may log in, by mysql_native_password. */
export const mariadbUser = { name: 'porter', password: 'correct horse' } as const;

export interface Mariadb {
  readonly port: number;
  stop(): Promise<unknown>;
}

/** Starts MariaDB without TLS, for {@link mariadbUser}. */
export async function startMariadb(): Promise<Mariadb> {
  const folder = await ServerFolder.make();
  const port = await freePort();
  // InnoDB would write a hundred megabytes first.
  const options = [
    ...['--no-defaults', `--datadir=${folder.folder('data')}`],
    ...['--skip-innodb', '--default-storage-engine=Aria'],
  ];
  // In place of mariadb-install-db: only the tables without which the server does not start.
  const made = await run('mariadbd', [...options, '--bootstrap'], {
    ...folder.processOptions,
    input: [
      'CREATE DATABASE mysql;',
      'USE mysql;',
      ...SYSTEM_TABLES.map((name) => readFileSync(`/usr/share/mysql/${name}`, 'utf8')),
      'FLUSH PRIVILEGES;',
      `CREATE USER ${mariadbUser.name} IDENTIFIED VIA mysql_native_password USING PASSWORD('${mariadbUser.password}');`,
      '',
    ].join('\n'),
  });
  if (made.code !== 0) throw new Error(`mariadbd --bootstrap: ${made.stderr}`);
  const server = await startServer(
    'mariadbd',
    [
      ...options,
      ...['--bind-address=127.0.0.1', `--port=${port}`, `--socket=${folder.path}/socket`],
      ...[`--pid-file=${folder.path}/pid`, '--skip-name-resolve', '--skip-ssl'],
    ],
    port,
    folder.processOptions,
  );
  return { port, stop: () => server.stop() };
}

/**
 * The capabilities that OpenSSL's s_client announces when it asks for TLS. Those that count here:
 * the user's plugin has a name, its answer a length, and attributes of the connection follow.
 */
const CAPABILITIES = 0x007fae85;
const MAX_PACKET = 0x01000000;
const UTF8 = 33;

/** A packet, numbered in the order of a command and its answer. */
export function mysqlPacket(sequence: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUIntLE(payload.length, 0, 3);
  header.writeUInt8(sequence, 3);
  return Buffer.concat([header, payload]);
}

/**
 * The answer to the server's greeting, by a client that has not seen its challenge: it names a
 * plugin that the user does not have, and so is asked again.
 */
export function handshakeResponse(): Buffer {
  const head = Buffer.alloc(32);
  head.writeUInt32LE(CAPABILITIES, 0);
  head.writeUInt32LE(MAX_PACKET, 4);
  head.writeUInt8(UTF8, 8);
  const noAnswer = '\0';
  const noAttributes = '\0';
  return Buffer.concat([
    head,
    Buffer.from(`${mariadbUser.name}\0${noAnswer}mysql_clear_password\0${noAttributes}`),
  ]);
}

/** The proof that the user knows the password, for the plugin mysql_native_password. */
export function nativeProof(challenge: Buffer): Buffer {
  const sha1 = (...parts: Buffer[]): Buffer =>
    createHash('sha1').update(Buffer.concat(parts)).digest();
  const once = sha1(Buffer.from(mariadbUser.password));
  const mask = sha1(challenge, sha1(once));
  return Buffer.from(once.map((byte, index) => byte ^ (mask[index] ?? 0)));
}
