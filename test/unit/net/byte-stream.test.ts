import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import { type Connection, describeBoth, firstDifference, pattern } from './lab.ts';
import { Recorder } from './recorder.ts';

const MiB = 1024 * 1024;
const SIZES = [1, 1023, 1024, 1025, 16_384, 100_000, 131_073, MiB, 5 * MiB];

const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describeBoth((lab) => {
  const ways: [string, (owner?: Recorder) => Promise<Connection>][] = [
    ['an accepted stream', (owner) => lab().accept(owner)],
    ['an opened stream', (owner) => lab().connect(owner)],
  ];

  describe.each(ways)('%s', (_what, open) => {
    it.each(SIZES)('receives %i bytes as they were sent', async (size) => {
      const { stream, owner, peer } = await open();
      const sent = pattern(size);
      stream.read(true);
      peer.socket.end(sent);
      await owner.until(() => owner.ended, 'FIN');
      expect(hash(owner.received.bytes)).toBe(hash(sent));
    });

    it.each(SIZES)('sends %i bytes', async (size) => {
      const { stream, peer } = await open();
      const sent = pattern(size);
      stream.write(sent);
      stream.end(false);
      await peer.untilEnded();
      expect(hash(peer.received.bytes)).toBe(hash(sent));
    });

    it('carries both directions at once', async () => {
      const { stream, owner, peer } = await open();
      const [up, down] = [pattern(3 * MiB, 2), pattern(2 * MiB, 3)];
      stream.read(true);
      peer.socket.end(up);
      for (let i = 0; i < down.length; i += 10_007) stream.write(down.subarray(i, i + 10_007));
      stream.end(false);
      await Promise.all([owner.untilClosed(), peer.untilEnded()]);
      expect(firstDifference(owner.received.bytes, up)).toBeUndefined();
      expect(firstDifference(peer.received.bytes, down)).toBeUndefined();
      expect(owner.error).toBeUndefined();
    });

    it('tells of an end without any data', async () => {
      const { stream, owner, peer } = await open();
      stream.read(true);
      peer.socket.end();
      await owner.until(() => owner.ended, 'FIN');
      stream.write(Buffer.alloc(0));
      stream.end(false);
      await owner.untilClosed();
      await peer.untilEnded();
      expect([owner.received.length, peer.received.length]).toEqual([0, 0]);
    });
  });

  describe('a slow reader', () => {
    it('leaves the bytes pending, and drains once', async () => {
      const { stream, owner, peer } = await lab().accept();
      peer.socket.pause();
      const chunk = pattern(256 * 1024);
      let sent = 0;
      while (stream.write(chunk)) sent += chunk.length;
      sent += chunk.length;
      expect(stream.pendingBytes).toBeGreaterThan(0);
      expect(stream.pendingBytes).toBeLessThanOrEqual(chunk.length);
      for (let more = 0; more < 3; more++) expect(stream.write(chunk)).toBe(false);
      sent += 3 * chunk.length;
      expect(stream.pendingBytes).toBeGreaterThan(3 * chunk.length);
      expect(stream.pendingBytes).toBeLessThanOrEqual(4 * chunk.length);
      await lab().settle();
      expect(owner.drains).toBe(0);
      peer.socket.resume();
      await owner.until(() => owner.drains > 0, 'the drain');
      expect(stream.pendingBytes).toBe(0);
      await peer.untilReceived(sent);
      expect(owner.drains).toBe(1);
      for (let i = 0; i < sent; i += chunk.length) {
        const part = peer.received.bytes.subarray(i, i + chunk.length);
        expect(firstDifference(part, chunk)).toBeUndefined();
      }
    });

    it('gets the end behind all that is pending, and the drain is told', async () => {
      const { stream, owner, peer } = await lab().accept();
      peer.socket.pause();
      const sent = pattern(8 * MiB);
      expect(stream.write(sent)).toBe(false);
      stream.end(false);
      expect(stream.write(Buffer.from('behind the end'))).toBe(true);
      await lab().settle();
      peer.socket.resume();
      await peer.untilEnded();
      expect(firstDifference(peer.received.bytes, sent)).toBeUndefined();
      expect(owner.drains).toBe(1);
      peer.socket.end();
      stream.read(true);
      await owner.untilClosed();
      expect(owner.error).toBeUndefined();
    });

    it('does not keep the other direction from going on', async () => {
      const { stream, owner, peer } = await lab().accept();
      peer.socket.pause();
      stream.write(pattern(8 * MiB));
      stream.read(true);
      peer.socket.write('still heard');
      await owner.untilReceived(11);
      expect(stream.pendingBytes).toBeGreaterThan(0);
    });
  });

  describe('reading', () => {
    it('does not begin by itself', async () => {
      const { stream, owner, peer } = await lab().accept();
      peer.socket.write('early');
      await lab().settle();
      expect(owner.heard).toEqual([]);
      stream.read(true);
      await owner.untilReceived(5);
    });

    it('stops at once, and goes on where it stopped', async () => {
      const owner = new Recorder({ onData: (stream) => stream.read(false) });
      const { stream, peer } = await lab().accept(owner);
      const sent = pattern(3 * MiB);
      peer.socket.write(sent);
      let before = 0;
      for (let turn = 0; turn < 8; turn++) {
        stream.read(true);
        await owner.untilReceived(before + 1);
        before = owner.received.length;
        await lab().settle();
        expect(owner.received.length).toBe(before);
      }
      while (owner.received.length < sent.length) {
        stream.read(true);
        await owner.untilReceived(owner.received.length + 1);
      }
      expect(firstDifference(owner.received.bytes, sent)).toBeUndefined();
    });

    it('may be asked for again and again', async () => {
      const owner = new Recorder({
        onData: (stream) => {
          for (const wanted of [false, true, false, false, true, true]) stream.read(wanted);
        },
      });
      const { stream, peer } = await lab().accept(owner);
      for (const wanted of [true, true, false, true]) stream.read(wanted);
      const sent = pattern(MiB);
      peer.socket.end(sent);
      await owner.until(() => owner.ended, 'FIN');
      expect(firstDifference(owner.received.bytes, sent)).toBeUndefined();
    });

    it('that nobody wants leaves the peer waiting', async () => {
      const { stream, owner, peer } = await lab().accept();
      stream.read(true);
      peer.socket.write('first');
      await owner.untilReceived(5);
      stream.read(false);
      const sent = pattern(16 * MiB);
      peer.socket.end(sent);
      await lab().settle();
      expect(owner.received.length).toBe(5);
      expect(peer.socket.writableLength).toBeGreaterThan(0);
      stream.read(true);
      await owner.until(() => owner.ended, 'FIN');
      expect(firstDifference(owner.received.bytes.subarray(5), sent)).toBeUndefined();
    });
  });

  describe('half-close', () => {
    it('by the stream: the peer goes on sending', async () => {
      const { stream, owner, peer } = await lab().accept();
      stream.read(true);
      stream.write(Buffer.from('last'));
      stream.end(false);
      stream.end(false);
      await peer.untilEnded();
      expect(peer.received.text).toBe('last');
      const sent = pattern(MiB);
      peer.socket.end(sent);
      await owner.untilClosed();
      expect(firstDifference(owner.received.bytes, sent)).toBeUndefined();
      const heard = owner.heard.filter((what) => what !== 'drain');
      expect(heard).toEqual(['data', 'end', 'close']);
      expect(owner.error).toBeUndefined();
    });

    it('by the peer: the stream goes on sending', async () => {
      const { stream, owner, peer } = await lab().accept();
      stream.read(true);
      peer.socket.end('last');
      await owner.until(() => owner.ended, 'FIN');
      expect(owner.closed).toBe(false);
      const sent = pattern(MiB);
      stream.write(sent);
      stream.end(false);
      await owner.untilClosed();
      await peer.untilEnded();
      expect(firstDifference(peer.received.bytes, sent)).toBeUndefined();
      expect(owner.error).toBeUndefined();
    });
  });

  describe('addresses', () => {
    it('are those that the peer sees, with IPv4 in its own form', async () => {
      const { stream, peer } = await lab().accept();
      expect(stream.addresses()).toEqual({
        local: { address: '127.0.0.1', port: lab().port },
        remote: { address: '127.0.0.1', port: peer.socket.localPort },
      });
      stream.destroy();
      expect(stream.addresses()).toBeUndefined();
    });

    it('are those of an opened connection', async () => {
      const { stream, peer } = await lab().connect();
      expect(stream.addresses()).toEqual({
        local: { address: '127.0.0.1', port: peer.socket.remotePort },
        remote: { address: '127.0.0.1', port: peer.socket.localPort },
      });
    });

    it.runIf(hasIpv6Loopback())('are IPv6 where the connection is', async () => {
      const accepted = await lab().accept(new Recorder(), '::1');
      expect(accepted.stream.addresses()?.remote.address).toBe('::1');
      const owner = lab().watch(new Recorder());
      const server = createServer().listen(0, '::1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const stream = lab().net.openConnection({ address: '::1', port }, owner);
      await owner.until(() => owner.heard.includes('connect'), 'the connection');
      expect(stream.addresses()?.remote).toEqual({ address: '::1', port });
      stream.destroy();
      server.close();
    });
  });

  describe('opening a connection', () => {
    it('to a port without a listener', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      server.close();
      await once(server, 'close');
      const owner = lab().watch(new Recorder());
      const stream = lab().net.openConnection({ address: '127.0.0.1', port }, owner);
      expect(owner.heard).toEqual([]);
      await owner.untilClosed();
      expect(owner.heard).toEqual(['close']);
      expect(owner.error).toBe('ECONNREFUSED');
      stream.destroy();
    });

    // Refused by the kernel itself: TCP does not go to broadcast addresses.
    it('to an address that cannot be reached', async () => {
      const owner = lab().watch(new Recorder());
      lab().net.openConnection({ address: '255.255.255.255', port: 9 }, owner);
      await owner.untilClosed();
      expect(owner.heard).toEqual(['close']);
      expect(owner.error).toBe('ENETUNREACH');
    });

    it('that is given up at once', async () => {
      const server = createServer((socket) => socket.on('error', () => {}));
      await once(server.listen(0, '127.0.0.1'), 'listening');
      const { port } = server.address() as AddressInfo;
      for (const giveUp of ['destroy', 'reset'] as const) {
        const owner = lab().watch(new Recorder());
        const stream = lab().net.openConnection({ address: '127.0.0.1', port }, owner);
        stream[giveUp]();
        expect(owner.heard).toEqual(['close']);
        await lab().settle();
        expect(owner.heard).toEqual(['close']);
      }
      server.close();
    });
  });
});

function hasIpv6Loopback(): boolean {
  const all = Object.values(networkInterfaces()).flat();
  return all.some((each) => each !== undefined && isIPv6(each.address) && each.internal);
}
