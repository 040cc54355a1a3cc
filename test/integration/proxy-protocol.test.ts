import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/types.ts';
import {
  LOCAL_PROXY_HEADER_V2,
  type ProxyHeader,
  proxyHeaderV1,
  proxyHeaderV2,
  readProxyHeader,
  UNKNOWN_PROXY_HEADER_V1,
} from '../../src/net/proxy-protocol.ts';
import { freePort, run, startServer, temporaryFolder } from './harness/process.ts';

// HAProxy, whose protocol it is, and curl say and hear what our functions do.

/** What a connection began with, and the bytes behind it. */
interface Arrival {
  readonly header: ProxyHeader;
  readonly text: string;
  /** Who connected. */
  readonly peer: Endpoint;
}

const ANSWER = 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok';

let server: Server;
let target: number;
const waiting: ((arrival: Arrival) => void)[] = [];

/** The next connection that brings a header and a line. */
function arrival(): Promise<Arrival> {
  return new Promise((resolve) => waiting.push(resolve));
}

beforeAll(async () => {
  server = createServer((socket) => {
    let bytes = Buffer.alloc(0);
    const peer = { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const header = readProxyHeader(bytes);
      if (header.type === 'invalid') throw new Error(`${header.reason}: ${bytes.toString('hex')}`);
      if (header.type === 'incomplete') return;
      const text = bytes.toString('latin1', header.length);
      if (!text.endsWith('\n')) return;
      waiting.shift()?.({ header, text, peer });
      socket.end(ANSWER);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  target = (server.address() as AddressInfo).port;
});
afterAll(() => server.close());

describe('HAProxy', () => {
  const ports = { plain1: 0, plain2: 0, v1: 0, v2: 0 };

  beforeAll(async () => {
    for (const name of Object.keys(ports) as (keyof typeof ports)[]) ports[name] = await freePort();
    const to = `server target 127.0.0.1:${target}`;
    const config = `
global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen plain1
  bind 127.0.0.1:${ports.plain1}
  ${to} send-proxy
listen plain2
  bind 127.0.0.1:${ports.plain2}
  ${to} send-proxy-v2 proxy-v2-options crc32c,unique-id
  unique-id-format id-of-this
listen v1
  bind 127.0.0.1:${ports.v1} accept-proxy
  ${to} send-proxy
listen v2
  bind 127.0.0.1:${ports.v2} accept-proxy
  ${to} send-proxy-v2 proxy-v2-options crc32c
`;
    const file = join(temporaryFolder(), 'haproxy.cfg');
    writeFileSync(file, config);
    await startServer('haproxy', ['-db', '-f', file], ports.plain1);
  });

  /** Sends through one of its ports, and answers what came out. */
  async function through(port: number, header: Uint8Array): Promise<Arrival & { local: Endpoint }> {
    const arrived = arrival();
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const local = { address: '127.0.0.1', port: socket.localPort ?? 0 };
    socket.end(Buffer.concat([header, Buffer.from('hello\n')]));
    socket.resume();
    const result = { ...(await arrived), local };
    expect(result.text).toBe('hello\n');
    return result;
  }

  it.each([1, 2] as const)('is understood when it sends version %i', async (version) => {
    const port = ports[`plain${version}`];
    const { header, local } = await through(port, Buffer.alloc(0));
    expect(header).toMatchObject({ source: local, destination: { address: '127.0.0.1', port } });
    const types = header.tlvs.map(({ type }) => type);
    expect(types.sort()).toEqual(version === 1 ? [] : [3, 5]);
  });

  const source = { address: '192.0.2.1', port: 54_321 };
  const destination = { address: '198.51.100.2', port: 22 };
  const six = { address: '2001:db8::1', port: 65_535 };
  const ends: [string, Endpoint, Endpoint][] = [
    ['IPv4', source, destination],
    ['IPv6', six, { address: '::1', port: 1 }],
    ['both', six, destination],
  ];

  describe.each(['v1', 'v2'] as const)('that sends %s', (out) => {
    it.each(ends)('understands both of ours with %s', async (_what, from, to) => {
      for (const write of [proxyHeaderV1, proxyHeaderV2]) {
        const { header } = await through(ports[out], write(from, to));
        expect(header).toMatchObject({ source: from, destination: to });
      }
    });

    it('takes the ends of the connection where ours do not tell', async () => {
      for (const unknown of [UNKNOWN_PROXY_HEADER_V1, LOCAL_PROXY_HEADER_V2]) {
        const { header, local } = await through(ports[out], unknown);
        expect(header.source).toEqual(local);
      }
    });
  });
});

describe('curl', () => {
  it('is understood', async () => {
    const arrived = arrival();
    const url = `http://127.0.0.1:${target}/path`;
    const { code, stdout } = await run('curl', ['-s', '--haproxy-protocol', url]);
    expect([code, stdout]).toEqual([0, 'ok']);
    const { header, text, peer } = await arrived;
    expect(header).toMatchObject({
      source: peer,
      destination: { address: '127.0.0.1', port: target },
    });
    expect(text).toMatch(/^GET \/path HTTP/);
  });
});
