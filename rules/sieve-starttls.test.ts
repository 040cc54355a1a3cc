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

const BEGIN_TLS = 'OK "Begin TLS negotiation"\r\n';
const TLS_ALREADY = 'NO "TLS is active already"\r\n';
const TLS_FIRST = 'NO (ENCRYPT-NEEDED) "Use STARTTLS first"\r\n';
const BAD_SYNTAX = 'BYE "That is no command"\r\n';
const TOO_LONG = 'BYE "The command is too long"\r\n';

const withTls: ConversationSetup = { clientTls: true };

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('sieve-starttls.js', import.meta.url), { options });
}

/** A command that reaches the server as it is, or as `heard`, and its answer. */
function command(text: string, answer = 'OK\r\n', heard = text): Step[] {
  return [client(text), server.receives(heard), server(answer), client.receives(answer)];
}

/** A command that the server does not see. */
function own(text: string, answer: string): Step[] {
  return [client(text), server.receivesNothing(), client.receives(answer)];
}

function list(...lines: string[]): string {
  return `"IMPLEMENTATION" "x"\r\n${lines.map((line) => `${line}\r\n`).join('')}OK "ready"\r\n`;
}

function capabilities(from: string, to: string): Step[] {
  return [...command('CAPABILITY\r\n', from).slice(0, 3), client.receives(to)];
}

/** What the server tells again after the handshake. */
function again(from: string, to = from): Step[] {
  return [server.receives('CAPABILITY\r\n'), server(from), client.receives(to)];
}

function base64(text: string): string {
  return Buffer.from(text, 'latin1').toString('base64');
}

const PLAIN_LIST = list('"SASL" "PLAIN"', '"SIEVE" "fileinto"');
const greeting = [
  server(PLAIN_LIST),
  client.receives(list('"SASL" "PLAIN"', '"SIEVE" "fileinto"', '"STARTTLS"')),
];
const strictGreeting = [
  server(PLAIN_LIST),
  client.receives(list('"SASL" ""', '"SIEVE" "fileinto"', '"STARTTLS"')),
];
const startsTls = [...own('STARTTLS\r\n', BEGIN_TLS), client.startsTls(), ...again(PLAIN_LIST)];
const bobs = `AUTHENTICATE "PLAIN" "${base64('\0bob\0x')}"\r\n`;
const bobsWithRealm = `AUTHENTICATE "PLAIN" "${base64('\0bob@example.com\0x')}"\r\n`;
const login = [...command(bobs, 'OK\r\n'), spliced()];
const loginWithRealm = [...command(bobs, 'OK\r\n', bobsWithRealm), spliced()];
const logout = [
  ...command('LOGOUT\r\n', 'OK "bye"\r\n'),
  server.ends(),
  client.seesEnd(),
  client.ends(),
  server.seesEnd(),
];
const closed = [client.seesEnd(), server.seesEnd(), client.ends(), server.ends()];
const reset = [client.seesReset(), server.seesReset()];

let rule: Rule;
let realm: Rule;
let strict: Rule;
let implicit: Rule;

beforeAll(async () => {
  rule = await load();
  realm = await load({ realm: 'example.com' });
  strict = await load({ tls: 'starttls', requireTls: true, realm: 'example.com' });
  implicit = await load({ tls: 'implicit', requireTls: true });
});

describe('a whole session', () => {
  test('in plaintext, spliced after the login', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('NOOP "x"\r\n', 'OK (TAG "x") "done"\r\n'),
      ...login,
      ...command('PUTSCRIPT "x" {5+}\r\nSTOP;\r\n'),
      ...command('STARTTLS\r\n', 'NO\r\n'),
      ...logout,
    ]);
  });

  test('with STARTTLS', () => {
    everyCut(strict, withTls, [
      ...strictGreeting,
      ...startsTls,
      ...capabilities(PLAIN_LIST, PLAIN_LIST),
      ...loginWithRealm,
      ...logout,
    ]);
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      server(list('"STARTTLS"', '"SASL" "PLAIN"')),
      client.receives(list('"SASL" "PLAIN"')),
      ...own('STARTTLS\r\n', TLS_ALREADY),
      ...login,
    ]);
  });

  test('with lines that end in LF only', () => {
    everyCut(realm, withTls, [
      server('"SASL" "PLAIN"\nok\n'),
      client.receives('"SASL" "PLAIN"\n"STARTTLS"\r\nok\n'),
      ...own('starttls\n', BEGIN_TLS),
      client.startsTls(),
      ...again('"SASL" "PLAIN"\nOK\n'),
      client(bobs.replace('\r', '')),
      server.receives(bobsWithRealm),
    ]);
  });
});

describe('capabilities', () => {
  test("hide the server's own STARTTLS, before and in TLS", () => {
    const from = list('"STARTTLS"', '"starttls"', '"NOTIFY" "xmpp"');
    everyCut(rule, withTls, [
      server(from),
      client.receives(list('"NOTIFY" "xmpp"', '"STARTTLS"')),
      ...capabilities(from, list('"NOTIFY" "xmpp"', '"STARTTLS"')),
      ...own('STARTTLS\r\n', BEGIN_TLS),
      client.startsTls(),
      ...again(from, list('"NOTIFY" "xmpp"')),
      ...capabilities(from, list('"NOTIFY" "xmpp"')),
    ]);
  });

  test('may have literals, whatever is in them', () => {
    const lines = [
      '"IMPLEMENTATION" {16}\r\nOK\r\n"STARTTLS"\r\n',
      '"X" {0}\r\n {3}\r\nNO ',
      '"XSTARTTLS"',
      '"OWNER" "{5}"',
    ];
    everyCut(rule, withTls, [
      server(list(...lines)),
      client.receives(list(...lines, '"STARTTLS"')),
      ...own('STARTTLS\r\n', BEGIN_TLS),
      client.startsTls(),
      ...again(list(...lines)),
    ]);
  });

  test('have no way to log in while TLS is missing and required', () => {
    const from = list('"sasl" "PLAIN LOGIN"', '"SASL" {5}\r\nPLAIN', '"SASLX" "y"');
    everyCut(strict, withTls, [
      server(from),
      client.receives(list('"SASL" ""', '"SASL" ""', '"SASLX" "y"', '"STARTTLS"')),
    ]);
  });

  test('are not offered by a server that says BYE or NO', () => {
    everyCut(rule, withTls, [
      server('BYE "busy"\r\n'),
      client.receives('BYE "busy"\r\n'),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
    everyCut(rule, withTls, [...greeting, ...capabilities('NO\r\n', 'NO\r\n')]);
  });

  test('are not taken from the answer to another command', () => {
    const text = '"STARTTLS"\r\n"SASL" "x"\r\nOK\r\n';
    everyCut(strict, withTls, [
      ...strictGreeting,
      client('LISTSCRIPTS\r\nCAPABILITY\r\nNOOP\r\n'),
      server.receives('LISTSCRIPTS\r\nCAPABILITY\r\nNOOP\r\n'),
      server(text + text + text),
      client.receives(`${text}"SASL" ""\r\n"STARTTLS"\r\nOK\r\n${text}`),
    ]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  test('and a client without', () => {
    everyCut(rule, bothTls, [server.startsTls(), ...greeting, ...login, ...logout]);
  });

  test('and a client with STARTTLS', () => {
    everyCut(strict, bothTls, [
      server.startsTls(),
      ...strictGreeting,
      ...startsTls,
      ...loginWithRealm,
      ...logout,
    ]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [
      client.startsTls(),
      server.startsTls(),
      server(PLAIN_LIST),
      client.receives(PLAIN_LIST),
      ...login,
    ]);
  });

  test('and a client that does not wait for it', () => {
    everyCut(rule, bothTls, [
      client('STARTTLS\r\n'),
      server.startsTls(),
      ...greeting,
      client.receives(BEGIN_TLS),
      client.startsTls(),
      ...again(PLAIN_LIST),
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

describe('STARTTLS', () => {
  test('has no argument', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...own('STARTTLS "x"\r\n', 'NO "STARTTLS has no argument"\r\n'),
      ...own('STARTTLS {3+}\r\nx\r\n\r\n', 'NO "STARTTLS has no argument"\r\n'),
      ...own('sTaRtTlS\r\n', BEGIN_TLS),
      client.startsTls(),
      ...again(PLAIN_LIST),
    ]);
  });

  test('waits for the greeting and the answers to what was pipelined before', () => {
    everyCut(rule, withTls, [
      client('NOOP\r\nSTARTTLS\r\n'),
      server.receives('NOOP\r\n'),
      server(`${PLAIN_LIST}OK {3}\r\n`),
      client.receives(list('"SASL" "PLAIN"', '"SIEVE" "fileinto"', '"STARTTLS"')),
      client.receivesNothing(),
      server('x\r\n\r\n'),
      client.receives(`OK {3}\r\nx\r\n\r\n${BEGIN_TLS}`),
      client.startsTls(),
      ...again(PLAIN_LIST),
    ]);
  });

  test('with the beginning of the handshake right behind it', () => {
    const hello = '\x16\x03\x01\x02\x00\x01';
    everyCut(rule, withTls, [
      ...greeting,
      client(`STARTTLS\r\n${hello}`),
      client.receives(BEGIN_TLS),
      client.startsTls(hello),
      ...again(PLAIN_LIST),
      ...login,
    ]);
  });

  test('a second time, behind the capabilities', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...own('STARTTLS\r\n', BEGIN_TLS),
      client.startsTls(),
      client('STARTTLS\r\n'),
      client.receivesNothing(),
      ...again(PLAIN_LIST),
      client.receives(TLS_ALREADY),
      ...own('STARTTLS "x"\r\n', TLS_ALREADY),
      ...login,
    ]);
  });

  test('when the handshake fails', () => {
    conversation(rule, withTls, [
      ...greeting,
      ...own('STARTTLS\r\n', BEGIN_TLS),
      client.failsTls(),
      ...reset,
    ]);
  });

  test.each([bobs, '\0', 'CAPABILITY\r\n\x16\x03\x01', '\x16x', '\r\n'])(
    'with plaintext behind it ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [
        ...greeting,
        client(`STARTTLS\r\n${injected}`),
        client.receives(BEGIN_TLS),
        ...reset,
      ]);
    },
  );
});

describe('AUTHENTICATE', () => {
  const failed = (sent: string, heard = sent) => command(sent, 'NO\r\n', heard);

  test('PLAIN with the response at once, quoted or as a literal', () => {
    const response = base64('\0bob\0x');
    everyCut(realm, withTls, [
      ...greeting,
      ...failed(bobs, bobsWithRealm),
      ...failed(
        `authenticate {5+}\r\nplain {${response.length}+}\r\n${response}\r\n`,
        bobsWithRealm,
      ),
      ...failed(`AUTHENTICATE "PLAIN" "${base64('\0bob@x\0x')}"\r\n`),
      ...loginWithRealm,
    ]);
  });

  test('PLAIN with a response too long to be quoted', () => {
    const name = 'n'.repeat(900);
    const changed = base64(`\0${name}@example.com\0x`);
    conversation(realm, withTls, [
      ...greeting,
      ...failed(
        `AUTHENTICATE "PLAIN" "${base64(`\0${name}\0x`)}"\r\n`,
        `AUTHENTICATE "PLAIN" {${changed.length}+}\r\n${changed}\r\n`,
      ),
    ]);
  });

  test('PLAIN with the response after the challenge', () => {
    const response = base64('\0bob\0x');
    const heard = `"${base64('\0bob@example.com\0x')}"\r\n`;
    everyCut(realm, withTls, [
      ...greeting,
      ...command('AUTHENTICATE "PLAIN"\r\n', '""\r\n'),
      ...failed(`"${response}"\r\n`, heard),
      client(`AUTHENTICATE "PLAIN"\r\n{${response.length}+}\r\n${response}\r\nSTARTTLS\r\n`),
      server.receives('AUTHENTICATE "PLAIN"\r\n'),
      server('{0}\r\n\r\n'),
      client.receives('{0}\r\n\r\n'),
      server.receives(heard),
      server('OK (SASL "eA==") "in"\r\n'),
      client.receives('OK (SASL "eA==") "in"\r\n'),
      spliced(),
      server.receives('STARTTLS\r\n'),
    ]);
  });

  test('LOGIN, whose first response is the name', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('AUTHENTICATE "LOGIN"\r\n', '"VXNlcm5hbWU6"\r\n'),
      ...command(
        `"${base64('bob')}"\r\n`,
        '"UGFzc3dvcmQ6"\r\n',
        `"${base64('bob@example.com')}"\r\n`,
      ),
      ...failed(`"${base64('pass')}"\r\n`),
      ...startsTls,
    ]);
  });

  test('what is no Base64 ends the login', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...failed('AUTHENTICATE "PLAIN" "?"\r\n', 'AUTHENTICATE "PLAIN" "*"\r\n'),
      ...command('AUTHENTICATE "PLAIN"\r\n', '""\r\n'),
      ...failed('"?"\r\n', '"*"\r\n'),
    ]);
  });

  test('other mechanisms, and what is not what the mechanism says, stay as they are', () => {
    const commands = [
      'AUTHENTICATE "SCRAM-SHA-1" "biwsbj1ib2I="\r\n',
      'AUTHENTICATE "PLAIN" ""\r\n',
      `AUTHENTICATE "PLAIN" "${base64('bob')}"\r\n`,
      'AUTHENTICATE\r\n',
      'AUTHENTICATE 7\r\n',
      'AUTHENTICATE "PL\\"\\\\AIN"\r\n',
    ];
    everyCut(realm, withTls, [
      ...greeting,
      ...commands.flatMap((each) => failed(each)),
      ...command('AUTHENTICATE "CRAM-MD5"\r\n', '"PDFAeD4="\r\n'),
      ...failed(`"${base64('bob 0123')}"\r\n`),
      ...command('AUTHENTICATE "PLAIN"\r\n', '""\r\n'),
      ...failed('"*"\r\n'),
    ]);
  });

  test('a response is no command, and no command a login', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('NOOP\r\n', 'OK "Logged in"\r\n'),
      ...command('AUTHENTICATE "X"\r\n', '"OK"\r\n'),
      ...failed('"STARTTLS"\r\n'),
      ...startsTls,
    ]);
  });

  test('when the server loses patience with a challenge', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('AUTHENTICATE "X"\r\n', '""\r\n'),
      server('NO "too slow"\r\n'),
      client.receives('NO "too slow"\r\n'),
      ...startsTls,
    ]);
  });
});

describe('requireTls', () => {
  test('refuses the login before TLS', () => {
    everyCut(strict, withTls, [
      ...strictGreeting,
      ...own(bobs, TLS_FIRST),
      ...own('authenticate {1+}\r\nX\r\n', TLS_FIRST),
      ...command('NOOP\r\n'),
      ...startsTls,
      ...loginWithRealm,
    ]);
  });

  test('sees through literals and quotes', () => {
    const inside = `NOOP {${bobs.length}+}\r\n${bobs}\r\n`;
    everyCut(strict, withTls, [
      ...strictGreeting,
      ...command(inside),
      ...command('NOOP "{99+}"\r\n'),
      ...own(bobs, TLS_FIRST),
    ]);
  });
});

describe('hostile clients', () => {
  test.each([
    '\r\n',
    ' NOOP\r\n',
    'NOOP \r\n',
    'NOOP  "x"\r\n',
    'NOOP x\r\n',
    'NOOP"x"\r\n',
    'NOOP "x\r\n',
    `NOOP "x {${bobs.length}+}\r\n${bobs}\r\n`,
    bobs.replace('\r\n', ' "x"\r\n'),
    bobs.replace('\r\n', ' 7\r\n'),
    'NOOP "\\x"\r\n',
    'NOOP "\0"\r\n',
    'NOOP "x"\r"y"\r\n',
    'NOOP\0\r\n',
    'NOOP {1}\r\nx\r\n',
    'NOOP {1+}\r\nxy\r\n',
    'NOOP x{2+}\r\nxy\r\n',
    '"STARTTLS"\r\n',
    'GET / HTTP/1.1\r\n',
  ])('%j ends the connection', (text) => {
    everyCut(strict, withTls, [...strictGreeting, ...own(text, BAD_SYNTAX), ...closed]);
  });

  test.each(['STARTTLS\r\n', '"x" "y"\r\n', '"x\r\n', ' "x"\r\n', '\r\n', '{1}\r\nx\r\n'])(
    '%j is no SASL response, and ends the connection',
    (text) => {
      everyCut(rule, withTls, [
        ...greeting,
        ...command('AUTHENTICATE "X"\r\n', '""\r\n'),
        ...own(text, BAD_SYNTAX),
        ...closed,
      ]);
    },
  );

  test('commands that are too long, or will be', () => {
    const fits = `NOOP {16367+}\r\n${'x'.repeat(16_367)}\r\n`;
    conversation(rule, withTls, [
      ...greeting,
      ...command(fits),
      ...own(fits.replace('{16367+}\r\n', '{16368+}\r\nx'), TOO_LONG),
      ...closed,
    ]);
    conversation(rule, withTls, [
      ...greeting,
      ...own(`NOOP {9999999999+}\r\n${'x'.repeat(20_000)}`, TOO_LONG),
      ...closed,
    ]);
  });

  test('more than 100 refused commands', () => {
    conversation(strict, withTls, [
      ...strictGreeting,
      ...own(bobs.repeat(200), TLS_FIRST.repeat(101)),
      logs('info: more than 100 commands were refused'),
      ...reset,
    ]);
  });

  test('an incomplete command', () => {
    conversation(rule, withTls, [
      ...greeting,
      client('NOOP {5+}\r\nx'),
      expires('collect'),
      ...reset,
    ]);
  });
});

describe('the server', () => {
  test('may not send endless lines', () => {
    const refused = [logs('warn: the server sent a line of more than 16384 bytes'), ...reset];
    conversation(rule, withTls, [server('x'.repeat(16_384)), ...refused]);
    conversation(rule, withTls, [
      server(`"X" {99999}\r\n`),
      server('x\r\n'.repeat(6000)),
      ...refused,
    ]);
  });
});

describe('options', () => {
  test.each([
    [{ starttls: 1 }, "unknown option 'starttls'; there are tls, realm, requireTls"],
    [{ tls: 'tls' }, `'tls' must be "starttls" or "implicit", not "tls"`],
    [{ realm: '@x' }, `'realm' must be a domain`],
    [{ requireTls: 'true' }, `'requireTls' must be true or false, not "true"`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
