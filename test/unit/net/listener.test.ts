import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import type { EphemeralListener, EphemeralOptions } from '../../../src/net/ephemeral-listener.ts';
import type { Accept, ListenerGroup } from '../../../src/net/listener.ts';
import { loadNet } from './lab.ts';
import { Peer } from './peer.ts';
import { Recorder } from './recorder.ts';

const HOST = '127.0.0.1';

const servers: Server[] = [];
const peers: Peer[] = [];
const streams: ByteStream[] = [];

/** Occupies a port: any free one, or this one. */
async function occupy(port = 0): Promise<number> {
  const server = createServer();
  servers.push(server);
  await once(server.listen(port, HOST), 'listening');
  return (server.address() as AddressInfo).port;
}

/** Where this many ports in a row were free a moment ago. */
async function freeRange(count: number): Promise<number> {
  const lowest = await occupy();
  let isFree = lowest + count < 65_536;
  for (let port = lowest + 1; isFree && port < lowest + count; port++) {
    isFree = await occupy(port).then(
      () => true,
      () => false,
    );
  }
  for (const server of servers.splice(0)) server.close();
  return isFree ? lowest : freeRange(count);
}

function peerFrom(localAddress: string, port: number): Peer {
  const peer = new Peer(connect({ host: HOST, port, localAddress, allowHalfOpen: true }));
  peers.push(peer);
  return peer;
}

/** Takes what comes, and counts. */
function taking(): { accept: Accept; owner: Recorder; accepted: () => number } {
  const owner = new Recorder();
  let count = 0;
  const accept: Accept = (take) => {
    count += 1;
    const stream = take(owner);
    streams.push(stream);
    stream.read(true);
  };
  return { accept, owner, accepted: () => count };
}

async function refused(port: number): Promise<void> {
  const peer = peerFrom(HOST, port);
  await peer.untilClosed();
  expect(peer.error).toBe('ECONNREFUSED');
}

afterEach(() => {
  for (const { socket } of peers.splice(0)) socket.destroy();
  for (const stream of streams.splice(0)) stream.destroy();
  for (const server of servers.splice(0)) server.close();
});

describe.each(['bare handles', 'public API'] as const)('on %s', (api) => {
  let Group: typeof ListenerGroup;
  let Ephemeral: typeof EphemeralListener;

  beforeEach(async () => {
    await loadNet(api);
    ({ ListenerGroup: Group } = await import('../../../src/net/listener.ts'));
    ({ EphemeralListener: Ephemeral } = await import('../../../src/net/ephemeral-listener.ts'));
  });

  describe('a group of listeners', () => {
    it('listens on each of its ports, until it is closed', async () => {
      const lowest = await freeRange(3);
      const ports = [lowest, lowest + 1, lowest + 2];
      const { accept, accepted } = taking();
      const group = await Group.open(HOST, ports, accept);
      expect(group.endpoints).toEqual(ports.map((port) => ({ address: HOST, port })));
      for (const port of ports) {
        const peer = peerFrom(HOST, port);
        await peer.until(() => accepted() > ports.indexOf(port), 'the connection');
        expect(streams.at(-1)?.addresses()?.local.port).toBe(port);
      }
      group.close();
      for (const port of ports) await refused(port);
    });

    it('hands connections to whom it is told', async () => {
      const group = await Group.open('localhost', [0], () => {});
      const { accept, owner } = taking();
      group.accept = accept;
      const [endpoint] = group.endpoints;
      const peer = new Peer(connect(endpoint?.port ?? 0, endpoint?.address));
      peers.push(peer);
      peer.socket.write('here');
      await owner.untilReceived(4);
      group.close();
    });

    it('does not listen at all where one port is taken', async () => {
      const lowest = await freeRange(5);
      await occupy(lowest + 2);
      const ports = Array.from({ length: 5 }, (_, i) => lowest + i);
      const error = await Group.open(HOST, ports, () => {}).catch((reason) => reason);
      expect(error.code).toBe('EADDRINUSE');
      expect(error.message).toContain(`:${lowest + 2}`);
      for (const port of ports) if (port !== lowest + 2) await refused(port);
    });

    it('fails where the host has no address', async () => {
      await expect(Group.open('nowhere.invalid', [0], () => {})).rejects.toThrow('nowhere.invalid');
      await expect(Group.open('192.0.2.1', [0], () => {})).rejects.toThrow('EADDRNOTAVAIL');
    });

    it('opens a thousand ports at once', async () => {
      const { accept, owner } = taking();
      const group = await Group.open(HOST, new Array(1000).fill(0), accept);
      const ports = new Set(group.endpoints.map(({ port }) => port));
      expect(ports.size).toBe(1000);
      const [port = 0] = ports;
      peerFrom(HOST, port).socket.write('here');
      await owner.untilReceived(4);
      group.close();
    });
  });

  describe('an ephemeral listener', () => {
    const open: EphemeralListener[] = [];

    afterEach(() => {
      for (const listener of open.splice(0)) listener.close();
    });

    async function listen(
      accept: Accept,
      options: Partial<EphemeralOptions> = {},
    ): Promise<EphemeralListener> {
      const listener = await Ephemeral.open(
        { address: HOST, timeoutMs: 60_000, ...options },
        accept,
      );
      open.push(listener);
      return listener;
    }

    it('takes one connection, and is closed by then', async () => {
      const { accept, owner, accepted } = taking();
      const listener = await listen(accept);
      const { port } = listener.endpoint;
      const peer = peerFrom(HOST, port);
      peer.socket.write('data');
      await owner.untilReceived(4);
      expect(await listener.ended).toBe('accepted');
      await refused(port);
      expect(accepted()).toBe(1);
      listener.close();
      expect(await listener.ended).toBe('accepted');
      peer.socket.end();
      await owner.until(() => owner.ended, 'the end');
    });

    it('takes one of many that come at the same time', async () => {
      const { accept, owner, accepted } = taking();
      const listener = await listen(accept);
      const many = Array.from({ length: 10 }, () => peerFrom(HOST, listener.endpoint.port));
      for (const peer of many) peer.socket.write('x');
      await owner.untilReceived(1);
      const taken = streams[0]?.addresses()?.remote.port;
      const others = many.filter(({ socket }) => socket.localPort !== taken);
      expect(others).toHaveLength(9);
      for (const peer of others) await peer.untilClosed();
      expect(accepted()).toBe(1);
    });

    it('resets strangers, and goes on waiting', async () => {
      const { accept, owner, accepted } = taking();
      const listener = await listen(accept, { peer: '::ffff:127.0.0.3' });
      const { port } = listener.endpoint;
      for (let strangers = 1; strangers <= 3; strangers++) {
        const stranger = peerFrom('127.0.0.2', port);
        await stranger.untilClosed();
        expect(stranger.error).toBe('ECONNRESET');
        expect(listener.strangers).toBe(strangers);
      }
      expect(accepted()).toBe(0);
      peerFrom('127.0.0.3', port).socket.write('it is me');
      await owner.untilReceived(8);
      expect(streams[0]?.addresses()?.remote.address).toBe('127.0.0.3');
      expect(await listener.ended).toBe('accepted');
    });

    it('knows IPv6 addresses however they are written', async () => {
      const { accept, owner } = taking();
      const listener = await listen(accept, { address: '::1', peer: '0:0:0:0:0:0:0:1' });
      const peer = new Peer(connect(listener.endpoint.port, '::1'));
      peers.push(peer);
      peer.socket.write('x');
      await owner.untilReceived(1);
    });

    it('waits no longer than it should', async () => {
      const { accept, accepted } = taking();
      const listener = await listen(accept, { timeoutMs: 20 });
      expect(await listener.ended).toBe('timedOut');
      await refused(listener.endpoint.port);
      expect(accepted()).toBe(0);
    });

    it('may be closed', async () => {
      const listener = await listen(() => {});
      listener.close();
      expect(await listener.ended).toBe('closed');
      await refused(listener.endpoint.port);
    });

    it('finds the free port of a range', async () => {
      const lowest = await freeRange(20);
      for (let port = lowest; port < lowest + 20; port++)
        if (port !== lowest + 7) await occupy(port);
      const listener = await listen(() => {}, { ports: [lowest, lowest + 19] });
      expect(listener.endpoint).toEqual({ address: HOST, port: lowest + 7 });
      await expect(listen(() => {}, { ports: [lowest, lowest + 19] })).rejects.toThrow(
        'EADDRINUSE',
      );
    });

    it('chooses ports that cannot be foretold', async () => {
      const lowest = await freeRange(40);
      const chosen: number[] = [];
      for (let i = 0; i < 10; i++) {
        const listener = await listen(() => {}, { ports: [lowest, lowest + 39] });
        chosen.push(listener.endpoint.port - lowest);
      }
      expect(new Set(chosen).size).toBe(10);
      expect(Math.min(...chosen)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...chosen)).toBeLessThan(40);
      const ascending = chosen.toSorted((a, b) => a - b);
      expect(chosen).not.toEqual(ascending);
    });

    it('fails at once where the address is not of this machine', async () => {
      const ports = [20_000, 60_000] as const;
      await expect(listen(() => {}, { address: '192.0.2.1', ports })).rejects.toThrow(
        'EADDRNOTAVAIL',
      );
    });
  });
});
