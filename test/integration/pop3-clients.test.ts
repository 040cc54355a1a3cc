import { beforeAll, describe, expect, test } from 'vitest';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import {
  bodyOf,
  type Mode,
  readBodiesWithFetchmail,
  readWithCurl,
  readWithOpenssl,
  readWithPoplib,
  type Task,
} from './harness/clients.ts';
import { type Dovecot, mailbox, startDovecot } from './harness/dovecot.ts';
import { sha256 } from './harness/messages.ts';
import { certificateFiles, pop3Config } from './harness/pop3.ts';
import { type Portreeve, startPortreeve } from './harness/portreeve.ts';

// Whatever a client reads through Portreeve must be, byte for byte, what dovecot's mailbox holds.

const digests = mailbox.map(sha256);
const bodies = mailbox
  .map((message) => bodyOf(message, '\r\n').replaceAll('\r\n', '\n'))
  .map(sha256);

/** As typed by the user, and as dovecot must hear it. */
const names = [
  ['alice', 'alice@example.com'],
  ['bob@other.example', 'bob@other.example'],
] as const;

const modes: readonly Mode[] = ['plain', 'stls', 'implicit'];
const cells = modes.flatMap((mode) => names.map(([user, heard]) => ({ mode, user, heard })));

let certificate: Certificate;
let dovecot: Dovecot;
let portreeve: Portreeve;

beforeAll(async () => {
  certificate = await makeCertificate();
  dovecot = await startDovecot();
  const servers = { pop3: {}, pop3s: { options: { tls: 'implicit' } } } as const;
  const config = pop3Config(dovecot.port, servers);
  portreeve = await startPortreeve(config, certificateFiles(certificate));
  return async () => {
    await portreeve.stop();
  };
});

function task(mode: Mode, user: string): Task {
  const port = portreeve.port(mode === 'implicit' ? 'pop3s' : 'pop3');
  return { mode, user, port, ca: certificate.certFile };
}

describe('poplib', () => {
  test.each(cells)('$mode as $user', async ({ mode, user, heard }) => {
    const [session] = await readWithPoplib(task(mode, user));
    expect(session?.messages).toEqual(digests);
    expect(await dovecot.nextLogin()).toBe(heard);
    if (mode !== 'implicit') expect(session?.before).toHaveProperty('STLS');
    if (mode === 'plain') expect(session?.capabilities).toHaveProperty('STLS');
    else expect(session?.capabilities).not.toHaveProperty('STLS');
    expect(session?.capabilities).toHaveProperty('UIDL');
  });

  test('50 sessions at a time', async () => {
    const sessions = await readWithPoplib({ ...task('stls', 'alice') }, 50);
    expect(sessions).toHaveLength(50);
    for (const session of sessions) expect(session.messages).toEqual(digests);
    for (let n = 0; n < 50; n++) expect(await dovecot.nextLogin()).toBe('alice@example.com');
  });
});

describe('openssl s_client', () => {
  const secure = cells.filter((cell) => cell.mode !== 'plain');

  test.each(secure)('$mode as $user', async ({ mode, user, heard }) => {
    expect(await readWithOpenssl(task(mode, user), mailbox.length)).toEqual(digests);
    expect(await dovecot.nextLogin()).toBe(heard);
  });
});

describe('curl', () => {
  const ways = ['PLAIN', 'LOGIN'].flatMap((mechanism) => [
    { mechanism, how: 'asked for', options: ['--login-options', `AUTH=${mechanism}`] },
    {
      mechanism,
      how: 'at once',
      options: ['--login-options', `AUTH=${mechanism}`, '--sasl-ir'],
    },
  ]);

  describe.each(ways)('AUTH $mechanism, credentials $how', ({ mechanism, how, options }) => {
    test.each(cells)('$mode as $user', async ({ mode, user, heard }) => {
      const { digests: read, dialogue } = await readWithCurl(task(mode, user), 2, options);
      expect(read).toEqual(digests.slice(0, 2));
      expect(await dovecot.nextLogin()).toBe(heard);
      expect(await dovecot.nextLogin()).toBe(heard);
      const command = how === 'at once' ? `> AUTH ${mechanism} ` : `> AUTH ${mechanism}\r\n`;
      expect(dialogue).toContain(command);
    });
  });
});

describe('fetchmail', () => {
  test.each(cells)('$mode as $user', async ({ mode, user, heard }) => {
    const read = await readBodiesWithFetchmail(task(mode, user));
    expect([...read].sort()).toEqual([...bodies].sort());
    expect(await dovecot.nextLogin()).toBe(heard);
  });
});

describe('every client verifies the certificate', () => {
  const clients = {
    poplib: readWithPoplib,
    openssl: (work: Task) => readWithOpenssl(work, 1),
    curl: (work: Task) => readWithCurl(work, 1),
    fetchmail: readBodiesWithFetchmail,
  };

  test.each(Object.entries(clients))('%s', async (_name, read) => {
    const stranger = await makeCertificate();
    await expect(read({ ...task('stls', 'alice'), ca: stranger.certFile })).rejects.toThrow(
      /certificate/i,
    );
  });
});
