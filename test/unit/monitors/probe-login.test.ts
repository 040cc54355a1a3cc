import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LoginMonitor } from '../../../src/monitors/index.ts';
import { type KeyPair, Pki } from '../net/pki.ts';
import { type Answers, outcome, SOON, speakLines, TestServer, THEN_TLS, timing } from './lab.ts';

const PASSWORD = 'pass "word" ä\\';
/** As it is on the wire, one character a byte. */
const WIRE_PASSWORD = Buffer.from(PASSWORD).toString('latin1');

type Name = LoginMonitor['type'];

/** A server's part in a protocol. */
interface Protocol {
  readonly greeting: string;
  readonly goAhead: string;
  readonly starttls: string;
  /** What it says inside a session; the log-in is right only as these lines. */
  readonly answers: Answers;
  /** What it gets when all is well, without and with STARTTLS. */
  readonly session: readonly string[];
  /** What it says to the line with the password, if that is wrong. */
  readonly refusal: string;
  /** The message about it. */
  readonly refused: string;
}

const IMAP_LOGIN = `a LOGIN "alice@example.com" "${WIRE_PASSWORD.replace(/["\\]/g, '\\$&')}"`;
const PLAIN = Buffer.from(`\0alice@example.com\0${PASSWORD}`).toString('base64');

const protocols: Readonly<Record<Name, Protocol>> = {
  pop3: {
    greeting: '+OK ready\r\n',
    starttls: 'STLS',
    goAhead: '+OK begin\r\n',
    answers: table({
      'USER alice@example.com': '+OK\r\n',
      [`PASS ${WIRE_PASSWORD}`]: '+OK in\r\n',
      QUIT: '+OK\r\n',
    }),
    session: ['USER alice@example.com', `PASS ${WIRE_PASSWORD}`, 'QUIT'],
    refusal: '-ERR [AUTH] no\r\n',
    refused: "the answer to PASS was '-ERR [AUTH] no', not +OK",
  },
  imap: {
    greeting: '* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n',
    starttls: 'a STARTTLS',
    goAhead: 'a OK begin\r\n',
    answers: table({
      [IMAP_LOGIN]: '* CAPABILITY IMAP4rev1\r\na OK in\r\n',
      'a LOGOUT': '* BYE\r\na OK\r\n',
    }),
    session: [IMAP_LOGIN, 'a LOGOUT'],
    refusal: 'a NO [AUTHENTICATIONFAILED] no\r\n',
    refused: "the answer to LOGIN was 'a NO [AUTHENTICATIONFAILED] no', not OK",
  },
  smtp: {
    greeting: '220-mail.example.com\r\n220 ready\r\n',
    starttls: 'STARTTLS',
    goAhead: '220 begin\r\n',
    answers: table({
      'EHLO [127.0.0.1]': '250-hello\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n',
      [`AUTH PLAIN ${PLAIN}`]: '235 in\r\n',
      QUIT: '221 bye\r\n',
    }),
    session: ['EHLO [127.0.0.1]', `AUTH PLAIN ${PLAIN}`, 'QUIT'],
    refusal: '535 5.7.8 no\r\n',
    refused: "the answer to AUTH PLAIN was '535 5.7.8 no', not 235",
  },
  ftp: {
    greeting: '120 soon\r\n220-Files\r\n 220 within\r\n220 ready\r\n',
    starttls: 'AUTH TLS',
    goAhead: '234 begin\r\n',
    answers: table({
      'USER alice@example.com': '331 password?\r\n',
      [`PASS ${WIRE_PASSWORD}`]: '230 in\r\n',
      QUIT: '221 bye\r\n',
    }),
    session: ['USER alice@example.com', `PASS ${WIRE_PASSWORD}`, 'QUIT'],
    refusal: '530 no\r\n',
    refused: "the answer to PASS was '530 no', not 230 or 202",
  },
};

const names = Object.keys(protocols) as Name[];

/** Answers by line. */
function table(answers: Readonly<Record<string, string>>): Answers {
  return (line) => answers[line];
}

let pki: Pki;
let pair: KeyPair;

beforeAll(async () => {
  pki = await Pki.open();
  pair = await pki.server(['127.0.0.1'], { days: 5 });
});

afterAll(() => pki.close());

function monitor(type: Name, settings: Partial<LoginMonitor> = {}): LoginMonitor {
  return {
    ...{ ...timing, type, tls: 'none', verify: true, ca: pki.ca },
    ...{ login: { user: 'alice@example.com', password: PASSWORD }, ...settings },
  };
}

/** A good server, except that it says other things to some lines. */
function serverOf(name: Name, other: Answers = () => undefined, heard: string[] = []) {
  const { greeting, starttls, goAhead, answers, refusal } = protocols[name];
  const all: Answers = (line) =>
    other(line) ?? (line === starttls ? `${goAhead}${THEN_TLS}` : (answers(line) ?? refusal));
  return TestServer.start(speakLines(greeting, all, pair, heard));
}

describe.each(names)('%s', (name) => {
  const { greeting, starttls, goAhead, session, refused } = protocols[name];

  test('logs in and out', async () => {
    const heard: string[] = [];
    const server = await serverOf(name, undefined, heard);
    expect(await outcome(server.endpoint, monitor(name))).toBe('');
    await server.untilClosed();
    expect(heard).toEqual(session);
    expect(server.errors).toEqual([]);
  });

  test('logs in behind STARTTLS', async () => {
    const heard: string[] = [];
    const server = await serverOf(name, undefined, heard);
    expect(await outcome(server.endpoint, monitor(name, { tls: 'starttls' }))).toBe('');
    await server.untilClosed();
    const before = name === 'smtp' ? ['EHLO [127.0.0.1]'] : [];
    expect(heard).toEqual([...before, starttls, ...session]);
  });

  test('logs in inside implicit TLS', async () => {
    const { answers } = protocols[name];
    const server = await TestServer.start(speakLines(greeting, answers), pair);
    expect(await outcome(server.endpoint, monitor(name, { tls: 'implicit' }))).toBe('');
    await server.untilClosed();
  });

  test('passes without a log-in where there is none', async () => {
    const heard: string[] = [];
    const server = await serverOf(name, undefined, heard);
    const { login: _, ...settings } = monitor(name);
    expect(await outcome(server.endpoint, settings)).toBe('');
    expect(heard).toEqual(session.filter((line) => /^EHLO|QUIT|LOGOUT/.test(line)));
  });

  test('says that a password is wrong', async () => {
    const server = await serverOf(name);
    const login = { user: 'alice@example.com', password: 'wrong' };
    expect(await outcome(server.endpoint, monitor(name, { login }))).toBe(refused);
    await server.untilClosed();
  });

  test('does not show a password that the server repeats', async () => {
    const last = session.at(-2) ?? '';
    for (const change of [String, (text: string) => text.toUpperCase()]) {
      const repeats = (line: string) => (line === last ? `9xx ${change(last)}\r\n` : undefined);
      const server = await serverOf(name, repeats);
      const said = await outcome(server.endpoint, monitor(name));
      expect(said).toMatch(/\*\*\*/);
      expect(said.toLowerCase()).not.toMatch(/word|cgfzc/);
    }
  });

  test('sends nothing that does not stay in its line', async () => {
    const heard: string[] = [];
    const server = await serverOf(name, undefined, heard);
    const user = (text: string) =>
      outcome(server.endpoint, monitor(name, { login: { user: text, password: 'a\r\nb' } }));
    expect(await user('a\nQUIT')).toBe('the user name holds CR, LF or NUL');
    expect(await user('a')).toBe('the password holds CR, LF or NUL');
    expect(heard.filter((line) => !line.startsWith('EHLO'))).toEqual([]);
  });

  test('refuses a greeting that is none', async () => {
    const server = await TestServer.start(speakLines('HTTP/1.1 400 Bad\r\n', () => undefined));
    const expected = { pop3: '+OK', imap: '* OK', smtp: '220', ftp: '120 or 220' }[name];
    expect(await outcome(server.endpoint, monitor(name))).toBe(
      `the greeting was 'HTTP/1.1 400 Bad', not ${expected}`,
    );
  });

  test('ends at its deadline when nothing comes, or nothing but the greeting', async () => {
    const silent = await TestServer.start(() => {});
    const stuck = await TestServer.start((socket) => socket.write(greeting));
    const half = await TestServer.start((socket) => socket.write(greeting.slice(0, 3)));
    const said = await Promise.all(
      [silent, stuck, half].map(({ endpoint }) => outcome(endpoint, monitor(name), SOON)),
    );
    expect(said[0]).toBe('no greeting: timed out');
    expect(said[1]).toMatch(/^no answer to \w+: timed out$/);
    expect(said[2]).toMatch(/^no greeting: timed out; '.{3}' came$/);
    for (const server of [silent, stuck, half]) await server.untilClosed();
  });

  test('passes where the server closes instead of saying good-bye, not where it is silent', async () => {
    const end = session.at(-1) ?? '';
    const closes = (socket: Socket) => {
      const answers: Answers = (line) => {
        if (line !== end) return protocols[name].answers(line);
        socket.end();
        return undefined;
      };
      speakLines(greeting, answers)(socket);
    };
    const closing = await TestServer.start(closes);
    expect(await outcome(closing.endpoint, monitor(name))).toBe('');
    const silent = await serverOf(name, (line) => (line === end ? '' : undefined));
    expect(await outcome(silent.endpoint, monitor(name), SOON)).toBe('no good-bye: timed out');
  });

  test('logs in where the server sends a byte at a time', async () => {
    const drips = (socket: Socket) => {
      const slow = {
        write(text: string) {
          for (const letter of text) socket.write(letter, 'latin1');
        },
        on: socket.on.bind(socket),
      };
      speakLines(greeting, protocols[name].answers)(slow as unknown as Socket);
    };
    const server = await TestServer.start(drips);
    expect(await outcome(server.endpoint, monitor(name))).toBe('');
  });

  test('takes nothing that is glued behind the answer to STARTTLS', async () => {
    const heard: string[] = [];
    const glued = (line: string) =>
      line === starttls ? `${goAhead}${greeting}${THEN_TLS}` : undefined;
    const server = await serverOf(name, glued, heard);
    const said = await outcome(server.endpoint, monitor(name, { tls: 'starttls' }));
    expect(said).toMatch(/^the server sent '.*' in plaintext where TLS begins$/);
    await server.untilClosed();
    expect(heard.at(-1)).toBe(starttls);
  });

  test('says nothing in plaintext where STARTTLS is refused, or plaintext follows', async () => {
    const { refusal } = protocols[name];
    const heard: string[] = [];
    const refusing = await serverOf(
      name,
      (line) => (line === starttls ? refusal : undefined),
      heard,
    );
    const settings = monitor(name, { tls: 'starttls' });
    expect(await outcome(refusing.endpoint, settings)).toMatch(/^the answer to \w+ was/);
    expect(heard.at(-1)).toBe(starttls);
    // The ClientHello makes it speak.
    const plain = await TestServer.start((socket) => {
      const answers: Answers = (line) =>
        line === starttls ? goAhead : protocols[name].answers(line);
      speakLines(greeting, answers)(socket);
      socket.on('data', (chunk: Buffer) => {
        if (chunk[0] === 0x16) socket.write(greeting);
      });
    });
    expect(await outcome(plain.endpoint, settings)).toMatch(/^no TLS handshake: /);
  });

  test('refuses a certificate before it logs in', async () => {
    const heard: string[] = [];
    const server = await serverOf(name, undefined, heard);
    const expiring = monitor(name, { tls: 'starttls', minDays: 10 });
    expect(await outcome(server.endpoint, expiring)).toMatch(/which is within 10 days$/);
    const named = monitor(name, { tls: 'starttls', serverName: 'a.example' });
    expect(await outcome(server.endpoint, named)).toBe(
      "the server's certificate is not for a.example",
    );
    expect(heard.at(-1)).toBe(starttls);
  });

  test('bounds what a server may say', async () => {
    const server = await TestServer.start((socket) => socket.write('x'.repeat(70_000)));
    expect(await outcome(server.endpoint, monitor(name))).toMatch(
      /^no greeting: more than 65536 bytes came; /,
    );
    await server.untilClosed();
  });
});

describe('what only some do', () => {
  test('imap: PREAUTH and BYE are no greetings', async () => {
    for (const said of ['* PREAUTH in', '* BYE busy']) {
      const server = await TestServer.start(speakLines(`${said}\r\n`, () => undefined));
      expect(await outcome(server.endpoint, monitor('imap'))).toBe(
        `the greeting was '${said}', not * OK`,
      );
    }
  });

  test('imap: BYE ends the wait for an answer', async () => {
    const server = await serverOf('imap', (line) =>
      line === IMAP_LOGIN ? '* OK wait\r\n* BYE enough\r\n' : undefined,
    );
    expect(await outcome(server.endpoint, monitor('imap'))).toBe(
      "the answer to LOGIN was '* BYE enough', not OK",
    );
  });

  test('smtp: AUTH LOGIN where there is no AUTH PLAIN', async () => {
    const heard: string[] = [];
    const encoded = (text: string) => Buffer.from(text).toString('base64');
    const server = await serverOf(
      'smtp',
      table({
        'EHLO [127.0.0.1]': '250-hello\r\n250 AUTH LOGIN\r\n',
        'AUTH LOGIN': '334 VXNlcm5hbWU6\r\n',
        [encoded('alice@example.com')]: '334 UGFzc3dvcmQ6\r\n',
        [encoded(PASSWORD)]: '235 in\r\n',
      }),
      heard,
    );
    expect(await outcome(server.endpoint, monitor('smtp'))).toBe('');
    expect(heard.at(-1)).toBe('QUIT');
  });

  test('smtp: no STARTTLS and no AUTH on offer', async () => {
    const hello = table({ 'EHLO [127.0.0.1]': '250 hello\r\n' });
    const server = await serverOf('smtp', hello);
    expect(await outcome(server.endpoint, monitor('smtp', { tls: 'starttls' }))).toBe(
      'the server does not offer STARTTLS',
    );
    expect(await outcome(server.endpoint, monitor('smtp'))).toBe(
      'the server offers neither AUTH PLAIN nor AUTH LOGIN',
    );
  });

  test('ftp: a user who needs no password', async () => {
    const heard: string[] = [];
    const server = await serverOf('ftp', table({ 'USER alice@example.com': '230 in\r\n' }), heard);
    expect(await outcome(server.endpoint, monitor('ftp'))).toBe('');
    expect(heard).toEqual(['USER alice@example.com', 'QUIT']);
  });
});
