import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type ConversationSetup,
  client,
  conversation,
  everyCut,
  expires,
  fails,
  loadRule,
  logs,
  type Rule,
  type Step,
  server,
  spliced,
} from '../src/testing/index.ts';
import { loadRules } from '../src/testing/rule.ts';

const LATER = 'There is no secure connection to the server now\r\n';

const withTls: ConversationSetup = { serverTls: true };
const bothTls: ConversationSetup = { serverTls: true, clientTls: true };

type Options = Record<string, unknown>;

function url(name: string): URL {
  return new URL(`${name}.js`, import.meta.url);
}

function load(options: Options = {}): Promise<Rule> {
  return loadRule(url('starttls-upstream'), { options });
}

/** The rule, and another one behind it on the virtual server. */
function loadWith(name: string, options: Options = {}, ours: Options = {}): Promise<Rule> {
  // The order of the rules does not matter: the priority does.
  return loadRules([
    { file: url(name), options },
    { file: url('starttls-upstream'), options: ours },
  ]);
}

/** A virtual server whose server has that port. */
function toPort(port: number, setup = withTls): ConversationSetup {
  return { ...setup, pools: { pool: [`203.0.113.1:${port}`] } };
}

/** The server says something, and hears something. */
function turn(says: string, hears: string): Step[] {
  return [server(says), server.receives(hears)];
}

/** The client and the server talk as if there was nothing between them. */
function passes(command: string, answer: string): Step[] {
  return [client(command), server.receives(command), server(answer), client.receives(answer)];
}

interface Dialogue {
  readonly port: number;
  /** Up to the server's go-ahead. */
  readonly before: readonly Step[];
  /** What ends them. */
  readonly goAhead: string;
  /** What the server may say in its place. */
  readonly refusal: string;
  /** What the client gets once TLS is up. */
  readonly greeting: string;
  /** Something that the client asks, and its answer. */
  readonly asks: readonly [string, string];
  /** What the client gets instead of a greeting. */
  readonly failure: string;
}

const EHLO = 'EHLO [198.51.100.1]\r\n';
const OFFER = '250-mx\r\n250-SIZE 1000\r\n250-starttls\r\n250 HELP\r\n';

const dialogues = {
  pop3: {
    port: 110,
    before: turn('+OK ready <1@pop>\r\n', 'STLS\r\n'),
    goAhead: '+OK Begin\r\n',
    refusal: '-ERR no\r\n',
    greeting: '+OK ready <1@pop>\r\n',
    asks: ['CAPA\r\n', '+OK\r\nUIDL\r\n.\r\n'],
    failure: `-ERR [SYS/TEMP] ${LATER}`,
  },
  imap: {
    port: 143,
    before: turn('* OK [CAPABILITY IMAP4rev1 STARTTLS] Hello\r\n', 'a STARTTLS\r\n'),
    goAhead: 'a OK Begin\r\n',
    refusal: 'a NO no\r\n',
    greeting: '* OK Hello\r\n',
    asks: ['x NOOP\r\n', 'x OK\r\n'],
    failure: `* BYE [UNAVAILABLE] ${LATER}`,
  },
  smtp: {
    port: 587,
    before: [...turn('220-mx\r\n220 ESMTP\r\n', EHLO), ...turn(OFFER, 'STARTTLS\r\n')],
    goAhead: '220 Go\r\n',
    refusal: '454 4.7.0 no\r\n',
    greeting: '220-mx\r\n220 ESMTP\r\n',
    asks: ['EHLO me\r\n', '250 mx\r\n'],
    failure: `421 4.7.0 ${LATER}`,
  },
  lmtp: {
    port: 24,
    before: [...turn('220 lmtp\r\n', EHLO.replace('EHLO', 'LHLO')), ...turn(OFFER, 'STARTTLS\r\n')],
    goAhead: '220 2.0.0 Go\r\n',
    refusal: '454-no\r\n454 no\r\n',
    greeting: '220 lmtp\r\n',
    asks: ['LHLO me\r\n', '250 mx\r\n'],
    failure: `421 4.7.0 ${LATER}`,
  },
} satisfies Record<string, Dialogue>;

type Protocol = keyof typeof dialogues;

const protocols = Object.keys(dialogues) as Protocol[];

/** The server starts TLS, and the client gets the greeting. */
function begins({ before, goAhead, greeting }: Dialogue): Step[] {
  return [...before, server(goAhead), server.startsTls(), client.receives(greeting)];
}

/** TLS does not start: the client is told so, and all is closed. */
function refused(failure: string, reason: string): Step[] {
  return [
    logs(`warn: TLS with the server cannot start: ${reason}`),
    client.receives(failure),
    client.seesEnd(),
    server.seesEnd(),
  ];
}

const reset = [client.seesReset(), server.seesReset()];

let rule: Rule;

beforeAll(async () => {
  rule = await load();
});

describe.each(protocols)('%s', (name) => {
  const dialogue: Dialogue = dialogues[name];
  const { port, before, goAhead, refusal, greeting, asks, failure } = dialogue;
  const setup = toPort(port);

  test('with a client in plaintext', () => {
    everyCut(rule, setup, [...begins(dialogue), spliced(), ...passes(...asks)]);
  });

  test('with a client that begins with TLS', () => {
    everyCut(rule, toPort(port, bothTls), [
      client.startsTls(),
      ...begins(dialogue),
      spliced(),
      ...passes(...asks),
    ]);
  });

  test.each([
    ['in plaintext', withTls, []],
    ['inside TLS', bothTls, [client.startsTls()]],
  ])('with a client that speaks early, %s', (_how, either, first) => {
    everyCut(rule, toPort(port, either), [
      ...first,
      client(asks[0]),
      server.receivesNothing(),
      ...before,
      client(asks[0]),
      server(goAhead),
      server.startsTls(),
      client.receives(greeting),
      server.receives(asks[0] + asks[0]),
    ]);
  });

  test('named by the options', async () => {
    const named = await load({ protocol: name });
    everyCut(named, withTls, [...begins(dialogue), spliced()]);
    conversation(named, toPort(99), [...begins(dialogue), spliced()]);
  });

  test('plaintext behind the go-ahead resets the connection', () => {
    for (const more of ['+OK\r\n', '* OK evil\r\n', '250 evil\r\n', 'x']) {
      everyCut(rule, setup, [
        ...before,
        server(goAhead + more),
        logs(/warn: the (server sent plaintext|TLS handshake with the server failed)/),
        ...reset,
      ]);
    }
  });

  test('refuses to start TLS', () => {
    const command = name === 'pop3' ? 'STLS' : 'STARTTLS';
    const ending = refused(failure, `it answers ${command} with ${JSON.stringify(refusal)}`);
    everyCut(rule, setup, [...before, server(refusal), ...ending]);
    everyCut(rule, toPort(port, bothTls), [
      client.startsTls(),
      ...before,
      server(refusal),
      ...ending,
    ]);
  });

  test('fails in the handshake', () => {
    everyCut(rule, setup, [
      ...before,
      server(goAhead),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      ...reset,
    ]);
  });

  test('says too much', () => {
    // In one line, and in one reply of many.
    const lines = name === 'imap' ? `* ${'x'.repeat(98)}\r\n` : `220-${'x'.repeat(98)}\r\n`;
    const many = name === 'pop3' ? [] : [lines.repeat(170)];
    for (const much of ['x'.repeat(16_385), ...many]) {
      conversation(rule, setup, [
        ...before,
        server(much),
        ...refused(failure, 'it says more than 16384 bytes'),
      ]);
    }
  });

  test('ends before TLS', () => {
    const ends = [
      server.ends(),
      logs('the server ended the connection before the TLS handshake'),
      ...reset,
    ];
    everyCut(rule, setup, ends);
    everyCut(rule, setup, [...before, ...ends]);
    everyCut(rule, setup, [client(asks[0]), ...before, ...ends]);
    conversation(rule, setup, [...before, server.resets(), client.seesReset()]);
    everyCut(rule, setup, [
      ...before,
      server(goAhead),
      server.ends(),
      logs('warn: the TLS handshake with the server failed'),
      ...reset,
    ]);
  });

  test('takes too long in the handshake', () => {
    conversation(rule, setup, [
      ...before,
      server(goAhead),
      expires('handshake'),
      logs('warn: the TLS handshake with the server failed'),
      ...reset,
    ]);
  });

  test('while the client goes away', () => {
    conversation(rule, setup, [...before, client.resets(), server.seesReset()]);
  });

  test('greets otherwise', () => {
    for (const other of protocols) {
      const [says] = dialogues[other].before;
      if (dialogues[other].greeting.slice(0, 3) === greeting.slice(0, 3) || !says) continue;
      everyCut(rule, setup, [says, ...refused(failure, 'it ')]);
    }
  });
});

describe('the greeting tells the protocol', () => {
  test.each(['pop3', 'imap', 'smtp'] as const)('%s', (name) => {
    everyCut(rule, withTls, [...begins(dialogues[name]), spliced()]);
  });

  test.each([
    ['-ERR busy\r\n', dialogues.pop3.failure, 'it answers a connection with "-ERR busy\\r\\n"'],
    ['* BYE busy\r\n', dialogues.imap.failure, 'it answers a connection with "* BYE'],
    ['421-mx\r\n421 busy\r\n', dialogues.smtp.failure, 'it answers a connection with "421-'],
    ['554 no\r\n', dialogues.smtp.failure, 'it answers a connection with "554'],
  ])('%j', (greeting, failure, reason) => {
    everyCut(rule, withTls, [server(greeting), ...refused(failure, reason)]);
  });

  test.each(['SSH-2.0-x\r\n', '\r\n', '+ OK\r\n', '\x16\x03\x01\n', '120 soon\r\n'])(
    '%j is none',
    (greeting) => {
      everyCut(rule, withTls, [
        server(greeting),
        logs('warn: TLS with the server cannot start: it sends '),
        ...reset,
      ]);
    },
  );

  test('a line without end is none', () => {
    conversation(rule, withTls, [
      server('x'.repeat(16385)),
      logs('it says more than 16384 bytes'),
      ...reset,
    ]);
  });
});

describe('POP3', () => {
  const setup = toPort(110);

  test('with lines that end in LF', () => {
    everyCut(rule, setup, [
      ...turn('+OK\n', 'STLS\r\n'),
      server('+OK\n'),
      server.startsTls(),
      client.receives('+OK\n'),
      spliced(),
    ]);
  });

  test.each(['+OKAY\r\n', '+ok\r\n', '+OK a\rb\r\n', '+OK \0\r\n', '\r\n'])(
    'greeted by %j',
    (text) => {
      everyCut(rule, setup, [server(text), ...refused(dialogues.pop3.failure, 'it ')]);
    },
  );

  test.each(['+OKAY\r\n', '+ \r\n', '\r\n', '+OK \0\r\n'])('answered by %j', (text) => {
    everyCut(rule, setup, [
      ...dialogues.pop3.before,
      server(text),
      ...refused(dialogues.pop3.failure, 'it '),
    ]);
  });
});

describe('IMAP', () => {
  const setup = toPort(143);

  test.each([
    ['* OK\r\n', '* OK Ready\r\n'],
    ['* ok hi\n', '* OK hi\r\n'],
    ['* OK [CAPABILITY IMAP4rev1]\r\n', '* OK Ready\r\n'],
    ['* OK [ALERT] Call 555 [now]\r\n', '* OK Call 555 [now]\r\n'],
    ['* OK [A] [CAPABILITY B]  [C]d [E]\r\n', '* OK d [E]\r\n'],
  ])('%j becomes %j', (text, greeting) => {
    everyCut(rule, setup, [
      ...turn(text, 'a STARTTLS\r\n'),
      server('a OK\r\n'),
      server.startsTls(),
      client.receives(greeting),
    ]);
  });

  test('untagged responses before the go-ahead are dropped', () => {
    everyCut(rule, setup, [
      ...turn('* OK hi\r\n* CAPABILITY STARTTLS\r\n', 'a STARTTLS\r\n'),
      server('* OK [ALERT] Evil\r\n* NO x\r\n* BYEBYE\r\nA ok\n'),
      server.startsTls(),
      client.receives('* OK hi\r\n'),
      spliced(),
    ]);
  });

  test.each([
    '* PREAUTH [CAPABILITY IMAP4rev1] Hello\r\n',
    '* preauth\r\n',
    '* BYE\r\n',
    '* OKAY\r\n',
    '* OK [CAPABILITY\r\n',
    '* OK [A] [B\r\n',
    '*  OK\r\n',
    'a OK\r\n',
    '+ OK\r\n',
  ])('greeted by %j', (text) => {
    everyCut(rule, setup, [
      server(text),
      ...refused(dialogues.imap.failure, `it answers a connection with ${JSON.stringify(text)}`),
    ]);
  });

  test.each([
    'a BAD\r\n',
    'a OKAY\r\n',
    'b OK\r\n',
    '+ OK\r\n',
    '* BYE\r\n',
    '* bye x\r\n',
    'aa OK\r\n',
  ])('answered by %j', (text) => {
    everyCut(rule, setup, [
      ...dialogues.imap.before,
      server(text),
      ...refused(dialogues.imap.failure, `it answers STARTTLS with ${JSON.stringify(text)}`),
    ]);
  });
});

describe('SMTP', () => {
  const setup = toPort(25);
  const greets = turn('220 mx\r\n', EHLO);

  test('a name for EHLO', async () => {
    for (const ehlo of ['proxy.example.com', '[IPv6:2001:db8::1]']) {
      const named = await load({ ehlo });
      everyCut(named, setup, [
        ...turn('220 mx\r\n', `EHLO ${ehlo}\r\n`),
        ...turn('250-mx\n250 STARTTLS \n', 'STARTTLS\r\n'),
        server('220-Go\r\n220\r\n'),
        server.startsTls(),
        client.receives('220 mx\r\n'),
      ]);
    }
  });

  test.each([
    '250 mx\r\n',
    '250 STARTTLS\r\n',
    '250-STARTTLS\r\n250 SIZE\r\n',
    '250-mx\r\n250-STARTTLSX\r\n250 X STARTTLS\r\n',
    '250-mx\r\n250 STARTTLS=1\r\n',
  ])('%j offers no STARTTLS', (text) => {
    everyCut(rule, setup, [
      ...greets,
      server(text),
      ...refused(dialogues.smtp.failure, 'it does not offer STARTTLS'),
    ]);
  });

  test.each(['500 what?\r\n', '502-no\r\n502 STARTTLS\r\n', '354 go\r\n'])('EHLO: %j', (text) => {
    everyCut(rule, setup, [
      ...greets,
      server(text),
      ...refused(dialogues.smtp.failure, `it answers EHLO with ${JSON.stringify(text)}`),
    ]);
  });

  test('an LMTP server on a port of its own needs the option', () => {
    everyCut(rule, withTls, [
      ...greets,
      server('500 LHLO first\r\n'),
      ...refused(dialogues.smtp.failure, 'it answers EHLO'),
    ]);
  });

  test.each(['250-mx\r\n+OK\r\n', '2500 mx\r\n', '250-mx\0\r\n'])('%j is no reply', (text) => {
    everyCut(rule, setup, [
      ...greets,
      server(text),
      ...refused(dialogues.smtp.failure, 'it sends '),
    ]);
  });
});

describe('other rules', () => {
  let watched: Rule;

  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'portreeve-'));
    const file = join(folder, 'watch.js');
    writeFileSync(
      file,
      `
      when('SERVER_CONNECTED', () => { throw new Error('seen'); });
      when('SERVER_DATA', () => { throw new Error('seen'); });
      when('SERVERSSL_HANDSHAKE', (c) => { log('greeted ' + c.greeted); SSL.collect(); });
      when('SERVERSSL_DATA', () => { SSL.release(); });
      `,
    );
    watched = await loadRules([{ file }, { file: url('starttls-upstream') }]);
    return () => rmSync(folder, { recursive: true });
  });

  test.each(protocols)('begin when TLS is up: %s', (name) => {
    const dialogue: Dialogue = dialogues[name];
    everyCut(watched, toPort(dialogue.port), [
      ...begins(dialogue),
      logs('info: greeted true'),
      ...passes(...dialogue.asks),
      spliced(),
    ]);
  });

  test('do not see that it fails either', () => {
    everyCut(watched, withTls, [
      server('-ERR busy\r\n'),
      ...refused(dialogues.pop3.failure, 'it answers a connection'),
    ]);
  });
});

describe('with pop3-starttls', () => {
  const setup = toPort(110, bothTls);
  const capa: Step[] = [
    client('CAPA\r\n'),
    server.receives('CAPA\r\n'),
    server('+OK\r\nSTLS\r\nUIDL\r\n.\r\n'),
  ];
  const login = [...passes('USER a@x\r\n', '+OK\r\n'), ...passes('PASS b\r\n', '+OK in\r\n')];

  test('there is STLS on both sides', async () => {
    everyCut(await loadWith('pop3-starttls', { requireTls: true }), setup, [
      ...begins(dialogues.pop3),
      ...capa,
      client.receives('+OK\r\nUIDL\r\nSTLS\r\n.\r\n'),
      client('STLS\r\n'),
      client.receives('+OK Begin TLS negotiation\r\n'),
      server.receivesNothing(),
      client.startsTls(),
      ...capa,
      client.receives('+OK\r\nUIDL\r\n.\r\n'),
      ...login,
      spliced(),
    ]);
  });

  test('the client may begin with TLS', async () => {
    everyCut(await loadWith('pop3-starttls', { tls: 'implicit', realm: 'x' }), setup, [
      client.startsTls(),
      ...begins(dialogues.pop3),
      client('USER a\r\n'),
      server.receives('USER a@x\r\n'),
      server('+OK\r\n'),
      client.receives('+OK\r\n'),
      ...passes('PASS b\r\n', '+OK in\r\n'),
      spliced(),
    ]);
  });

  test('a client that speaks early is heard when TLS is up', async () => {
    everyCut(await loadWith('pop3-starttls'), setup, [
      client('NOOP\r\nSTLS\r\n'),
      ...begins(dialogues.pop3),
      server.receives('NOOP\r\n'),
      server('+OK\r\n'),
      client.receives('+OK\r\n+OK Begin TLS negotiation\r\n'),
      client.startsTls(),
      ...login,
      spliced(),
    ]);
  });

  test('a server without STLS gets no login', async () => {
    everyCut(await loadWith('pop3-starttls'), setup, [
      client('STLS\r\n'),
      ...turn('+OK\r\n', 'STLS\r\n'),
      server('-ERR what?\r\n'),
      ...refused(dialogues.pop3.failure, 'it answers STLS'),
    ]);
  });
});

describe('with imap-starttls', () => {
  const setup = toPort(143, bothTls);
  const login = [...passes('l LOGIN a@x b\r\n', 'l OK in\r\n'), spliced()];

  test('there is STARTTLS on both sides', async () => {
    everyCut(await loadWith('imap-starttls', { requireTls: true }), setup, [
      ...begins(dialogues.imap),
      client('c CAPABILITY\r\n'),
      server.receives('c CAPABILITY\r\n'),
      server('* CAPABILITY IMAP4rev1\r\nc OK\r\n'),
      client.receives('* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nc OK\r\n'),
      client('s STARTTLS\r\n'),
      client.receives('s OK Begin TLS negotiation now\r\n'),
      server.receivesNothing(),
      client.startsTls(),
      ...login,
    ]);
  });

  test('the client may begin with TLS, and early', async () => {
    everyCut(await loadWith('imap-starttls', { tls: 'implicit', realm: 'x' }), setup, [
      client.startsTls(),
      client('l LOGIN a b\r\n'),
      ...begins(dialogues.imap),
      server.receives('l LOGIN a@x b\r\n'),
      server('l OK in\r\n'),
      client.receives('l OK in\r\n'),
      spliced(),
    ]);
  });

  test('a client that speaks early is heard when TLS is up', async () => {
    everyCut(await loadWith('imap-starttls'), setup, [
      client('n NOOP\r\ns STARTTLS\r\n'),
      ...begins(dialogues.imap),
      server.receives('n NOOP\r\n'),
      server('n OK\r\n'),
      client.receives('n OK\r\ns OK Begin TLS negotiation now\r\n'),
      client.startsTls(),
      ...login,
    ]);
  });

  test('a server that greets with PREAUTH is refused', async () => {
    everyCut(await loadWith('imap-starttls'), setup, [
      server('* PREAUTH in\r\n'),
      ...refused(dialogues.imap.failure, 'it answers a connection with "* PREAUTH'),
    ]);
  });
});

describe('with smtp-starttls', () => {
  const own = 'EHLO me\r\n';
  const hello: Step[] = [client(own), server.receives(own), server('250-mx\r\n250 SIZE\r\n')];

  test.each([
    ['smtp', 'EHLO'],
    ['lmtp', 'LHLO'],
  ] as const)('there is STARTTLS on both sides: %s', async (name, verb) => {
    const dialogue: Dialogue = dialogues[name];
    const greets = [
      client(`${verb} me\r\n`),
      server.receives(`${verb} me\r\n`),
      server('250 mx\r\n'),
    ];
    everyCut(
      await loadWith('smtp-starttls', { requireTls: true }),
      toPort(dialogue.port, bothTls),
      [
        ...begins(dialogue),
        ...greets,
        client.receives('250-mx\r\n250 STARTTLS\r\n'),
        client('STARTTLS\r\n'),
        client.receives('220 2.0.0 Ready to start TLS\r\n'),
        client.startsTls(),
        ...greets,
        client.receives('250 mx\r\n'),
        ...passes('MAIL FROM:<a@b>\r\n', '250 OK\r\n'),
        spliced(),
      ],
    );
  });

  test('the client may begin with TLS, and early', async () => {
    everyCut(await loadWith('smtp-starttls', { tls: 'implicit' }), toPort(25, bothTls), [
      client.startsTls(),
      client(own),
      ...begins(dialogues.smtp),
      ...hello.slice(1),
      client.receives('250-mx\r\n250 SIZE\r\n'),
      ...passes('BDAT 5 LAST\r\n', '250 OK\r\n'),
      spliced(),
    ]);
  });
});

test('needs a server-ssl profile', () => {
  conversation(rule, {}, [fails('the virtual server has no server-ssl profile'), ...reset]);
});

describe('options', () => {
  test.each([
    [{ tls: 'starttls' }, "unknown option 'tls'; there are protocol, ehlo"],
    [{ protocol: 'POP3' }, `'protocol' must be "pop3" or "imap" or "smtp" or "lmtp", not "POP3"`],
    [{ ehlo: '' }, `'ehlo' must be a domain such as "mx.example.com", or an address`],
    [{ ehlo: 'a b' }, `'ehlo' must be`],
    [{ ehlo: 'a\r\nb' }, `'ehlo' must be`],
    [{ ehlo: '[]' }, `'ehlo' must be`],
    [{ ehlo: 7 }, `'ehlo' must be`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
