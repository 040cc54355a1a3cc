import { beforeAll, describe, expect, test } from 'vitest';
import {
  type ConversationSetup,
  client,
  conversation,
  everyCut,
  expires,
  loadRule,
  logs,
  type Rule,
  type Step,
  server,
  spliced,
} from '../src/testing/index.ts';

const BEGIN_TLS = '+OK Begin TLS negotiation\r\n';
const TOO_LONG = '-ERR The line is too long\r\n';
const NO_TEXT = '-ERR The line has a control character\r\n';
const TLS_FIRST = '-ERR Use STLS first\r\n';
const TLS_ALREADY = '-ERR TLS is active already\r\n';

const withTls: ConversationSetup = { clientTls: true };

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('pop3-starttls.js', import.meta.url), { options });
}

/** A command that reaches the server as it is, or as `heard`, and its answer. */
function command(text: string, answer = '+OK\r\n', heard = text): Step[] {
  return [client(text), server.receives(heard), server(answer), client.receives(answer)];
}

/** A command that the server does not see. */
function own(text: string, answer: string): Step[] {
  return [client(text), server.receivesNothing(), client.receives(answer)];
}

const greeting = [server('+OK ready\r\n'), client.receives('+OK ready\r\n')];
const startsTls = [...own('STLS\r\n', BEGIN_TLS), client.startsTls()];
const login = [...command('USER alice@x\r\n'), ...command('PASS secret\r\n'), spliced()];
const quit = [
  ...command('QUIT\r\n'),
  server.ends(),
  client.seesEnd(),
  client.ends(),
  server.seesEnd(),
];

function base64(text: string): string {
  return Buffer.from(text, 'latin1').toString('base64');
}

let rule: Rule;
let realm: Rule;
let strict: Rule;
let implicit: Rule;

beforeAll(async () => {
  rule = await load();
  realm = await load({ tls: 'starttls', realm: 'example.com' });
  strict = await load({ requireTls: true, realm: 'example.com' });
  implicit = await load({ tls: 'implicit', realm: 'example.com', requireTls: true });
});

describe('a whole session', () => {
  test('in plaintext', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...login,
      ...command('STAT\r\n', '+OK 0 0\r\n'),
      ...quit,
    ]);
  });

  test('with STLS', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('CAPA\r\n', '+OK list\r\nUIDL\r\n.\r\n').slice(0, 3),
      client.receives('+OK list\r\nUIDL\r\nSTLS\r\n.\r\n'),
      ...startsTls,
      ...command('CAPA\r\n', '+OK list\r\nUIDL\r\n.\r\n'),
      ...command('USER bob\r\n', '+OK\r\n', 'USER bob@example.com\r\n'),
      ...command('PASS secret\r\n'),
      spliced(),
      ...command('CAPA\r\n', '+OK list\r\nSTLS\r\n.\r\n'),
      ...command('USER bob\r\n', '-ERR\r\n'),
      ...quit,
    ]);
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...command('CAPA\r\n', '+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n'),
      ...own('STLS\r\n', TLS_ALREADY),
      ...command('USER bob\r\n', '+OK\r\n', 'USER bob@example.com\r\n'),
      ...command('PASS secret\r\n'),
      spliced(),
      ...quit,
    ]);
  });

  test('to port 995 TLS is implicit, unless the options say otherwise', () => {
    const pop3s = { ...withTls, localPort: 995 };
    conversation(rule, pop3s, [client.startsTls(), ...greeting, ...login]);
    conversation(realm, pop3s, [...greeting, ...startsTls, ...login]);
  });

  test('with lines that end in LF only', () => {
    everyCut(realm, withTls, [
      server('+OK ready\n'),
      client.receives('+OK ready\n'),
      client('capa\n'),
      server.receives('capa\n'),
      server('+OK\nSTLS\nUIDL\n.\n'),
      client.receives('+OK\nUIDL\nSTLS\r\n.\n'),
      ...own('stls\n', BEGIN_TLS),
      client.startsTls(),
      ...command('user bob\n', '+OK\n', 'user bob@example.com\n'),
      ...command('pass secret\n', '+OK\n'),
      spliced(),
    ]);
  });

  test('leaves all that comes after the login alone', () => {
    const mail = `${'USER eve\r\n'.repeat(3)}${'x'.repeat(20_000)}\r\n.\r\n`;
    conversation(realm, withTls, [
      ...greeting,
      ...login,
      ...command('RETR 1\r\n', mail),
      ...command('STLS\r\n', '-ERR\r\n'),
      ...command(`XFOO ${'x'.repeat(20_000)}\r\n`),
    ]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  test('and a client without', () => {
    everyCut(rule, bothTls, [server.startsTls(), ...greeting, ...login, ...quit]);
  });

  test('and a client with STLS', () => {
    everyCut(strict, bothTls, [
      server.startsTls(),
      ...greeting,
      ...own('USER bob\r\n', TLS_FIRST),
      ...startsTls,
      ...command('USER bob\r\n', '+OK\r\n', 'USER bob@example.com\r\n'),
      ...command('PASS secret\r\n'),
      spliced(),
      ...quit,
    ]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [client.startsTls(), server.startsTls(), ...greeting, ...login]);
  });

  test('and a client that does not wait for it', () => {
    everyCut(rule, bothTls, [
      client('NOOP\r\nSTLS\r\n'),
      server.startsTls(),
      server.receives('NOOP\r\n'),
      server('+OK ready\r\n+OK\r\n'),
      client.receives(`+OK ready\r\n+OK\r\n${BEGIN_TLS}`),
      client.startsTls(),
      ...login,
    ]);
  });

  test('which does not start', () => {
    conversation(rule, bothTls, [
      client('NOOP\r\n'),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('CAPA', () => {
  const list = (...lines: string[]) =>
    `+OK list\r\n${lines.map((line) => `${line}\r\n`).join('')}.\r\n`;
  const capa = (from: string, to: string, text = 'CAPA\r\n'): Step[] => [
    client(text),
    server.receives(text),
    server(from),
    client.receives(to),
  ];

  test("hides the server's own STLS, before and in TLS", () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...capa(list('TOP', 'STLS', 'stls', 'UIDL'), list('TOP', 'UIDL', 'STLS'), 'cApA\r\n'),
      ...startsTls,
      ...capa(list('TOP', 'STLS', 'UIDL'), list('TOP', 'UIDL')),
    ]);
  });

  test('passes what only looks like the end or like STLS', () => {
    const lines = ['..', '.x', '. ', 'X-STLS', 'STLSX', 'EXPIRE 0', 'IMPLEMENTATION STLS', ''];
    everyCut(rule, withTls, [...greeting, ...capa(list(...lines), list(...lines, 'STLS'))]);
  });

  test('hides the ways to log in while TLS is missing and required', () => {
    const all = ['USER', 'SASL PLAIN LOGIN', 'sasl', 'UIDL', 'USERX'];
    everyCut(strict, withTls, [
      ...greeting,
      ...capa(list(...all), list('UIDL', 'USERX', 'STLS')),
      ...startsTls,
      ...capa(list(...all), list(...all)),
    ]);
  });

  test('is answered for a server that does not know it', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...capa('-ERR what?\r\n', '+OK\r\nSTLS\r\n.\r\n'),
      ...startsTls,
      ...capa('-ERR what?\r\n', '-ERR what?\r\n'),
    ]);
    conversation(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...capa('-ERR what?\r\n', '-ERR what?\r\n'),
    ]);
  });

  test('among pipelined commands, to a server that greets late', () => {
    everyCut(rule, withTls, [
      client('NOOP\r\nCAPA\r\nUSER bob\r\n'),
      server.receives('NOOP\r\nCAPA\r\nUSER bob\r\n'),
      server('+OK ready\r\n-ERR\r\n+OK list\r\nUIDL\r\n.\r\n+OK list\r\n'),
      client.receives('+OK ready\r\n-ERR\r\n+OK list\r\nUIDL\r\nSTLS\r\n.\r\n+OK list\r\n'),
    ]);
  });
});

describe('STLS', () => {
  test('in any case of letters', () => {
    everyCut(rule, withTls, [...greeting, ...own('sTlS\r\n', BEGIN_TLS), client.startsTls()]);
  });

  test('waits for the answers to what was pipelined before', () => {
    everyCut(rule, withTls, [
      client('NOOP\r\nCAPA\r\nSTLS\r\n'),
      server.receives('NOOP\r\nCAPA\r\n'),
      client.receivesNothing(),
      server('+OK ready\r\n+OK\r\n'),
      client.receives('+OK ready\r\n+OK\r\n'),
      client.receivesNothing(),
      server('+OK\r\n.\r\n'),
      client.receives(`+OK\r\nSTLS\r\n.\r\n${BEGIN_TLS}`),
      client.startsTls(),
      ...login,
    ]);
  });

  test('waits for a login that fails', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('PASS x\r\nSTLS\r\n'),
      server.receives('PASS x\r\n'),
      server('-ERR\r\n'),
      client.receives(`-ERR\r\n${BEGIN_TLS}`),
      client.startsTls(),
      ...login,
    ]);
  });

  test('with the beginning of the handshake right behind it', () => {
    const hello = '\x16\x03\x01\x02\x00\x01';
    everyCut(rule, withTls, [
      ...greeting,
      client(`STLS\r\n${hello}`),
      client.receives(BEGIN_TLS),
      client.startsTls(hello),
      ...login,
    ]);
  });

  test('a second time, and in TLS', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...startsTls,
      ...own('STLS\r\nSTLS\r\n', TLS_ALREADY + TLS_ALREADY),
      ...login,
    ]);
  });

  test('when the handshake fails', () => {
    conversation(rule, withTls, [
      ...greeting,
      ...own('STLS\r\n', BEGIN_TLS),
      client.failsTls(),
      client.seesReset(),
      server.seesReset(),
    ]);
  });

  test('forgets what the client began in plaintext', () => {
    everyCut(strict, withTls, [
      ...greeting,
      ...own('USER mallory\r\n', TLS_FIRST),
      ...startsTls,
      ...command('USER bob\r\n', '+OK\r\n', 'USER bob@example.com\r\n'),
      ...command('PASS secret\r\n'),
      spliced(),
    ]);
  });
});

describe('the login', () => {
  test('is an answer to PASS, APOP or AUTH, not a text', () => {
    const text = '+OK Logged in.\r\n';
    everyCut(realm, withTls, [
      server(text),
      client.receives(text),
      ...command('NOOP\r\n', text),
      ...command('LANG\r\n', '+OK\r\n+OK Logged in.\r\n.\r\n'),
      ...command('LANG de\r\n', text),
      ...command('AUTH\r\n', '+OK\r\n+OK Logged in.\r\nSTLS\r\n.\r\n'),
      ...command('PASS x\r\n', '-ERR +OK Logged in.\r\n'),
      ...command('USER a\r\n', text, 'USER a@example.com\r\n'),
      ...command('PASS x\r\n', text),
      spliced(),
    ]);
  });

  test('is not taken from a list that is answered before', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client('CAPA\r\nLANG\r\nAUTH\r\nPASS x\r\n'),
      server.receives('CAPA\r\nLANG\r\nAUTH\r\nPASS x\r\n'),
      server('+OK\r\n+OK\r\n.\r\n+OK\r\n+OK\r\n.\r\n+OK\r\n+OK\r\n.\r\n-ERR\r\n'),
      client.receives('+OK\r\n+OK\r\nSTLS\r\n.\r\n+OK\r\n+OK\r\n.\r\n+OK\r\n+OK\r\n.\r\n-ERR\r\n'),
      ...startsTls,
    ]);
  });

  test('by APOP, whose name stays', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('APOP bob 0123456789abcdef\r\n', '-ERR\r\n'),
      ...command('apop bob 0123456789abcdef\r\n'),
      spliced(),
    ]);
  });

  test('holds what is pipelined behind it until it has succeeded', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client('USER bob\r\nPASS x\r\nUSER eve\r\nSTLS\r\nRE'),
      server.receives('USER bob@example.com\r\nPASS x\r\n'),
      server('+OK\r\n'),
      client.receives('+OK\r\n'),
      server.receivesNothing(),
      server('+OK welcome\r\n'),
      client.receives('+OK welcome\r\n'),
      spliced(),
      server.receives('USER eve\r\nSTLS\r\nRE'),
      ...command('TR 1\r\n'),
    ]);
  });

  test('takes what is pipelined behind it as commands when it has failed', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client('PASS x\r\nUSER bob\r\nPASS y\r\nSTAT\r\n'),
      server.receives('PASS x\r\n'),
      server('-ERR\r\n'),
      client.receives('-ERR\r\n'),
      server.receives('USER bob@example.com\r\nPASS y\r\n'),
      server('+OK\r\n+OK\r\n'),
      client.receives('+OK\r\n+OK\r\n'),
      server.receives('STAT\r\n'),
      spliced(),
    ]);
  });

  test('with the server sending more in the same segment', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client('PASS x\r\n'),
      server.receives('PASS x\r\n'),
      server('+OK\r\nwhatever\r\n.\r\nhal'),
      client.receives('+OK\r\nwhatever\r\n.\r\nhal'),
      spliced(),
    ]);
  });
});

describe('the realm', () => {
  const user = (sent: string, heard: string) => command(`${sent}\r\n`, '-ERR\r\n', `${heard}\r\n`);

  test('in USER', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...user('USER bob', 'USER bob@example.com'),
      ...user('uSeR  bob ', 'uSeR  bob@example.com '),
      ...user('USER bob@other.example', 'USER bob@other.example'),
      ...user('USER b\xf6b', 'USER b\xf6b@example.com'),
      ...user('USER \xc3\xa0', 'USER \xc3\xa0@example.com'),
      ...user('USER b b', 'USER b b@example.com'),
      ...user('USER', 'USER'),
      ...user('USER ', 'USER '),
      ...user('NOOP USER bob', 'NOOP USER bob'),
    ]);
  });

  test('is not added when there is none', () => {
    const response = `AUTH PLAIN ${base64('\0bob\0secret')}`;
    everyCut(rule, withTls, [
      ...greeting,
      ...user('USER bob', 'USER bob'),
      ...user(response, response),
    ]);
  });
});

describe('AUTH', () => {
  const plain = base64('\0bob\0s@cret');
  const plainWithRealm = base64('\0bob@example.com\0s@cret');
  const failed = (sent: string, heard = sent) => command(`${sent}\r\n`, '-ERR\r\n', `${heard}\r\n`);
  const challenged = (sent: string, heard = sent, challenge = '+ \r\n') =>
    command(`${sent}\r\n`, challenge, `${heard}\r\n`);

  test('PLAIN with the response at once', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...failed(`AUTH PLAIN ${plain}`, `AUTH PLAIN ${plainWithRealm}`),
      ...command(`auth plain ${plain}\r\n`, '+OK\r\n', `auth plain ${plainWithRealm}\r\n`),
      spliced(),
    ]);
  });

  test('PLAIN with the response after the challenge', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH PLAIN'),
      ...failed(plain, plainWithRealm),
      ...challenged('AUTH PLAIN =', undefined, '+\r\n'),
      ...command(`${plain}\r\n`, '+OK\r\n', `${plainWithRealm}\r\n`),
      spliced(),
    ]);
  });

  test('PLAIN with the response pipelined behind it', () => {
    const name = 'n'.repeat(250);
    everyCut(realm, withTls, [
      ...greeting,
      client(`AUTH PLAIN\r\n${base64(`\0${name}\0x`)}\r\nSTAT\r\n`),
      server.receives('AUTH PLAIN\r\n'),
      server('+ \r\n'),
      client.receives('+ \r\n'),
      server.receives(`${base64(`\0${name}@example.com\0x`)}\r\n`),
      server('+OK\r\n'),
      client.receives('+OK\r\n'),
      server.receives('STAT\r\n'),
      spliced(),
    ]);
  });

  test('PLAIN with an authorization identity', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...failed(
        `AUTH PLAIN ${base64('boss\0bob\0x')}`,
        `AUTH PLAIN ${base64('boss@example.com\0bob@example.com\0x')}`,
      ),
      ...failed(
        `AUTH PLAIN ${base64('boss\0bob@a.example\0x')}`,
        `AUTH PLAIN ${base64('boss@example.com\0bob@a.example\0x')}`,
      ),
    ]);
  });

  test('LOGIN, whose first response is the name', () => {
    const name = base64('bob');
    const named = base64('bob@example.com');
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH LOGIN', undefined, '+ VXNlcm5hbWU6\r\n'),
      ...challenged(name, named, '+ UGFzc3dvcmQ6\r\n'),
      ...failed(base64('pass')),
      ...challenged(`AUTH LOGIN ${name}`, `AUTH LOGIN ${named}`, '+ UGFzc3dvcmQ6\r\n'),
      ...command(`${base64('pass')}\r\n`),
      spliced(),
    ]);
  });

  test('other mechanisms stay as they are', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH CRAM-MD5', undefined, '+ PDFAeD4=\r\n'),
      ...failed(base64('bob 0123456789abcdef')),
      ...failed(`AUTH PLAIN-X ${base64('\0bob\0x')}`),
      ...challenged(`AUTH SCRAM-SHA-1 ${base64('n,,n=bob,r=x')}`),
      ...challenged(base64('c=biws')),
      ...command('\r\n'),
      spliced(),
    ]);
  });

  test('the realm does not depend on what a lenient server lets pass', () => {
    const named = base64('bob@example.com');
    everyCut(realm, withTls, [
      ...greeting,
      ...failed(`AUTH PLAIN  ${plain}`, `AUTH PLAIN  ${plainWithRealm}`),
      ...failed(`AUTH PLAIN\t${plain}`, `AUTH PLAIN\t${plainWithRealm}`),
      ...failed(
        `AUTH PLAIN ${base64('\0bob\0x\0y')}`,
        `AUTH PLAIN ${base64('\0bob@example.com\0x\0y')}`,
      ),
      ...challenged('AUTH LOGIN '),
      ...failed(base64('bob\0@'), named),
      // Not Base64, but only nearly so.
      ...failed(`AUTH PLAIN ${plain} `, 'AUTH PLAIN *'),
      ...failed(`AUTH PLAIN ${plain.slice(0, 4)} ${plain.slice(4)}`, 'AUTH PLAIN *'),
      ...failed('AUTH PLAIN ?', 'AUTH PLAIN *'),
      ...challenged('AUTH LOGIN'),
      ...failed(`${base64('bobb').slice(0, -1)}`, '*'),
      ...challenged('AUTH PLAIN'),
      ...failed(`${plain} `, '*'),
      ...challenged('AUTH PLAIN'),
      ...failed('USER bob', '*'),
    ]);
  });

  test('what names nobody, or has a realm, stays as it is', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...failed(`AUTH PLAIN ${base64('bob')}`),
      ...failed('AUTH PLAIN AGJAeAB5eR=='),
    ]);
    everyCut(rule, withTls, [
      ...greeting,
      ...failed('AUTH PLAIN ?'),
      ...failed(`AUTH PLAIN  ${plain} `),
    ]);
  });

  test('cancelled, and commands again', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH PLAIN'),
      ...failed('*'),
      ...challenged('AUTH LOGIN'),
      ...failed('*'),
      ...command('USER bob\r\n', '+OK\r\n', 'USER bob@example.com\r\n'),
      ...startsTls,
    ]);
  });

  test('a response is no command', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH CRAM-MD5'),
      ...failed('STLS'),
      ...challenged('AUTH CRAM-MD5'),
      ...command('CAPA\r\n', '+OK STLS\r\n'),
      spliced(),
    ]);
  });

  test('when the server loses patience with a challenge', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH PLAIN'),
      server('-ERR too slow\r\n'),
      client.receives('-ERR too slow\r\n'),
      ...command('USER bob\r\n', '+OK\r\n', 'USER bob@example.com\r\n'),
    ]);
  });
});

describe('requireTls', () => {
  test('refuses every way to log in before TLS', () => {
    const auth = `AUTH PLAIN ${base64('\0bob\0x')}`;
    const refused = ['USER bob', 'pass x', 'APOP bob 00', 'AUTH', auth, '\t user bob', 'USER:bob'];
    everyCut(strict, withTls, [
      ...greeting,
      ...refused.flatMap((line) => own(`${line}\r\n`, TLS_FIRST)),
      ...command('NOOP\r\n'),
      ...startsTls,
      ...command(`${auth}\r\n`, '+OK\r\n', `AUTH PLAIN ${base64('\0bob@example.com\0x')}\r\n`),
      spliced(),
    ]);
  });

  test('keeps the answers in order', () => {
    everyCut(strict, withTls, [
      client('CAPA\r\nUSER bob\r\nPASS x\r\nNOOP\r\nAUTH\r\n'),
      server.receives('CAPA\r\n'),
      server('+OK ready\r\n+OK\r\n'),
      client.receives('+OK ready\r\n+OK\r\n'),
      server('.\r\n'),
      client.receives(`STLS\r\n.\r\n${TLS_FIRST}${TLS_FIRST}`),
      server.receives('NOOP\r\n'),
      client.receivesNothing(),
      server('+OK\r\n'),
      client.receives(`+OK\r\n${TLS_FIRST}`),
    ]);
  });
});

describe('lines that are too long', () => {
  test('commands of up to 255 octets pass', () => {
    const line = `USER ${'x'.repeat(248)}\r\n`;
    everyCut(rule, withTls, [...greeting, ...command(line)]);
  });

  test('longer ones are refused once, and the next line is read', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...own(`USER ${'x'.repeat(249)}\r\n`, TOO_LONG),
      ...own(`${'STLS '.repeat(60)}\r\n`, TOO_LONG),
      ...command('USER bob\r\n', '+OK\r\n', 'USER bob@example.com\r\n'),
    ]);
  });

  test('are refused after the answers to what was sent before', () => {
    everyCut(rule, withTls, [
      client(`NOOP\r\n${'x'.repeat(300)}\r\nNOOP 2\r\n`),
      server.receives('NOOP\r\n'),
      client.receivesNothing(),
      server('+OK ready\r\n+OK\r\n'),
      client.receives(`+OK ready\r\n+OK\r\n${TOO_LONG}`),
      server.receives('NOOP 2\r\n'),
    ]);
  });

  test('take no room while they last', () => {
    const flood = Array.from({ length: 100 }, () => client('x'.repeat(1000)));
    conversation(rule, { ...withTls, collectLimit: 2000 }, [
      ...greeting,
      ...flood,
      client.receivesNothing(),
      ...own('\r\n', TOO_LONG),
      ...login,
    ]);
  });

  test('AUTH may have 12288 octets', () => {
    const fits = `AUTH GSSAPI ${'x'.repeat(12_274)}`;
    conversation(rule, withTls, [
      ...greeting,
      client(fits),
      ...command('\r\n', '-ERR\r\n', `${fits}\r\n`),
      ...own(`${fits}y\r\n`, TOO_LONG),
      client(`${fits}yz`),
      ...own('\r\n', TOO_LONG),
      ...login,
    ]);
  });

  test('SASL responses may have 12288 octets, and longer ones are cancelled', () => {
    const fits = 'x'.repeat(12_286);
    const attempt = (response: string, heard: string) => [
      ...command('AUTH GSSAPI\r\n', '+ \r\n'),
      ...command(response, '-ERR\r\n', heard),
    ];
    conversation(rule, withTls, [
      ...greeting,
      ...attempt(`${fits}\r\n`, `${fits}\r\n`),
      ...attempt(`${fits}y\r\n`, '*\r\n'),
      ...command('AUTH GSSAPI\r\n', '+ \r\n'),
      client(`${fits}yyy`),
      client('z'.repeat(5000)),
      ...command('\r\n', '-ERR\r\n', '*\r\n'),
      ...login,
    ]);
  });

  test('from the server end the connection before the login', () => {
    const fits = `+OK ${'x'.repeat(8186)}\r\n`;
    const long = `+OK ${'x'.repeat(8187)}\r\n`;
    const refused = [
      logs('warn: the server sent a line of more than 8192 bytes'),
      client.seesReset(),
      server.seesReset(),
    ];
    conversation(rule, withTls, [
      server(fits),
      client.receives(fits),
      ...login,
      ...command('NOOP\r\n', long),
    ]);
    conversation(rule, withTls, [server(`+OK\r\n${long}`), client.receives('+OK\r\n'), ...refused]);
    conversation(rule, withTls, [
      server(long.slice(0, 8000)),
      server(long.slice(8000, 8192)),
      ...refused,
    ]);
  });
});

describe('hostile clients', () => {
  const refused = [client.receives(BEGIN_TLS), client.seesReset(), server.seesReset()];

  test.each(['USER mallory\r\n', '\0', 'CAPA\r\n\x16\x03\x01', '\x16x', '\r\n'])(
    'plaintext behind STLS ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [...greeting, client(`STLS\r\n${injected}`), ...refused]);
    },
  );

  test('plaintext behind an STLS that had to wait', () => {
    everyCut(rule, withTls, [
      client('NOOP\r\nSTLS\r\nCAPA\r\n'),
      server.receives('NOOP\r\n'),
      server('+OK ready\r\n+OK\r\n'),
      client.receives('+OK ready\r\n+OK\r\n'),
      ...refused,
    ]);
  });

  test('lines of 8-bit characters and nothing reach the server as they are', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('\xff\xfeS\xdf \x80\r\n', '-ERR \xff\0\r\n'),
      ...command('\r\n', '-ERR\r\n'),
      ...command('\n', '-ERR\r\n'),
      ...command('USER\r\n', '\0+OK\r\n'),
      ...login,
    ]);
  });

  test('thousands of pipelined commands, in turns', () => {
    const noop = (count: number) => 'NOOP\r\n'.repeat(count);
    const ok = (count: number) => '+OK\r\n'.repeat(count);
    const turns = [1000, 1000, 1000, 1000, 1].flatMap((count) => [
      server.receives(noop(count)),
      server(ok(count)),
      client.receives(ok(count)),
    ]);
    conversation(rule, withTls, [
      client(`${noop(5000)}STLS\r\n`),
      server.receives(noop(999)),
      server(ok(1000)),
      client.receives(ok(1000)),
      ...turns,
      client.receives(BEGIN_TLS),
      client.startsTls(),
      ...login,
    ]);
  });

  test('a great many lines at once, in either direction', () => {
    const many = Array.from({ length: 5000 }, (_, i) => `NAME-${i}\r\n`).join('');
    conversation(strict, withTls, [
      ...greeting,
      client(`CAPA\r\n${'NOOP\r\n'.repeat(900)}`),
      server.receives(`CAPA\r\n${'NOOP\r\n'.repeat(900)}`),
      server(`+OK\r\n${many}USER\r\n.\r\n${'+OK\r\n'.repeat(900)}`),
      client.receives(`+OK\r\n${many}STLS\r\n.\r\n${'+OK\r\n'.repeat(900)}`),
      ...startsTls,
      client(`${'STLS\r\n'.repeat(100)}${'NOOP\r\n'.repeat(900)}`),
      client.receives(TLS_ALREADY.repeat(100)),
      server.receives('NOOP\r\n'.repeat(900)),
    ]);
  });

  test('a megabyte of lines that had to wait', () => {
    const lines = '\r\n'.repeat(400_000);
    conversation(rule, withTls, [
      ...greeting,
      client('PASS x\r\n'),
      server.receives('PASS x\r\n'),
      client(lines),
      server('-ERR\r\n'),
      client.receives('-ERR\r\n'),
      server.receives('\r\n'.repeat(1000)),
      server('-ERR\r\n'.repeat(1000)),
      client.receives('-ERR\r\n'.repeat(1000)),
      server.receives('\r\n'.repeat(1000)),
    ]);
  });

  test('answers to all of them, a byte at a time', () => {
    const answers = Array.from('+OK\r\n'.repeat(400), (character) => server(character));
    conversation(rule, withTls, [
      client('NOOP\r\n'.repeat(399)),
      server.receives('NOOP\r\n'.repeat(399)),
      ...answers,
      client.receives('+OK\r\n'.repeat(400)),
      ...startsTls,
    ]);
  });

  test('more than 100 refused commands end the connection', () => {
    const user = 'USER bob\r\n';
    const ending = [
      logs('info: more than 100 commands were refused'),
      client.seesReset(),
      server.seesReset(),
    ];
    conversation(strict, withTls, [
      ...greeting,
      ...own(user.repeat(100), TLS_FIRST.repeat(100)),
      ...own(user, TLS_FIRST),
      ...ending,
    ]);
    conversation(strict, withTls, [
      ...greeting,
      ...own(user.repeat(5000), TLS_FIRST.repeat(101)),
      ...ending,
    ]);
  });

  test('what waits behind a login is bounded', () => {
    conversation(rule, { ...withTls, collectLimit: 10_000 }, [
      ...greeting,
      client('PASS x\r\n'),
      server.receives('PASS x\r\n'),
      client('NOOP\r\n'.repeat(1000)),
      client('NOOP\r\n'.repeat(1000)),
      logs('the client sent more than the collectLimit'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });

  test('an incomplete command is ended by the collect timer', () => {
    conversation(rule, withTls, [
      ...greeting,
      client('USER b'),
      expires('collect'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('endings', () => {
  const serverEnds = [server.ends(), client.seesEnd(), client.ends(), server.seesEnd()];
  const clientEnds = [client.ends(), server.seesEnd(), server.ends(), client.seesEnd()];

  test('QUIT before the login', () => {
    everyCut(rule, withTls, [...greeting, ...quit]);
    everyCut(rule, withTls, [...greeting, ...startsTls, ...quit]);
  });

  test('a server that says nothing', () => {
    everyCut(rule, withTls, [...serverEnds]);
    everyCut(rule, withTls, [client('NOOP\r\n'), server.receives('NOOP\r\n'), ...serverEnds]);
  });

  test('a server that refuses', () => {
    everyCut(rule, withTls, [
      server('-ERR busy\r\n'),
      client.receives('-ERR busy\r\n'),
      ...serverEnds,
    ]);
  });

  test('a server that ends while the client waits for it, or is in the middle of a line', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client('PASS x\r\nSTAT\r\n'),
      server.receives('PASS x\r\n'),
      server('-ERR'),
      ...serverEnds,
    ]);
  });

  test('a client that says nothing, or ends in the middle of a line', () => {
    everyCut(rule, withTls, [...greeting, ...clientEnds]);
    const [ends, ...seen] = clientEnds;
    const unfinished = [client('QUI'), ...(ends ? [ends] : []), expires('collect'), ...seen];
    everyCut(rule, withTls, [...greeting, ...unfinished]);
  });

  test('a client that sends all it has, and FIN, gets every answer', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('USER alice\r\nPASS secret\r\nDELE 1\r\nQUIT\r\n'),
      client.ends(),
      server.receives('USER alice\r\nPASS secret\r\n'),
      server('+OK\r\n+OK logged in\r\n'),
      server.receives('DELE 1\r\nQUIT\r\n'),
      server.seesEnd(),
      server('+OK\r\n+OK bye\r\n'),
      client.receives('+OK\r\n+OK logged in\r\n+OK\r\n+OK bye\r\n'),
      server.ends(),
      client.seesEnd(),
    ]);
  });

  test('a client that ends behind its last command still gets the answer', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('QUIT\r\n'),
      client.ends(),
      server.receives('QUIT\r\n'),
      server.seesEnd(),
      server('+OK bye\r\n'),
      client.receives('+OK bye\r\n'),
      server.ends(),
      client.seesEnd(),
    ]);
  });

  test('resets go through', () => {
    everyCut(rule, withTls, [...greeting, client('US'), client.resets(), server.seesReset()]);
    everyCut(rule, withTls, [...greeting, ...startsTls, server.resets(), client.seesReset()]);
  });

  test('no server', () => {
    conversation(rule, withTls, [server.refuses(), logs('no server'), client.seesReset()]);
  });
});

describe('control characters', () => {
  // Some server may take them for the end of a line, or leave them out.
  test.each([
    'NOOP\rUSER bob\r\n',
    'USER bob\r\r\n',
    'USER bob\0\r\n',
    '\0USER bob\n',
    'US\x7fER bob\r\n',
    '\x0bUSER bob\r\n',
    'STLS\r\r\n',
  ])('%j reaches no server', (text) => {
    for (const each of [realm, strict]) {
      everyCut(each, withTls, [...greeting, ...own(text, NO_TEXT), ...command('NOOP\r\n')]);
    }
  });

  test('in a SASL response end the login', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('AUTH PLAIN\r\n', '+ \r\n'),
      ...command(`${base64('\0bob\0secret')}\r\r\n`, '-ERR\r\n', '*\r\n'),
      ...command('NOOP\r\n'),
    ]);
  });

  test('tabs and octets above 0x7F are none', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('USER\tj\xc3\xbcrg\r\n', '+OK\r\n', 'USER\tj\xc3\xbcrg@example.com\r\n'),
    ]);
  });
});

test('a line that grew very long while it had to wait is thrown away', () => {
  conversation(rule, withTls, [
    ...greeting,
    client('USER bob\r\nPASS secret\r\n'),
    server.receives('USER bob\r\nPASS secret\r\n'),
    client('x'.repeat(900_000)),
    server('+OK\r\n-ERR\r\n'),
    client.receives('+OK\r\n-ERR\r\n'),
    ...own('\r\n', TOO_LONG),
    ...command('NOOP\r\n'),
  ]);
});

describe('options', () => {
  test.each([
    [{ tsl: 'starttls' }, "unknown option 'tsl'; there are tls, realm, requireTls"],
    [{ constructor: 1 }, "unknown option 'constructor'"],
    [{ tls: 'STARTTLS' }, `'tls' must be "starttls" or "implicit", not "STARTTLS"`],
    [{ tls: null }, `'tls' must be "starttls" or "implicit", not null`],
    [{ realm: '' }, `'realm' must be a domain such as "example.com"`],
    [{ realm: '@example.com' }, `'realm' must be a domain`],
    [{ realm: 'a b' }, `'realm' must be a domain`],
    [{ realm: 'a\r\nb' }, `'realm' must be a domain`],
    [{ realm: 7 }, `'realm' must be a domain`],
    [{ requireTls: 'yes' }, `'requireTls' must be true or false, not "yes"`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
