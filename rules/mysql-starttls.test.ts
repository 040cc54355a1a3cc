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

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('mysql-starttls.js', import.meta.url), { options });
}

function packet(number: number, payload: string): string {
  const { length } = payload;
  return `${String.fromCharCode(length & 0xff, (length >> 8) & 0xff, length >> 16, number)}${payload}`;
}

/** A greeting whose second byte of capabilities is `flags`. */
function greetingWith(flags: number, version = '10.11.6-MariaDB'): string {
  const scramble = ['12345678', '\x08\0\0\0\0\0abcdefghijkl\0'];
  const capabilities = `\xfe${String.fromCharCode(flags)}\x2d\x02\0\xff\x81\x15`;
  return packet(
    0,
    `\x0a${version}\0\x07\0\0\0${scramble[0]}\0${capabilities}${scramble[1]}mysql_native_password\0`,
  );
}

/** A client's first bytes: capabilities, longest packet, character set, and what is reserved. */
const head = (flags: number) =>
  `\x85${String.fromCharCode(flags)}\x7f\0\0\0\0\x01\x21${'\0'.repeat(19)}\x1d\0\0\0`;
const rest = 'alice\0\x14aaaaaaaaaaaaaaaaaaaashop\0mysql_native_password\0';
const sslRequest = packet(1, head(0xae));

const OK = '\0\0\0\x02\0\0\0';
const DENIED = '\xff\x15\x04#28000Access denied';
const TLS_FIRST = packet(2, '\xff\x57\x0c#HY000TLS is required');
const SWITCH = '\xfeclient_ed25519\0nonce';

const greeting = [server(greetingWith(0xf6)), client.receives(greetingWith(0xfe))];
const startsTls = [client(sslRequest), client.startsTls()];
/** The client's login inside TLS. */
const login: Step[] = [
  client(packet(2, head(0xae) + rest)),
  server.receives(packet(1, head(0xa6) + rest)),
];

/** A packet of the server, and the client's answer to it. `number` is what the server counts. */
function exchange(number: number, theirs: string, ours?: string): Step[] {
  const asked = [server(packet(number, theirs)), client.receives(packet(number + 1, theirs))];
  if (ours === undefined) return asked;
  return [...asked, client(packet(number + 2, ours)), server.receives(packet(number + 1, ours))];
}

/** Something that nobody looks at. */
function passes(question: string, reply: string): Step[] {
  return [client(question), server.receives(question), server(reply), client.receives(reply)];
}

const free: Step[] = [
  spliced(),
  ...passes(packet(0, '\x03SELECT 1'), packet(1, '\x01') + packet(2, '1')),
  ...passes(sslRequest, greetingWith(0)),
  client(packet(0, '\x01')),
  client.ends(),
  server.receives(packet(0, '\x01')),
  server.seesEnd(),
  server.ends(),
  client.seesEnd(),
];

let rule: Rule;
let strict: Rule;

beforeAll(async () => {
  rule = await load();
  strict = await load({ requireTls: true });
});

describe('a whole session', () => {
  test('with TLS', () => {
    for (const each of [rule, strict]) {
      everyCut(each, withTls, [...greeting, ...startsTls, ...login, ...exchange(2, OK), ...free]);
    }
  });

  test('in plaintext', () => {
    everyCut(rule, withTls, [
      ...greeting,
      ...passes(packet(1, head(0xa6) + rest), packet(2, OK)),
      ...free,
    ]);
  });

  test('of a client that does not wait for the handshake to be answered', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client(`${sslRequest}\x16\x03\x01\x02\0`),
      client.startsTls('\x16\x03\x01\x02\0'),
      ...login,
      ...exchange(2, OK),
      ...free,
    ]);
  });

  test('of a client that begins before the greeting has come', () => {
    everyCut(rule, withTls, [
      client(sslRequest),
      ...greeting,
      client.startsTls(),
      ...login,
      ...exchange(2, OK),
    ]);
    everyCut(rule, withTls, [
      client(packet(1, head(0xa6) + rest)),
      ...greeting,
      server.receives(packet(1, head(0xa6) + rest)),
      spliced(),
    ]);
  });

  test('of an old client, in plaintext', () => {
    const old = packet(1, '\x05\x24\0\0\0alice\0abcdefgh');
    everyCut(rule, withTls, [...greeting, ...passes(old, packet(2, OK)), ...free]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  test('and a client without', () => {
    everyCut(rule, bothTls, [
      server.startsTls(),
      ...greeting,
      ...passes(packet(1, head(0xa6) + rest), packet(2, OK)),
      ...free,
    ]);
  });

  test('and a client with TLS', () => {
    for (const each of [rule, strict]) {
      everyCut(each, bothTls, [
        server.startsTls(),
        ...greeting,
        ...startsTls,
        ...login,
        ...exchange(2, SWITCH, 'nonce'),
        ...exchange(4, OK),
        ...free,
      ]);
    }
  });

  test('and a client that does not wait for it', () => {
    everyCut(rule, bothTls, [
      client(sslRequest),
      server.startsTls(),
      ...greeting,
      client.startsTls(),
      ...login,
      ...exchange(2, OK),
      ...free,
    ]);
  });

  test('which does not start', () => {
    conversation(rule, bothTls, [
      client(sslRequest),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('the greeting', () => {
  test('shows TLS whatever the server can', () => {
    const both = [
      [0, 0x08],
      [0xff, 0xff],
      [0x08, 0x08],
      [0xf7, 0xff],
    ] as const;
    for (const [from, to] of both) {
      everyCut(rule, withTls, [
        server(greetingWith(from, '8')),
        client.receives(greetingWith(to, '8')),
        ...startsTls,
      ]);
    }
  });

  test('of a server that has no room passes', () => {
    const full = packet(0, '\xff\x10\x04Too many connections');
    for (const each of [rule, strict]) {
      everyCut(each, withTls, [
        server(full),
        client.receives(full),
        spliced(),
        server.ends(),
        client.seesEnd(),
        client.ends(),
        server.seesEnd(),
      ]);
    }
  });

  const reset = [client.seesReset(), server.seesReset()];

  test.each(['220 mail ESMTP\r\n', packet(0, '\x09old'), packet(0x3f, 'x')])(
    'that is none ends the connection: %j',
    (text) => {
      const logged = logs('warn: the server sent something that is no MySQL greeting');
      everyCut(rule, withTls, [server(text), logged, ...reset]);
    },
  );

  test('without flags ends the connection', () => {
    const logged = () => logs('warn: the server sent a MySQL greeting without flags');
    const whole = greetingWith(0).slice(4);
    const flagsEnd = whole.indexOf('\xfe\0') + 2;
    for (const payload of ['\x0a', '\x0ano end', whole.slice(0, flagsEnd - 1)]) {
      everyCut(rule, withTls, [server(packet(0, payload)), logged(), ...reset]);
    }
    const shortest = packet(0, whole.slice(0, flagsEnd));
    const changed = `${shortest.slice(0, -1)}\x08`;
    everyCut(rule, withTls, [server(shortest), client.receives(changed)]);
  });

  test('may have 4096 bytes', () => {
    const ofLength = (length: number, flags: number) =>
      greetingWith(flags, 'v'.repeat(length - greetingWith(0, '').length + 4));
    conversation(rule, withTls, [server(ofLength(4096, 0)), client.receives(ofLength(4096, 8))]);
    conversation(rule, withTls, [
      server(ofLength(4097, 0).slice(0, 10)),
      logs('warn: the server sent something that is no MySQL greeting'),
      ...reset,
    ]);
  });
});

describe('the login inside TLS', () => {
  const begun = [...greeting, ...startsTls, ...login];

  test('with another kind of authentication', () => {
    everyCut(rule, withTls, [
      ...begun,
      ...exchange(2, SWITCH, 'signature'),
      ...exchange(4, OK),
      ...free,
    ]);
  });

  test('with more data, empty packets and a second factor', () => {
    everyCut(rule, withTls, [
      ...begun,
      ...exchange(2, '\xfemysql_native_password\0xyz\0', ''),
      ...exchange(4, '\x01\x04', 'secret\0'),
      ...exchange(6, '', '\0'),
      ...exchange(8, '\x02ldap\0', '\xff\xff'),
      ...exchange(10, OK),
      ...free,
    ]);
  });

  test('that fails', () => {
    everyCut(rule, withTls, [
      ...begun,
      ...exchange(2, DENIED),
      spliced(),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
  });

  test('ends exactly behind the OK', () => {
    const next = packet(0, 'what nobody looks at');
    everyCut(rule, withTls, [
      ...begun,
      server(packet(2, OK) + next),
      client.receives(packet(3, OK) + next),
      ...free,
    ]);
  });

  test('may have long packets, which are not held', () => {
    const data = 'x'.repeat(70_000);
    const inParts = (text: string) => [text.slice(0, 999), text.slice(999, 1000), text.slice(1000)];
    conversation(rule, { ...withTls, collectLimit: 1000 }, [
      ...greeting,
      ...startsTls,
      ...inParts(packet(2, head(0xae) + data)).map((part) => client(part)),
      server.receives(packet(1, head(0xa6) + data)),
      ...inParts(packet(2, `\x01${data}`)).map((part) => server(part)),
      client.receives(packet(3, `\x01${data}`)),
      ...exchange(4, OK),
      ...free,
    ]);
  });

  test('counts modulo 256', () => {
    everyCut(rule, withTls, [
      ...begun,
      server(packet(255, SWITCH)),
      client.receives(packet(0, SWITCH)),
      client(packet(1, 'x') + packet(0, 'y')),
      server.receives(packet(0, 'x') + packet(255, 'y')),
    ]);
  });

  test('may have a great many packets of the server', () => {
    const many = (number: number) => packet(number, '\x01x').repeat(5000);
    conversation(rule, withTls, [
      ...begun,
      server(many(2)),
      client.receives(many(3)),
      ...exchange(4, OK),
      ...free,
    ]);
  });

  test('has a bound for the packets of the client', () => {
    conversation(rule, withTls, [
      ...begun,
      client(packet(3, '').repeat(99)),
      server.receives(packet(2, '').repeat(99)),
      client(packet(3, '')),
      logs('info: the client sent more than 100 packets to log in'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('requireTls', () => {
  test('refuses a login in plaintext', () => {
    for (const payload of [head(0xa6) + rest, '\x05\x24\0\0\0old\0', '\0\0']) {
      everyCut(strict, withTls, [
        ...greeting,
        client(packet(1, payload)),
        server.receivesNothing(),
        client.receives(TLS_FIRST),
        client.seesEnd(),
        server.seesEnd(),
      ]);
    }
  });
});

describe('hostile clients', () => {
  const reset = [client.seesReset(), server.seesReset()];

  test.each([packet(2, head(0xae) + rest), '\0', sslRequest, '\x16x'])(
    'plaintext behind an SSLRequest ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [...greeting, client(sslRequest + injected), ...reset]);
    },
  );

  test.each([
    packet(0, head(0xae)),
    packet(1, head(0xae) + rest),
    packet(1, head(0xac)),
    packet(1, head(0xae).slice(0, 31)),
    packet(1, '\x05\x28\0\0\0'),
  ])('something else than an SSLRequest with its flag ends the connection: %j', (text) => {
    const logged = logs('info: the client asked for TLS with something that is no SSLRequest');
    everyCut(rule, withTls, [...greeting, client(text), logged, ...reset]);
  });

  test.each([
    packet(2, head(0xae)),
    sslRequest,
    packet(1, head(0xae) + rest),
    packet(3, head(0xae) + rest),
    packet(2, head(0xa6) + rest),
    'GET / HTTP/1.1\r\n',
  ])('something else than a login inside TLS ends the connection: %j', (text) => {
    const logged = logs('info: the client sent something that begins no login inside TLS');
    everyCut(rule, withTls, [...greeting, ...startsTls, client(text), logged, ...reset]);
  });

  test('an incomplete packet is ended by the collect timer', () => {
    const half = client(sslRequest.slice(0, 35));
    conversation(rule, withTls, [...greeting, half, expires('collect'), ...reset]);
  });
});

describe('endings', () => {
  test('a server that does not wait for the client', () => {
    const tired = packet(1, '\xff\x9f\x04Got timeout');
    everyCut(rule, withTls, [...greeting, server(tired), client.receives(tired), spliced()]);
    everyCut(rule, withTls, [
      ...greeting,
      server(packet(1, OK)),
      logs('warn: the server did not wait for the client'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });

  test('a client that says nothing, or not enough', () => {
    const ends = [client.ends(), server.seesEnd(), server.ends(), client.seesEnd()];
    everyCut(rule, withTls, [...greeting, ...ends]);
    everyCut(rule, withTls, [...greeting, ...startsTls, ...login, ...ends]);
  });

  test('a server that says nothing, or not enough', () => {
    const ends = [server.ends(), client.seesEnd(), client.ends(), server.seesEnd()];
    everyCut(rule, withTls, ends);
    everyCut(rule, withTls, [server(greetingWith(0).slice(0, 30)), ...ends]);
  });

  test('a handshake that fails', () => {
    everyCut(rule, withTls, [
      ...greeting,
      client(sslRequest),
      client.failsTls(),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('options', () => {
  test.each([
    [{ tls: 'implicit' }, "unknown option 'tls'; there are requireTls"],
    [{ requireTls: 1 }, `'requireTls' must be true or false, not 1`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
