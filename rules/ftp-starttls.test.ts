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

const BEGIN_TLS = '234 Begin TLS negotiation\r\n';
const TLS_ALREADY = '534 TLS is active already\r\n';
const TLS_FIRST = '530 Use AUTH TLS first\r\n';
const NO_COMMAND = '500 That is no command\r\n';
const TOO_LONG = '500 The line is too long\r\n';
const CLEAR = '200 Data connections are not protected\r\n';
const OWN = ' AUTH TLS\r\n PBSZ\r\n PROT\r\n';

const withTls: ConversationSetup = { clientTls: true };

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('ftp-starttls.js', import.meta.url), { options });
}

/** A command that reaches the server, and its answer, which the client gets as it is, or as `seen`. */
function command(text: string, answer = '200 ok\r\n', seen = answer): Step[] {
  return [client(text), server.receives(text), server(answer), client.receives(seen)];
}

/** A command that the server does not see. */
function own(text: string, answer: string): Step[] {
  return [client(text), server.receivesNothing(), client.receives(answer)];
}

const greeting = [server('220 ready\r\n'), client.receives('220 ready\r\n')];
const startsTls = [...own('AUTH TLS\r\n', BEGIN_TLS), client.startsTls()];
const login = [
  ...command('USER alice\r\n', '331 password?\r\n'),
  ...command('PASS secret\r\n', '230 in\r\n'),
];
const quit = [
  ...command('QUIT\r\n', '221 bye\r\n'),
  server.ends(),
  client.seesEnd(),
  client.ends(),
  server.seesEnd(),
];
const closed = [client.seesEnd(), server.seesEnd(), client.ends(), server.ends()];

let rule: Rule;
let strict: Rule;
let implicit: Rule;

beforeAll(async () => {
  rule = await load();
  strict = await load({ tls: 'starttls', requireTls: true });
  implicit = await load({ tls: 'implicit' });
});

describe('a whole session', () => {
  test('in plaintext, spliced after the login', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('SYST\r\n', '215 UNIX\r\n'),
      ...login,
      spliced(),
      ...command('AUTH TLS\r\n', '500 what?\r\n'),
      ...quit,
    ]);
  });

  test('with AUTH TLS, watched to the end', () => {
    everyCut(strict, withTls, [
      ...greeting,
      ...startsTls,
      ...login,
      ...own('PBSZ 0\r\n', '200 PBSZ=0\r\n'),
      ...own('PROT C\r\n', CLEAR),
      ...command('FEAT\r\n', '211-Features\r\n SIZE\r\n211 End\r\n').slice(0, 3),
      client.receives(`211-Features\r\n SIZE\r\n${OWN}211 End\r\n`),
      ...command('EPSV\r\n', '229 ok (|||1024|)\r\n'),
      ...command('LIST\r\n', '150 coming\r\n'),
      server('226 done\r\n'),
      client.receives('226 done\r\n'),
      ...own('AUTH TLS\r\n', TLS_ALREADY),
      ...quit,
    ]);
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...own('AUTH TLS\r\n', TLS_ALREADY),
      ...own('PBSZ 0\r\n', '200 PBSZ=0\r\n'),
      ...own('PROT P\r\n', '536 Data connections cannot be protected\r\n'),
      ...login,
      ...quit,
    ]);
  });

  test('to port 990 TLS is implicit, unless the options say otherwise', () => {
    const ftps = { ...withTls, localPort: 990 };
    conversation(rule, ftps, [client.startsTls(), ...greeting, ...login]);
    conversation(strict, ftps, [...greeting, ...startsTls, ...login]);
  });

  test('with lines that end in LF only', () => {
    everyCut(rule, withTls, [
      server('220 ready\n'),
      client.receives('220 ready\n'),
      ...command('FEAT\n', '211-F\n PASV\n211 End\n', `211-F\n PASV\n${OWN}211 End\n`),
      ...own('auth tls\n', BEGIN_TLS),
      client.startsTls(),
      ...own('pbsz 0\n', '200 PBSZ=0\r\n'),
    ]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  test('and a client without', () => {
    everyCut(rule, bothTls, [server.startsTls(), ...greeting, ...login, spliced(), ...quit]);
  });

  test('and a client with AUTH TLS', () => {
    everyCut(strict, bothTls, [
      server.startsTls(),
      ...greeting,
      ...startsTls,
      ...login,
      ...own('PBSZ 0\r\n', '200 PBSZ=0\r\n'),
      ...quit,
    ]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [client.startsTls(), server.startsTls(), ...greeting, ...login]);
  });

  test('and a client that does not wait for it', () => {
    everyCut(rule, bothTls, [
      client('NOOP\r\nAUTH TLS\r\n'),
      server.startsTls(),
      server.receives('NOOP\r\n'),
      server('220 ready\r\n200 ok\r\n'),
      client.receives(`220 ready\r\n200 ok\r\n${BEGIN_TLS}`),
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

describe('AUTH', () => {
  test.each(['AUTH TLS', 'aUtH tls', 'AUTH TLS-C', 'AUTH SSL', '  AUTH\tTLS '])('%j', (text) => {
    everyCut(rule, withTls, [...greeting, ...own(`${text}\r\n`, BEGIN_TLS), client.startsTls()]);
  });

  test('with other mechanisms, or none', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...own('AUTH TLS-P\r\n', '504 Use AUTH TLS\r\n'),
      ...own('AUTH GSSAPI\r\n', '504 Use AUTH TLS\r\n'),
      ...own('AUTH TLSX\r\n', '504 Use AUTH TLS\r\n'),
      ...own('AUTH TLS x\r\n', '504 Use AUTH TLS\r\n'),
      ...own('AUTH\r\n', '501 AUTH needs a mechanism\r\n'),
      ...own('AUTH \r\n', '501 AUTH needs a mechanism\r\n'),
      ...command('AUTHX TLS\r\n', '500 what?\r\n'),
      ...startsTls,
    ]);
  });

  test('waits for the greeting and the answers to what was pipelined before', () => {
    everyCut(rule, withTls, [
      client('SYST\r\nFEAT\r\nAUTH TLS\r\n'),
      server.receives('SYST\r\nFEAT\r\n'),
      server('120 soon\r\n220-ready\r\n120 no\r\n220 ready\r\n215 UNIX\r\n'),
      client.receives('120 soon\r\n220-ready\r\n120 no\r\n220 ready\r\n215 UNIX\r\n'),
      server('500 what?\r\n'),
      client.receives(`211-Features:\r\n${OWN}211 End\r\n${BEGIN_TLS}`),
      client.startsTls(),
    ]);
  });

  test('waits for a login that fails', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('USER alice\r\n', '331 password?\r\n'),
      client('PASS x\r\nAUTH TLS\r\n'),
      server.receives('PASS x\r\n'),
      server('530 no\r\n'),
      client.receives(`530 no\r\n${BEGIN_TLS}`),
      client.startsTls(),
      ...login,
    ]);
  });

  test('behind a login that succeeds is the server\u2019s', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('USER anonymous\r\nAUTH TLS\r\n'),
      server.receives('USER anonymous\r\n'),
      server('230-welcome\r\n230 in\r\n'),
      client.receives('230-welcome\r\n230 in\r\n'),
      spliced(),
      server.receives('AUTH TLS\r\n'),
    ]);
  });

  test('with the beginning of the handshake right behind it', () => {
    const hello = '\x16\x03\x01\x02\x00\x01';
    everyCut(rule, withTls, [
      ...greeting,
      client(`AUTH TLS\r\n${hello}`),
      client.receives(BEGIN_TLS),
      client.startsTls(hello),
      ...login,
    ]);
  });

  test('a second time, and in TLS', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...startsTls,
      ...own('AUTH TLS\r\nAUTH SSL\r\nAUTH\r\n', TLS_ALREADY.repeat(3)),
      ...login,
    ]);
  });

  test('when the handshake fails', () => {
    conversation(rule, withTls, [
      ...greeting,
      ...own('AUTH TLS\r\n', BEGIN_TLS),
      client.failsTls(),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('FEAT', () => {
  const list = (...lines: string[]) =>
    `211-Features:\r\n${lines.map((line) => `${line}\r\n`).join('')}211 End\r\n`;

  test('has the own features, and hides what the server would protect by itself', () => {
    const from = list(' AUTH TLS;SSL', ' MDTM', ' auth gssapi', ' PBSZ', ' PROT', ' CCC', ' ENC');
    const to = `211-Features:\r\n MDTM\r\n${OWN}211 End\r\n`;
    everyCut(rule, withTls, [
      ...greeting,
      ...command('FEAT\r\n', from, to),
      ...startsTls,
      ...command('feat\r\n', from, to),
    ]);
  });

  test('passes what only looks like the end or a feature', () => {
    const lines = [
      ' AUTHX',
      ' XAUTH',
      '  AUTH',
      'AUTH',
      ' 211 End',
      '212 End',
      '211-x',
      '211',
      ' ',
    ];
    const from = list(...lines);
    const to = from.replace(/211 End\r\n$/, `${OWN}211 End\r\n`);
    everyCut(rule, withTls, [...greeting, ...command('FEAT\r\n', from, to)]);
  });

  test.each(['211 no features\r\n', '500 what?\r\n', '502 no\r\n'])(
    'is answered for %j',
    (answer) => {
      const own = `211-Features:\r\n${OWN}211 End\r\n`;
      everyCut(rule, withTls, [
        ...greeting,
        ...command('FEAT\r\n', answer, own),
        ...startsTls,
        ...command('FEAT\r\n', answer, own),
      ]);
    },
  );

  test('fails as the server says otherwise', () => {
    const answers = ['421 going down\r\n', '530 log in\r\n', '530-log\r\n AUTH TLS\r\n530 in\r\n'];
    everyCut(rule, withTls, [
      ...greeting,
      ...answers.flatMap((answer) => command('FEAT\r\n', answer)),
    ]);
  });

  test('is not taken for the answer to another command', () => {
    const status = '211-Status\r\n AUTH TLS\r\n211 End\r\n';
    everyCut(rule, withTls, [
      ...greeting,
      client('STAT\r\nFEAT\r\nHELP\r\n'),
      server.receives('STAT\r\nFEAT\r\nHELP\r\n'),
      server(`${status}${status}${status}`),
      client.receives(`${status}211-Status\r\n${OWN}211 End\r\n${status}`),
      ...startsTls,
    ]);
  });
});

describe('PBSZ and PROT', () => {
  test('need TLS, and PROT needs PBSZ', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...own('PBSZ 0\r\n', '503 Use AUTH TLS first\r\n'),
      ...own('PROT C\r\n', '503 Use PBSZ first\r\n'),
      ...startsTls,
      ...own('PROT C\r\n', '503 Use PBSZ first\r\n'),
    ]);
  });

  test('sizes and levels', () => {
    const size = '501 PBSZ needs a 32-bit number\r\n';
    const level = '536 Data connections cannot be protected\r\n';
    everyCut(rule, withTls, [
      ...greeting,
      ...startsTls,
      ...own('PBSZ\r\nPBSZ -1\r\nPBSZ 4294967296\r\nPBSZ 99999999999\r\n', size.repeat(4)),
      ...own('PROT C\r\n', '503 Use PBSZ first\r\n'),
      ...own('PBSZ 4294967295\r\n', '200 PBSZ=0\r\n'),
      ...own('PROT P\r\nPROT s\r\nPROT E\r\n', level.repeat(3)),
      ...own('PROT X\r\n', '504 There is no such protection level\r\n'),
      ...own('PROT\r\n', '504 There is no such protection level\r\n'),
      ...own('prot c\r\n', CLEAR),
    ]);
  });

  test('wait for a transfer that is under way', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...login,
      ...own('PBSZ 0\r\n', '200 PBSZ=0\r\n'),
      ...command('RETR x\r\n', '150-coming\r\n226 no\r\n150 coming\r\n'),
      client('PROT C\r\n'),
      client.receivesNothing(),
      server('226 done\r\n'),
      client.receives(`226 done\r\n${CLEAR}`),
      server.receivesNothing(),
    ]);
  });

  test('as often as the client likes', () => {
    const prot = (count: number) => own('PROT C\r\n'.repeat(count), CLEAR.repeat(count));
    conversation(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...own('PBSZ 0\r\n', '200 PBSZ=0\r\n'),
      ...prot(200),
      ...prot(300),
    ]);
  });
});

test('TLS cannot be taken off', () => {
  everyCut(rule, withTls, [
    ...greeting,
    ...command('CCC\r\n', '500 what?\r\n'),
    ...command('REIN\r\n', '220 again\r\n'),
    ...startsTls,
    ...own('CCC\r\n', '534 TLS cannot be taken off\r\n'),
    ...own('REIN\r\n', '502 REIN would take TLS off\r\n'),
    ...login,
  ]);
});

describe('the login', () => {
  test('is an answer to USER, PASS or ACCT, not a code or a text', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('NOOP\r\n', '230 in\r\n'),
      ...command('HELP\r\n', '214-x\r\n230 in\r\n214 y\r\n'),
      ...command('USER a\r\n', '331-230 in\r\n230 in\r\n331 password?\r\n'),
      ...command('PASS a\r\n', '332 account?\r\n'),
      ...command('ACCT a\r\n', '230 in\r\n'),
      spliced(),
    ]);
  });

  test('by 232', () => {
    everyCut(rule, withTls, [...greeting, ...command('USER a\r\n', '232 in\r\n'), spliced()]);
  });

  test('holds what is pipelined behind it until it is decided', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('USER a\r\nPASS b\r\nCWD c\r\nFEAT'),
      server.receives('USER a\r\n'),
      server('331 password?\r\n'),
      client.receives('331 password?\r\n'),
      server.receives('PASS b\r\n'),
      server('230 in\r\n250 x'),
      client.receives('230 in\r\n250 x'),
      spliced(),
      server.receives('CWD c\r\nFEAT'),
    ]);
  });
});

describe('requireTls', () => {
  test('refuses the login before TLS', () => {
    const refused = ['USER a', 'pass b', 'ACCT c', '\t user a', 'USER:a', 'USER', '\xff\xf4USER a'];
    everyCut(strict, withTls, [
      ...greeting,
      ...refused.flatMap((line) => own(`${line}\r\n`, TLS_FIRST)),
      ...command('NOOP\r\n'),
      ...startsTls,
      ...login,
    ]);
  });

  test('keeps the answers in order', () => {
    everyCut(strict, withTls, [
      client('SYST\r\nUSER a\r\nPASS b\r\nNOOP\r\n'),
      server.receives('SYST\r\n'),
      server('220 ready\r\n215 UNIX\r\n'),
      client.receives(`220 ready\r\n215 UNIX\r\n${TLS_FIRST}${TLS_FIRST}`),
      server.receives('NOOP\r\n'),
    ]);
  });
});

describe('ABOR', () => {
  test.each(['ABOR', '\xff\xf4\xff\xf2ABOR', '\xff\xf4\xf2ABOR', '\xf2ABOR', '\xff\xf2 abor'])(
    '%j during a transfer',
    (text) => {
      everyCut(implicit, withTls, [
        client.startsTls(),
        ...greeting,
        ...login,
        ...command('RETR x\r\n', '150 coming\r\n'),
        client(`${text}\r\nPBSZ 0\r\n`),
        server.receives(`${text}\r\n`),
        server('426 aborted\r\n'),
        client.receives('426 aborted\r\n'),
        server('226 done\r\n'),
        client.receives('226 done\r\n200 PBSZ=0\r\n'),
      ]);
    },
  );
});

describe('hostile clients', () => {
  const refused = [client.receives(BEGIN_TLS), client.seesReset(), server.seesReset()];

  test.each(['USER mallory\r\n', '\0', 'FEAT\r\n\x16\x03\x01', '\x16x', '\r\n'])(
    'plaintext behind AUTH TLS ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [...greeting, client(`AUTH TLS\r\n${injected}`), ...refused]);
    },
  );

  test('plaintext behind an AUTH TLS that had to wait', () => {
    everyCut(rule, withTls, [
      client('NOOP\r\nAUTH TLS\r\nFEAT\r\n'),
      server.receives('NOOP\r\n'),
      server('220 ready\r\n200 ok\r\n'),
      client.receives('220 ready\r\n200 ok\r\n'),
      ...refused,
    ]);
  });

  test.each([
    '',
    ' ',
    '123',
    'NOOP\rUSER a',
    'USER a\r',
    'USER a\0',
    '\0USER a',
    'US\x7fER a',
    '\x0bUSER a',
    'US\xff\xf1ER a',
    '\xff\xf1USER a',
    'USER\xff\xf1 a',
    ' \xff\xf1USER a',
    '\xffAUSER a',
    '\xff\xfbAUSER a',
  ])('%j reaches no server', (text) => {
    for (const each of [rule, strict]) {
      everyCut(each, withTls, [
        ...greeting,
        ...own(`${text}\r\n`, NO_COMMAND),
        ...command('NOOP\r\n'),
      ]);
    }
  });

  test('names of any other bytes pass', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...login,
      ...command('CWD j\xc3\xbcrg\xff\xff\x1b$B\x01\t x\r\n', '250 ok \xff\0\r\n'),
    ]);
  });

  test('lines that are too long end the connection, behind the answers that are due', () => {
    const fits = `CWD ${'x'.repeat(8186)}\r\n`;
    conversation(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...login,
      ...command(fits),
      ...own(`x${fits}`, TOO_LONG),
      ...closed,
    ]);
    conversation(rule, withTls, [
      client(`NOOP\r\n${'x'.repeat(8193)}`),
      server.receives('NOOP\r\n'),
      client.receivesNothing(),
      server('220 ready\r\n200 ok\r\n'),
      client.receives(`220 ready\r\n200 ok\r\n${TOO_LONG}`),
      ...closed,
    ]);
  });

  test('more than 100 refused commands end the connection', () => {
    const ending = [
      logs('info: more than 100 commands were refused'),
      client.seesReset(),
      server.seesReset(),
    ];
    conversation(strict, withTls, [
      ...greeting,
      ...own('USER a\r\n'.repeat(100), TLS_FIRST.repeat(100)),
      ...own('PBSZ\r\n'.repeat(900), '503 Use AUTH TLS first\r\n'),
      ...ending,
    ]);
  });

  test('thousands of pipelined commands, in turns', () => {
    const noop = (count: number) => 'NOOP\r\n'.repeat(count);
    const ok = (count: number) => '200 ok\r\n'.repeat(count);
    conversation(rule, withTls, [
      ...greeting,
      client(`${noop(2500)}AUTH TLS\r\n`),
      ...[1000, 1000, 500].flatMap((count) => [
        server.receives(noop(count)),
        server(ok(count)),
        client.receives(ok(count)),
      ]),
      client.receives(BEGIN_TLS),
      client.startsTls(),
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

describe('the server', () => {
  test('may say more than it is asked', () => {
    everyCut(rule, withTls, [
      ...greeting,
      server('421 timeout\r\nwhat\r\n'),
      client.receives('421 timeout\r\nwhat\r\n'),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
  });

  test('may not send endless lines', () => {
    const refused = [
      logs('warn: the server sent a line of more than 8192 bytes'),
      client.seesReset(),
      server.seesReset(),
    ];
    const fits = `220 ${'x'.repeat(8186)}\r\n`;
    conversation(rule, withTls, [server(fits), client.receives(fits), ...startsTls]);
    conversation(rule, withTls, [
      server(`220-x\r\ny${fits}`),
      client.receives('220-x\r\n'),
      ...refused,
    ]);
    conversation(rule, withTls, [server(fits.slice(0, 8000)), server('x'.repeat(192)), ...refused]);
  });

  test('resets go through', () => {
    everyCut(rule, withTls, [...greeting, client('US'), client.resets(), server.seesReset()]);
    everyCut(rule, withTls, [...greeting, ...startsTls, server.resets(), client.seesReset()]);
  });

  test('is missing', () => {
    conversation(rule, withTls, [server.refuses(), logs('no server'), client.seesReset()]);
  });

  test('ends while the client is in the middle of a line', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('QUI'),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
  });
});

describe('options', () => {
  test.each([
    [{ tsl: 'starttls' }, "unknown option 'tsl'; there are tls, requireTls"],
    [{ tls: 'TLS' }, `'tls' must be "starttls" or "implicit", not "TLS"`],
    [{ realm: 'example.com' }, "unknown option 'realm'"],
    [{ requireTls: 1 }, "'requireTls' must be true or false, not 1"],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
