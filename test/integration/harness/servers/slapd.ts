import { freePort, run, startServer } from '../process.ts';
import { ServerFolder } from './server-folder.ts';

/** The directory: its only entry, and who may see and change everything. */
export const directory = {
  base: 'dc=example,dc=com',
  description: 'the only entry',
  admin: 'cn=admin,dc=example,dc=com',
  password: 'correct horse',
} as const;

export interface Slapd {
  readonly port: number;
  stop(): Promise<unknown>;
}

/** Starts slapd without TLS, with {@link directory} in plain files. */
export async function startSlapd(): Promise<Slapd> {
  const folder = await ServerFolder.make();
  const port = await freePort();
  const config = folder.file(
    'slapd.conf',
    `include /etc/ldap/schema/core.schema
pidfile ${folder.path}/pid
access to * by users read by anonymous auth
database ldif
suffix "${directory.base}"
directory ${folder.folder('data')}
rootdn "${directory.admin}"
rootpw "${directory.password}"
`,
  );
  const entry = folder.file(
    'entry.ldif',
    `dn: ${directory.base}
objectClass: dcObject
objectClass: organization
dc: example
o: Example
description: ${directory.description}
`,
  );
  const added = await run(
    'slapadd',
    ['-f', config, '-b', directory.base, '-l', entry],
    folder.processOptions,
  );
  if (added.code !== 0) throw new Error(`slapadd: ${added.stderr}`);
  // A level of debugging, even none at all, keeps slapd in the foreground.
  const server = await startServer(
    'slapd',
    ['-h', `ldap://127.0.0.1:${port}`, '-f', config, '-d', '0'],
    port,
    folder.processOptions,
  );
  return { port, stop: () => server.stop() };
}

/** A simple bind as the directory's admin (RFC 4511, section 4.2). */
export function bindRequest(id: number): Buffer {
  const { admin, password } = directory;
  return message(id, tlv(0x60, tlv(0x02, 3), tlv(0x04, admin), tlv(0x80, password)));
}

/** A search for the only entry, with all attributes (RFC 4511, section 4.5.1). */
export function searchRequest(id: number): Buffer {
  const [baseObject, neverDereference] = [tlv(0x0a, 0), tlv(0x0a, 0)];
  const limits = [tlv(0x02, 0), tlv(0x02, 0)];
  const typesOnly = tlv(0x01, 0);
  const present = tlv(0x87, 'objectClass');
  return message(
    id,
    tlv(
      0x63,
      ...[tlv(0x04, directory.base), baseObject, neverDereference, ...limits, typesOnly],
      ...[present, tlv(0x30)],
    ),
  );
}

/** How a successful result ends: no error, no name, no text. */
export const SUCCESS = '\x0a\x01\x00\x04\x00\x04\x00';

function message(id: number, operation: Buffer): Buffer {
  return tlv(0x30, tlv(0x02, id), operation);
}

/** A value in BER: below 128 bytes long, whole numbers below 128. */
function tlv(tag: number, ...content: readonly (Buffer | string | number)[]): Buffer {
  const value = Buffer.concat(
    content.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))),
  );
  return Buffer.concat([Buffer.of(tag, value.length), value]);
}
