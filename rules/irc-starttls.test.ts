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

const BEGIN_TLS = ':portreeve 670 * :STARTTLS successful, proceed with TLS handshake\r\n';
const TLS_ALREADY = ':portreeve 691 * :STARTTLS failed (TLS is active already)\r\n';
const TOO_LATE = ':portreeve 691 * :STARTTLS failed (too late)\r\n';
const TLS_FIRST = 'ERROR :Closing link: Use STARTTLS first\r\n';
const NO_COMMAND = 'ERROR :Closing link: That is no command\r\n';
const TOO_LONG = 'ERROR :Closing link: The line is too long\r\n';
const OWN_LIST = ':portreeve CAP * LS :tls\r\n';
const OWN_ACK = ':portreeve CAP * ACK :tls\r\n';

const withTls: ConversationSetup = { clientTls: true };

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('irc-starttls.js', import.meta.url), { options });
}

/** A command that reaches the server, and what the client gets for it. */
function command(text: string, answer: string, seen = answer): Step[] {
  return [client(text), server.receives(text), server(answer), client.receives(seen)];
}

/** A command that the server does not see. */
function own(text: string, answer: string): Step[] {
  return [client(text), server.receivesNothing(), client.receives(answer)];
}

const startsTls = [...own('STARTTLS\r\n', BEGIN_TLS), client.startsTls()];
const notice: Step[] = [
  server(':irc.x NOTICE * :*** Looking up 001\r\n'),
  client.receives(':irc.x NOTICE * :*** Looking up 001\r\n'),
];
const registers = [
  client('NICK bob\r\nUSER bob 0 * :Bob\r\n'),
  server.receives('NICK bob\r\nUSER bob 0 * :Bob\r\n'),
  ...command('PONG :x\r\n', ':irc.x 001 bob :Welcome\r\n'),
  spliced(),
];
const quit = [
  ...command('QUIT\r\n', 'ERROR :bye\r\n'),
  server.ends(),
  client.seesEnd(),
  client.ends(),
  server.seesEnd(),
];
const reset = [client.seesReset(), server.seesReset()];
/** The client is closed; there is no server yet, unless `closedBoth`. */
const closed = [client.seesEnd(), client.ends()];
const closedBoth = [client.seesEnd(), server.seesEnd(), client.ends(), server.ends()];

let rule: Rule;
let strict: Rule;
let implicit: Rule;

beforeAll(async () => {
  rule = await load();
  strict = await load({ tls: 'starttls', requireTls: true });
  implicit = await load({ tls: 'implicit' });
});

describe('a whole session', () => {
  test('in plaintext, spliced after the registration', () => {
    everyCut(rule, withTls, [
      ...command('CAP LS 302\r\n', ':irc.x CAP * LS :sasl\r\n', ':irc.x CAP * LS :tls sasl\r\n'),
      ...notice,
      ...command('CAP END\r\n', 'PING :x\r\n'),
      ...registers,
      ...command('STARTTLS\r\n', ':irc.x 421 bob STARTTLS :what?\r\n'),
      ...command('CAP LS\r\n', ':irc.x CAP bob LS :sasl\r\n'),
      ...quit,
    ]);
  });

  test('with STARTTLS at once: the server says nothing before', () => {
    everyCut(strict, withTls, [
      ...startsTls,
      ...command('CAP LS\r\n', ':irc.x CAP * LS :sasl tls\r\n', ':irc.x CAP * LS :sasl\r\n'),
      ...notice,
      ...own('STARTTLS\r\n', TLS_ALREADY),
      ...registers,
      ...quit,
    ]);
  });

  test('with STARTTLS after the capabilities', () => {
    everyCut(rule, withTls, [
      client('CAP LS 302\r\n'),
      server.receives('CAP LS 302\r\n'),
      ...notice,
      server(':irc.x CAP * LS :sasl=PLAIN \r\n'),
      client.receives(':irc.x CAP * LS :tls sasl=PLAIN\r\n'),
      ...startsTls,
      ...command('CAP LS 302\r\n', ':irc.x CAP * LS :sasl=PLAIN \r\n'),
      ...registers,
    ]);
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...own('starttls\r\n', TLS_ALREADY),
      ...command('CAP LS\r\n', ':irc.x CAP * LS :tls sasl\r\n', ':irc.x CAP * LS :sasl\r\n'),
      ...registers,
    ]);
  });

  test('to port 6697 TLS is implicit, unless the options say otherwise', () => {
    const ircs = { ...withTls, localPort: 6697 };
    conversation(rule, ircs, [client.startsTls(), ...registers]);
    conversation(strict, ircs, [...startsTls, ...registers]);
  });

  test('with lines that end in LF only', () => {
    everyCut(rule, withTls, [
      ...command('cap ls\n', ':irc.x CAP * LS :sasl\n', ':irc.x CAP * LS :tls sasl\r\n'),
      ...own('starttls\n', BEGIN_TLS),
      client.startsTls(),
      ...command('NICK bob\n', ':irc.x 001 bob :Welcome\n'),
      spliced(),
    ]);
  });
});

describe('CAP', () => {
  const ls = (from: string, to: string): Step[] => [
    server(`${from}\r\n`),
    client.receives(`${to}\r\n`),
  ];
  const asked = [client('CAP LS 302\r\n'), server.receives('CAP LS 302\r\n')];

  test("LS has tls once, in the last line, before TLS, and never the server's", () => {
    everyCut(rule, withTls, [
      ...asked,
      ...ls(':x CAP * LS * :tls sasl', ':x CAP * LS * :sasl'),
      ...ls(':x CAP * LS :a tls=6697 b', ':x CAP * LS :tls a b'),
      ...ls('CAP * LS :', 'CAP * LS :tls'),
      ...ls(':x CAP * LS sasl', ':x CAP * LS :tls sasl'),
      ...ls('@t=1 :x cap bob ls :tls', '@t=1 :x cap bob ls :tls'),
      ...startsTls,
      ...ls(':x CAP * LS * :a tls b', ':x CAP * LS * :a b'),
      ...ls(':x CAP * LS :tls', ':x CAP * LS :'),
      ...ls(':x CAP * LS :a ', ':x CAP * LS :a '),
    ]);
  });

  test('passes what only looks like LS or tls', () => {
    const lines = [
      ':x CAP * ACK :tls',
      ':x CAP * LIST :tls',
      ':x NOTICE CAP LS :tls',
      ':x NOTICE * :CAP * LS :sasl',
      ':CAP NOTICE LS :x',
      'LS',
      '',
    ];
    everyCut(rule, withTls, [...asked, ...lines.flatMap((line) => ls(line, line))]);
  });

  test('REQ has no tls for the server', () => {
    everyCut(rule, withTls, [
      ...own('CAP REQ :tls\r\nCAP REQ tls\r\ncap req :tls \r\n', OWN_ACK.repeat(3)),
      client('CAP REQ :sasl tls batch\r\nCAP REQ :sasl\r\nCAP REQ :\r\nCAP REQ\r\n'),
      server.receives('CAP REQ :sasl batch\r\nCAP REQ :sasl\r\nCAP REQ :\r\nCAP REQ\r\n'),
    ]);
    everyCut(rule, withTls, [
      ...own('CAP REQ :tls\r\n', OWN_ACK),
      ...startsTls,
      ...command('CAP REQ :tls\r\n', ':x CAP * NAK :tls\r\n'),
    ]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  test('and a client without', () => {
    everyCut(rule, bothTls, [
      client('CAP LS\r\n'),
      server.startsTls(),
      server.receives('CAP LS\r\n'),
      server(':irc.x CAP * LS :sasl\r\n'),
      client.receives(':irc.x CAP * LS :tls sasl\r\n'),
      ...registers,
      ...quit,
    ]);
  });

  test('and a client with STARTTLS', () => {
    everyCut(strict, bothTls, [
      ...startsTls,
      client('CAP LS\r\n'),
      server.startsTls(),
      server.receives('CAP LS\r\n'),
      server(':irc.x CAP * LS :tls sasl\r\n'),
      client.receives(':irc.x CAP * LS :sasl\r\n'),
      ...registers,
    ]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [
      client.startsTls(),
      client('CAP END\r\n'),
      server.startsTls(),
      server.receives('CAP END\r\n'),
      ...registers,
    ]);
  });

  test('and a client that does not wait for it', () => {
    const hello = '\x16\x03\x01';
    everyCut(rule, bothTls, [
      client(`CAP LS\r\nSTARTTLS\r\n${hello}`),
      server.startsTls(),
      server.receives('CAP LS\r\n'),
      server(':irc.x CAP * LS :sasl\r\n'),
      client.receives(`:irc.x CAP * LS :tls sasl\r\n${BEGIN_TLS}`),
      client.startsTls(hello),
      ...registers,
    ]);
  });

  test('which does not start', () => {
    conversation(rule, bothTls, [
      client('CAP LS\r\n'),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('STARTTLS', () => {
  test.each(['STARTTLS', 'sTaRtTlS', '  STARTTLS ', ':bob STARTTLS', '@a=b STARTTLS :x'])(
    '%j',
    (text) => {
      everyCut(rule, withTls, [...own(`${text}\r\n`, BEGIN_TLS), client.startsTls()]);
    },
  );

  test('between whole lines of the server', () => {
    everyCut(rule, withTls, [
      ...command('CAP LS\r\n', ':irc.x CAP * LS :\r\n', ':irc.x CAP * LS :tls\r\n'),
      server(':irc.x NOTICE * :one\r\n:irc.x NOTICE '),
      client.receives(':irc.x NOTICE * :one\r\n'),
      ...startsTls,
      server('* :two\r\n'),
      client.receives(':irc.x NOTICE * :two\r\n'),
    ]);
  });

  test('with the beginning of the handshake right behind it', () => {
    const hello = '\x16\x03\x01\x02\x00\x01';
    everyCut(rule, withTls, [
      client(`STARTTLS\r\n${hello}`),
      client.receives(BEGIN_TLS),
      client.startsTls(hello),
      ...registers,
    ]);
  });

  test.each([
    [':irc.x CAP * LS * :a\r\n:irc.x CAP * LS :b\r\n', 'tls b'],
    [':irc.x CAP * LIST :\r\n', undefined],
    [':irc.x 421 * CAP :What?\r\n', undefined],
    [':irc.x 451 * :You have not registered\r\n', undefined],
  ])('waits for the answer to what was asked: %j', (answer, edited) => {
    const seen = edited === undefined ? answer : answer.replace(/:b\r/, `:${edited}\r`);
    everyCut(rule, withTls, [
      client('CAP LS\r\nSTARTTLS\r\n'),
      server.receives('CAP LS\r\n'),
      client.receives(''),
      server(answer),
      client.receives(seen + BEGIN_TLS),
      client.startsTls(),
    ]);
  });

  test.each([
    'NICK eve',
    'USER eve 0 * :Eve',
    'PASS x',
    'AUTHENTICATE PLAIN',
    'PING x',
    ':a NICK b',
    'CAP REQ :sasl',
    'CAP END',
  ])('is too late behind %s', (text) => {
    everyCut(rule, withTls, [
      client(`\r\nCAP LS\r\n${text}\r\n`),
      server.receives(`\r\nCAP LS\r\n${text}\r\n`),
      server(':irc.x CAP * LS :\r\n'),
      client.receives(':irc.x CAP * LS :tls\r\n'),
      ...own('STARTTLS\r\n', TOO_LATE),
      ...registers,
    ]);
  });

  test('when the handshake fails', () => {
    conversation(rule, withTls, [
      ...own('STARTTLS\r\n', BEGIN_TLS),
      client.failsTls(),
      client.seesReset(),
    ]);
  });

  test.each(['NICK mallory\r\n', '\0', 'CAP LS\r\n\x16\x03\x01', '\x16x', '\r\n'])(
    'with plaintext behind it ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [
        client(`STARTTLS\r\n${injected}`),
        client.receives(BEGIN_TLS),
        client.seesReset(),
      ]);
    },
  );

  test('a second time, and again and again', () => {
    conversation(rule, withTls, [
      ...startsTls,
      ...own('STARTTLS\r\n'.repeat(100), TLS_ALREADY.repeat(100)),
      ...own('STARTTLS\r\n', TLS_ALREADY),
      logs('info: more than 100 commands were refused'),
      client.seesReset(),
    ]);
  });
});

describe('the registration', () => {
  test('is the welcome, not a text', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...command('NICK bob\r\n', ':001 NOTICE 001 :001 x\r\n:x 0010 bob\r\n@001 :x PING 001 x\r\n'),
      ...command('USER bob 0 * :Bob\r\n', '@time=x :irc.x 001 bob :Welcome\r\n:x'),
      spliced(),
    ]);
  });

  test('with lines of the client behind it', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      client('NICK bob\r\nUSER bob 0 * :Bob\r\nJOIN #x'),
      server.receives('NICK bob\r\nUSER bob 0 * :Bob\r\n'),
      server(':irc.x 001 bob :Welcome\r\n'),
      client.receives(':irc.x 001 bob :Welcome\r\n'),
      spliced(),
      server.receives('JOIN #x'),
    ]);
  });
});

describe('requireTls', () => {
  test('lets nothing reach the server before TLS', () => {
    everyCut(strict, withTls, [
      ...own('CAP LS 302\r\n', OWN_LIST),
      ...own('CAP REQ :tls\r\n', OWN_ACK),
      ...startsTls,
      ...command('CAP LS\r\n', ':irc.x CAP * LS :sasl\r\n'),
      ...registers,
    ]);
  });

  test.each([
    'NICK bob',
    'USER x',
    'PASS x',
    'CAP REQ :tls sasl',
    'CAP END',
    'CAP',
    'STARTTLSX',
    'x',
  ])('ends the connection behind %s', (text) => {
    everyCut(strict, withTls, [
      client(`CAP LS\r\n${text}\r\nSTARTTLS\r\n`),
      client.receives(OWN_LIST + TLS_FIRST),
      ...closed,
    ]);
  });
});

describe('hostile clients', () => {
  test.each(['CAP LS\rNICK eve', 'STARTTLS\r', '\0STARTTLS', 'NICK \0'])(
    '%j ends the connection',
    (text) => {
      everyCut(rule, withTls, [...own(`${text}\r\n`, NO_COMMAND), ...closed]);
    },
  );

  test('lines that are too long', () => {
    const fits = `@a=${'x'.repeat(4594)} PING :30\r\n`;
    conversation(rule, withTls, [
      client(fits),
      server.receives(fits),
      ...own(`${fits.slice(0, -2)}3\r\n`, TOO_LONG),
      ...closedBoth,
    ]);
    conversation(rule, withTls, [...own('x'.repeat(4609), TOO_LONG), ...closed]);
  });

  test('an incomplete command', () => {
    conversation(rule, withTls, [client('NI'), expires('collect'), client.seesReset()]);
  });
});

describe('the server', () => {
  test('is not connected to while the client says nothing', () => {
    conversation(rule, withTls, [
      ...own('STARTTLS\r\n', BEGIN_TLS),
      client.startsTls(),
      ...own('STARTTLS\r\n', TLS_ALREADY),
      client('CAP'),
      client(' LS\r\n'),
      server.accepts(),
      server.receives('CAP LS\r\n'),
    ]);
    conversation(implicit, withTls, [
      client.startsTls(),
      client('CAP LS\r\n'),
      server.accepts(),
      server.receives('CAP LS\r\n'),
    ]);
  });

  test('may not send endless lines', () => {
    conversation(rule, withTls, [
      client('CAP LS\r\n'),
      server.receives('CAP LS\r\n'),
      server(`:x\r\n${'x'.repeat(8703)}`),
      client.receives(':x\r\n'),
      logs('warn: the server sent a line of more than 8703 bytes'),
      ...reset,
    ]);
  });

  test('may refuse', () => {
    everyCut(rule, withTls, [
      ...command('NICK bob\r\n', 'ERROR :banned\r\n'),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
  });
});

describe('options', () => {
  test.each([
    [{ tls: 'sts' }, `'tls' must be "starttls" or "implicit", not "sts"`],
    [{ requireTls: 0 }, "'requireTls' must be true or false, not 0"],
    [{ realm: 'x' }, "unknown option 'realm'; there are tls, requireTls"],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
