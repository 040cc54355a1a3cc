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
  return loadRule(new URL('ldap-starttls.js', import.meta.url), { options });
}

/** A BER element. `lengthBytes`: that many bytes behind the one that counts them. */
function element(tag: number, content: string, lengthBytes = content.length < 128 ? 0 : 3): string {
  const { length } = content;
  if (lengthBytes === 0) return `${String.fromCharCode(tag, length)}${content}`;
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(length, 6 - lengthBytes, lengthBytes);
  const written = bytes.toString('latin1').slice(6 - lengthBytes);
  return `${String.fromCharCode(tag, 0x80 + lengthBytes)}${written}${content}`;
}

function message(id: number, operation: string, controls = ''): string {
  const bytes = id < 128 ? String.fromCharCode(id) : String.fromCharCode(id >> 8, id & 0xff);
  return element(0x30, `${element(2, bytes)}${operation}${controls}`);
}

const OID = '1.3.6.1.4.1.1466.20037';
const CONTROL = element(0xa0, element(0x30, element(4, '1.2.3')));

const startTls = (id: number) => message(id, element(0x77, element(0x80, OID)));
const extended = (id: number, name: string, more = '') =>
  message(id, element(0x77, element(0x80, name) + more));
const bind = (id: number, name: string, auth = element(0x80, name === '' ? '' : 'secret')) =>
  message(id, element(0x60, `${element(2, '\x03')}${element(4, name)}${auth}`));
const saslBind = (id: number) => bind(id, '', element(0xa3, element(4, 'GSSAPI')));
const search = (id: number) => message(id, element(0x63, `${element(4, '')}\x0a\x01\0`));
const abandon = (id: number, which: number) =>
  message(id, element(0x50, String.fromCharCode(which)));
const unbind = (id: number) => message(id, '\x42\0');

const result = (code: number, text = '') =>
  `\x0a\x01${String.fromCharCode(code)}${element(4, '')}${element(4, text)}`;
const answer = (id: number, tag: number, code = 0, text = '') =>
  message(id, element(tag, result(code, text)));
const bound = (id: number, code = 0) => answer(id, 0x61, code);
const entry = (id: number, value = 'x') => message(id, element(0x64, element(4, value)));
const found = (id: number) => answer(id, 0x65);
const tlsAnswer = (id: number, code: number, text: string) =>
  message(id, element(0x78, result(code, text) + element(0x8a, OID)));
const begins = (id: number) => tlsAnswer(id, 0, 'Begin TLS negotiation');
const outstanding = (id: number) => tlsAnswer(id, 1, 'Operations are outstanding');
const notBare = (id: number) => tlsAnswer(id, 2, 'StartTLS takes no value and no controls');
const tlsFirst = (id: number, tag: number) => answer(id, tag, 13, 'Use StartTLS first');

/** A request that reaches the server, and what it answers. */
function exchange(request: string, ...answers: string[]): Step[] {
  return [
    client(request),
    server.receives(request),
    ...answers.flatMap((text) => [server(text), client.receives(text)]),
  ];
}

/** A request that the server does not see. */
function own(request: string, reply: string): Step[] {
  return [client(request), client.receives(reply)];
}

const startsTls = (id: number): Step[] => [...own(startTls(id), begins(id)), client.startsTls()];
const free: Step[] = [
  ...exchange(bind(2, 'cn=admin'), bound(2)),
  spliced(),
  ...exchange(search(3), entry(3), found(3)),
  ...exchange('no LDAP', 'none either'),
  client.ends(),
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
    everyCut(rule, withTls, free);
  });

  test('with StartTLS', () => {
    for (const each of [rule, strict]) {
      everyCut(each, withTls, [...startsTls(1), server.accepts(), spliced(), ...free]);
    }
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [client.startsTls(), spliced(), ...free]);
    conversation(rule, { ...withTls, localPort: 636 }, [client.startsTls(), spliced(), ...free]);
    conversation(strict, { ...withTls, localPort: 636 }, [...startsTls(1), spliced()]);
  });

  test('with StartTLS after an anonymous bind and searches', () => {
    everyCut(rule, withTls, [
      ...exchange(bind(1, ''), bound(1)),
      ...exchange(search(2), entry(2), message(2, element(0x73, 'ldap:///')), found(2)),
      ...exchange(search(300), found(300)),
      ...startsTls(301),
      spliced(),
      ...free,
    ]);
  });

  test('with StartTLS after a bind that has failed', () => {
    everyCut(rule, withTls, [
      ...exchange(bind(1, 'cn=admin'), bound(1, 49)),
      ...exchange(saslBind(2), bound(2, 49)),
      ...startsTls(3),
      spliced(),
    ]);
  });

  test('inside TLS a second StartTLS is for the server to refuse', () => {
    everyCut(rule, withTls, [...startsTls(1), ...exchange(startTls(2), answer(2, 0x78, 2))]);
  });

  test('leaves all that comes after a bind alone', () => {
    everyCut(rule, withTls, [
      ...exchange(bind(1, 'cn=admin'), bound(1)),
      spliced(),
      ...exchange(startTls(2), answer(2, 0x78, 2)),
    ]);
  });

  test('leaves a SASL layer alone', () => {
    everyCut(rule, withTls, [
      ...exchange(saslBind(1), bound(1, 14)),
      ...exchange(saslBind(2), `${bound(2)}\0\0\0\x04abcd`),
      spliced(),
      ...exchange('\0\0\0\x02xy', '\0\0\0\x01z'),
    ]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  const [first, ...others] = free;
  /** What is sent first makes the rule connect, and TLS with the server begins then. */
  const freeLater = first === undefined ? [] : [first, server.startsTls(), ...others];

  test('and a client without', () => {
    everyCut(rule, bothTls, freeLater);
  });

  test('and a client with StartTLS', () => {
    for (const each of [rule, strict]) {
      everyCut(each, bothTls, [...startsTls(1), server.startsTls(), spliced(), ...free]);
    }
  });

  test('and a client with StartTLS after an anonymous bind', () => {
    everyCut(rule, bothTls, [
      client(bind(1, '')),
      server.startsTls(),
      server.receives(bind(1, '')),
      server(bound(1)),
      client.receives(bound(1)),
      ...exchange(search(2), entry(2), found(2)),
      ...startsTls(3),
      spliced(),
      ...free,
    ]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [client.startsTls(), server.startsTls(), spliced(), ...free]);
  });

  test('which does not start', () => {
    conversation(rule, bothTls, [
      client(search(1)),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('StartTLS', () => {
  test('is refused while answers are due, and possible afterwards', () => {
    everyCut(rule, withTls, [
      client(search(1)),
      server.receives(search(1)),
      ...own(startTls(2), outstanding(2)),
      server(entry(1)),
      client.receives(entry(1)),
      ...own(startTls(3), outstanding(3)),
      server(found(1)),
      client.receives(found(1)),
      ...startsTls(4),
    ]);
  });

  test('is refused among pipelined requests', () => {
    const requests = search(1) + bind(2, '') + startTls(3) + search(4);
    everyCut(rule, withTls, [
      client(requests),
      server.receives(search(1) + bind(2, '') + search(4)),
      client.receives(outstanding(3)),
      server(found(4) + bound(2) + found(1)),
      client.receives(found(4) + bound(2) + found(1)),
      ...startsTls(5),
    ]);
  });

  test('is refused within a SASL bind', () => {
    everyCut(rule, withTls, [
      ...exchange(saslBind(1), bound(1, 14)),
      ...own(startTls(2), tlsAnswer(2, 1, 'A SASL bind is in progress')),
      ...exchange(saslBind(3), bound(3, 49)),
      ...startsTls(4),
    ]);
  });

  test('is refused after an operation that was abandoned', () => {
    everyCut(rule, withTls, [
      ...exchange(search(1)),
      ...exchange(abandon(2, 1)),
      ...own(startTls(3), outstanding(3)),
    ]);
  });

  test('is refused with a value or controls', () => {
    everyCut(rule, withTls, [
      ...own(extended(1, OID, element(0x81, '')), notBare(1)),
      ...own(message(2, element(0x77, element(0x80, OID)), CONTROL), notBare(2)),
      ...startsTls(3),
    ]);
  });

  test('may have lengths of four bytes, as some clients write them', () => {
    const request = element(0x30, `\x02\x01\x07${element(0x77, element(0x80, OID, 4), 4)}`, 4);
    everyCut(rule, withTls, [...own(request, begins(7)), client.startsTls()]);
  });

  test('has exactly its name', () => {
    for (const name of ['1.3.6.1.4.1.1466.2003', `${OID}7`, '1.3.6.1.4.1.4203.1.11.3', '']) {
      everyCut(rule, withTls, [
        ...exchange(extended(1, name), answer(1, 0x78, 2)),
        ...startsTls(2),
      ]);
    }
    // The name would reach beyond the operation.
    const broken = message(1, element(0x77, `\x80${String.fromCharCode(OID.length)}`), OID);
    everyCut(rule, withTls, exchange(broken));
  });

  test('may have the beginning of TLS glued behind it', () => {
    everyCut(rule, withTls, [
      client(`${startTls(1)}\x16\x03\x01`),
      client.receives(begins(1)),
      client.startsTls('\x16\x03\x01'),
    ]);
  });

  test('when the handshake fails', () => {
    everyCut(rule, withTls, [
      ...own(startTls(1), begins(1)),
      client.failsTls(),
      client.seesReset(),
    ]);
  });
});

describe('requireTls', () => {
  test('refuses all operations before TLS, each with its own answer', () => {
    const tags = [
      [0x63, 0x65],
      [0x66, 0x67],
      [0x68, 0x69],
      [0x4a, 0x6b],
      [0x6c, 0x6d],
      [0x6e, 0x6f],
    ] as const;
    everyCut(strict, withTls, [
      ...own(bind(1, 'cn=admin'), tlsFirst(1, 0x61)),
      ...own(bind(2, ''), tlsFirst(2, 0x61)),
      ...tags.flatMap(([tag, its], i) =>
        own(message(300 + i, element(tag, 'x')), tlsFirst(300 + i, its)),
      ),
      ...own(extended(3, '1.3.6.1.4.1.4203.1.11.1'), tlsFirst(3, 0x78)),
      ...own(abandon(4, 1) + bind(5, 'x'), tlsFirst(5, 0x61)),
      ...startsTls(6),
      server.accepts(),
      ...free,
    ]);
  });

  test('ends the connection after an unbind', () => {
    everyCut(strict, withTls, [
      client(bind(1, 'x') + unbind(2)),
      client.receives(tlsFirst(1, 0x61)),
      client.seesEnd(),
    ]);
  });

  test('has its patience', () => {
    const many = Array.from({ length: 101 }, (_, i) => bind(i + 1, 'x'));
    const replies = many.map((_, i) => tlsFirst(i + 1, 0x61));
    conversation(strict, withTls, [
      client(many.join('')),
      client.receives(replies.join('')),
      client(startTls(200)),
      logs('info: more than 100 requests were refused'),
      client.seesReset(),
    ]);
  });
});

describe('what the rule looks at', () => {
  test('ends with an unbind', () => {
    everyCut(rule, withTls, [
      client(unbind(1)),
      client.ends(),
      server.receives(unbind(1)),
      server.seesEnd(),
      server.ends(),
      client.seesEnd(),
    ]);
  });

  test('ends after 100 operations', () => {
    const exchanges = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, i) => exchange(search(from + i), found(from + i)));
    const almost = exchanges(1, 99).flat();
    conversation(rule, withTls, [...almost, ...startsTls(200)]);
    conversation(rule, withTls, [
      ...almost,
      ...exchange(search(100)),
      spliced(),
      ...exchange(startTls(101)),
    ]);
    const all = Array.from({ length: 500 }, (_, i) => search(i + 1)).join('');
    conversation(rule, withTls, [...exchange(all), spliced()]);
  });

  test("is not the inside of the server's messages", () => {
    const long = entry(1, found(1).repeat(3000));
    conversation(rule, { ...withTls, collectLimit: 100 }, [
      ...exchange(search(1), long.slice(0, 50), long.slice(50, 30_000), long.slice(30_000)),
      ...own(startTls(2), outstanding(2)),
      server(found(1)),
      client.receives(found(1)),
      ...startsTls(3),
    ]);
    everyCut(rule, withTls, [
      ...exchange(search(1), `${entry(1, found(1).repeat(20))}${found(1)}`),
      ...startsTls(2),
    ]);
  });

  test('may come in great numbers', () => {
    const many = entry(1).repeat(40_000);
    conversation(rule, withTls, [
      ...exchange(search(1), `${many}${found(1)}`),
      ...startsTls(2),
      spliced(),
    ]);
    conversation(rule, withTls, [
      client(bind(1, 'x') + search(2)),
      server.receives(bind(1, 'x') + search(2)),
      server(entry(2).repeat(5000) + bound(1) + many),
      client.receives(entry(2).repeat(5000) + bound(1) + many),
      spliced(),
    ]);
  });

  test('notices and intermediate answers end no operation', () => {
    everyCut(rule, withTls, [
      ...exchange(search(1), answer(0, 0x78, 52), message(1, element(0x79, ''))),
      ...own(startTls(2), outstanding(2)),
      server(found(1)),
      client.receives(found(1)),
      ...startsTls(3),
    ]);
  });

  test('a server that says goodbye on its own', () => {
    everyCut(rule, withTls, [
      ...exchange(search(1), found(1), answer(0, 0x78, 52)),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
  });
});

describe('hostile clients', () => {
  const noLdap = [
    logs('info: the client sent something that is no LDAP request'),
    client.seesReset(),
  ];

  test.each([bind(2, 'x'), '\0', '\x30', '\x16x', startTls(2)])(
    'plaintext behind StartTLS ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [
        client(startTls(1) + injected),
        client.receives(begins(1)),
        client.seesReset(),
      ]);
    },
  );

  test.each([
    'GET / HTTP/1.1\r\n',
    '\x16\x03\x01',
    '\x30\x80\x02\x01\x01\x42\0\0\0', // indefinite length
    '\x30\x85\0\0\0\0\x05\x02\x01\x01\x42\0',
    '\x30\x04\x02\x01\x01\x42',
    '\x30\x06\x02\x02\x01\x01\x63\x01x', // the operation is longer than the message
    '\x30\x07\x02\x05\0\0\0\0\x01\x42\0',
    '\x30\x08\x02\x04\x80\0\0\x01\x42\0',
    '\x30\x05\x04\x01\x01\x42\0',
    '\x30\x05\x02\0\x42\0x',
    message(0, element(0x63, 'x')),
    answer(1, 0x61),
    message(1, element(0x70, 'x')),
  ])('what is no request ends the connection: %j', (text) => {
    everyCut(rule, withTls, [client(text), ...noLdap]);
    everyCut(strict, withTls, [client(text), ...noLdap]);
  });

  test('an ID that is in use ends the connection', () => {
    everyCut(rule, withTls, [
      ...exchange(search(5)),
      client(search(5)),
      logs('info: the client used the ID of an outstanding request'),
      client.seesReset(),
      server.seesReset(),
    ]);
    everyCut(rule, withTls, [...exchange(search(5), found(5)), ...exchange(search(5), found(5))]);
  });

  test('requests in plaintext may have 262144 bytes', () => {
    const ofLength = (length: number) => message(1, element(0x66, 'x'.repeat(length - 13)));
    conversation(rule, withTls, [...exchange(ofLength(262_144))]);
    conversation(rule, withTls, [
      client(ofLength(262_145).slice(0, 100)),
      logs('info: the client sent a request of more than 262144 bytes in plaintext'),
      client.seesReset(),
    ]);
  });

  test('a request that stays incomplete is ended by the collect timer', () => {
    conversation(rule, withTls, [client('\x30\x0c\x02'), expires('collect'), client.seesReset()]);
  });
});

describe('endings', () => {
  test('a server that does not speak LDAP', () => {
    const ending = [
      logs('warn: the server sent something that is no LDAP answer'),
      client.seesReset(),
      server.seesReset(),
    ];
    everyCut(rule, withTls, [...exchange(search(1)), server('HTTP/1.1 400\r\n'), ...ending]);
    const broken = message(1, element(0x61, '\x04\x01x'));
    everyCut(rule, withTls, [...exchange(bind(1, '')), server(broken), ...ending]);
  });

  test('a client that says nothing, or half a request', () => {
    everyCut(rule, withTls, [client.ends(), client.seesEnd()]);
    everyCut(rule, withTls, [client('\x30\x0c'), client.ends(), client.seesEnd()]);
  });

  test('a client that sends all it has, and FIN', () => {
    everyCut(rule, withTls, [
      client(search(1) + unbind(2)),
      client.ends(),
      server.receives(search(1) + unbind(2)),
      server.seesEnd(),
      server(entry(1) + found(1)),
      client.receives(entry(1) + found(1)),
      server.ends(),
      client.seesEnd(),
    ]);
  });

  test('no server', () => {
    everyCut(rule, withTls, [client(search(1)), server.refuses(), client.seesReset()]);
    everyCut(rule, withTls, [...startsTls(1), server.refuses(), client.seesReset()]);
  });
});

describe('options', () => {
  test.each([
    [{ ssl: true }, "unknown option 'ssl'; there are tls, requireTls"],
    [{ tls: 'ldaps' }, `'tls' must be "starttls" or "implicit", not "ldaps"`],
    [{ requireTls: 1 }, `'requireTls' must be true or false, not 1`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
