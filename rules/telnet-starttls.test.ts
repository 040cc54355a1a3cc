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

const withTls: ConversationSetup = { clientTls: true };

const DO = '\xff\xfd\x2e';
const WILL = '\xff\xfb\x2e';
const WONT = '\xff\xfc\x2e';
const FOLLOWS = '\xff\xfa\x2e\x01\xff\xf0';
const TLS_FIRST = 'TLS is required\r\n';
const WILL_SIZE = '\xff\xfb\x1f';
/** A window of 255 columns: 0xff is doubled. */
const SIZE = '\xff\xfa\x1f\x00\xff\xff\x00\x18\xff\xf0';
const NOP = '\xff\xf1';

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('telnet-starttls.js', import.meta.url), { options });
}

const offer = client.receives(DO);
const session: Step[] = [
  server.accepts(),
  spliced(),
  server('\xff\xfb\x01login: '),
  client.receives('\xff\xfb\x01login: '),
  client(`\xff\xfd\x01${WILL}bob\r\n`),
  server.receives(`\xff\xfd\x01${WILL}bob\r\n`),
  client.ends(),
  server.seesEnd(),
  server.ends(),
  client.seesEnd(),
];
const brokenOff = [
  logs('info: the client broke off the negotiation of START_TLS'),
  client.seesReset(),
];

let rule: Rule;
let strict: Rule;
let implicit: Rule;

beforeAll(async () => {
  rule = await load();
  strict = await load({ tls: 'starttls', requireTls: true });
  implicit = await load({ tls: 'implicit' });
});

describe('a whole session', () => {
  test('with START_TLS, as openssl s_client does it', () => {
    for (const each of [rule, strict]) {
      everyCut(each, withTls, [
        offer,
        client(WILL),
        client(FOLLOWS),
        client.receives(FOLLOWS),
        client.startsTls(),
        ...session,
      ]);
    }
  });

  test('of a client that waits for FOLLOWS', () => {
    everyCut(rule, withTls, [
      offer,
      client(WILL),
      client.receives(FOLLOWS),
      client(FOLLOWS),
      client.startsTls(),
      ...session,
    ]);
  });

  test('of a client that begins TLS right behind FOLLOWS', () => {
    everyCut(rule, withTls, [
      offer,
      client(`${WILL}${FOLLOWS}\x16\x03\x01`),
      client.receives(FOLLOWS),
      client.startsTls('\x16\x03\x01'),
      ...session,
    ]);
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [client.startsTls(), ...session]);
    conversation(rule, { ...withTls, localPort: 992 }, [client.startsTls(), ...session]);
    conversation(strict, { ...withTls, localPort: 992 }, [offer]);
  });

  test('in plaintext, when the client does not want TLS', () => {
    everyCut(rule, withTls, [offer, client(WONT), ...session]);
  });

  test('in plaintext, when the client does not answer', () => {
    everyCut(rule, withTls, [offer, client('b'), ...session.slice(0, 1), server.receives('b')]);
    everyCut(rule, withTls, [
      offer,
      client(`\xff\xff${WILL}`),
      server.accepts(),
      server.receives(`\xff\xff${WILL}`),
    ]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  const [accepts, ...others] = session;
  const startsBoth = accepts === undefined ? [] : [accepts, server.startsTls(), ...others];

  test('and a client without', () => {
    everyCut(rule, bothTls, [offer, client(WONT), ...startsBoth]);
  });

  test('and a client with START_TLS', () => {
    everyCut(strict, bothTls, [
      offer,
      client(WILL),
      client(FOLLOWS),
      client.receives(FOLLOWS),
      client.startsTls(),
      ...startsBoth,
    ]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [client.startsTls(), ...startsBoth]);
  });

  test('which does not start', () => {
    conversation(rule, bothTls, [
      offer,
      client(WONT),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('what else the client negotiates', () => {
  const other = `${WILL_SIZE}${NOP}${SIZE}\xff\xfe\x2e`;

  test('goes to the server in plaintext', () => {
    everyCut(rule, withTls, [
      offer,
      client(`${other}${WONT}${other}`),
      server.accepts(),
      server.receives(other + other),
      spliced(),
    ]);
  });

  test('does not go to the server when TLS begins', () => {
    everyCut(rule, withTls, [
      offer,
      client(`${other}${WILL}${other}${WILL}${FOLLOWS}`),
      client.receives(FOLLOWS),
      client.startsTls(),
      ...session,
    ]);
  });

  test('is not taken for an answer', () => {
    const hidden = `\xff\xfa\x18\x00${WILL.slice(1)}\xff\xff${WONT.slice(1)}\xff\xf0`;
    everyCut(rule, withTls, [
      offer,
      client(`${hidden}${WONT}`),
      server.accepts(),
      server.receives(hidden),
    ]);
  });
});

describe('requireTls', () => {
  test.each([WONT, 'bob\r\n', `${WILL_SIZE}${WONT}`, '\xff\xff'])('refuses %j', (text) => {
    everyCut(strict, withTls, [offer, client(text), client.receives(TLS_FIRST), client.seesEnd()]);
  });
});

describe('hostile clients', () => {
  test.each(['bob\r\n', '\0', WILL, FOLLOWS, '\x16x'])(
    'plaintext behind FOLLOWS ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [
        offer,
        client(WILL + FOLLOWS + injected),
        client.receives(FOLLOWS),
        client.seesReset(),
      ]);
    },
  );

  test.each(['rm -r\r\n', WONT])('%j between WILL and FOLLOWS ends the connection', (text) => {
    everyCut(rule, withTls, [
      offer,
      client(WILL),
      client.receives(FOLLOWS),
      client(text),
      ...brokenOff,
    ]);
  });

  test('FOLLOWS without WILL ends the connection', () => {
    everyCut(rule, withTls, [offer, client(FOLLOWS), ...brokenOff]);
  });

  test('endless negotiation is bounded', () => {
    const ending = [logs('info: the client negotiated too long'), client.seesReset()];
    conversation(rule, withTls, [offer, client(NOP.repeat(2047)), client(NOP), ...ending]);
    conversation(rule, withTls, [offer, client(NOP.repeat(100_000)), ...ending]);
    conversation(rule, withTls, [
      offer,
      client(`\xff\xfa\x18${'\xff\xff'.repeat(50_000)}`),
      ...ending,
    ]);
    conversation(rule, withTls, [
      offer,
      client(WILL),
      client.receives(FOLLOWS),
      client(NOP.repeat(2047)),
      ...ending,
    ]);
  });

  test('one that stays incomplete is ended by the collect timer', () => {
    everyCut(rule, withTls, [
      offer,
      client(WILL),
      client.receives(FOLLOWS),
      expires('collect'),
      client.seesReset(),
    ]);
  });
});

describe('endings', () => {
  test('a client that says nothing, or not enough', () => {
    everyCut(rule, withTls, [offer, client.ends(), client.seesEnd()]);
    everyCut(rule, withTls, [offer, client('\xff\xfb'), client.ends(), client.seesEnd()]);
  });

  test('a handshake that fails', () => {
    everyCut(rule, withTls, [
      offer,
      client(WILL + FOLLOWS),
      client.receives(FOLLOWS),
      client.failsTls(),
      client.seesReset(),
    ]);
  });
});

describe('options', () => {
  test.each([
    [{ ssl: true }, "unknown option 'ssl'; there are tls, requireTls"],
    [{ tls: 'START_TLS' }, `'tls' must be "starttls" or "implicit", not "START_TLS"`],
    [{ requireTls: 1 }, `'requireTls' must be true or false, not 1`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
