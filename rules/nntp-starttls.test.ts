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

const BEGIN_TLS = '382 Begin TLS negotiation\r\n';
const TLS_ALREADY = '502 TLS is active already\r\n';
const TLS_FIRST = '483 Use STARTTLS first\r\n';
const TOO_LONG = '501 The line is too long\r\n';
const NO_TEXT = '501 The line has a control character\r\n';

const withTls: ConversationSetup = { clientTls: true };

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('nntp-starttls.js', import.meta.url), { options });
}

/** A command that reaches the server, and its answer, which the client gets as it is, or as `seen`. */
function command(text: string, answer = '200 ok\r\n', seen = answer): Step[] {
  return [client(text), server.receives(text), server(answer), client.receives(seen)];
}

/** A command that the server does not see. */
function own(text: string, answer: string): Step[] {
  return [client(text), server.receivesNothing(), client.receives(answer)];
}

function list(...lines: string[]): string {
  return `101 list\r\nVERSION 2\r\n${lines.map((line) => `${line}\r\n`).join('')}.\r\n`;
}

function capabilities(from: string, to: string): Step[] {
  return command('CAPABILITIES\r\n', from, to);
}

const greeting = [server('200 ready\r\n'), client.receives('200 ready\r\n')];
const startsTls = [...own('STARTTLS\r\n', BEGIN_TLS), client.startsTls()];
const login = [
  ...command('AUTHINFO USER alice\r\n', '381 password?\r\n'),
  ...command('AUTHINFO PASS secret\r\n', '281 in\r\n'),
  spliced(),
];
const quit = [
  ...command('QUIT\r\n', '205 bye\r\n'),
  server.ends(),
  client.seesEnd(),
  client.ends(),
  server.seesEnd(),
];
const closed = [client.seesEnd(), server.seesEnd(), client.ends(), server.ends()];
const reset = [client.seesReset(), server.seesReset()];

let rule: Rule;
let strict: Rule;
let implicit: Rule;

beforeAll(async () => {
  rule = await load();
  strict = await load({ tls: 'starttls', requireTls: true });
  implicit = await load({ tls: 'implicit', requireTls: true });
});

describe('a whole session', () => {
  test('in plaintext, spliced at the first command of another kind', () => {
    const article = '220 0 <a@b>\r\nSubject: x\r\n\r\n..\r\n101 x\r\n.\r\n';
    everyCut(rule, withTls, [
      ...greeting,
      ...command('MODE READER\r\n', '201 ok\r\n'),
      ...command('DATE\r\n', '111 20260101000000\r\n'),
      client('GROUP x.y\r\n'),
      server.receives('GROUP x.y\r\n'),
      spliced(),
      server('211 0 0 0 x.y\r\n'),
      client.receives('211 0 0 0 x.y\r\n'),
      ...command('ARTICLE <a@b>\r\n', article),
      ...command('STARTTLS\r\n', '500 what?\r\n'),
      ...quit,
    ]);
  });

  test('with STARTTLS and a login', () => {
    everyCut(strict, withTls, [
      ...greeting,
      ...capabilities(list('READER', 'AUTHINFO USER'), list('READER', 'STARTTLS')),
      ...startsTls,
      ...capabilities(list('READER', 'AUTHINFO USER'), list('READER', 'AUTHINFO USER')),
      ...login,
      ...capabilities(list('STARTTLS'), list('STARTTLS')),
      ...quit,
    ]);
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [
      client.startsTls(),
      ...greeting,
      ...capabilities(list('AUTHINFO USER', 'STARTTLS'), list('AUTHINFO USER')),
      ...own('STARTTLS\r\n', TLS_ALREADY),
      client('LIST\r\n'),
      server.receives('LIST\r\n'),
      spliced(),
    ]);
  });

  test('to port 563 TLS is implicit, unless the options say otherwise', () => {
    const nntps = { ...withTls, localPort: 563 };
    conversation(rule, nntps, [client.startsTls(), ...greeting, ...login]);
    conversation(strict, nntps, [...greeting, ...startsTls, ...login]);
  });

  test('with lines that end in LF only', () => {
    everyCut(rule, withTls, [
      server('200 ready\n'),
      client.receives('200 ready\n'),
      ...command('capabilities\n', '101 x\nSTARTTLS\nOVER\n.\n', '101 x\nOVER\nSTARTTLS\r\n.\n'),
      ...own('starttls\n', BEGIN_TLS),
      client.startsTls(),
      ...command('authinfo user a\n', '281 in\n'),
      spliced(),
    ]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  test('and a client without', () => {
    everyCut(rule, bothTls, [server.startsTls(), ...greeting, ...login, ...quit]);
  });

  test('and one that has no login', () => {
    everyCut(rule, bothTls, [
      server.startsTls(),
      ...greeting,
      client('LIST\r\n'),
      server.receives('LIST\r\n'),
      spliced(),
    ]);
  });

  test('and a client with STARTTLS', () => {
    everyCut(strict, bothTls, [
      server.startsTls(),
      ...greeting,
      ...capabilities(list('READER', 'AUTHINFO USER'), list('READER', 'STARTTLS')),
      ...startsTls,
      ...login,
      ...quit,
    ]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [client.startsTls(), server.startsTls(), ...greeting, ...login]);
  });

  test('and a client that does not wait for it', () => {
    everyCut(rule, bothTls, [
      client('DATE\r\nSTARTTLS\r\n'),
      server.startsTls(),
      server.receives('DATE\r\n'),
      server('200 ready\r\n111 2026\r\n'),
      client.receives(`200 ready\r\n111 2026\r\n${BEGIN_TLS}`),
      client.startsTls(),
      ...login,
    ]);
  });

  test('which does not start', () => {
    conversation(rule, bothTls, [
      client('DATE\r\n'),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('CAPABILITIES', () => {
  test("hides the server's own STARTTLS, before and in TLS", () => {
    const from = list('STARTTLS', 'starttls x', 'OVER');
    everyCut(rule, withTls, [
      ...greeting,
      ...capabilities(from, list('OVER', 'STARTTLS')),
      ...startsTls,
      ...capabilities(from, list('OVER')),
    ]);
  });

  test('passes what only looks like the end or like STARTTLS', () => {
    const lines = ['..', '.x', '. ', 'STARTTLSX', 'X-STARTTLS', 'IMPLEMENTATION STARTTLS', ''];
    everyCut(rule, withTls, [
      ...greeting,
      ...capabilities(list(...lines), list(...lines, 'STARTTLS')),
    ]);
  });

  test('hides the ways to log in while TLS is missing and required', () => {
    const all = ['AUTHINFO USER SASL', 'SASL PLAIN', 'sasl', 'AUTHINFOX', 'OVER'];
    everyCut(strict, withTls, [
      ...greeting,
      ...capabilities(list(...all), list('AUTHINFOX', 'OVER', 'STARTTLS')),
      ...startsTls,
      ...capabilities(list(...all), list(...all)),
    ]);
  });

  test('stays unknown to a server that does not know it', () => {
    const answer = '500 what?\r\n';
    everyCut(rule, withTls, [...greeting, ...capabilities(answer, answer), ...startsTls]);
  });

  test('among pipelined commands, to a server that greets late', () => {
    everyCut(rule, withTls, [
      client('HELP\r\nCAPABILITIES\r\nDATE\r\nHELP\r\nSTARTTLS\r\n'),
      server.receives('HELP\r\nCAPABILITIES\r\nDATE\r\nHELP\r\n'),
      server(`200 ready\r\n100 x\r\n101 x\r\nSTARTTLS\r\n.\r\n${list('OVER')}101 x\r\n`),
      client.receives(
        `200 ready\r\n100 x\r\n101 x\r\nSTARTTLS\r\n.\r\n${list('OVER', 'STARTTLS')}101 x\r\n`,
      ),
      client.receivesNothing(),
      server('500 no help\r\n'),
      client.receives(`500 no help\r\n${BEGIN_TLS}`),
      client.startsTls(),
    ]);
  });
});

describe('STARTTLS', () => {
  test('has no argument', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...own('STARTTLS x\r\n', '501 STARTTLS has no argument\r\n'),
      ...own('sTaRtTlS \r\n', BEGIN_TLS),
      client.startsTls(),
    ]);
  });

  test('with the beginning of the handshake right behind it', () => {
    const hello = '\x16\x03\x01\x02\x00\x01';
    everyCut(rule, withTls, [
      ...greeting,
      client(`STARTTLS\r\n${hello}`),
      client.receives(BEGIN_TLS),
      client.startsTls(hello),
      ...login,
    ]);
  });

  test('a second time, and in TLS', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...startsTls,
      ...own('STARTTLS\r\nSTARTTLS x\r\n', TLS_ALREADY.repeat(2)),
      ...login,
    ]);
  });

  test('behind a login that fails, and behind one that succeeds', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('AUTHINFO PASS x\r\nSTARTTLS\r\n'),
      server.receives('AUTHINFO PASS x\r\n'),
      server('481 no\r\n'),
      client.receives(`481 no\r\n${BEGIN_TLS}`),
      client.startsTls(),
      client('AUTHINFO PASS x\r\nSTARTTLS\r\n'),
      server.receives('AUTHINFO PASS x\r\n'),
      server('281 in\r\n'),
      client.receives('281 in\r\n'),
      spliced(),
      server.receives('STARTTLS\r\n'),
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

  test.each(['AUTHINFO USER mallory\r\n', '\0', 'MODE READER\r\n\x16\x03\x01', '\x16x', '\r\n'])(
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

describe('the end of the rule', () => {
  test('waits until all is answered', () => {
    everyCut(rule, withTls, [
      client('CAPABILITIES\r\nGROUP x\r\nSTARTTLS\r\nCAP'),
      server.receives('CAPABILITIES\r\n'),
      server('200 ready\r\n101 x\r\nSTARTTLS\r\n'),
      client.receives('200 ready\r\n101 x\r\n'),
      server.receivesNothing(),
      server('OVER\r\n.\r\n'),
      client.receives('OVER\r\nSTARTTLS\r\n.\r\n'),
      server.receives('GROUP x\r\nSTARTTLS\r\nCAP'),
      spliced(),
    ]);
  });

  test('is a login, whatever the texts', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('DATE\r\n', '281 in\r\n'),
      ...command('HELP\r\n', '100 x\r\n281 in\r\n.\r\n'),
      ...command('AUTHINFO USER a\r\n', '482 281\r\n'),
      ...command('AUTHINFO SASL PLAIN eA==\r\n', '283 eA==\r\n'),
      spliced(),
    ]);
  });

  test('is not decided by codes that belong to other commands', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...command('DATE\r\n', '383 x\r\n'),
      ...command('MODE READER\r\n', '101 x\r\n'),
      ...startsTls,
    ]);
  });

  test('is not a SASL response', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client('AUTHINFO SASL X\r\nGROUP\r\nSTARTTLS\r\n'),
      server.receives('AUTHINFO SASL X\r\n'),
      server('383 eA==\r\n'),
      client.receives('383 eA==\r\n'),
      server.receives('GROUP\r\n'),
      server('383 eA==\r\n'),
      client.receives('383 eA==\r\n'),
      server.receives('STARTTLS\r\n'),
      server('481 no\r\n'),
      client.receives('481 no\r\n'),
      ...startsTls,
      ...login,
    ]);
  });
});

describe('requireTls', () => {
  test('lets nothing else reach the server before TLS', () => {
    const refused = [
      'AUTHINFO USER a',
      'authinfo sasl x',
      'GROUP x',
      'IHAVE <a@b>',
      'XFOO',
      '',
      '1',
    ];
    everyCut(strict, withTls, [
      ...greeting,
      ...refused.flatMap((line) => own(`${line}\r\n`, TLS_FIRST)),
      ...command('MODE READER\r\n'),
      ...command('HELP\r\n', '100 x\r\n.\r\n'),
      ...startsTls,
      ...login,
    ]);
  });

  test('keeps the answers in order', () => {
    everyCut(strict, withTls, [
      client('CAPABILITIES\r\nGROUP x\r\nDATE\r\nLIST\r\n'),
      server.receives('CAPABILITIES\r\n'),
      server('200 ready\r\n101 x\r\n.\r\n'),
      client.receives(`200 ready\r\n101 x\r\nSTARTTLS\r\n.\r\n${TLS_FIRST}`),
      server.receives('DATE\r\n'),
      server('111 x\r\n'),
      client.receives(`111 x\r\n${TLS_FIRST}`),
    ]);
  });
});

describe('hostile clients', () => {
  test.each(['AUTHINFO\rUSER a', 'DATE\r', 'DATE\0', '\x0bGROUP x', '\x7fSTARTTLS'])(
    '%j ends the connection',
    (text) => {
      for (const each of [rule, strict]) {
        everyCut(each, withTls, [...greeting, ...own(`${text}\r\n`, NO_TEXT), ...closed]);
      }
    },
  );

  test('control characters in a SASL response, and one that is too long', () => {
    const challenged = [...greeting, ...command('AUTHINFO SASL X\r\n', '383 =\r\n')];
    everyCut(rule, withTls, [...challenged, ...own('eA==\rSTARTTLS\r\n', NO_TEXT), ...closed]);
    conversation(rule, withTls, [...challenged, ...own('x'.repeat(12_289), TOO_LONG), ...closed]);
  });

  test('lines that are too long', () => {
    const fits = `AUTHINFO SASL X ${'x'.repeat(12_270)}\r\n`;
    conversation(rule, withTls, [
      ...greeting,
      ...command(fits, '481 no\r\n'),
      ...own(`x${fits}`, TOO_LONG),
      ...closed,
    ]);
  });

  test('more than 100 refused commands', () => {
    conversation(strict, withTls, [
      ...greeting,
      ...own('GROUP x\r\n'.repeat(1000), TLS_FIRST.repeat(101)),
      logs('info: more than 100 commands were refused'),
      ...reset,
    ]);
  });

  test('an incomplete command', () => {
    conversation(rule, withTls, [...greeting, client('DA'), expires('collect'), ...reset]);
  });
});

describe('the server', () => {
  test('may refuse', () => {
    everyCut(rule, withTls, [
      server('400 busy\r\n'),
      client.receives('400 busy\r\n'),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
  });

  test('may not send endless lines', () => {
    conversation(rule, withTls, [
      server(`200 ready\r\n${'x'.repeat(12_288)}`),
      client.receives('200 ready\r\n'),
      logs('warn: the server sent a line of more than 12288 bytes'),
      ...reset,
    ]);
  });
});

describe('options', () => {
  test.each([
    [{ startTls: true }, "unknown option 'startTls'; there are tls, requireTls"],
    [{ tls: true }, `'tls' must be "starttls" or "implicit", not true`],
    [{ requireTls: null }, "'requireTls' must be true or false, not null"],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
