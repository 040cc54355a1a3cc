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
  return loadRule(new URL('postgres-starttls.js', import.meta.url), { options });
}

function number(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes.toString('latin1');
}

function request(code: number, content = ''): string {
  return number(8 + content.length) + number(code) + content;
}

const sslRequest = request(80877103);
const gssRequest = request(80877104);
const cancelRequest = request(80877102, '\0\0\x12\x34\x56\x78\x9a\xbc');
const startup = request(0x30000, 'user\0alice\0database\0shop\0\0');
const hello = '\x16\x03\x01\x02\x00\x01';
const fields = 'SFATAL\0VFATAL\0C28000\0MTLS is required\0\0';
const tlsFirst = `E${number(4 + fields.length)}${fields}`;

const connects = server.accepts();
const startsTls = [client(sslRequest), client.receives('S'), client.startsTls()];
const session: Step[] = [
  client(startup),
  connects,
  spliced(),
  server.receives(startup),
  server('R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I'),
  client.receives('R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I'),
  client('Q\0\0\0\x0dSELECT 1\0'),
  server.receives('Q\0\0\0\x0dSELECT 1\0'),
  client('X\0\0\0\x04'),
  client.ends(),
  server.receives('X\0\0\0\x04'),
  server.seesEnd(),
  server.ends(),
  client.seesEnd(),
];

let rule: Rule;
let strict: Rule;
let implicit: Rule;

beforeAll(async () => {
  rule = await load();
  strict = await load({ tls: 'starttls', requireTls: true });
  implicit = await load({ tls: 'implicit', requireTls: true });
});

describe('a whole session', () => {
  test('in plaintext', () => {
    everyCut(rule, withTls, session);
  });

  test('with TLS after an SSLRequest', () => {
    everyCut(rule, withTls, [...startsTls, ...session]);
    everyCut(strict, withTls, [...startsTls, ...session]);
  });

  test('with TLS from the first byte on', () => {
    everyCut(implicit, withTls, [client.startsTls(), ...session]);
  });

  test('of a client that begins TLS without waiting for the answer', () => {
    everyCut(rule, withTls, [
      client(sslRequest + hello),
      client.receives('S'),
      client.startsTls(hello),
      ...session,
    ]);
  });

  test('of other versions is for the server to judge', () => {
    everyCut(rule, withTls, [client(request(0x20000)), server.receives(request(0x20000))]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  const startsBoth = session.flatMap((step) =>
    step === connects ? [step, server.startsTls()] : step,
  );

  test('and a client without', () => {
    everyCut(rule, bothTls, startsBoth);
  });

  test('and a client with TLS', () => {
    everyCut(strict, bothTls, [...startsTls, ...startsBoth]);
    everyCut(implicit, bothTls, [client.startsTls(), ...startsBoth]);
  });

  test('which does not start', () => {
    conversation(rule, bothTls, [
      client(startup),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('GSSENCRequest', () => {
  const declined = [client(gssRequest), client.receives('N')];

  test('is declined, and TLS or a session follow', () => {
    everyCut(rule, withTls, [...declined, ...startsTls, ...session]);
    everyCut(rule, withTls, [...declined, ...session]);
    everyCut(strict, withTls, [
      ...declined,
      client(startup),
      client.receives(tlsFirst),
      client.seesEnd(),
    ]);
  });

  test('may have other requests glued behind it', () => {
    everyCut(rule, withTls, [
      client(gssRequest + sslRequest),
      client.receives('NS'),
      client.startsTls(),
      ...session,
    ]);
    everyCut(rule, withTls, [
      client(gssRequest + startup),
      client.receives('N'),
      server.receives(startup),
    ]);
  });

  test('is declined only once', () => {
    const logged = logs('info: the client asked for encryption with a wrong length, or too often');
    everyCut(rule, withTls, [...declined, client(gssRequest), logged, client.seesReset()]);
  });
});

describe('CancelRequest', () => {
  const cancels = [
    client(cancelRequest),
    client.ends(),
    server.receives(cancelRequest),
    server.seesEnd(),
    server.ends(),
    client.seesEnd(),
  ];

  test('passes', () => {
    everyCut(rule, withTls, cancels);
    everyCut(strict, withTls, [...startsTls, ...cancels]);
  });

  test('is refused where TLS is required', () => {
    everyCut(strict, withTls, [client(cancelRequest), client.receives(tlsFirst), client.seesEnd()]);
  });
});

describe('hostile clients', () => {
  test.each([startup, '\0', 'Q', sslRequest, gssRequest, '\x16x'])(
    'plaintext behind an SSLRequest ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [
        client(sslRequest + injected),
        client.receives('S'),
        client.seesReset(),
      ]);
    },
  );

  test('requests for encryption of a wrong length', () => {
    const logged = logs('info: the client asked for encryption with a wrong length');
    for (const text of [
      request(80877103, '\0'),
      request(80877104, 'x'),
      number(7) + number(80877103),
    ]) {
      everyCut(rule, withTls, [client(text), logged, client.seesReset()]);
    }
  });

  test.each([sslRequest, gssRequest, request(80877103, 'x')])(
    'requests for encryption inside TLS: %j',
    (text) => {
      const logged = logs('info: the client asked for encryption inside TLS');
      everyCut(rule, withTls, [...startsTls, client(text), logged, client.seesReset()]);
      everyCut(implicit, withTls, [client.startsTls(), client(text), logged, client.seesReset()]);
    },
  );

  test('nothing but TLS gets through where it is required', () => {
    for (const text of [startup, 'GET / HTTP/1.1\r\n', hello + hello, '\0'.repeat(8)]) {
      everyCut(strict, withTls, [client(text), client.receives(tlsFirst), client.seesEnd()]);
    }
  });

  test('an incomplete request is ended by the collect timer', () => {
    conversation(rule, withTls, [
      client(sslRequest.slice(0, 7)),
      expires('collect'),
      client.seesReset(),
    ]);
  });
});

describe('endings', () => {
  test('a client that says nothing, or not enough', () => {
    everyCut(rule, withTls, [client('\0\0\0'), client.ends(), client.seesEnd()]);
    everyCut(rule, withTls, [...startsTls, client('\0\0\0'), client.ends(), client.seesEnd()]);
  });

  test('a handshake that fails', () => {
    everyCut(rule, withTls, [
      client(sslRequest),
      client.receives('S'),
      client.failsTls(),
      client.seesReset(),
    ]);
  });

  test('no server', () => {
    everyCut(rule, withTls, [...startsTls, client(startup), server.refuses(), client.seesReset()]);
  });
});

describe('options', () => {
  test.each([
    [{ ssl: true }, "unknown option 'ssl'; there are tls, requireTls"],
    [{ tls: 'direct' }, `'tls' must be "starttls" or "implicit", not "direct"`],
    [{ requireTls: 1 }, `'requireTls' must be true or false, not 1`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
