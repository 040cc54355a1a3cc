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

const BEGIN_TLS = 'OK Begin TLS negotiation now\r\n';
const TLS_ALREADY = 'BAD TLS is active already\r\n';
const TLS_FIRST = 'NO [PRIVACYREQUIRED] Use STARTTLS first\r\n';
const NO_COMMAND = 'BAD This is no command\r\n';
const LOG_IN_FIRST = 'BAD Log in first\r\n';
const NO_LOGIN = 'BAD LOGIN needs a name and a password\r\n';
const NO_LITERAL = 'BAD There may be no literal\r\n';
const TOO_LONG = 'NO [LIMIT] The literal is too long\r\n';

const withTls: ConversationSetup = { clientTls: true };

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('imap-starttls.js', import.meta.url), { options });
}

/** A line that reaches the server as it is, or as `heard`, and what the server says. */
function command(text: string, answer: string, heard = text): Step[] {
  return [client(text), server.receives(heard), server(answer), client.receives(answer)];
}

/** A command that the server does not see. */
function own(text: string, answer: string): Step[] {
  return [client(text), server.receivesNothing(), client.receives(answer)];
}

/** What the server says, and what becomes of it. */
function says(from: string, to = from): Step[] {
  return [server(from), client.receives(to)];
}

function capability(list: string, shown: string, tag = 'c'): Step[] {
  const answer = (names: string) => `* CAPABILITY ${names}\r\n${tag} OK done\r\n`;
  const text = `${tag} CAPABILITY\r\n`;
  return [client(text), server.receives(text), ...says(answer(list), answer(shown))];
}

function base64(text: string): string {
  return Buffer.from(text, 'latin1').toString('base64');
}

const greeting = says('* OK ready\r\n');
const startsTls = [...own('s STARTTLS\r\n', `s ${BEGIN_TLS}`), client.startsTls()];
const login = [...command('l LOGIN alice@x "se cret"\r\n', 'l OK in\r\n'), spliced()];
const noop = command('n NOOP\r\n', 'n OK\r\n');
const logout = [
  ...command('q LOGOUT\r\n', '* BYE\r\nq OK\r\n'),
  server.ends(),
  client.seesEnd(),
  client.ends(),
  server.seesEnd(),
];
const closed = [client.seesEnd(), server.seesEnd(), client.ends(), server.ends()];

/** The connection is ended by the rule. */
function refused(bye: string, log: string): Step[] {
  return [client.receives(`* BYE ${bye}\r\n`), logs(log), ...closed];
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
      ...command('a SELECT INBOX\r\n', '* 0 EXISTS\r\na OK\r\n'),
      ...logout,
    ]);
  });

  test('with STARTTLS', () => {
    everyCut(realm, withTls, [
      ...says(
        '* OK [CAPABILITY IMAP4rev1 ID] ready\r\n',
        '* OK [CAPABILITY IMAP4rev1 ID STARTTLS] ready\r\n',
      ),
      ...capability('IMAP4rev1 ID', 'IMAP4rev1 ID STARTTLS'),
      ...startsTls,
      ...capability('IMAP4rev1 ID', 'IMAP4rev1 ID'),
      ...command('d ID ("name" "x")\r\n', '* ID NIL\r\nd OK\r\n'),
      ...command('l LOGIN bob secret\r\n', 'l OK\r\n', 'l LOGIN bob@example.com secret\r\n'),
      spliced(),
      ...command('c CAPABILITY\r\n', '* CAPABILITY IMAP4rev1 STARTTLS\r\nc OK\r\n'),
      ...command('l LOGIN bob secret\r\n', 'l BAD\r\n'),
      ...logout,
    ]);
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...capability('IMAP4rev1 AUTH=PLAIN', 'IMAP4rev1 AUTH=PLAIN'),
      ...own('s STARTTLS\r\n', `s ${TLS_ALREADY}`),
      ...command('l LOGIN bob secret\r\n', 'l OK\r\n', 'l LOGIN bob@example.com secret\r\n'),
      spliced(),
      ...logout,
    ]);
  });

  test('to port 993 TLS is implicit, unless the options say otherwise', () => {
    const imaps = { ...withTls, localPort: 993 };
    conversation(rule, imaps, [client.startsTls(), ...greeting, ...login]);
    conversation(realm, imaps, [...greeting, ...startsTls, ...login]);
  });

  test('with lines that end in LF only', () => {
    everyCut(realm, withTls, [
      server('* OK ready\n'),
      client.receives('* OK ready\n'),
      client('c capability\n'),
      server.receives('c capability\n'),
      ...says(
        '* capability imap4rev1 starttls\nc ok\n',
        '* capability imap4rev1 STARTTLS\r\nc ok\n',
      ),
      ...own('s starttls\n', `s ${BEGIN_TLS}`),
      client.startsTls(),
      ...command('l login bob x\n', 'l ok\n', 'l login bob@example.com x\r\n'),
      spliced(),
    ]);
  });

  test('leaves all that comes after the login alone', () => {
    const mail = `* 1 FETCH (BODY[] {60000}\r\n${'a OK [CAPABILITY X]\r\n'.repeat(3000)})\r\na OK\r\n`;
    conversation(realm, withTls, [
      ...greeting,
      ...login,
      ...command('a FETCH 1 BODY[]\r\n', mail),
      ...command('s STARTTLS\r\n', 's BAD\r\n'),
      ...command(`x ${'x'.repeat(40_000)} {1000000+}\r\n`, 'x BAD\r\n'),
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
      ...greeting,
      ...own('l LOGIN bob secret\r\n', `l ${TLS_FIRST}`),
      ...startsTls,
      ...command('l LOGIN bob secret\r\n', 'l OK\r\n', 'l LOGIN bob@example.com secret\r\n'),
      spliced(),
      ...logout,
    ]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [client.startsTls(), server.startsTls(), ...greeting, ...login]);
  });

  test('and a client that does not wait for it', () => {
    everyCut(rule, bothTls, [
      client('n NOOP\r\ns STARTTLS\r\n'),
      server.startsTls(),
      ...greeting,
      server.receives('n NOOP\r\n'),
      server('n OK\r\n'),
      client.receives(`n OK\r\ns ${BEGIN_TLS}`),
      client.startsTls(),
      ...login,
    ]);
  });

  test('which does not start', () => {
    conversation(rule, bothTls, [
      client('n NOOP\r\n'),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('capabilities', () => {
  test("the server's own STARTTLS is hidden, before and in TLS", () => {
    everyCut(rule, withTls, [
      ...says(
        '* OK [CAPABILITY STARTTLS IMAP4rev1 starttls] x\r\n',
        '* OK [CAPABILITY IMAP4rev1 STARTTLS] x\r\n',
      ),
      ...capability('IMAP4rev1  STARTTLS ID STARTTLSX', 'IMAP4rev1  ID STARTTLSX STARTTLS'),
      ...startsTls,
      ...capability('IMAP4rev1 STARTTLS ID', 'IMAP4rev1 ID'),
      client('l LOGIN a b\r\n'),
      server.receives('l LOGIN a b\r\n'),
      ...says(
        'l OK [CAPABILITY IMAP4rev1 STARTTLS IDLE] in\r\n',
        'l OK [CAPABILITY IMAP4rev1 IDLE] in\r\n',
      ),
      spliced(),
    ]);
  });

  test('are changed in every status, asked for or not', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...says('* CAPABILITY IMAP4rev1\r\n', '* CAPABILITY IMAP4rev1 STARTTLS\r\n'),
      ...says('* NO [capability X] {5}\r\n', '* NO [capability X STARTTLS] {5}\r\n'),
      client('a NOOP\r\n'),
      server.receives('a NOOP\r\n'),
      ...says('a BAD [CAPABILITY X] y\r\n', 'a BAD [CAPABILITY X STARTTLS] y\r\n'),
    ]);
  });

  test('are not offered to a user who has logged in without TLS', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('l LOGIN a b\r\n'),
      server.receives('l LOGIN a b\r\n'),
      ...says(
        '* CAPABILITY X STARTTLS\r\nl OK [CAPABILITY STARTTLS X] in\r\n',
        '* CAPABILITY X\r\nl OK [CAPABILITY X] in\r\n',
      ),
      spliced(),
    ]);
  });

  test('what only looks like them stays', () => {
    const lines = [
      '* OK CAPABILITY X',
      '* OK [ALERT] [CAPABILITY X]',
      '* OK  [CAPABILITY X]',
      '* CAPABILITYX Y',
      '* X CAPABILITY Y',
      '* LIST [CAPABILITY X]',
      '',
      '*',
      'OK',
    ];
    const text = lines.map((line) => `${line}\r\n`).join('');
    everyCut(rule, withTls, [...greeting, ...says(text), ...startsTls, ...login]);
  });

  test('the ways to log in are hidden while TLS is missing and required', () => {
    const all = 'IMAP4rev1 SASL-IR AUTH=PLAIN auth=LOGIN LOGINDISABLED AUTHX';
    const shown = 'IMAP4rev1 SASL-IR AUTHX STARTTLS LOGINDISABLED';
    everyCut(strict, withTls, [
      ...says(`* OK [CAPABILITY ${all}] x\r\n`, `* OK [CAPABILITY ${shown}] x\r\n`),
      ...capability(all, shown),
      ...startsTls,
      ...capability(all, all),
    ]);
  });
});

describe('STARTTLS', () => {
  test('waits for the answers to what was pipelined before', () => {
    everyCut(rule, withTls, [
      client('a NOOP\r\nb CAPABILITY\r\nc STARTTLS\r\n'),
      server.receivesNothing(),
      ...greeting,
      server.receives('a NOOP\r\n'),
      client.receivesNothing(),
      ...says('a OK\r\n'),
      server.receives('b CAPABILITY\r\n'),
      ...says('* CAPABILITY X\r\n', '* CAPABILITY X STARTTLS\r\n'),
      ...says('b OK\r\n', `b OK\r\nc ${BEGIN_TLS}`),
      client.startsTls(),
      ...login,
    ]);
  });

  test('waits for a login that fails', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('a LOGIN a b\r\nb STARTTLS\r\n'),
      server.receives('a LOGIN a b\r\n'),
      ...says('a NO\r\n', `a NO\r\nb ${BEGIN_TLS}`),
      client.startsTls(),
      ...login,
    ]);
  });

  test('with the beginning of the handshake right behind it', () => {
    const hello = '\x16\x03\x01\x02\x00\x01';
    everyCut(rule, withTls, [
      ...greeting,
      client(`a STARTTLS\r\n${hello}`),
      client.receives(`a ${BEGIN_TLS}`),
      client.startsTls(hello),
      ...login,
    ]);
  });

  test('a second time, and in TLS', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...startsTls,
      ...own('a STARTTLS\r\nb StartTLS\r\n', `a ${TLS_ALREADY}b ${TLS_ALREADY}`),
      ...login,
    ]);
  });

  test('takes no argument', () => {
    const bad = 'BAD STARTTLS has no argument\r\n';
    everyCut(rule, withTls, [
      ...greeting,
      ...own('a STARTTLS x\r\n', `a ${bad}`),
      ...own('b STARTTLS  \r\n', `b ${bad}`),
      ...own('c STARTTLS {3+}\r\nabc\r\n', `c ${bad}`),
      ...own('d STARTTLS {3}\r\n', `d ${bad}`),
      ...noop,
    ]);
  });

  test('when the handshake fails', () => {
    conversation(rule, withTls, [
      ...greeting,
      ...own('a STARTTLS\r\n', `a ${BEGIN_TLS}`),
      client.failsTls(),
      client.seesReset(),
      server.seesReset(),
    ]);
  });

  test('what the server says meanwhile comes inside TLS', () => {
    conversation(rule, withTls, [
      ...greeting,
      server('* OK sti'),
      ...own('a STARTTLS\r\n', `a ${BEGIN_TLS}`),
      server('ll here\r\n'),
      client.startsTls(),
      client.receives('* OK still here\r\n'),
      ...login,
    ]);
  });
});

describe('the login', () => {
  test('is the tagged OK of LOGIN or AUTHENTICATE, not a text', () => {
    const others =
      '* OK l OK\r\nL OK\r\nl2 OK\r\n OK\r\n* l OK\r\nl\r\nl OKAY\r\nlOK x\r\nl\tOK\r\n';
    everyCut(realm, withTls, [
      ...greeting,
      ...command('l NOOP\r\n', 'l OK Logged in\r\n'),
      ...command('l XLOGIN a b\r\n', 'l OK Logged in\r\n'),
      client('l LOGIN a b\r\nm NOOP\r\n'),
      server.receives('l LOGIN a@example.com b\r\n'),
      ...says(others),
      server.receivesNothing(),
      ...says('l NO l OK\r\n'),
      server.receives('m NOOP\r\n'),
      ...says('l OK\r\nm OK\r\n'),
      ...startsTls,
    ]);
  });

  test('is not found in literals', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client('l LOGIN a b\r\n'),
      server.receives('l LOGIN a@example.com b\r\n'),
      ...says('* ID ("x" {9}\r\nl OK in\r\n "y" {0}\r\n l OK {7}\r\nl OK x\n)\r\n'),
      ...says('* OK text {8}\r\n'),
      ...says('l NO {8}\r\n'),
      ...startsTls,
    ]);
  });

  test('holds what is pipelined behind it until it has succeeded', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client('a LOGIN bob x\r\nb LOGIN eve x\r\nc STARTTLS\r\nd AP'),
      server.receives('a LOGIN bob@example.com x\r\n'),
      client.receivesNothing(),
      ...says('a OK in\r\n'),
      spliced(),
      server.receives('b LOGIN eve x\r\nc STARTTLS\r\nd AP'),
      ...command('PEND x {3+}\r\nabc\r\n', 'd OK\r\n'),
    ]);
  });

  test('takes what is pipelined behind it as commands when it has failed', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client('a LOGIN bob x\r\na LOGIN eve x\r\nb SELECT x\r\n'),
      server.receives('a LOGIN bob@example.com x\r\n'),
      ...says('a NO\r\n'),
      server.receives('a LOGIN eve@example.com x\r\n'),
      ...says('a OK\r\n'),
      spliced(),
      server.receives('b SELECT x\r\n'),
    ]);
  });

  test('without a realm nothing of it is changed', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('a LOGIN bob\r\n', 'a BAD\r\n'),
      ...command('a LOGIN {3}\r\n', '+ go\r\n'),
      ...command('bob "x"\r\n', 'a NO\r\n'),
      ...command('a AUTHENTICATE PLAIN\r\n', '+ \r\n'),
      ...command(`${base64('\0bob\0x')}\r\n`, 'a OK\r\n'),
      spliced(),
    ]);
  });
});

describe('PREAUTH', () => {
  test('before TLS ends the connection', () => {
    for (const each of [rule, strict]) {
      everyCut(each, withTls, [
        server('* PREAUTH [CAPABILITY X] hello\r\n* 1 EXISTS\r\n'),
        ...refused('TLS is missing', 'warn: before the login the server sent PREAUTH'),
      ]);
    }
  });

  test('inside TLS is a login', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...says('* preauth [CAPABILITY X STARTTLS] hello\r\n', '* preauth [CAPABILITY X] hello\r\n'),
      spliced(),
      ...command('a LOGIN bob x\r\n', 'a BAD\r\n'),
    ]);
    conversation(implicit, withTls, [
      client.startsTls(),
      client('a SELECT x\r\n'),
      ...says('* PREAUTH x\r\n'),
      server.receives('a SELECT x\r\n'),
    ]);
  });

  test('only greets', () => {
    everyCut(rule, withTls, [...greeting, ...says('* PREAUTH x\r\n'), ...startsTls, ...login]);
  });
});

describe('the realm in LOGIN', () => {
  const attempt = (from: string, to = from) =>
    command(`a LOGIN ${from}\r\n`, 'a NO\r\n', `a LOGIN ${to}\r\n`);

  test('is added to atoms and quoted strings', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...attempt('bob x', 'bob@example.com x'),
      ...attempt('"bob" "x y"', '"bob@example.com" "x y"'),
      ...attempt('"b \\"o\\\\b" x', '"b \\"o\\\\b@example.com" x'),
      ...attempt('j\xc3\xb6rg x', 'j\xc3\xb6rg@example.com x'),
      ...attempt('b*b\\ x', '"b*b\\\\@example.com" x'),
      ...attempt('"" x'),
      ...attempt('bob@b x'),
      ...attempt('"bob@b" x'),
      ...attempt('"b\\o@b" x'),
      ...attempt('bob x y {z}', 'bob@example.com x y {z}'),
    ]);
  });

  test('what gives no name and password is refused', () => {
    const bad = ['bob', 'bob ', '"bob x', '"bob"x y', '(bob) x', '{3 x', '"b\\"', '"b"'];
    everyCut(realm, withTls, [
      ...greeting,
      ...bad.flatMap((argument) => own(`a LOGIN ${argument}\r\n`, `a ${NO_LOGIN}`)),
      ...own('a LOGIN\r\n', 'a BAD LOGIN has no argument\r\n'),
      ...own('a LOGIN  bob x\r\n', 'a BAD LOGIN has no argument\r\n'),
      ...own('a LOGIN "bob {3+}\r\nbob\r\n', `a ${NO_LOGIN}`),
      ...noop,
    ]);
  });

  test('is added to names that fill a line', () => {
    const long = 'x'.repeat(8000);
    const escapes = '\\\\'.repeat(4000);
    conversation(realm, withTls, [
      ...greeting,
      ...attempt(`${long} x`, `${long}@example.com x`),
      ...attempt(`"${long}" x`, `"${long}@example.com" x`),
      ...attempt(`"${escapes}" x`, `"${escapes}@example.com" x`),
      ...own(`a LOGIN "${escapes} x\r\n`, `a ${NO_LOGIN}`),
    ]);
  });

  test('is added to synchronizing literals', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...own('a LOGIN {3}\r\n', '+ Go ahead\r\n'),
      client('bob x\r\n'),
      server.receives('a LOGIN "bob@example.com" x\r\n'),
      ...says('a NO\r\n'),
      ...own('a LOGIN {5}\r\n', '+ Go ahead\r\n'),
      client('b"o\\b {3}\r\n'),
      server.receives('a LOGIN "b\\"o\\\\b@example.com" {3}\r\n'),
      ...says('+ more\r\n'),
      ...command('xyz\r\n', 'a OK\r\n'),
      spliced(),
    ]);
  });

  test('is added to literals for which the client does not wait', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client('a LOGIN {3+}\r\nbob {3+}\r\nx\ry\r\nb NOOP\r\n'),
      server.receives('a LOGIN "bob@example.com" {3}\r\n'),
      server('+ more\r\n'),
      server.receives('x\ry\r\n'),
      client.receivesNothing(),
      ...says('a NO\r\n'),
      server.receives('b NOOP\r\n'),
      ...says('b OK\r\n'),
      client('a LOGIN {5+}\r\nbob@b x\r\n'),
      server.receives('a LOGIN "bob@b" x\r\n'),
      ...says('a OK\r\n'),
      spliced(),
    ]);
  });

  test('literals that are no name, or too long for one, are refused', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...own('a LOGIN {5+}\r\nbo\r\nb x\r\n', `a ${NO_COMMAND}`),
      ...own('a LOGIN {3+}\r\nb\0b x {4+}\r\nabcd\r\n', `a ${NO_COMMAND}`),
      ...own('a LOGIN {3+}\r\nbobx\r\n', `a ${NO_LOGIN}`),
      ...own('a LOGIN {3}\r\n', '+ Go ahead\r\n'),
      ...own('bob\r\n', `a ${NO_LOGIN}`),
      ...own('a LOGIN {1025}\r\n', `a ${TOO_LONG}`),
      ...noop,
    ]);
    const name = 'x'.repeat(1024);
    conversation(realm, withTls, [
      ...greeting,
      ...own(`a LOGIN {1025+}\r\n${name}x y\r\n`, `a ${TOO_LONG}`),
      ...command(
        `a LOGIN {1024+}\r\n${name} y\r\n`,
        'a OK\r\n',
        `a LOGIN "${name}@example.com" y\r\n`,
      ),
    ]);
  });
});

describe('AUTHENTICATE', () => {
  const plain = base64('\0bob\0x');
  const named = base64('\0bob@example.com\0x');

  test('PLAIN, with a first response and without', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command(
        `a AUTHENTICATE PLAIN ${plain}\r\n`,
        'a NO\r\n',
        `a AUTHENTICATE PLAIN ${named}\r\n`,
      ),
      ...command('b authenticate plain\r\n', '+ \r\n'),
      ...command(`${plain}\r\n`, 'b NO\r\n', `${named}\r\n`),
      ...command('c AUTHENTICATE PLAIN =\r\n', '+\r\n'),
      ...command(`${plain}\r\n`, 'c OK\r\n', `${named}\r\n`),
      spliced(),
    ]);
  });

  test('LOGIN, whose first response is the name', () => {
    const bob = base64('bob');
    const other = base64('bob@example.com');
    everyCut(realm, withTls, [
      ...greeting,
      ...command('a AUTHENTICATE LOGIN\r\n', '+ VXNlcm5hbWU6\r\n'),
      ...command(`${bob}\r\n`, '+ UGFzc3dvcmQ6\r\n', `${other}\r\n`),
      ...command(`${bob}\r\n`, 'a NO\r\n'),
      ...command(
        `b AUTHENTICATE LOGIN ${bob}\r\n`,
        '+ UGFzc3dvcmQ6\r\n',
        `b AUTHENTICATE LOGIN ${other}\r\n`,
      ),
      ...command(`${bob}\r\n`, 'b OK\r\n'),
      spliced(),
    ]);
  });

  test('other mechanisms stay as they are, and what is not Base64 ends the login', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('a AUTHENTICATE CRAM-MD5\r\n', '+ PDFAeD4=\r\n'),
      ...command(`${base64('bob 0123')}\r\n`, 'a NO\r\n'),
      ...command('a AUTHENTICATE PLAIN ?\r\n', 'a BAD\r\n', 'a AUTHENTICATE PLAIN *\r\n'),
      ...command(`a AUTHENTICATE PLAIN ${plain} \r\n`, 'a BAD\r\n', 'a AUTHENTICATE PLAIN *\r\n'),
      ...command(
        `a AUTHENTICATE PLAIN  ${plain}\r\n`,
        'a NO\r\n',
        `a AUTHENTICATE PLAIN  ${named}\r\n`,
      ),
      ...command('a AUTHENTICATE PLAIN\r\n', '+ \r\n'),
      ...command('?\r\n', 'a BAD\r\n', '*\r\n'),
      ...noop,
    ]);
  });

  test('responses come when they are asked for, and are no commands', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client(`a AUTHENTICATE PLAIN\r\n${plain}\r\nb STARTTLS\r\n`),
      server.receives('a AUTHENTICATE PLAIN\r\n'),
      ...says('+ \r\n'),
      server.receives(`${named}\r\n`),
      ...says('a NO\r\n', `a NO\r\nb ${BEGIN_TLS}`),
      client.startsTls(),
      ...command('a AUTHENTICATE X\r\n', '+ \r\n'),
      ...command('s STARTTLS\r\n', 'a BAD\r\n'),
      ...command('a AUTHENTICATE X\r\n', '+ \r\n'),
      ...command('x NOOP {5+}\r\n', 'a BAD\r\n'),
      ...own('s STARTTLS\r\n', `s ${TLS_ALREADY}`),
    ]);
  });

  test('cancelled, and when the server loses patience', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('a AUTHENTICATE PLAIN\r\n', '+ \r\n'),
      ...command('*\r\n', 'a BAD\r\n'),
      ...command('a AUTHENTICATE PLAIN\r\n', '+ \r\n'),
      ...says('a NO too slow\r\n'),
      ...command('l LOGIN bob x\r\n', 'l NO\r\n', 'l LOGIN bob@example.com x\r\n'),
      ...startsTls,
    ]);
  });

  test('a response with control characters ends the login', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('a AUTHENTICATE PLAIN\r\n', '+ \r\n'),
      ...command(`${plain}\rx\r\n`, 'a BAD\r\n', '*\r\n'),
      ...noop,
    ]);
  });

  test('has no literals and needs a mechanism', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...own('a AUTHENTICATE {5}\r\n', `a ${NO_LITERAL}`),
      ...own('a AUTHENTICATE PLAIN {9+}\r\nb NOOP x\n\r\n', `a ${NO_LITERAL}`),
      ...own('a AUTHENTICATE\r\n', 'a BAD AUTHENTICATE has no argument\r\n'),
      ...own('a AUTHENTICATE  PLAIN\r\n', 'a BAD AUTHENTICATE has no argument\r\n'),
      ...noop,
    ]);
  });
});

describe('requireTls', () => {
  test('refuses every way to log in before TLS', () => {
    everyCut(strict, withTls, [
      ...greeting,
      ...own('a LOGIN bob x\r\n', `a ${TLS_FIRST}`),
      ...own('b login\r\n', `b ${TLS_FIRST}`),
      ...own(`c AUTHENTICATE PLAIN ${base64('\0bob\0x')}\r\n`, `c ${TLS_FIRST}`),
      ...own('d AUTHENTICATE PLAIN\r\n', `d ${TLS_FIRST}`),
      ...noop,
      ...startsTls,
      ...command('l LOGIN bob x\r\n', 'l OK\r\n', 'l LOGIN bob@example.com x\r\n'),
      spliced(),
    ]);
  });

  test('keeps the answers in order', () => {
    everyCut(strict, withTls, [
      ...greeting,
      client('a NOOP\r\nb LOGIN x y\r\nc NOOP\r\nd LOGIN x y\r\n'),
      server.receives('a NOOP\r\n'),
      client.receivesNothing(),
      ...says('a OK\r\n', `a OK\r\nb ${TLS_FIRST}`),
      server.receives('c NOOP\r\n'),
      ...says('c OK\r\n', `c OK\r\nd ${TLS_FIRST}`),
    ]);
  });

  test('refuses with the literals that belong to the command', () => {
    everyCut(strict, withTls, [
      ...greeting,
      ...own('a LOGIN {5}\r\n', `a ${TLS_FIRST}`),
      ...own('b LOGIN bob {5}\r\n', `b ${TLS_FIRST}`),
      ...own('c LOGIN {12+}\r\nd STARTTLS\r\n x\r\n', `c ${TLS_FIRST}`),
      ...own('e LOGIN {3+}\r\nbob {12+}\r\nf STARTTLS\r\n\r\n', `e ${TLS_FIRST}`),
      ...own('g LOGIN {3+}\r\nbob {0+}\r\n {7}\r\n', `g ${TLS_FIRST}`),
      ...own('h LOGIN {0+}\r\ni STARTTLS\r\n', `h ${TLS_FIRST}`),
      ...startsTls,
    ]);
  });
});

describe('literals of the client', () => {
  test('are passed when the server asks for them, whatever is in them', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('a ID ("x" {14}\r\n', '+ go\r\n'),
      ...command('b STARTTLS\r\n{9 {0}\r\n', '+ \r\n'),
      ...command(')\r\n', '* ID NIL\r\na OK\r\n'),
      ...startsTls,
    ]);
  });

  test('for which it does not wait are asked for all the same', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('a ID ("x" ~{12+}\r\nb STARTTLS\r\n {2+}\r\n\0\n)\r\nc STARTTLS\r\n'),
      server.receives('a ID ("x" ~{12}\r\n'),
      server('+ go\r\n'),
      server.receives('b STARTTLS\r\n {2}\r\n'),
      server('+ go\r\n'),
      server.receives('\0\n)\r\n'),
      client.receivesNothing(),
      ...says('a OK\r\n', `a OK\r\nc ${BEGIN_TLS}`),
      client.startsTls(),
    ]);
  });

  test('that the server does not want are no commands', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('a NOOP {15+}\r\nb LOGIN eve x\r\n {13+}\r\nb STARTTLS x\r\r\nc NOOP\r\n'),
      server.receives('a NOOP {15}\r\n'),
      ...says('a BAD\r\n'),
      server.receives('c NOOP\r\n'),
      ...says('c OK\r\n'),
      ...command('d NOOP {15}\r\n', 'd BAD\r\n'),
      ...noop,
    ]);
  });

  test('that the server does not want make no login of its OK', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('a LOGIN a b{10+}\r\nb LOGIN x y\r\nc STARTTLS\r\n'),
      server.receives('a LOGIN a b{10}\r\n'),
      ...says('a OK\r\n', `a OK\r\nc ${BEGIN_TLS}`),
      client.startsTls(),
    ]);
    everyCut(rule, withTls, [
      ...greeting,
      ...command('a LOGIN a b{10}\r\n', 'a OK\r\n'),
      spliced(),
    ]);
  });

  test('are bounded', () => {
    const fits = 'x'.repeat(16_384);
    conversation(rule, withTls, [
      ...greeting,
      ...command('a LOGIN x {16384}\r\n', '+ \r\n'),
      client(fits),
      server.receives(fits),
      ...command('\r\n', 'a NO\r\n'),
      ...own('b LOGIN x {16385}\r\n', `b ${TOO_LONG}`),
      ...own(`c LOGIN x {${'9'.repeat(400)}}\r\n`, `c ${TOO_LONG}`),
      client('d LOGIN x {16385+}\r\n'),
      client.receives(`d ${TOO_LONG}`),
      ...refused('Literal too long', 'the client sent a literal of more than 16384 bytes'),
    ]);
    everyCut(rule, withTls, [
      ...greeting,
      ...command('a ID {0}\r\n', '+ \r\n'),
      client(' {16385+}\r\n'),
      ...refused('No such command', 'the client sent a command that cannot be passed on'),
    ]);
  });

  test('with a control character in the line behind end the connection', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('a ID {1}\r\n', '+ \r\n'),
      client('x \rb LOGIN x y\r\n'),
      server.receives('x'),
      ...refused('No such command', 'the client sent a command that cannot be passed on'),
    ]);
  });
});

describe('lines that are too long', () => {
  test('from the client end the connection', () => {
    const long = `a NOOP ${'x'.repeat(16_375)}\r\n`;
    const ending = refused('Line too long', 'info: before the login the client sent a line');
    conversation(rule, withTls, [...greeting, ...command(long, 'a BAD\r\n'), ...noop]);
    conversation(rule, withTls, [...greeting, client(`${long.slice(0, -2)}x\r\n`), ...ending]);
    conversation(rule, withTls, [...greeting, client(long.slice(0, -2)), client('xx'), ...ending]);
    conversation(rule, withTls, [
      ...greeting,
      ...command('a AUTHENTICATE X\r\n', '+ \r\n'),
      client('x'.repeat(16_384)),
      ...ending,
    ]);
    conversation(realm, withTls, [
      ...greeting,
      ...own('a LOGIN {9}\r\n', '+ Go ahead\r\n'),
      client('x'.repeat(16_392)),
      client('x'),
      ...ending,
    ]);
  });

  test('may wait, and come at once', () => {
    const many = 'n NOOP\r\n'.repeat(5000);
    const turns = Array.from({ length: 5000 }, () => [
      server.receives('n NOOP\r\n'),
      ...says('n OK\r\n'),
    ]);
    conversation(rule, withTls, [client(many), ...greeting, ...turns.flat(), ...startsTls]);
  });

  test('from the server end the connection', () => {
    const fits = `* OK ${'x'.repeat(16_377)}\r\n`;
    const ending = refused('Server error', 'warn: before the login the server sent a line');
    conversation(rule, withTls, [...says(fits), ...noop]);
    conversation(rule, withTls, [...greeting, server(`x${fits}`), ...ending]);
    conversation(rule, withTls, [...greeting, server(fits.slice(0, -2)), server('xx'), ...ending]);
  });
});

describe('hostile clients', () => {
  const reset = [client.seesReset(), server.seesReset()];

  test.each(['b LOGIN mallory x\r\n', '\0', 'b CAPABILITY\r\n\x16\x03\x01', '\x16x', '\r\n'])(
    'plaintext behind STARTTLS ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [
        ...greeting,
        client(`a STARTTLS\r\n${injected}`),
        client.receives(`a ${BEGIN_TLS}`),
        ...reset,
      ]);
    },
  );

  test('plaintext behind a STARTTLS that had to wait', () => {
    everyCut(rule, withTls, [
      client('a NOOP\r\nb STARTTLS\r\nc CAPABILITY\r\n'),
      ...greeting,
      server.receives('a NOOP\r\n'),
      ...says('a OK\r\n', `a OK\r\nb ${BEGIN_TLS}`),
      ...reset,
    ]);
  });

  test.each([
    ['\r\n', '*'],
    ['\n', '*'],
    ['a\r\n', 'a'],
    ['a \r\n', 'a'],
    [' a NOOP\r\n', '*'],
    ['a  LOGIN x y\r\n', 'a'],
    ['a LOGIN\tx y\r\n', 'a'],
    ['a\tLOGIN x y\r\n', '*'],
    ['* LOGIN x y\r\n', '*'],
    ['+ LOGIN x y\r\n', '*'],
    ['a* LOGIN x y\r\n', '*'],
    ['"a" LOGIN x y\r\n', '*'],
    ['a LOG"IN x y\r\n', 'a'],
    ['a NOOP\rb LOGIN x y\r\n', 'a'],
    ['a NOOP\r\r\n', 'a'],
    ['a STARTTLS\0\r\n', 'a'],
    ['\0a LOGIN x y\r\n', '*'],
    ['\xff\xfe \xfc\r\n', '*'],
    ['{3+}\r\nabc\r\n', '*'],
    ['a LO\0IN {13+}\r\nb LOGIN x y\r\n\r\n', 'a'],
  ])('%j reaches no server', (text, tag) => {
    for (const each of [realm, strict]) {
      everyCut(each, withTls, [...greeting, ...own(text, `${tag} ${NO_COMMAND}`), ...noop]);
    }
  });

  test('IDLE and COMPRESS are refused before the login', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...own('a IDLE\r\n', `a ${LOG_IN_FIRST}`),
      ...own('b compress DEFLATE\r\n', `b ${LOG_IN_FIRST}`),
      ...command('c ENABLE CONDSTORE\r\n', 'c BAD\r\n'),
      ...login,
      ...command('d IDLE\r\n', '+ idling\r\n'),
    ]);
  });

  test('more than 100 refused commands end the connection', () => {
    const answer = `a ${TLS_FIRST}`;
    const ending = refused('Too many commands were refused', 'more than 100 commands were refused');
    for (const count of [101, 5000]) {
      conversation(strict, withTls, [
        ...greeting,
        client('a LOGIN x y\r\n'.repeat(count)),
        client.receives(answer.repeat(101)),
        ...ending,
      ]);
    }
    conversation(strict, withTls, [
      ...greeting,
      client(`a LOGIN ${'{1+}\r\nx '.repeat(101)}`),
      client.receives(answer),
      ...ending,
    ]);
  });

  test('what waits for the server is bounded', () => {
    conversation(rule, { ...withTls, collectLimit: 10_000 }, [
      ...greeting,
      client('a LOGIN x y\r\n'),
      server.receives('a LOGIN x y\r\n'),
      client('n NOOP\r\n'.repeat(1000)),
      client('n NOOP\r\n'.repeat(1000)),
      logs('the client sent more than the collectLimit'),
      ...reset,
    ]);
  });

  test('an incomplete command is ended by the collect timer', () => {
    for (const text of ['a LOGIN b', 'a LOGIN {3+}\r\nab']) {
      conversation(strict, withTls, [
        ...greeting,
        ...startsTls,
        client(text),
        expires('collect'),
        ...reset,
      ]);
    }
  });
});

describe('odd servers', () => {
  test('one that does not greet', () => {
    for (const text of ['220 smtp\r\n', '\r\n', '* OKAY\r\n', 'a OK\r\n', '+ x\r\n']) {
      everyCut(rule, withTls, [
        server(text),
        ...refused('Server error', 'warn: before the login the server sent no IMAP greeting'),
      ]);
    }
  });

  test('one that greets with BYE', () => {
    everyCut(rule, withTls, [
      client('a NOOP\r\n'),
      ...says('* BYE busy\r\n'),
      server.receivesNothing(),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
  });

  test('one that says very much at once', () => {
    const much = '* 1 EXISTS\r\n'.repeat(5000);
    conversation(rule, withTls, [
      ...greeting,
      ...command('n NOOP\r\n', `${much}n OK\r\n`),
      ...startsTls,
      ...login,
    ]);
  });

  test('one that asks for nothing in particular', () => {
    everyCut(rule, withTls, [
      ...says('* OK\r\n'),
      ...says('+ what?\r\n'),
      client('a NOOP\r\n'),
      server.receives('a NOOP\r\n'),
      ...says('+ what?\r\na OK\r\n'),
      ...startsTls,
    ]);
  });

  test('one that answers in the middle of a command', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('a LOGIN x {5}\r\n', '+ \r\n'),
      client('ab'),
      server.receives('ab'),
      ...says('a OK\r\n'),
      ...refused('Server error', 'warn: before the login the server answered in the middle'),
    ]);
  });

  test('one whose literals are long', () => {
    const text = 'a OK\r\n'.repeat(10_000);
    conversation(rule, withTls, [
      ...greeting,
      client('a LOGIN x y\r\n'),
      server.receives('a LOGIN x y\r\n'),
      ...says(`* X {60000}\r\n${text}\r\n`),
      ...says('a OK\r\n'),
      spliced(),
    ]);
  });
});

describe('endings', () => {
  const serverEnds = [server.ends(), client.seesEnd(), client.ends(), server.seesEnd()];

  test('LOGOUT before the login', () => {
    everyCut(rule, withTls, [...greeting, ...logout]);
    everyCut(rule, withTls, [...greeting, ...startsTls, ...logout]);
  });

  test('a server that ends while the client waits for it, or is in the middle of a line', () => {
    everyCut(rule, withTls, [...serverEnds]);
    everyCut(realm, withTls, [
      ...greeting,
      client('a LOGIN b x\r\nb NOOP\r\n'),
      server.receives('a LOGIN b@example.com x\r\n'),
      server('a N'),
      ...serverEnds,
    ]);
  });

  test('a client that sends all it has, and FIN, gets every answer', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('a NOOP\r\nb LOGIN x y\r\nc LOGOUT\r\n'),
      client.ends(),
      server.receives('a NOOP\r\n'),
      ...says('a OK\r\n'),
      server.receives('b LOGIN x y\r\n'),
      ...says('b OK\r\n'),
      server.receives('c LOGOUT\r\n'),
      server.seesEnd(),
      ...says('* BYE\r\nc OK\r\n'),
      server.ends(),
      client.seesEnd(),
    ]);
  });

  test('resets go through', () => {
    everyCut(rule, withTls, [...greeting, client('a NO'), client.resets(), server.seesReset()]);
    everyCut(rule, withTls, [...greeting, ...startsTls, server.resets(), client.seesReset()]);
  });

  test('no server', () => {
    conversation(rule, withTls, [server.refuses(), logs('no server'), client.seesReset()]);
  });
});

describe('options', () => {
  test.each([
    [{ tsl: 'starttls' }, "unknown option 'tsl'; there are tls, realm, requireTls"],
    [{ tls: 'STARTTLS' }, `'tls' must be "starttls" or "implicit", not "STARTTLS"`],
    [{ realm: 'a b' }, `'realm' must be a domain`],
    [{ requireTls: 'yes' }, `'requireTls' must be true or false, not "yes"`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
