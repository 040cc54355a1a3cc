import { afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import { certificateFiles } from './harness/pop3.ts';
import { type Portreeve, startPortreeve } from './harness/portreeve.ts';
import { freePort, RunningProcess, startServer, within } from './harness/process.ts';
import { IMPLICIT, StarttlsBench } from './harness/tls-bench.ts';
import { type StarttlsProtocol, starttlsProtocols } from './harness/tls-protocols.ts';
import { clientHello, TlsWire } from './harness/tls-wire.ts';

// What no client should send in place of a handshake, or after it.

const HANDSHAKE_MS = 1_000;
/** As long as a hello may be; the most that is taken before a client is refused. */
const MOST_HELLO_BYTES = 16 * 1024;

let certificate: Certificate;
let bench: StarttlsBench;

beforeAll(async () => {
  certificate = await makeCertificate();
  bench = await StarttlsBench.start(certificate, {
    handshakeTimeout: HANDSHAKE_MS,
    collectTimeout: HANDSHAKE_MS,
  });
  return () => bench.stop();
});

afterEach(() => TlsWire.destroyAll());

/** For TLS from the first byte on there is nothing to say before. */
const implicit: StarttlsProtocol = {
  ...starttlsProtocols.pop3,
  rule: '',
  opening: [],
  command: '',
  goAhead: '',
  inside: { send: 'NOOP\r\n', answer: '+OK stub\r\n+OK yes\r\n' },
};
const starts: readonly (readonly [string, StarttlsProtocol])[] = [
  [IMPLICIT, implicit],
  ...Object.entries(starttlsProtocols),
];

/** A client in front of a handshake: of every protocol, at the same time. */
function askAll(): Promise<TlsWire[]> {
  return Promise.all(starts.map(([name, protocol]) => bench.ask(name, protocol)));
}

describe('a stalled handshake', () => {
  /** Milliseconds until the connection ends while a byte of `drip` is sent every 50 ms. */
  async function lifetime(wire: TlsWire, drip: Uint8Array): Promise<number> {
    const begin = performance.now();
    const bytes = drip.values();
    const timer = setInterval(() => {
      const { done, value } = bytes.next();
      if (done !== true) wire.send(Buffer.of(value));
    }, 50);
    try {
      await within(5_000, 'the deadline', () => wire.ended);
    } finally {
      clearInterval(timer);
    }
    return performance.now() - begin;
  }

  async function expectDeadline(first: Uint8Array, drip: Uint8Array): Promise<void> {
    const logged = bench.portreeve.log.text.length;
    const wires = await askAll();
    const lives = wires.map((wire) => {
      wire.send(Buffer.from(first));
      return lifetime(wire, drip);
    });
    for (const [index, ms] of (await Promise.all(lives)).entries()) {
      const [name] = starts[index] ?? [];
      expect(ms, name).toBeGreaterThan(HANDSHAKE_MS - 200);
      expect(ms, name).toBeLessThan(HANDSHAKE_MS + 1_000);
    }
    const told = '(?:it took longer than the handshakeTimeout[^]*)';
    await bench.portreeve.log.waitFor(new RegExp(`${told}{${starts.length}}`), logged);
  }

  test('that never begins is ended by its deadline', () =>
    expectDeadline(Buffer.alloc(0), Buffer.alloc(0)));

  test('that drips is ended by the same deadline', async () =>
    expectDeadline(Buffer.alloc(0), await clientHello()));

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'that stops behind the ClientHello of %s is ended by its deadline',
    async (maxVersion) => expectDeadline(await clientHello({ maxVersion }), Buffer.alloc(0)),
  );

  test('that drips behind the ClientHello is ended by the same deadline', async () => {
    // A handshake record that announces 16 KiB: with it TLS 1.2 goes on.
    const record = Buffer.concat([Buffer.of(0x16, 3, 3, 0x40, 0), Buffer.alloc(200, 16)]);
    await expectDeadline(await clientHello({ maxVersion: 'TLSv1.2' }), record);
  });
});

describe.each(starts)('%s: the ClientHello', (name, protocol) => {
  test('in segments of one byte', async () => {
    const wire = await bench.ask(name, protocol);
    await wire.startTls({ ca: certificate.cert, dripped: true });
    const { send, answer } = protocol.inside;
    expect(await wire.ask(send, answer)).toBe(answer);
  });
});

describe('in place of a ClientHello', () => {
  const hostile: Readonly<Record<string, Buffer>> = {
    'the head of one of 16 MiB': Buffer.from('1603010200' + '01ffffff', 'hex'),
    'the head of a record of 64 KiB': Buffer.from('160301ffff', 'hex'),
    'an empty record': Buffer.from('1603010000', 'hex'),
    'another handshake message': Buffer.from('160301000402000000', 'hex'),
    'application data': Buffer.from('1703030005', 'hex'),
    'an alert': Buffer.from('15030300020100', 'hex'),
    'a hello of SSLv2': Buffer.from(`802e0100020015000000100100800700c0${'55'.repeat(31)}`, 'hex'),
    'a hello of SSLv2 for TLS 1.0': Buffer.from(
      `802b010301001200000010${'00002f'.repeat(6)}`,
      'hex',
    ),
    'a request of HTTP': Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    'the preface of HTTP/2': Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    'a PROXY header': Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n'),
    zeros: Buffer.alloc(100),
  };

  test.each(Object.entries(hostile))('%s is refused', async (_, bytes) => {
    for (const wire of await askAll()) {
      const begin = performance.now();
      wire.send(bytes);
      await within(5_000, 'the end', () => wire.ended);
      // Refused, and not only given up.
      expect(performance.now() - begin).toBeLessThan(HANDSHAKE_MS - 200);
      expect(wire.unread).toBe('');
    }
  });

  test('one that never ends is refused at the limit', async () => {
    for (const wire of await askAll()) {
      // It announces as much as may be, in records of one byte: the limit counts their heads, too.
      wire.send(Buffer.from(`160301000401003f00`, 'hex'));
      let sent = 9;
      let over = false;
      void wire.ended.then(() => {
        over = true;
      });
      const begin = performance.now();
      while (!over && sent < 4 * MOST_HELLO_BYTES) {
        const records = Buffer.from('160301000155'.repeat(100), 'hex');
        await wire.write(records);
        sent += records.length;
      }
      await within(5_000, 'the end', () => wire.ended);
      expect(sent).toBeGreaterThan(MOST_HELLO_BYTES - 700);
      expect(performance.now() - begin).toBeLessThan(HANDSHAKE_MS - 200);
    }
  });
});

describe('old versions', () => {
  const old = { ciphers: 'DEFAULT:@SECLEVEL=0', minVersion: 'TLSv1' } as const;

  test.each(['TLSv1', 'TLSv1.1'] as const)('a client that has only %s', async (maxVersion) => {
    for (const wire of await askAll()) {
      const handshake = wire.startTls({ ...old, maxVersion, rejectUnauthorized: false });
      await expect(handshake).rejects.toThrow(/alert protocol version/i);
    }
  });
});

describe('renegotiation', () => {
  let secure: Portreeve;
  let backend: RunningProcess;

  beforeAll(async () => {
    const files = certificateFiles(certificate);
    const port = await freePort();
    secure = await startPortreeve(
      {
        virtualServers: {
          client: { listen: '127.0.0.1:0', clientSsl: 'tls', pool: 'stub' },
          server: { listen: '127.0.0.1:0', serverSsl: 'tls', pool: 'server' },
        },
        pools: {
          stub: { members: [`127.0.0.1:${bench.stub('pop3').port}`] },
          server: { members: [`127.0.0.1:${port}`] },
        },
        profiles: {
          clientSsl: { tls: { cert: 'cert.pem', key: 'key.pem' } },
          serverSsl: { tls: { ca: 'cert.pem', maxVersion: 'TLSv1.2' } },
        },
      },
      files,
    );
    const file = (name: string): string => `${secure.folder}/${name}`;
    const args = [
      '-accept',
      `127.0.0.1:${port}`,
      '-cert',
      file('cert.pem'),
      '-key',
      file('key.pem'),
    ];
    backend = await startServer('openssl', ['s_server', ...args], port);
    return () => secure.stop();
  });

  test('by the client is refused', async () => {
    const client = new RunningProcess('openssl', [
      ...['s_client', '-tls1_2', '-CAfile', certificate.certFile],
      ...['-connect', `localhost:${secure.port('client')}`],
    ]);
    onTestFinished(async () => void (await client.stop()));
    await client.stdout.waitFor('+OK stub\r\n');
    client.stdin?.write('R\n');
    await client.stderr.waitFor('no renegotiation');
    expect(await client.ended).not.toBe(0);
  });

  test('by the server is refused', async () => {
    const wire = await TlsWire.connect(secure.port('server'));
    wire.send('first\n');
    await backend.stdout.waitFor('first\n');
    const read = backend.stdout.text.length;
    backend.stdin?.write('r\n');
    await backend.stderr.waitFor(/no renegotiation/);
    expect(backend.stdout.text.slice(read)).not.toMatch(/RENEGOTIATED|SSL-Session/);
  });
});
