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

const BEGIN_TLS = '220 2.0.0 Ready to start TLS\r\n';
const TLS_ALREADY = '503 5.5.1 TLS is active already\r\n';
const NO_ARGUMENT = '501 5.5.4 STARTTLS has no argument\r\n';
const TLS_FIRST = '530 5.7.0 Must issue a STARTTLS command first\r\n';
const HELLO_FIRST = '503 5.5.1 Send EHLO first\r\n';
const TOO_LONG = '500 5.5.2 The line is too long\r\n';
const NO_TEXT = '500 5.5.2 The line has a control character\r\n';
const BYE = '421 4.7.0 The command is refused, and the connection closed\r\n';

const withTls: ConversationSetup = { clientTls: true };

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('smtp-starttls.js', import.meta.url), { options });
}

/** A command that reaches the server as it is, or as `heard`, and its answer. */
function command(text: string, answer = '250 OK\r\n', heard = text): Step[] {
  return [client(text), server.receives(heard), server(answer), client.receives(answer)];
}

/** A command that the server does not see. */
function own(text: string, answer: string): Step[] {
  return [client(text), server.receivesNothing(), client.receives(answer)];
}

/** A reply of several lines with the code 250. */
function reply(...lines: string[]): string {
  return lines.map((line, i) => `250${i === lines.length - 1 ? ' ' : '-'}${line}\r\n`).join('');
}

/** EHLO, or another greeting, with what the server answers and what the client gets. */
function hello(from: string, to: string, text = 'EHLO a\r\n'): Step[] {
  return [client(text), server.receives(text), server(from), client.receives(to)];
}

const greeting = [server('220 mx ESMTP\r\n'), client.receives('220 mx ESMTP\r\n')];
const plainHello = hello(reply('mx', 'SIZE'), reply('mx', 'SIZE', 'STARTTLS'));
const tlsHello = hello(reply('mx', 'SIZE'), reply('mx', 'SIZE'));
const startsTls = [...own('STARTTLS\r\n', BEGIN_TLS), client.startsTls()];
const mail = [...command('MAIL FROM:<a@b>\r\n'), spliced()];
const ending = [client.seesEnd(), server.seesEnd()];
const reset = [client.seesReset(), server.seesReset()];
const quit = [
  ...command('QUIT\r\n', '221 bye\r\n'),
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
  const message = 'Subject: x\r\n\r\nSTARTTLS\r\nEHLO b\r\n.\r\n';

  test('in plaintext', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...plainHello,
      ...mail,
      ...command('RCPT TO:<c@d>\r\n'),
      ...command('DATA\r\n', '354 go\r\n'),
      ...command(message, '250 queued\r\n'),
      ...command('EHLO a\r\n', reply('mx', 'STARTTLS')),
      ...command('STARTTLS\r\n', '503 no\r\n'),
      ...quit,
    ]);
  });

  test('with STARTTLS and a login', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...plainHello,
      ...startsTls,
      ...tlsHello,
      ...command(
        `AUTH PLAIN ${base64('\0bob\0x')}\r\n`,
        '235 welcome\r\n',
        `AUTH PLAIN ${base64('\0bob@example.com\0x')}\r\n`,
      ),
      spliced(),
      ...command('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n', '250 OK\r\n250 OK\r\n354 go\r\n'),
      ...command(message, '250 queued\r\n'),
      ...quit,
    ]);
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...hello(reply('mx', 'AUTH PLAIN', 'STARTTLS'), reply('mx', 'AUTH PLAIN')),
      ...own('STARTTLS\r\n', TLS_ALREADY),
      ...mail,
      ...quit,
    ]);
  });

  test('to port 465 TLS is implicit, unless the options say otherwise', () => {
    const submissions = { ...withTls, localPort: 465 };
    conversation(rule, submissions, [client.startsTls(), ...greeting, ...tlsHello, ...mail]);
    conversation(realm, submissions, [...greeting, ...startsTls, ...tlsHello, ...mail]);
  });

  test('of HELO', () => {
    const helo = command('HELO a\r\n', '250 STARTTLS\r\n');
    everyCut(rule, withTls, [...greeting, ...helo, ...mail, ...quit]);
    everyCut(strict, withTls, [...greeting, ...helo, ...startsTls, ...helo, ...mail]);
  });

  test('of LMTP, where each recipient has its answer', () => {
    const lhlo = 'LHLO a\r\n';
    everyCut(strict, withTls, [
      ...greeting,
      ...hello(reply('mx', 'AUTH PLAIN'), reply('mx', 'STARTTLS'), lhlo),
      ...startsTls,
      ...hello(reply('mx', 'PIPELINING'), reply('mx', 'PIPELINING'), lhlo),
      client('MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n'),
      server.receives('MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n'),
      server('250 a\r\n250 b\r\n250 c\r\n354 go\r\n'),
      client.receives('250 a\r\n250 b\r\n250 c\r\n354 go\r\n'),
      spliced(),
      ...command(message, '250 a\r\n452 full\r\n'),
      ...quit,
    ]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  test('and a client without', () => {
    everyCut(rule, bothTls, [server.startsTls(), ...greeting, ...plainHello, ...mail, ...quit]);
  });

  test('and a client with STARTTLS', () => {
    everyCut(strict, bothTls, [
      server.startsTls(),
      ...greeting,
      ...plainHello,
      ...own('MAIL FROM:<a@b>\r\n', TLS_FIRST),
      ...startsTls,
      ...tlsHello,
      ...mail,
      ...quit,
    ]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [
      client.startsTls(),
      server.startsTls(),
      ...greeting,
      ...tlsHello,
      ...command('BDAT 5 LAST\r\n'),
      spliced(),
    ]);
  });

  test('and a client that does not wait for it', () => {
    everyCut(rule, bothTls, [
      client('NOOP\r\nSTARTTLS\r\n'),
      server.startsTls(),
      server.receives('NOOP\r\n'),
      server('220 mx ESMTP\r\n250 OK\r\n'),
      client.receives(`220 mx ESMTP\r\n250 OK\r\n${BEGIN_TLS}`),
      client.startsTls(),
      ...tlsHello,
      ...mail,
    ]);
  });

  test('which does not start', () => {
    conversation(rule, bothTls, [
      client('EHLO a\r\n'),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      ...reset,
    ]);
  });
});

describe('EHLO', () => {
  test("hides the server's own STARTTLS, before and in TLS", () => {
    const from = reply('mx STARTTLS', 'STARTTLS', 'SIZE 1', 'starttls', 'StartTLS x');
    everyCut(rule, withTls, [
      ...greeting,
      ...hello(from, reply('mx STARTTLS', 'SIZE 1', 'STARTTLS'), 'eHlO a\r\n'),
      ...startsTls,
      ...hello(from, reply('mx STARTTLS', 'SIZE 1')),
      ...hello(reply('STARTTLS', 'STARTTLS'), reply('STARTTLS')),
    ]);
  });

  test('passes what only looks like STARTTLS', () => {
    const lines = [
      'mx',
      'X-STARTTLS',
      'STARTTLSX',
      'STARTTLS-X',
      'AUTH PLAIN',
      'HELP STARTTLS',
      '',
    ];
    everyCut(rule, withTls, [...greeting, ...hello(reply(...lines), reply(...lines, 'STARTTLS'))]);
  });

  test('hides AUTH while TLS is missing and required', () => {
    const all = ['mx', 'AUTH PLAIN LOGIN', 'auth=LOGIN', 'AUTHX', 'SIZE', 'AUTH'];
    everyCut(strict, withTls, [
      ...greeting,
      ...hello(reply(...all), reply('mx', 'AUTHX', 'SIZE', 'STARTTLS')),
      ...startsTls,
      ...hello(reply(...all), reply(...all)),
    ]);
  });

  test.each([
    ['250 mx\r\n', '250-mx\r\n250 STARTTLS\r\n'],
    ['250\r\n', '250-\r\n250 STARTTLS\r\n'],
    ['250\n', '250-\n250 STARTTLS\r\n'],
    ['250-mx\n250-STARTTLS\n250 SIZE\n', '250-mx\n250-SIZE\n250 STARTTLS\r\n'],
    ['250-mx\r\n250\r\n', '250-mx\r\n250-\r\n250 STARTTLS\r\n'],
    ['250-mx\r\n250- STARTTLS\r\n250 SIZE\r\n', '250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n'],
  ])('%j becomes %j', (from, to) => {
    everyCut(rule, withTls, [...greeting, ...hello(from, to)]);
  });

  test.each(['502 what?\r\n', '421 busy\r\n', '550-no\r\n550 more\r\n', '502\r\n', '502\n'])(
    '%j stays as it is',
    (answer) => {
      everyCut(rule, withTls, [...greeting, ...hello(answer, answer), ...hello(answer, answer)]);
    },
  );

  test('with the server going away in the middle of its answer', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...hello('250-mx\r\n421 bye\r\n', '250-mx\r\n421 bye\r\n'),
      ...command('NOOP\r\n'),
    ]);
  });

  test('among pipelined commands, to a server that greets late and long', () => {
    everyCut(rule, withTls, [
      client('NOOP\r\nEHLO a\r\nVRFY b\r\nNOOP\r\n'),
      server.receives('NOOP\r\nEHLO a\r\n'),
      server('220-mx\r\n220-EHLO\r\n220 x\r\n'),
      client.receives('220-mx\r\n220-EHLO\r\n220 x\r\n'),
      server('250 OK\r\n250 mx\r\n'),
      client.receives(`250 OK\r\n${reply('mx', 'STARTTLS')}`),
      server.receives('VRFY b\r\nNOOP\r\n'),
      server('252-a\r\n252-b\r\n252 STARTTLS\r\n250 OK\r\n'),
      client.receives('252-a\r\n252-b\r\n252 STARTTLS\r\n250 OK\r\n'),
    ]);
  });

  test('what nobody asked for passes', () => {
    everyCut(rule, withTls, [
      ...greeting,
      server('250-x\r\n250 STARTTLS\r\n'),
      client.receives('250-x\r\n250 STARTTLS\r\n'),
      ...plainHello,
      server('421 shutting down\r\n'),
      client.receives('421 shutting down\r\n'),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
  });
});

describe('STARTTLS', () => {
  test('in any case of letters, with blanks, and before EHLO', () => {
    for (const text of ['StartTLS\r\n', ' STARTTLS \t\r\n', 'STARTTLS\n']) {
      everyCut(rule, withTls, [...greeting, ...own(text, BEGIN_TLS), client.startsTls()]);
    }
  });

  test('has no argument', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...own('STARTTLS now\r\n', NO_ARGUMENT),
      ...own('STARTTLS:\r\n', NO_ARGUMENT),
      ...command('STARTTLSX\r\n', '500 what?\r\n'),
      ...startsTls,
      ...own('STARTTLS now\r\n', TLS_ALREADY),
    ]);
  });

  test('waits for the answers to what was pipelined before', () => {
    everyCut(rule, withTls, [
      client('NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nEHLO a\r\nSTARTTLS\r\n'),
      server.receives('NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nEHLO a\r\n'),
      client.receivesNothing(),
      server('220 mx\r\n250 OK\r\n530-who\r\n530 are you?\r\n503 no\r\n250-mx\r\n'),
      client.receives('220 mx\r\n250 OK\r\n530-who\r\n530 are you?\r\n503 no\r\n'),
      client.receivesNothing(),
      server('250 SIZE\r\n'),
      client.receives(`${reply('mx', 'SIZE', 'STARTTLS')}${BEGIN_TLS}`),
      client.startsTls(),
      ...tlsHello,
      ...mail,
    ]);
  });

  test('waits for a login that fails', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('AUTH PLAIN AAAA\r\nSTARTTLS\r\n'),
      server.receives('AUTH PLAIN AAAA\r\n'),
      server('535 no\r\n'),
      client.receives(`535 no\r\n${BEGIN_TLS}`),
      client.startsTls(),
    ]);
  });

  test('with the beginning of the handshake right behind it', () => {
    const record = '\x16\x03\x01\x02\x00\x01';
    everyCut(rule, withTls, [
      ...greeting,
      client(`STARTTLS\r\n${record}`),
      client.receives(BEGIN_TLS),
      client.startsTls(record),
      ...tlsHello,
    ]);
  });

  test('a second time, and in TLS', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...startsTls,
      ...own('STARTTLS\r\nSTARTTLS\r\n', TLS_ALREADY + TLS_ALREADY),
      ...tlsHello,
      ...own('STARTTLS\r\n', TLS_ALREADY),
      ...mail,
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
});

describe('after STARTTLS', () => {
  test('the client has to greet anew before anything else', () => {
    const early = [
      'MAIL FROM:<a@b>',
      'RCPT TO:<a@b>',
      'DATA',
      'AUTH PLAIN AAAA',
      'XCLIENT a=b',
      '',
    ];
    everyCut(rule, withTls, [
      ...greeting,
      ...plainHello,
      ...startsTls,
      ...early.flatMap((text) => own(`${text}\r\n`, HELLO_FIRST)),
      ...['NOOP', 'rset', 'HELP', 'VRFY a', 'EXPN a'].flatMap((text) => command(`${text}\r\n`)),
      ...hello('501 no name\r\n', '501 no name\r\n', 'EHLO\r\n'),
      ...own('MAIL FROM:<a@b>\r\n', HELLO_FIRST),
      ...tlsHello,
      ...mail,
    ]);
  });

  test('QUIT needs no greeting', () => {
    everyCut(rule, withTls, [...greeting, ...startsTls, ...quit]);
  });

  test.each(['EHLO a\r\n', 'HELO a\r\n', 'LHLO a\r\n'])(
    'what is pipelined behind %j waits for its answer',
    (text) => {
      const greets = [
        ...greeting,
        ...startsTls,
        client(`${text}MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n`),
        server.receives(text),
      ];
      everyCut(rule, withTls, [
        ...greets,
        server('250-mx\r\n250 SIZE\r\n'),
        client.receives(reply('mx', 'SIZE')),
        server.receives('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n'),
      ]);
      for (const answer of ['501 no\r\n', '252 no\r\n']) {
        everyCut(rule, withTls, [
          ...greets,
          server(answer),
          client.receives(`${answer}${HELLO_FIRST}${HELLO_FIRST}`),
        ]);
      }
    },
  );

  test('a BDAT before the greeting ends the connection, and its data go nowhere', () => {
    conversation(rule, withTls, [
      ...greeting,
      ...startsTls,
      client('BDAT 8 LAST\r\nEHLO a\r\n'),
      client.receives(BYE),
      server.receivesNothing(),
      ...ending,
    ]);
  });
});

describe('lets go', () => {
  test('when a MAIL is accepted, with answers outstanding', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSTARTTLS\r\n.\r\n'),
      server.receives('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n'),
      server('250 OK\r\n'),
      client.receives('250 OK\r\n'),
      spliced(),
      server.receives('STARTTLS\r\n.\r\n'),
      server('250 OK\r\n354 go\r\n250 OK\r\n'),
      client.receives('250 OK\r\n354 go\r\n250 OK\r\n'),
    ]);
  });

  test('not when a MAIL is refused; what is pipelined behind it is commands', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSTARTTLS\r\n'),
      server.receives('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n'),
      server('550 no\r\n503 no\r\n503 no\r\n'),
      client.receives(`550 no\r\n503 no\r\n503 no\r\n${BEGIN_TLS}`),
      client.startsTls(),
    ]);
  });

  test('when DATA is accepted all the same', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('MAIL FROM:<a@b>\r\nDATA\r\nSTARTTLS\r\nhalf a li'),
      server.receives('MAIL FROM:<a@b>\r\nDATA\r\n'),
      server('550 no\r\n354 go\r\n'),
      client.receives('550 no\r\n354 go\r\n'),
      spliced(),
      server.receives('STARTTLS\r\nhalf a li'),
    ]);
  });

  test('leaving what was sent behind DATA as it came', () => {
    const message = `AUTH PLAIN ${base64('\0bob\0x')}\nNOOP\r\n\0\n.\r\n`;
    everyCut(realm, withTls, [
      ...greeting,
      client(`DATA\r\n${message}`),
      server.receives('DATA\r\n'),
      server('354 go\r\n'),
      client.receives('354 go\r\n'),
      spliced(),
      server.receives(message),
    ]);
  });

  test('at BDAT, whose data are no commands', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 10 LAST\r\nSTARTTLS\r\nbdat 0\r\n'),
      server.receives('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 10 LAST\r\nSTARTTLS\r\nbdat 0\r\n'),
      spliced(),
      server('550 no\r\n503 no\r\n503 no\r\n250 STARTTLS\r\n'),
      client.receives('550 no\r\n503 no\r\n503 no\r\n250 STARTTLS\r\n'),
    ]);
  });

  test('at a BDAT that has waited', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...startsTls,
      client('EHLO a\r\nBDAT 10 LAST\nSTARTTLS\n\0'),
      server.receives('EHLO a\r\n'),
      server('250 mx\r\n'),
      client.receives('250 mx\r\n'),
      server.receives('BDAT 10 LAST\r\nSTARTTLS\n\0'),
      spliced(),
    ]);
  });

  test('when the server accepts what the rule does not know', () => {
    for (const text of ['TURN', 'ATRN a', 'XCLIENT LOGIN=eve', 'MAILFROM:<a@b>', '\xff']) {
      everyCut(rule, withTls, [
        ...greeting,
        ...command(`${text}\r\n`, '502 what?\r\n'),
        client(`${text}\r\nSTARTTLS\r\n`),
        server.receives(`${text}\r\n`),
        server('250 OK\r\n'),
        client.receives('250 OK\r\n'),
        spliced(),
        server.receives('STARTTLS\r\n'),
      ]);
    }
  });

  test('with the server sending more in the same segment', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('MAIL FROM:<a@b>\r\nNOOP\r\n'),
      server.receives('MAIL FROM:<a@b>\r\nNOOP\r\n'),
      server('250 OK\r\nwhatever\r\n25'),
      client.receives('250 OK\r\nwhatever\r\n25'),
      spliced(),
    ]);
  });

  test('not for texts that look like it', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('NOOP\r\n', '235 welcome\r\n'),
      ...command('RSET\r\n', '354 go\r\n'),
      ...command('AUTH PLAIN AAAA\r\n', '535-\r\n535 235\r\n'),
      ...command('MAIL FROM:<a@b>\r\n', '550-250\r\n550 250 OK\r\n'),
      ...startsTls,
    ]);
  });
});

describe('AUTH', () => {
  const plain = base64('\0bob\0s@cret');
  const plainWithRealm = base64('\0bob@example.com\0s@cret');
  const failed = (sent: string, heard = sent) =>
    command(`${sent}\r\n`, '535 no\r\n', `${heard}\r\n`);
  const challenged = (sent: string, heard = sent, challenge = '334 \r\n') =>
    command(`${sent}\r\n`, challenge, `${heard}\r\n`);
  const succeeds = (sent: string, heard = sent) => [
    ...command(`${sent}\r\n`, '235-hi\r\n235 welcome\r\n', `${heard}\r\n`),
    spliced(),
  ];

  test('PLAIN with the response at once', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...failed(`AUTH PLAIN ${plain}`, `AUTH PLAIN ${plainWithRealm}`),
      ...succeeds(`auth plain ${plain}`, `auth plain ${plainWithRealm}`),
    ]);
  });

  test('PLAIN with the response after the challenge', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH PLAIN'),
      ...failed(plain, plainWithRealm),
      ...challenged('AUTH PLAIN =', undefined, '334\r\n'),
      ...succeeds(plain, plainWithRealm),
    ]);
  });

  test('with the response pipelined behind it', () => {
    const name = 'n'.repeat(1600);
    everyCut(realm, withTls, [
      ...greeting,
      client('AUTH PLAIN\r\n'),
      client(`${base64('\0bob\0x')}\r\nMAIL FROM:<a@b>\r\n`),
      server.receives('AUTH PLAIN\r\n'),
      server('334 \r\n'),
      client.receives('334 \r\n'),
      server.receives(`${base64('\0bob@example.com\0x')}\r\n`),
      server('235 OK\r\n'),
      client.receives('235 OK\r\n'),
      server.receives('MAIL FROM:<a@b>\r\n'),
      spliced(),
    ]);
    conversation(realm, withTls, [
      ...greeting,
      client(`AUTH PLAIN\r\n${base64(`\0${name}\0x`)}\r\n`),
      server.receives('AUTH PLAIN\r\n'),
      server('334 \r\n'),
      client.receives('334 \r\n'),
      server.receives(`${base64(`\0${name}@example.com\0x`)}\r\n`),
    ]);
  });

  test('with all of a LOGIN pipelined: each response waits for its challenge', () => {
    everyCut(realm, withTls, [
      ...greeting,
      client(`AUTH LOGIN\r\n${base64('bob')}\r\n${base64('x')}\r\nNOOP\r\n`),
      server.receives('AUTH LOGIN\r\n'),
      server('334 VXNlcm5hbWU6\r\n'),
      server.receives(`${base64('bob@example.com')}\r\n`),
      server.receivesNothing(),
      server('334 UGFzc3dvcmQ6\r\n'),
      server.receives(`${base64('x')}\r\n`),
      server('535 no\r\n'),
      server.receives('NOOP\r\n'),
      client.receives('334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n535 no\r\n'),
    ]);
  });

  test('PLAIN with an authorization identity', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...failed(
        `AUTH PLAIN ${base64('boss\0bob@a.example\0x')}`,
        `AUTH PLAIN ${base64('boss@example.com\0bob@a.example\0x')}`,
      ),
    ]);
  });

  test('LOGIN, whose first response is the name', () => {
    const [name, named] = [base64('bob'), base64('bob@example.com')];
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH LOGIN', undefined, '334 VXNlcm5hbWU6\r\n'),
      ...challenged(name, named, '334 UGFzc3dvcmQ6\r\n'),
      ...failed(base64('pass')),
      ...challenged(`AUTH LOGIN ${name}`, `AUTH LOGIN ${named}`, '334 UGFzc3dvcmQ6\r\n'),
      ...succeeds(base64('pass')),
    ]);
  });

  test('other mechanisms stay as they are, and what is no Base64 ends the login', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH CRAM-MD5', undefined, '334 PDFAeD4=\r\n'),
      ...failed(base64('bob 0123456789abcdef')),
      ...failed(`AUTH PLAIN-X ${base64('\0bob\0x')}`),
      ...failed('AUTH PLAIN ?', 'AUTH PLAIN *'),
      ...failed(`AUTH PLAIN  ${plain}`, `AUTH PLAIN  ${plainWithRealm}`),
      ...failed(`AUTH PLAIN ${base64('bob')}`),
      ...challenged(`AUTH SCRAM-SHA-1 ${base64('n,,n=bob,r=x')}`),
      ...challenged(base64('c=biws')),
      ...succeeds(''),
    ]);
    everyCut(rule, withTls, [...greeting, ...succeeds(`AUTH PLAIN ${plain}`)]);
  });

  test('cancelled, and commands again', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH LOGIN'),
      ...failed('*'),
      ...plainHello,
      ...startsTls,
    ]);
  });

  test('a response is no command', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH CRAM-MD5'),
      ...challenged('STARTTLS'),
      ...challenged('BDAT 5'),
      ...succeeds('EHLO a'),
    ]);
  });

  test('when the server loses patience with a challenge', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...challenged('AUTH PLAIN'),
      server('421 too slow\r\n'),
      client.receives('421 too slow\r\n'),
      ...plainHello,
    ]);
  });

  test('that succeeds in plaintext leaves STARTTLS to the server', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('AUTH PLAIN AAAA\r\nSTARTTLS\r\n'),
      server.receives('AUTH PLAIN AAAA\r\n'),
      server('235 OK\r\n'),
      client.receives('235 OK\r\n'),
      spliced(),
      server.receives('STARTTLS\r\n'),
      server('502 what?\r\n'),
      client.receives('502 what?\r\n'),
    ]);
  });
});

describe('requireTls', () => {
  test('refuses all but the beginning of a session', () => {
    const refused = [
      'MAIL FROM:<a@b>',
      'rcpt TO:<a@b>',
      'DATA',
      'AUTH PLAIN AAAA',
      'HELP',
      'VRFY a',
    ].concat(['\t mail FROM:<a@b>', 'NOOPX', 'XCLIENT a=b', '', '\xff', 'EHLOX']);
    everyCut(strict, withTls, [
      ...greeting,
      ...plainHello,
      ...refused.flatMap((line) => own(`${line}\r\n`, TLS_FIRST)),
      ...command('NOOP\r\n'),
      ...command('RSET\r\n'),
      ...startsTls,
      ...tlsHello,
      ...mail,
    ]);
    everyCut(strict, withTls, [...greeting, ...quit]);
  });

  test('keeps the answers in order', () => {
    everyCut(strict, withTls, [
      client('NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nNOOP\r\nDATA\r\n'),
      server.receives('NOOP\r\n'),
      server('220 mx\r\n'),
      client.receives('220 mx\r\n'),
      server('250 OK\r\n'),
      client.receives(`250 OK\r\n${TLS_FIRST}${TLS_FIRST}`),
      server.receives('NOOP\r\n'),
      client.receivesNothing(),
      server('250 OK\r\n'),
      client.receives(`250 OK\r\n${TLS_FIRST}`),
    ]);
  });

  test('ends the connection at BDAT, whose data are no commands', () => {
    for (const text of ['BDAT 6 LAST\r\n', 'bdat6\r\n', 'BDAT \x01\r\n']) {
      everyCut(strict, withTls, [
        ...greeting,
        client('MAIL FROM:<a@b>\r\n'),
        client.receives(TLS_FIRST),
        client(`${text}NOOP\r\nSTARTTLS\r\n`),
        client.receives(BYE),
        ...ending,
      ]);
    }
  });
});

describe('lines that are too long', () => {
  test('commands of up to 2048 octets pass, longer ones are refused once', () => {
    const line = `RCPT TO:<${'x'.repeat(2036)}>\r\n`;
    conversation(rule, withTls, [
      ...greeting,
      ...command(line),
      ...own(`x${line}`, TOO_LONG),
      ...own(`${'STARTTLS '.repeat(300)}\r\n`, TOO_LONG),
      client(`NOOP\r\n${'x'.repeat(3000)}\r\nNOOP 2\r\n`),
      server.receives('NOOP\r\n'),
      client.receivesNothing(),
      server('250 OK\r\n'),
      client.receives(`250 OK\r\n${TOO_LONG}`),
      server.receives('NOOP 2\r\n'),
    ]);
  });

  test('take no room while they last', () => {
    conversation(rule, { ...withTls, collectLimit: 4000 }, [
      ...greeting,
      ...Array.from({ length: 100 }, () => client('x'.repeat(1000))),
      client.receivesNothing(),
      ...own('\r\n', TOO_LONG),
      ...plainHello,
    ]);
  });

  test('AUTH may have 12288 octets', () => {
    const fits = `AUTH GSSAPI ${'x'.repeat(12_274)}`;
    conversation(rule, withTls, [
      ...greeting,
      client(fits),
      ...command('\r\n', '535 no\r\n', `${fits}\r\n`),
      ...own(`${fits}y\r\n`, TOO_LONG),
      client(`${fits}yz`),
      ...own('\r\n', TOO_LONG),
      ...plainHello,
    ]);
  });

  test('SASL responses may have 12288 octets, and longer ones are cancelled', () => {
    const fits = 'x'.repeat(12_286);
    const attempt = (response: string, heard: string) => [
      ...command('AUTH GSSAPI\r\n', '334 \r\n'),
      ...command(response, '535 no\r\n', heard),
    ];
    conversation(rule, withTls, [
      ...greeting,
      ...attempt(`${fits}\r\n`, `${fits}\r\n`),
      ...attempt(`${fits}y\r\n`, '*\r\n'),
      ...command('AUTH GSSAPI\r\n', '334 \r\n'),
      client(`${fits}yyy`),
      client('z'.repeat(5000)),
      ...command('\r\n', '501 no\r\n', '*\r\n'),
      ...plainHello,
    ]);
  });

  test('from the server end the connection', () => {
    const fits = `220 ${'x'.repeat(16_378)}\r\n`;
    const refused = [logs("warn: the server's answer has more than 16384 bytes"), ...reset];
    conversation(rule, withTls, [server(fits), client.receives(fits), ...plainHello]);
    conversation(rule, withTls, [server(`220 x${fits.slice(4)}`), ...refused]);
    conversation(rule, withTls, [server(fits.slice(0, -2)), server('xxx'), ...refused]);
  });

  test('so do answers to EHLO without an end', () => {
    const lines = (count: number) => '250-SIZE 12\r\n'.repeat(count);
    const begin = [...greeting, client('EHLO a\r\n'), server.receives('EHLO a\r\n')];
    conversation(rule, withTls, [
      ...begin,
      server(`${lines(1259)}250 HELP\r\n`),
      client.receives(`${lines(1259)}250-HELP\r\n250 STARTTLS\r\n`),
    ]);
    conversation(rule, withTls, [
      ...begin,
      server(lines(1000)),
      server(lines(261)),
      logs("warn: the server's answer has more than 16384 bytes"),
      ...reset,
    ]);
  });
});

describe('hostile clients', () => {
  const refused = [client.receives(BEGIN_TLS), ...reset];

  test.each(['MAIL FROM:<a@b>\r\n', '\0', 'EHLO a\r\n\x16\x03\x01', '\x16x', '\r\n'])(
    'plaintext behind STARTTLS ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [
        ...greeting,
        ...plainHello,
        client(`STARTTLS\r\n${injected}`),
        ...refused,
      ]);
    },
  );

  test('plaintext behind a STARTTLS that had to wait', () => {
    everyCut(rule, withTls, [
      client('EHLO a\r\nSTARTTLS\r\nRSET\r\n'),
      server.receives('EHLO a\r\n'),
      server('220 mx\r\n250 mx\r\n'),
      client.receives(`220 mx\r\n${reply('mx', 'STARTTLS')}`),
      ...refused,
    ]);
  });

  test('thousands of pipelined commands, in turns', () => {
    const noop = (count: number) => 'NOOP\r\n'.repeat(count);
    const ok = (count: number) => '250 OK\r\n'.repeat(count);
    const turns = [1000, 1000, 1].flatMap((count) => [
      server.receives(noop(count)),
      server(ok(count)),
      client.receives(ok(count)),
    ]);
    conversation(rule, withTls, [
      client(`${noop(3000)}STARTTLS\r\n`),
      server.receives(noop(999)),
      server(ok(1000)),
      client.receives(ok(1000)),
      ...turns,
      client.receives(BEGIN_TLS),
      client.startsTls(),
    ]);
  });

  test('more than 100 refused commands end the connection', () => {
    const data = 'DATA\r\n';
    const over = [client.receives(BYE), logs('info: more than 100 commands were refused')];
    conversation(strict, withTls, [
      ...greeting,
      ...own(data.repeat(100), TLS_FIRST.repeat(100)),
      client(data),
      ...over,
      ...ending,
    ]);
    conversation(strict, withTls, [
      ...greeting,
      client(data.repeat(5000)),
      client.receives(TLS_FIRST.repeat(100)),
      ...over,
      server.receivesNothing(),
      ...ending,
    ]);
  });

  test('what waits is bounded in size and time', () => {
    const waits = [...greeting, client('AUTH PLAIN\r\n'), server.receives('AUTH PLAIN\r\n')];
    conversation(rule, { ...withTls, collectLimit: 10_000 }, [
      ...waits,
      client('NOOP\r\n'.repeat(1000)),
      client('NOOP\r\n'.repeat(1000)),
      logs('the client sent more than the collectLimit'),
      ...reset,
    ]);
    conversation(rule, withTls, [...waits, client('NO'), expires('collect'), ...reset]);
  });
});

describe('the ends of lines', () => {
  // Some server may take them for the end of a line, or leave them out.
  test.each(['NOOP\rMAIL\r\n', 'NOOP\r\r\n', 'NOOP\0\r\n', 'ST\x7fARTTLS\r\n', 'STARTTLS\r\r\n'])(
    '%j reaches no server',
    (text) => {
      for (const each of [rule, strict]) {
        everyCut(each, withTls, [...greeting, ...own(text, NO_TEXT), ...command('NOOP\r\n')]);
      }
    },
  );

  test('a bare LF is one, and becomes CRLF', () => {
    everyCut(realm, withTls, [
      server('220 mx\n'),
      client.receives('220 mx\n'),
      ...command('NOOP a\nRSET\n', '250 OK\n250 OK\n', 'NOOP a\r\nRSET\r\n'),
      client('ehlo a\n'),
      server.receives('ehlo a\r\n'),
      server('250-mx\n250 STARTTLS\n'),
      client.receives('250-mx\n250 STARTTLS\r\n'),
      ...command('AUTH LOGIN\n', '334 \n', 'AUTH LOGIN\r\n'),
      ...command(`${base64('bob')}\n`, '334 \n', `${base64('bob@example.com')}\r\n`),
      ...command('x\n', '535 no\n', 'x\r\n'),
      ...own('starttls\n', BEGIN_TLS),
      client.startsTls(),
    ]);
  });

  test('control characters in a SASL response end the login', () => {
    everyCut(realm, withTls, [
      ...greeting,
      ...command('AUTH PLAIN\r\n', '334 \r\n'),
      ...command(`${base64('\0bob\0secret')}\r\r\n`, '501 no\r\n', '*\r\n'),
      ...command('NOOP\r\n'),
    ]);
  });

  test('tabs and octets above 0x7F are none', () => {
    const text = 'MAIL\tFROM:<j\xc3\xbcrg@example.com> SMTPUTF8\r\n';
    everyCut(realm, withTls, [...greeting, ...command(text), spliced()]);
  });
});

describe('a server that', () => {
  test.each([
    'hello\r\n',
    '\r\n',
    '\n',
    '22 x\r\n',
    '2200\r\n',
    '220\tx\r\n',
    '250\r\r\n',
    '150 x\r\n',
  ])('says %j is cut off', (line) => {
    everyCut(rule, withTls, [
      ...greeting,
      server(line),
      logs('warn: the server sent a line that is no SMTP reply'),
      ...reset,
    ]);
  });

  test('does so within an answer', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('EHLO a\r\n'),
      server.receives('EHLO a\r\n'),
      server('250-mx\r\nSTARTTLS\r\n'),
      logs('warn: the server sent a line that is no SMTP reply'),
      ...reset,
    ]);
  });
});

describe('endings', () => {
  const serverEnds = [server.ends(), client.seesEnd(), client.ends(), server.seesEnd()];
  const clientEnds = [client.ends(), server.seesEnd(), server.ends(), client.seesEnd()];

  test('by the server', () => {
    const busy = [server('554 busy\r\n'), client.receives('554 busy\r\n')];
    everyCut(rule, withTls, serverEnds);
    everyCut(rule, withTls, [...busy, ...serverEnds]);
    everyCut(rule, withTls, [...greeting, ...startsTls, ...serverEnds]);
    everyCut(rule, withTls, [
      ...greeting,
      client('EHLO a\r\nNOOP\r\n'),
      server.receives('EHLO a\r\n'),
      server('250-mx\r\n25'),
      ...serverEnds,
    ]);
  });

  test('by the client', () => {
    everyCut(rule, withTls, [...greeting, ...clientEnds]);
    everyCut(rule, withTls, [...greeting, ...startsTls, ...clientEnds]);
  });

  test('a client that sends all it has, and FIN, gets every answer', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('EHLO a\r\nRSET\r\nDATA\r\nQUIT\r\n'),
      client.ends(),
      server.receives('EHLO a\r\n'),
      server('250 mx\r\n'),
      server.receives('RSET\r\nDATA\r\n'),
      server('250 OK\r\n503 no\r\n'),
      server.receives('QUIT\r\n'),
      server.seesEnd(),
      server('221 bye\r\n'),
      client.receives(`${reply('mx', 'STARTTLS')}250 OK\r\n503 no\r\n221 bye\r\n`),
      server.ends(),
      client.seesEnd(),
    ]);
  });

  test('resets go through', () => {
    everyCut(rule, withTls, [...greeting, client('EH'), client.resets(), server.seesReset()]);
    everyCut(rule, withTls, [...greeting, ...startsTls, server.resets(), client.seesReset()]);
  });

  test('no server', () => {
    conversation(rule, withTls, [server.refuses(), logs('no server'), client.seesReset()]);
  });
});

describe('options', () => {
  test.each([
    [{ protocol: 'lmtp' }, "unknown option 'protocol'; there are tls, realm, requireTls"],
    [{ tls: 'STARTTLS' }, `'tls' must be "starttls" or "implicit", not "STARTTLS"`],
    [{ realm: '@example.com' }, `'realm' must be a domain`],
    [{ requireTls: 'yes' }, `'requireTls' must be true or false, not "yes"`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
