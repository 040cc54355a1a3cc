import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import { LayeredClient } from './harness/layered-client.ts';
import { type Portreeve, startPortreeve } from './harness/portreeve.ts';
import { run } from './harness/process.ts';

/** STARTTLS starts TLS, also inside TLS; PLAIN ends the topmost layer. All else goes to the server. */
const RULE = `
when('CLIENT_ACCEPTED', (c) => {
  c.depth = 0;
  SSL.disable();
});
when('SERVER_CONNECTED', () => clientside(() => TCP.collect()));
when('CLIENT_DATA', () => {
  if (TCP.payload() === 'STARTTLS\\n') {
    TCP.payload.replace(0, 9, '');
    TCP.respond('OK\\n');
    SSL.enable();
    return;
  }
  TCP.release();
  TCP.collect();
});
when('CLIENTSSL_HANDSHAKE', (c) => {
  c.depth += 1;
  SSL.collect();
});
when('CLIENTSSL_DATA', (c) => {
  const text = SSL.payload();
  if (text === 'STARTTLS\\n' || text === 'PLAIN\\n') {
    SSL.payload.replace(0, text.length, '');
    SSL.respond('OK\\n');
    if (text === 'PLAIN\\n') {
      c.depth -= 1;
      SSL.disable();
      if (c.depth === 0) TCP.collect();
      else SSL.collect();
    } else {
      SSL.enable();
    }
    return;
  }
  SSL.release();
  SSL.collect();
});
`;

const BLOCK = `${'abcdefghijklmnopqrstuvwxyz'.repeat(4000)}\n`;

let certificate: Certificate;
let echo: Server;
let portreeve: Portreeve;

beforeAll(async () => {
  certificate = await makeCertificate();
  echo = createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  await once(echo.listen(0, '127.0.0.1'), 'listening');
  const { port } = echo.address() as AddressInfo;
  portreeve = await startPortreeve(
    {
      virtualServers: {
        layers: {
          listen: '127.0.0.1:0',
          clientSsl: 'layers',
          pool: 'echo',
          rules: ['./layers.js'],
        },
      },
      pools: { echo: { members: [`127.0.0.1:${port}`] } },
      profiles: {
        clientSsl: { layers: { cert: 'cert.pem', key: 'key.pem', detachable: true } },
      },
    },
    { 'layers.js': RULE, 'cert.pem': certificate.cert, 'key.pem': certificate.key },
  );
});

afterAll(async () => {
  await portreeve.stop();
  echo.close();
});

const VERSIONS = [
  [['TLSv1.2', 'TLSv1.2', 'TLSv1.2']],
  [['TLSv1.3', 'TLSv1.3', 'TLSv1.3']],
  [['TLSv1.3', 'TLSv1.2', 'TLSv1.3']],
] as const;

describe.each(VERSIONS)('%s', (versions) => {
  test("Python's ssl: plaintext and TLS in turn, and TLS in TLS in TLS", async () => {
    const task = {
      port: portreeve.port('layers'),
      ca: certificate.certFile,
      versions: versions.map((version) => version.replace('.', '_')),
    };
    const script = resolve('test/integration/clients/tls-layers.py');
    const { code, stdout, stderr } = await run('python3', [script, JSON.stringify(task)]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ in_turn: versions, nested: versions });
  });

  test('Node.js: plaintext and TLS in turn', async () => {
    const client = await LayeredClient.connect(portreeve.port('layers'), certificate.cert);
    for (const version of versions) {
      await exchange(client);
      expect(await client.ask('STARTTLS\n')).toBe('OK\n');
      expect(await client.secure(version)).toBe(version);
      await exchange(client);
      expect(await client.ask('PLAIN\n')).toBe('OK\n');
      await client.unsecure();
    }
    await exchange(client);
    client.close();
  });

  test('Node.js: TLS in TLS in TLS, and off again', async () => {
    const client = await LayeredClient.connect(portreeve.port('layers'), certificate.cert);
    for (const version of versions) {
      expect(await client.ask('STARTTLS\n')).toBe('OK\n');
      expect(await client.secure(version)).toBe(version);
      await exchange(client);
    }
    for (const _ of versions) {
      expect(await client.ask('PLAIN\n')).toBe('OK\n');
      await client.unsecure();
      await exchange(client);
    }
    client.close();
  });
});

async function exchange(client: LayeredClient): Promise<void> {
  expect(await client.ask('hello\n')).toBe('hello\n');
  expect((await client.ask(BLOCK)) === BLOCK).toBe(true);
}
