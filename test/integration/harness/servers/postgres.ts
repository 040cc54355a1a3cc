import { readdirSync } from 'node:fs';
import { freePort, run, startServer } from '../process.ts';
import { ServerFolder } from './server-folder.ts';

/** Debian keeps the programs of each version in a folder of its own, outside the search path. */
const VERSIONS = '/usr/lib/postgresql';

/** Who may log in, by SCRAM-SHA-256; to the database `clear` of passwords also in clear text. */
export const postgresUser = {
  name: 'porter',
  password: 'correct horse',
  /** The database where the server asks for the password itself. */
  clearDatabase: 'template1',
  /** The database where it asks for a proof by SCRAM-SHA-256. */
  scramDatabase: 'postgres',
} as const;

export interface Postgres {
  readonly port: number;
  stop(): Promise<unknown>;
}

/** Starts PostgreSQL without TLS, for {@link postgresUser}. */
export async function startPostgres(): Promise<Postgres> {
  const folder = await ServerFolder.make();
  const port = await freePort();
  const programs = newestPrograms();
  const data = `${folder.path}/data`;
  const made = await run(
    `${programs}/initdb`,
    [
      ...['-D', data, '--no-sync', '--no-locale', '--encoding', 'UTF8', '--auth', 'scram-sha-256'],
      ...['--username', postgresUser.name, '--pwfile', folder.file('password', 'correct horse\n')],
    ],
    folder.processOptions,
  );
  if (made.code !== 0) throw new Error(`initdb: ${made.stderr}`);
  folder.file(
    'data/pg_hba.conf',
    `host ${postgresUser.clearDatabase} all 127.0.0.1/32 password
host ${postgresUser.scramDatabase} all 127.0.0.1/32 scram-sha-256
`,
  );
  const server = await startServer(
    `${programs}/postgres`,
    [
      ...['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', folder.path],
      ...['-c', 'fsync=off', '-c', 'ssl=off'],
    ],
    port,
    folder.processOptions,
  );
  return { port, stop: () => server.stop() };
}

function newestPrograms(): string {
  try {
    const [newest] = readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a));
    if (newest !== undefined) return `${VERSIONS}/${newest}/bin`;
  } catch {
    // Said below.
  }
  throw new Error('postgres is not installed; on Debian: apt-get install postgresql');
}

/** What a client sends first: protocol 3.0, its user and database. */
export function startupMessage(): Buffer {
  const { name, clearDatabase } = postgresUser;
  const body = `\0\x03\0\0user\0${name}\0database\0${clearDatabase}\0\0`;
  return Buffer.concat([length(body), Buffer.from(body)]);
}

/** A later message: its type, and its body with the NUL that ends it. */
export function postgresMessage(type: string, body: string): Buffer {
  return Buffer.concat([Buffer.from(type), length(body), Buffer.from(body)]);
}

/** The length counts itself. */
function length(body: string): Buffer {
  const field = Buffer.alloc(4);
  field.writeUInt32BE(Buffer.byteLength(body) + 4);
  return field;
}
