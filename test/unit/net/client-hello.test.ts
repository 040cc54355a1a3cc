import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type SecureVersion } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { createAuthority, issueCertificate } from '../../../src/net/certificate.ts';
import {
  type ClientHello,
  MOST_HELLO_BYTES,
  readClientHello,
} from '../../../src/net/client-hello.ts';
import {
  capture,
  type HelloParts,
  helloOfNode,
  inRecords,
  messageOf,
  messageWith,
  serverNames,
  uint,
  vector,
} from './hello-bytes.ts';

function read(bytes: Uint8Array): ClientHello {
  const result = readClientHello(bytes);
  if (result.type !== 'hello') throw new Error(`read as ${JSON.stringify(result)}`);
  return result.hello;
}

/** Why the first of these bytes are refused; fails if fewer of them are, too. */
function refusal(bytes: Uint8Array): string {
  const result = readClientHello(bytes);
  if (result.type !== 'invalid') throw new Error(`read as ${result.type}`);
  for (let length = 0; length < bytes.length; length++) {
    expect(readClientHello(bytes.subarray(0, length)), `${length} bytes`).toEqual({
      type: 'incomplete',
    });
  }
  return result.reason;
}

const refusalOf = (parts: HelloParts) => refusal(inRecords(messageWith(parts)));
const withExtension = (type: number, body: Uint8Array) => ({ extensions: [[type, body]] as const });
const bytes = (...values: readonly number[]) => Uint8Array.from(values);

async function helloOfOpenssl(...options: readonly string[]): Promise<Buffer> {
  let ended: Promise<unknown> | undefined;
  const hello = await capture((port) => {
    const args = ['s_client', '-connect', `127.0.0.1:${port}`, ...options];
    ended = once(spawn('openssl', args, { stdio: 'ignore' }), 'exit');
  });
  await ended;
  return hello;
}

const TICKET_KEYS = Buffer.from('the name of keys'.padEnd(48, '.'));

/** The hello of a client that comes back to a server with TICKET_KEYS. */
async function resumingHello(version: SecureVersion): Promise<Buffer> {
  const authority = createAuthority('Test');
  const { certPem: cert, keyPem: key } = issueCertificate({
    authority,
    names: ['www.example.test'],
  });
  const versions = { minVersion: version, maxVersion: version };
  const server = createServer({ cert, key, ticketKeys: TICKET_KEYS }, (socket) => socket.end('.'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({
    port,
    ca: authority.certPem,
    servername: 'www.example.test',
    ...versions,
  });
  const [[session]] = await Promise.all([once(client, 'session'), once(client.resume(), 'end')]);
  client.destroy();
  server.close();
  return helloOfNode({ session, ...versions });
}

describe('a hello of Node', () => {
  it('of TLS 1.3 and 1.2', async () => {
    const hello = read(
      await helloOfNode({ servername: 'WWW.Example.Test', ALPNProtocols: ['h2', 'http/1.1'] }),
    );
    expect(hello.serverName).toBe('www.example.test');
    expect(hello.alpn).toEqual(['h2', 'http/1.1']);
    expect(hello.versions).toEqual([0x0304, 0x0303]);
    expect(hello.cipherSuites).toContain(0x1301);
    expect(hello.cipherSuites).toContain(0xc02f);
    expect(hello.sessionId).toHaveLength(32);
    expect(hello.extensionTypes).toContain(51);
    expect(hello.extension(43)).toEqual(bytes(4, 3, 4, 3, 3));
    expect(hello.extension(0xffff)).toBeUndefined();
    expect(hello.ticket).toBeUndefined();
  });

  it('of TLS 1.2 alone', async () => {
    const hello = read(await helloOfNode({ servername: '', maxVersion: 'TLSv1.2' }));
    expect(hello.versions).toEqual([0x0303]);
    expect(hello.serverName).toBeUndefined();
    expect(hello.alpn).toEqual([]);
    expect(hello.sessionId).toHaveLength(0);
    expect(hello.extension(35)).toHaveLength(0);
    expect(hello.ticket).toBeUndefined();
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('that resumes a session of %s', async (version) => {
    const { ticket, extensionTypes } = read(await resumingHello(version));
    expect(ticket?.length).toBeGreaterThan(100);
    expect(ticket?.subarray(0, 16)).toEqual(Uint8Array.from(TICKET_KEYS.subarray(0, 16)));
    expect(extensionTypes.includes(41)).toBe(version === 'TLSv1.3');
  });

  it('that is big', async () => {
    const offered = Array.from({ length: 1500 }, (_, index) => `p${index + 1000}`);
    const sent = await helloOfNode({ ALPNProtocols: offered });
    expect(sent.length).toBeGreaterThan(9000);
    expect(read(sent).alpn).toEqual(offered);
  });

  it('that is too big', async () => {
    const ALPNProtocols = Array.from({ length: 3000 }, (_, index) => `p${index + 1000}`);
    const sent = await helloOfNode({ ALPNProtocols });
    // Refused by the length of its first record, before the rest is there.
    expect(refusal(sent.subarray(0, 5))).toBe('the ClientHello is too long');
  });
});

describe('a hello of openssl', () => {
  it('without server_name', async () => {
    const hello = read(await helloOfOpenssl('-noservername', '-tls1_2', '-cipher', 'AES128-SHA'));
    expect(hello.serverName).toBeUndefined();
    expect(hello.cipherSuites).toEqual([0x002f, 0x00ff]);
  });

  it('over several records', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `${index}`.padStart(100, '-'));
    const options = ['-servername', 'a.test', '-alpn', names.join(','), '-max_send_frag', '512'];
    const sent = await helloOfOpenssl(...options);
    expect(sent.readUInt16BE(3)).toBe(512);
    expect(sent.length).toBeGreaterThan(2000);
    expect(read(sent).alpn).toEqual(names);
    expect(read(sent).serverName).toBe('a.test');
  });
});

describe('the bytes of a hello', () => {
  it('are incomplete until the last one', async () => {
    const sent = await helloOfNode({ ALPNProtocols: ['pop3'] });
    for (const hello of [sent, inRecords(messageOf(sent), 50), inRecords(messageOf(sent), 1)]) {
      for (let length = 0; length < hello.length; length++) {
        expect(readClientHello(hello.subarray(0, length))).toEqual({ type: 'incomplete' });
      }
      expect(read(hello)).toEqual(read(sent));
    }
  });

  it('are copied, and those behind them not looked at', () => {
    const hello = inRecords(messageWith({ sessionId: bytes(1, 2, 3) }));
    const sent = Buffer.concat([hello, Buffer.from('behind')]);
    const { sessionId } = read(sent);
    sent.fill(0);
    expect(sessionId).toEqual(bytes(1, 2, 3));
  });

  it.each([
    ['an empty message', '', 'incomplete'],
    ['a command', 'U', 'the ClientHello is not in a TLS handshake record'],
    ['an alert', '\x15', 'the ClientHello is not in a TLS handshake record'],
    ['a hello of SSL 2', '\x80', 'the ClientHello is not in a TLS handshake record'],
    ['another version', '\x16\x02', 'the ClientHello is in a record of an unknown version'],
    ['an empty record', '\x16\x03\x01\0\0', 'the ClientHello is in an empty record'],
    ['a long record', '\x16\x03\x01\x41', 'the ClientHello is in a record that is too long'],
    ['a full record', '\x16\x03\x01\x40\x00', 'the ClientHello is too long'],
    ['a ServerHello', '\x16\x03\x01\x01\0\x02', 'the ClientHello is another handshake message'],
    ['a long hello', '\x16\x03\x01\0\x04\x01\0\x40\0', 'the ClientHello is too long'],
    [
      'a record too much',
      '\x16\x03\x01\0\x05\x01\0\0\0',
      'the ClientHello has something behind it in its record',
    ],
  ])('are refused at the first that is wrong: %s', (_name, sent, reason) => {
    const result = readClientHello(Buffer.from(sent, 'latin1'));
    if (reason === 'incomplete') expect(result.type).toBe(reason);
    else expect(refusal(Buffer.from(sent, 'latin1'))).toBe(reason);
  });

  it('are refused when the second record is of another kind', () => {
    const [first, second] = [inRecords(messageWith({}).subarray(0, 10)), bytes(0x17)];
    expect(refusal(Buffer.concat([first, second]))).toBe(
      'the ClientHello is not in a TLS handshake record',
    );
  });

  it('are at most as many as said', () => {
    const fixed = inRecords(messageWith(withExtension(9999, bytes()))).length;
    const most = Buffer.alloc(MOST_HELLO_BYTES - fixed);
    const hello = inRecords(messageWith(withExtension(9999, most)));
    expect(hello).toHaveLength(MOST_HELLO_BYTES);
    expect(read(hello).extension(9999)).toHaveLength(most.length);
    const more = messageWith(withExtension(9999, Buffer.alloc(most.length + 1)));
    expect(refusal(inRecords(more).subarray(0, 5))).toBe('the ClientHello is too long');
    // Headers count: it would fit but for those of its 9 further records.
    const split = inRecords(messageOf(hello), 1700);
    const tenth = 9 * 1705;
    expect(refusal(split.subarray(0, tenth + 5))).toBe('the ClientHello is too long');
  });
});

describe('a hello made by hand', () => {
  it('of an old client has no extensions', () => {
    const hello = read(inRecords(messageWith({ version: 0x0301 })));
    expect(hello.versions).toEqual([0x0301]);
    expect(hello.extensionTypes).toEqual([]);
  });

  it('keeps values that mean nothing', () => {
    const hello = read(
      inRecords(
        messageWith({
          suites: bytes(0x0a, 0x0a, 0x13, 0x01),
          extensions: [
            [0x2a2a, bytes()],
            [43, vector(1, bytes(0x3a, 0x3a, 3, 4))],
            [16, vector(2, vector(1, bytes(0x4a, 0xca)), vector(1, bytes(0x68, 0x32)))],
            [0x5a5a, bytes(0)],
          ],
        }),
      ),
    );
    expect(hello.cipherSuites).toEqual([0x0a0a, 0x1301]);
    expect(hello.extensionTypes).toEqual([0x2a2a, 43, 16, 0x5a5a]);
    expect(hello.versions).toEqual([0x3a3a, 0x0304]);
    expect(hello.alpn).toEqual(['J\xca', 'h2']);
    expect(hello.extension(0x5a5a)).toEqual(bytes(0));
  });

  const binder = vector(1, Buffer.alloc(32));
  const identity = (name: string) => Buffer.concat([vector(2, Buffer.from(name)), uint(4, 0)]);

  it('resumes by the first identity, before the ticket', () => {
    const keys = Buffer.concat([
      vector(2, identity('first'), identity('second')),
      vector(2, binder, binder),
    ]);
    const hello = messageWith({
      extensions: [
        [35, Buffer.from('old')],
        [41, keys],
      ],
    });
    expect(read(inRecords(hello)).ticket).toEqual(Uint8Array.from(Buffer.from('first')));
  });

  it.each<[string, HelloParts, string]>([
    ['version', { version: 0x0203 }, 'has an unknown version'],
    ['session id', { sessionId: Buffer.alloc(33) }, 'has wrong lengths in its body'],
    ['no cipher suite', { suites: bytes() }, 'has wrong lengths in its body'],
    ['half a cipher suite', { suites: bytes(1, 2, 3) }, 'has half a cipher suite'],
    ['no compression', { compressions: bytes() }, 'has wrong lengths in its body'],
    ['half a length', { rest: bytes(0) }, 'has wrong lengths in its body'],
    ['missing extensions', { rest: bytes(0, 1) }, 'has wrong lengths in its body'],
    ['rest', { extensions: [], rest: bytes(0) }, 'has wrong lengths in its body'],
    ['half an extension', { rest: bytes(0, 3, 0, 9, 0) }, 'has wrong lengths in its extensions'],
    ['long extension', { rest: bytes(0, 4, 0, 9, 0, 1) }, 'has wrong lengths in its extensions'],
    [
      'an extension twice',
      {
        extensions: [
          [23, bytes()],
          [5, bytes()],
          [23, bytes()],
        ],
      },
      'has extension 23 twice',
    ],
    [
      'pre_shared_key in between',
      {
        extensions: [
          [41, bytes()],
          [23, bytes()],
        ],
      },
      'has pre_shared_key not at its end',
    ],
  ])('is refused for its %s', (_name, parts, reason) => {
    expect(refusalOf(parts)).toBe(`the ClientHello ${reason}`);
  });

  it.each<[string, number, Uint8Array]>([
    ['server_name', 0, bytes()],
    ['server_name', 0, vector(2)],
    ['server_name', 0, serverNames('')],
    ['server_name', 0, serverNames('a.test', 'b.test')],
    ['server_name', 0, Buffer.concat([serverNames('a.test'), bytes(0)])],
    ['server_name', 0, serverNames('a'.repeat(300))],
    ['application_layer_protocol_negotiation', 16, bytes()],
    ['application_layer_protocol_negotiation', 16, vector(2)],
    ['application_layer_protocol_negotiation', 16, vector(2, vector(1))],
    ['application_layer_protocol_negotiation', 16, vector(2, bytes(2, 104))],
    ['application_layer_protocol_negotiation', 16, bytes(0, 2, 1, 104, 0)],
    ['supported_versions', 43, bytes()],
    ['supported_versions', 43, bytes(0)],
    ['supported_versions', 43, bytes(2, 3, 4, 0)],
    ['pre_shared_key', 41, bytes()],
    ['pre_shared_key', 41, Buffer.concat([vector(2, identity('')), vector(2, binder)])],
    ['pre_shared_key', 41, vector(2, identity('a'))],
    ['pre_shared_key', 41, Buffer.concat([vector(2, identity('a')), vector(2, binder, binder)])],
    ['pre_shared_key', 41, Buffer.concat([vector(2, identity('a'), bytes(0)), vector(2, binder)])],
    [
      'pre_shared_key',
      41,
      Buffer.concat([vector(2, identity('a'), identity('b')), vector(2, binder)]),
    ],
  ])('is refused for wrong lengths in %s', (name, type, body) => {
    expect(refusalOf(withExtension(type, body))).toBe(
      `the ClientHello has wrong lengths in its ${name}`,
    );
  });

  it('is refused for half a version, and for names of an unknown type', () => {
    expect(refusalOf(withExtension(43, bytes(3, 3, 4, 3)))).toBe(
      'the ClientHello has half a version in supported_versions',
    );
    expect(refusalOf(withExtension(0, vector(2, bytes(1, 0, 1, 97))))).toBe(
      'the ClientHello has a server_name of an unknown type',
    );
  });
});

describe('server_name', () => {
  const label = 'a'.repeat(63);
  const longest = [label, label, label, label].join('.');

  it.each([
    ['localhost', 'localhost'],
    ['XN--BCHER-KVA.Example', 'xn--bcher-kva.example'],
    ['_dmarc.a-.-b.c--d', '_dmarc.a-.-b.c--d'],
    ['a.test.', 'a.test'],
    ['1.2.3.4.in-addr.arpa', '1.2.3.4.in-addr.arpa'],
    [longest, longest],
    [`${longest}.`, longest],
  ])('may be %s', (name, expected) => {
    expect(read(inRecords(messageWith(withExtension(0, serverNames(name))))).serverName).toBe(
      expected,
    );
  });

  it.each(['192.0.2.1', '192.0.2.1.', '::1'])('is none if it is the address %s', (name) => {
    const hello = read(inRecords(messageWith(withExtension(0, serverNames(name)))));
    expect(hello.serverName).toBeUndefined();
  });

  it.each([
    '.',
    '..',
    '.a',
    'a..',
    'a..b',
    'a b',
    'a\0',
    'a\n',
    'ä.test',
    '*.test',
    'a/b',
    `${label}a.test`,
    `${longest}a`,
    '[::1]',
  ])('must not be %j', (name) => {
    expect(refusalOf(withExtension(0, serverNames(name)))).toBe(
      'the ClientHello has a server_name that is not a host name',
    );
  });
});
