import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import { describeBoth, firstDifference, type Lab, pattern } from './lab.ts';
import { Peer } from './peer.ts';
import { Recorder } from './recorder.ts';
import { acceptTls, clientTls, connectTls, serverTls, Tap, type TlsVersion } from './tls-peer.ts';

const MiB = 1024 * 1024;
const NOTHING = Buffer.alloc(0);

type Role = 'server' | 'client';

const ROLES: readonly (readonly [Role, TlsVersion])[] = [
  ['server', 'TLSv1.2'],
  ['server', 'TLSv1.3'],
  ['client', 'TLSv1.2'],
  ['client', 'TLSv1.3'],
];

function tlsFor(role: Role, detachable: boolean) {
  return role === 'server' ? serverTls(detachable) : clientTls(detachable);
}

/** So many layers of TLS, one inside the other; the peer is Node's own TLS. */
async function layered(
  lab: Lab,
  role: Role,
  version: TlsVersion,
  layers: readonly { readonly detachable: boolean }[],
  owner = new Recorder(),
) {
  const below = await (role === 'server' ? lab.accept(owner) : lab.connect(owner));
  let { stream, peer }: { stream: ByteStream; peer: Peer } = below;
  for (const [index, { detachable }] of layers.entries()) {
    peer = role === 'server' ? connectTls(peer, version) : acceptTls(peer, version);
    const isSecure = once(peer.socket, 'secure');
    stream = stream.startTls(tlsFor(role, detachable), NOTHING);
    await Promise.all([owner.untilSecured(index + 1), isSecure]);
  }
  return { stream, owner, peer };
}

/** The same with a tap below each layer of the peer. Answers the innermost. */
async function tapped(
  lab: Lab,
  role: Role,
  version: TlsVersion,
  layers: readonly { readonly detachable: boolean }[],
) {
  const owner = new Recorder();
  const below = await (role === 'server' ? lab.accept(owner) : lab.connect(owner));
  let { stream, peer }: { stream: ByteStream; peer: Peer } = below;
  let tap: Tap | undefined;
  for (const [index, { detachable }] of layers.entries()) {
    tap = new Tap(peer, version, role === 'server' ? 'client' : 'server');
    tap.flow();
    const isSecure = once(tap.tls, 'secure');
    peer = new Peer(tap.tls);
    stream = stream.startTls(tlsFor(role, detachable), NOTHING);
    await Promise.all([owner.untilSecured(index + 1), isSecure]);
  }
  if (tap === undefined) throw new Error('there must be layers');
  return { stream, owner, tap };
}

const USUAL = { detachable: false };
const DETACHABLE = { detachable: true };
const STACKS: readonly (readonly [string, readonly { readonly detachable: boolean }[]])[] = [
  ['one layer', [USUAL]],
  ['one that is detachable', [DETACHABLE]],
  ['two layers', [USUAL, USUAL]],
  ['two that are detachable', [DETACHABLE, DETACHABLE]],
  ['three layers', [USUAL, USUAL, USUAL]],
  ['three that are detachable', [DETACHABLE, DETACHABLE, DETACHABLE]],
  ['three of both kinds', [USUAL, DETACHABLE, USUAL]],
];
const HEAVY = STACKS.filter(([what]) => /that is detachable|both kinds/.test(what));

describeBoth((lab) => {
  describe.each(ROLES)('as a %s of %s', (role, version) => {
    describe.each(STACKS)('%s', (_what, layers) => {
      it('carry data both ways at once, and end', async () => {
        const owner = new Recorder({ onEnd: (stream) => stream.end(false) });
        const { stream, peer } = await layered(lab(), role, version, layers, owner);
        expect(stream.tls?.protocol).toBe(version);
        const [up, down] = [pattern(MiB, 1), pattern(MiB, 2)];
        stream.read(true);
        peer.socket.end(up);
        for (let i = 0; i < down.length; i += 10_007) stream.write(down.subarray(i, i + 10_007));
        await Promise.all([owner.untilClosed(), peer.untilEnded()]);
        expect(firstDifference(owner.received.bytes, up)).toBeUndefined();
        expect(firstDifference(peer.received.bytes, down)).toBeUndefined();
        expect(owner.error).toBeUndefined();
        expect(owner.truncated).toBe(false);
      });

      it('end one way and go on the other', async () => {
        const { stream, owner, tap } = await tapped(lab(), role, version, layers);
        const received: Buffer[] = [];
        tap.tls.on('data', (bytes: Buffer) => received.push(bytes));
        const ended = once(tap.tls, 'end');
        const [up, down] = [pattern(2 * MiB, 1), pattern(MiB, 2)];
        stream.write(down);
        stream.end(false);
        await ended;
        expect(firstDifference(Buffer.concat(received), down)).toBeUndefined();
        stream.read(true);
        tap.tls.end(up);
        await owner.untilClosed();
        expect(firstDifference(owner.received.bytes, up)).toBeUndefined();
        expect(owner.truncated).toBe(false);
        expect(owner.error).toBeUndefined();
        expect(owner.heard.slice(-2)).toEqual(['end', 'close']);
      });

      it.each(['destroy', 'reset'] as const)('close by %s', async (how) => {
        const { stream, owner, peer } = await layered(lab(), role, version, layers);
        stream.write(pattern(MiB));
        stream[how]();
        expect(owner.heard.at(-1)).toBe('close');
        expect(owner.error).toBeUndefined();
        await peer.until(() => peer.ended || peer.closed, 'some end');
        await lab().settle();
      });
    });

    it('all layers come off again, from the innermost on', async () => {
      const owner = new Recorder();
      const below = await (role === 'server' ? lab().accept(owner) : lab().connect(owner));
      let { stream, peer }: { stream: ByteStream; peer: Peer } = below;
      const taps: Tap[] = [];
      const exchange = async (text: string) => {
        stream.read(true);
        const before = owner.received.length;
        peer.socket.write(text);
        await owner.untilReceived(before + text.length);
        expect(owner.received.text.slice(before)).toBe(text);
        const heard = peer.received.length;
        stream.write(Buffer.from(`${text} heard`));
        await peer.untilReceived(heard + text.length + 6);
        expect(peer.received.text.slice(heard)).toBe(`${text} heard`);
      };
      await exchange('in plaintext');
      for (let depth = 1; depth <= 3; depth++) {
        const tap = new Tap(peer, version, role === 'server' ? 'client' : 'server');
        tap.flow();
        taps.push(tap);
        stream = stream.startTls(tlsFor(role, true), NOTHING);
        await owner.untilSecured(depth);
        peer = new Peer(tap.tls);
        await exchange(`${depth} deep`);
      }
      for (const [index, tap] of taps.reverse().entries()) {
        const ended = once(tap.tls, 'end');
        stream.stopTls();
        await ended;
        await tap.closeNotify();
        stream = await owner.untilPlain(index + 1);
        peer = tap.release();
        expect(stream.tls?.protocol).toBe(index < 2 ? version : undefined);
        await exchange(`${2 - index} deep again`);
      }
      peer.socket.end();
      await owner.until(() => owner.ended, 'FIN');
      stream.end(false);
      await owner.untilClosed();
      expect(owner.error).toBeUndefined();
    });

    it.each([
      ['garbage', (peer: Peer) => peer.socket.write('GET / HTTP/1.1\r\n\r\n')],
      ['noise', (peer: Peer) => peer.socket.write(pattern(64 * 1024, 3))],
    ] as const)('%s instead of an inner handshake ends it all', async (_what, act) => {
      const { stream, owner, peer } = await layered(lab(), role, version, [DETACHABLE, USUAL]);
      stream.startTls(tlsFor(role, false), NOTHING);
      act(peer);
      await owner.untilClosed();
      expect(owner.error).toMatch(/^ERR_/);
      expect(owner.count('secure')).toBe(2);
      await peer.until(() => peer.ended || peer.closed, 'some end');
    });

    it.each(['end', 'destroy'] as const)(
      'a peer that is gone in an inner handshake is told: %s',
      async (how) => {
        const { stream, owner, peer } = await layered(lab(), role, version, [DETACHABLE, USUAL]);
        stream.startTls(tlsFor(role, false), NOTHING);
        peer.socket[how]();
        await owner.until(() => owner.ended || owner.closed, 'some end');
        expect(owner.count('secure')).toBe(2);
      },
    );
  });

  const version = 'TLSv1.3';
  const heavy = (['server', 'client'] as const).flatMap((role) =>
    HEAVY.map(([what, layers]) => [role, what, layers] as const),
  );

  describe.each(heavy)('as a %s, %s', (role, _what, layers) => {
    it('leave the peer waiting while nobody reads', { timeout: 30_000 }, async () => {
      const { stream, owner, peer } = await layered(lab(), role, version, layers);
      stream.read(true);
      peer.socket.write('first');
      await owner.untilReceived(5);
      stream.read(false);
      const sent = pattern(16 * MiB);
      for (let at = 0; at < sent.length; at += MiB) {
        peer.socket.write(sent.subarray(at, at + MiB));
      }
      // Until nothing moves any more.
      let [left, same] = [peer.socket.writableLength, 0];
      while (same < 40) {
        await lab().settle();
        same = peer.socket.writableLength === left ? same + 1 : 0;
        left = peer.socket.writableLength;
      }
      expect(owner.received.length).toBe(5);
      expect(left).toBeGreaterThan(4 * MiB);
      stream.read(true);
      await owner.untilReceived(5 + sent.length);
      expect(firstDifference(owner.received.bytes.subarray(5), sent)).toBeUndefined();
    });

    it('wait for a slow peer, and drain once', { timeout: 30_000 }, async () => {
      const { stream, owner, peer } = await layered(lab(), role, version, layers);
      peer.socket.pause();
      const sent = pattern(16 * MiB);
      const before = owner.drains;
      for (let at = 0; at < sent.length; at += MiB) stream.write(sent.subarray(at, at + MiB));
      await lab().settle();
      expect(stream.pendingBytes).toBeGreaterThan(0);
      expect(owner.drains).toBe(before);
      peer.socket.resume();
      await owner.until(() => owner.drains > before, 'the drain');
      expect(stream.pendingBytes).toBe(0);
      await peer.untilReceived(sent.length);
      expect(firstDifference(peer.received.bytes, sent)).toBeUndefined();
      expect(owner.drains).toBe(before + 1);
    });

    it('echo 8 MiB to a slow peer with little memory', { timeout: 30_000 }, async () => {
      const owner = new Recorder({ onDrain: (stream) => stream.read(true) });
      const { stream, peer } = await layered(lab(), role, version, layers, owner);
      let most = 0;
      owner.take = (bytes, from) => {
        if (!from.write(bytes)) from.read(false);
        most = Math.max(most, from.pendingBytes);
      };
      let pauses = 0;
      peer.socket.on('data', () => {
        if (peer.received.length < (pauses + 1) * 500_000) return;
        pauses += 1;
        peer.socket.pause();
        void lab()
          .settle()
          .then(() => peer.socket.resume());
      });
      const sent = pattern(8 * MiB);
      stream.read(true);
      peer.socket.write(sent);
      await peer.untilReceived(sent.length);
      expect(firstDifference(peer.received.bytes, sent)).toBeUndefined();
      expect(most).toBeLessThan(256 * 1024);
      expect(pauses).toBeGreaterThan(10);
    });
  });

  it('an inner handshake with another name is refused, and the peer is told', async () => {
    const { stream, owner, peer } = await layered(lab(), 'client', 'TLSv1.3', [USUAL, USUAL]);
    const inner = acceptTls(peer);
    stream.startTls({ ...clientTls(), serverName: 'other.test' }, NOTHING);
    await owner.untilClosed();
    expect(owner.error).toBe('its certificate is not for other.test');
    await inner.until(() => inner.ended || inner.closed, 'some end');
  });

  it('an inner client that does not know the authority gets its alert through', async () => {
    const { stream, owner, peer } = await layered(lab(), 'server', 'TLSv1.2', [USUAL, DETACHABLE]);
    const inner = connectTls(peer, 'TLSv1.2', { ca: [] });
    stream.startTls(serverTls(), NOTHING);
    await inner.untilClosed();
    expect((inner.socket as TLSSocket).authorized).toBe(false);
    await owner.until(() => owner.ended || owner.closed, 'some end');
  });
});
