import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { StreamOwner } from '../../../src/net/byte-stream.ts';
import { needInternals } from '../../../src/net/internals.ts';
import { connectRaw, type RawStream } from '../../../src/net/raw-stream.ts';
import { serverTls } from './tls-peer.ts';

const setNoDelay = vi.spyOn(needInternals().TCP.prototype, 'setNoDelay');

let server: Server;
let stream: RawStream;
let drained: () => void = () => {};

beforeEach(async () => {
  server = createServer((socket) => socket.on('error', () => {}).resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((connected) => {
    const owner: StreamOwner = {
      onConnect: () => connected(),
      onData: () => {},
      onEnd: () => {},
      onDrain: () => drained(),
      onSecure: () => {},
      onPlain: () => {},
      onClose: () => {},
    };
    stream = connectRaw({ address: '127.0.0.1', port }, owner);
  });
  setNoDelay.mockClear();
});
afterEach(() => {
  stream.destroy();
  server.close();
});

async function send(bytes: number): Promise<void> {
  const sent = new Promise<void>((resolve) => {
    drained = resolve;
  });
  if (!stream.write(new Uint8Array(bytes))) await sent;
}

it('is asked for before the second send, once', async () => {
  await send(100);
  expect(setNoDelay).not.toHaveBeenCalled();
  await send(100);
  await send(100);
  expect(setNoDelay).toHaveBeenCalledOnce();
});

it('is asked for before a first send of more than a segment', async () => {
  await send(2000);
  expect(setNoDelay).toHaveBeenCalledOnce();
});

it('is asked for before TLS, which sends by itself', () => {
  stream.startTls(serverTls(), new Uint8Array(0));
  expect(setNoDelay).toHaveBeenCalledOnce();
});
