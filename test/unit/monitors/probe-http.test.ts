import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Endpoint } from '../../../src/core/types.ts';
import type { HttpMonitor } from '../../../src/monitors/index.ts';
import { type KeyPair, Pki } from '../net/pki.ts';
import { outcome, SOON, TestServer, timing } from './lab.ts';

let pki: Pki;
let pair: KeyPair;

beforeAll(async () => {
  pki = await Pki.open();
  pair = await pki.server(['127.0.0.1']);
});

afterAll(() => pki.close());

function monitor(settings: Partial<HttpMonitor> = {}): HttpMonitor {
  return {
    ...{ ...timing, type: 'http', tls: 'none', verify: true, ca: pki.ca },
    ...{ method: 'GET', path: '/health', status: [200, 299], ...settings },
  };
}

async function serve(listener: RequestListener, tls?: KeyPair): Promise<Endpoint> {
  const server =
    tls === undefined ? createServer(listener) : createHttpsServer({ ...tls }, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { address, port } = server.address() as AddressInfo;
  return { address, port };
}

/** A server that knows nothing of requests. */
function raw(response: string): Promise<TestServer> {
  return TestServer.start((socket) => socket.once('data', () => socket.end(response)));
}

describe('http', () => {
  test('asks as it is told', async () => {
    const heard: unknown[] = [];
    const server = await serve(({ method, url, headers }, response) => {
      heard.push([method, url, headers.host, headers.connection]);
      response.end();
    });
    const { port } = server;
    expect(await outcome(server, monitor())).toBe('');
    expect(await outcome({ ...server, host: 'www.example.com' }, monitor())).toBe('');
    const other = monitor({ method: 'HEAD', path: '/?q=1', host: 'other.example' });
    expect(await outcome(server, other)).toBe('');
    expect(heard).toEqual([
      ['GET', '/health', `127.0.0.1:${port}`, 'close'],
      ['GET', '/health', 'www.example.com', 'close'],
      ['HEAD', '/?q=1', 'other.example', 'close'],
    ]);
  });

  test('passes with a status in the range', async () => {
    const server = await serve((request, response) => {
      response.statusCode = Number(request.url?.slice(1));
      response.end();
    });
    const status = (code: number) => outcome(server, monitor({ path: `/${code}` }));
    expect(await status(200)).toBe('');
    expect(await status(299)).toBe('');
    expect(await status(300)).toBe('the status was 300, not 200 to 299');
    expect(await status(503)).toBe('the status was 503, not 200 to 299');
  });

  test('looks into the body, also where it comes in chunks', async () => {
    const server = await serve((_, response) => {
      response.write('all is ');
      response.end('well\n');
    });
    expect(await outcome(server, monitor({ expect: 'is well' }))).toBe('');
    expect(await outcome(server, monitor({ expect: { pattern: '^all.*l$', flags: 'm' } }))).toBe(
      '',
    );
    expect(await outcome(server, monitor({ expect: 'OK' }))).toBe(
      "the body was 'all is well\\x0a', without 'OK'",
    );
  });

  test('reads no more of a body than 64 KiB', async () => {
    let onClose = () => {};
    const closed = new Promise<void>((resolve) => {
      onClose = resolve;
    });
    const server = await serve((_, response) => {
      const pour = () => {
        while (response.write('x'.repeat(16_384)));
      };
      response.on('drain', pour);
      response.on('close', onClose);
      pour();
    });
    const said = await outcome(server, monitor({ expect: 'y' }));
    expect(said).toMatch(/^the body was 'x{77}\.\.\.', without 'y'$/);
    await closed;
  });

  test('works over TLS', async () => {
    const server = await serve((_, response) => response.end('OK'), pair);
    expect(await outcome(server, monitor({ tls: 'implicit', expect: 'OK' }))).toBe('');
    expect(await outcome(server, monitor({ tls: 'implicit', serverName: 'a.example' }))).toBe(
      "the server's certificate is not for a.example",
    );
    expect(await outcome(server, monitor())).toBe('no response: the server closed the connection');
  });

  test('says what is wrong with a response', async () => {
    const nonsense = await raw('220 mail.example.com\r\n\r\n');
    expect(await outcome(nonsense.endpoint, monitor())).toMatch(/^no response: Parse Error/);
    const nothing = await raw('');
    expect(await outcome(nothing.endpoint, monitor())).toBe(
      'no response: the server closed the connection',
    );
    const cut = await raw('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc');
    expect(await outcome(cut.endpoint, monitor({ expect: 'x' }))).toMatch(/^no body: /);
    const long = await raw(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(await outcome(long.endpoint, monitor())).toMatch(/^no response: .*overflow/i);
    const switching = await raw(
      'HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
    );
    expect(await outcome(switching.endpoint, monitor())).toBe('the status was 101, not 200 to 299');
    for (const server of [nonsense, nothing, cut, long, switching]) await server.untilClosed();
  });

  test('ends at its deadline', async () => {
    const silent = await TestServer.start(() => {});
    expect(await outcome(silent.endpoint, monitor(), SOON)).toBe('no response: timed out');
    const stuck = await TestServer.start((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc');
    });
    expect(await outcome(stuck.endpoint, monitor(), SOON)).toBe('');
    expect(await outcome(stuck.endpoint, monitor({ expect: 'x' }), SOON)).toBe(
      'no body: timed out',
    );
    await silent.untilClosed();
    await stuck.untilClosed();
  });

  test('says that a path is none', async () => {
    const server = await serve((_, response) => response.end());
    expect(await outcome(server, monitor({ path: '/a b' }))).toMatch(/unescaped characters/);
  });
});
