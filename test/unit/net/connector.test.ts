import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../src/core/types.ts';
import type { SourceAddress } from '../../../src/net/source-address.ts';
import { describeBoth } from './lab.ts';
import { Recorder } from './recorder.ts';

describeBoth((lab) => {
  const servers: Server[] = [];

  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  async function listen(address = '127.0.0.1'): Promise<Endpoint> {
    const server = createServer((socket) => socket.on('error', () => {}).resume());
    servers.push(server);
    await once(server.listen(0, address), 'listening');
    return { address, port: (server.address() as AddressInfo).port };
  }

  /** A port that was free a moment ago. */
  async function freePort(address: string): Promise<number> {
    const { port } = await listen(address);
    const server = servers.pop();
    server?.close();
    if (server !== undefined) await once(server, 'close');
    return port;
  }

  function open(to: Endpoint, from: SourceAddress) {
    const owner = lab().watch(new Recorder());
    const stream = lab().net.openConnection(to, owner, from);
    expect(owner.heard).toEqual([]);
    return { stream, owner };
  }

  /** Where a connection came from, as the server sees it. */
  async function sourceOf(to: Endpoint, from: SourceAddress): Promise<Endpoint> {
    const server = servers.at(-1);
    if (server === undefined) throw new Error('nobody listens');
    const accepted = once(server, 'connection');
    const { stream, owner } = open(to, from);
    await owner.until(() => owner.heard.includes('connect'), 'the connection');
    const [{ remoteAddress, remotePort }] = await accepted;
    const seen = { address: remoteAddress, port: remotePort };
    expect(stream.addresses()).toEqual({ local: seen, remote: to });
    stream.destroy();
    return seen;
  }

  async function errorOf(to: Endpoint, from: SourceAddress): Promise<string | undefined> {
    const { owner } = open(to, from);
    await owner.untilClosed();
    expect(owner.heard).toEqual(['close']);
    return owner.error;
  }

  describe('a connection with a source', () => {
    it('comes from that address', async () => {
      const { address, port } = await sourceOf(await listen(), { address: '127.0.0.2' });
      expect(address).toBe('127.0.0.2');
      expect(port).toBeGreaterThan(0);
    });

    it('comes from that port', async () => {
      const from = { address: '127.0.0.3', port: await freePort('127.0.0.3') };
      expect(await sourceOf(await listen(), from)).toEqual(from);
    });

    it('comes from that IPv6 address and port', async () => {
      const from = { address: '::1', port: await freePort('::1') };
      expect(await sourceOf(await listen('::1'), from)).toEqual(from);
      expect((await sourceOf(await listen('::1'), { address: '::1' })).address).toBe('::1');
    });

    it('may share its port with one to another destination', async () => {
      const from = { address: '127.0.0.4', port: await freePort('127.0.0.4') };
      const first = await listen();
      const held = open(first, from);
      await held.owner.until(() => held.owner.heard.includes('connect'), 'the connection');
      expect(await sourceOf(await listen(), from)).toEqual(from);
      expect(await errorOf(first, from)).toBe('EADDRNOTAVAIL');
      held.stream.destroy();
    });

    it('fails where the address is not of this machine', async () => {
      const to = await listen();
      expect(await errorOf(to, { address: '192.0.2.1' })).toBe('EADDRNOTAVAIL');
      expect(await errorOf(await listen('::1'), { address: '2001:db8::1' })).toBe('EADDRNOTAVAIL');
    });

    it('fails where somebody listens on the port', async () => {
      const from = await listen('127.0.0.5');
      expect(await errorOf(await listen(), from)).toBe('EADDRINUSE');
    });

    it('fails where the families differ', async () => {
      expect(await errorOf(await listen(), { address: '::1' })).toBe('EINVAL');
      expect(await errorOf(await listen('::1'), { address: '127.0.0.1' })).toBe('EINVAL');
    });

    it('fails where nobody listens, and may be given up at once', async () => {
      const to = { address: '127.0.0.1', port: await freePort('127.0.0.1') };
      expect(await errorOf(to, { address: '127.0.0.2' })).toBe('ECONNREFUSED');
      const { stream, owner } = open(to, { address: '192.0.2.1' });
      stream.destroy();
      await lab().settle();
      expect(owner.heard).toEqual(['close']);
    });
  });
});
