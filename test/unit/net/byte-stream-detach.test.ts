import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import { describeBoth, firstDifference, type Lab, pattern } from './lab.ts';
import type { Peer } from './peer.ts';
import { Recorder } from './recorder.ts';
import { clientTls, serverTls, Tap, type TlsVersion } from './tls-peer.ts';

const MiB = 1024 * 1024;
const NOTHING = Buffer.alloc(0);

type Role = 'server' | 'client';

/** Puts detachable TLS on both ends. */
async function secure(
  stream: ByteStream,
  owner: Recorder,
  peer: Peer,
  role: Role,
  version: TlsVersion,
) {
  const handshakes = owner.count('secure');
  const tap = new Tap(peer, version, role === 'server' ? 'client' : 'server');
  tap.flow();
  const tls = stream.startTls(role === 'server' ? serverTls(true) : clientTls(true), NOTHING);
  await owner.untilSecured(handshakes + 1);
  return { stream: tls, tap };
}

async function open(lab: Lab, role: Role, version: TlsVersion, owner = new Recorder()) {
  const { stream: plain, peer } = await (role === 'server'
    ? lab.accept(owner)
    : lab.connect(owner));
  const { stream, tap } = await secure(plain, owner, peer, role, version);
  await lab.settle();
  tap.tls.resume();
  return { stream, owner, peer, tap };
}

/** What the owner has heard since the last handshake. */
function since(owner: Recorder): readonly string[] {
  const heard = owner.heard.filter((what) => what !== 'drain');
  return heard.slice(heard.lastIndexOf('secure') + 1);
}

describeBoth((lab) => {
  describe.each([
    ['server', 'TLSv1.2'],
    ['server', 'TLSv1.3'],
    ['client', 'TLSv1.2'],
    ['client', 'TLSv1.3'],
  ] as const)('as a %s of %s', (role, version) => {
    const start = (owner?: Recorder) => open(lab(), role, version, owner);

    it.each(['the stream', 'the peer'])(
      'plaintext and TLS take turns, three times; %s says close_notify first',
      async (first) => {
        const owner = new Recorder();
        let { stream, peer }: { stream: ByteStream; peer: Peer } = await (role === 'server'
          ? lab().accept(owner)
          : lab().connect(owner));
        let expected = '';
        const exchange = async (text: string, socket: Peer['socket']) => {
          expected += text;
          stream.read(true);
          socket.write(text);
          await owner.untilReceived(expected.length);
          const answer = once(socket, 'data');
          stream.write(Buffer.from(`${text} heard`));
          expect(String((await answer)[0])).toBe(`${text} heard`);
        };
        for (let turn = 1; turn <= 3; turn++) {
          await exchange(`plain ${turn}`, peer.socket);
          const { stream: tls, tap } = await secure(stream, owner, peer, role, version);
          stream = tls;
          await exchange(`tls ${turn}`, tap.tls);
          const ended = once(tap.tls, 'end');
          if (first === 'the stream') {
            stream.stopTls();
            await ended;
            await tap.closeNotify();
          } else {
            await tap.closeNotify();
            await owner.until(() => owner.count('end') === turn, 'the end of TLS');
            stream.stopTls();
            await ended;
          }
          stream = await owner.untilPlain(turn);
          peer = tap.release();
        }
        await exchange('plain 4', peer.socket);
        expect(owner.received.text).toBe(expected);
        peer.socket.end();
        stream.end(false);
        await owner.untilClosed();
        expect(owner.error).toBeUndefined();
      },
    );

    /** What the peer sends in one go: a command inside TLS, the end of TLS, and plaintext. */
    async function glued(tap: Tap): Promise<Buffer> {
      tap.holds = true;
      await tap.send(Buffer.from('PLAIN\n'));
      await tap.finish();
      const bytes = Buffer.concat([tap.held, Buffer.from('in plaintext\n')]);
      tap.held = Buffer.alloc(0);
      return bytes;
    }

    async function expectPlain(owner: Recorder): Promise<void> {
      await owner.untilPlain();
      await owner.untilReceived(19);
      expect(owner.received.text).toBe('PLAIN\nin plaintext\n');
      expect(since(owner).filter((what) => what !== 'end')).toEqual(['data', 'plain', 'data']);
    }

    it('finds plaintext behind close_notify, cut at any byte', { timeout: 60_000 }, async () => {
      let length = 1;
      for (let cut = 0; cut < length; cut++) {
        const owner = new Recorder({ onPlain: (below) => below.read(true) });
        const { stream, peer, tap } = await start(owner);
        owner.take = (bytes) => {
          owner.received.append(bytes);
          if (owner.received.text === 'PLAIN\n') stream.stopTls();
        };
        stream.read(true);
        const bytes = await glued(tap);
        length = bytes.length;
        peer.socket.write(bytes.subarray(0, cut));
        if (cut > 0) await lab().settle();
        peer.socket.write(bytes.subarray(cut));
        await expectPlain(owner);
        expect(owner.heard).not.toContain('end');
        lab().cleanUp();
      }
      expect(length).toBeGreaterThan(60);
    });

    it('finds it when TLS is taken off only later', async () => {
      const owner = new Recorder({ onPlain: (below) => below.read(true) });
      const { stream, peer, tap } = await start(owner);
      stream.read(true);
      peer.socket.write(await glued(tap));
      await owner.until(() => owner.ended, 'the end of TLS');
      expect(owner.truncated).toBe(false);
      await lab().settle();
      stream.stopTls();
      await expectPlain(owner);
    });

    it('finds it when nobody has read before TLS is taken off', async () => {
      const owner = new Recorder({ onPlain: (below) => below.read(true) });
      const { stream, peer, tap } = await start(owner);
      peer.socket.write(await glued(tap));
      await lab().settle();
      stream.stopTls();
      await expectPlain(owner);
    });

    it('finds much plaintext, and its end', async () => {
      const owner = new Recorder({ onPlain: (below) => below.read(true) });
      const { stream, peer, tap } = await start(owner);
      stream.read(true);
      const much = pattern(4 * MiB);
      peer.socket.write(await glued(tap));
      peer.socket.end(much);
      await owner.until(() => owner.ended, 'the end of TLS');
      stream.stopTls();
      await owner.untilPlain();
      await owner.until(() => owner.count('end') === 2, 'FIN');
      expect(firstDifference(owner.received.bytes.subarray(19), much)).toBeUndefined();
      expect(owner.truncated).toBe(false);
    });

    it('does not read plaintext before it is wanted', async () => {
      const { stream, owner, peer, tap } = await start();
      stream.stopTls();
      await once(tap.tls, 'end');
      await tap.closeNotify();
      const below = await owner.untilPlain();
      const much = pattern(16 * MiB);
      peer.socket.write(much);
      await lab().settle();
      expect(owner.received.length).toBe(0);
      below.read(true);
      await owner.untilReceived(much.length);
      expect(firstDifference(owner.received.bytes, much)).toBeUndefined();
    });

    it('goes on with a peer that never says close_notify', async () => {
      const { stream, owner, peer, tap } = await start();
      stream.stopTls();
      await once(tap.tls, 'end');
      peer.socket.write('in plaintext');
      const below = await owner.untilPlain();
      below.read(true);
      await owner.untilReceived(12);
      expect(owner.received.text).toBe('in plaintext');
      const after = tap.release();
      below.write(Buffer.from('an answer'));
      await after.untilReceived(9);
    });

    const closings: [string, boolean, boolean, (tap: Tap) => Promise<unknown>][] = [
      ['close_notify and FIN at once', true, false, (tap) => tap.closeNotify()],
      ['FIN alone, at once', true, true, async () => {}],
      [
        'close_notify and FIN behind ours',
        false,
        false,
        async (tap) => {
          await once(tap.tls, 'end');
          await tap.closeNotify();
        },
      ],
      ['FIN alone behind ours', false, true, (tap) => once(tap.tls, 'end')],
    ];

    it.each(closings)('tells of the end of a peer that sends %s', async (_, atOnce, cut, act) => {
      const { stream, owner, peer, tap } = await start();
      tap.holds = atOnce;
      if (!atOnce) stream.stopTls();
      await act(tap);
      tap.letGo();
      peer.socket.end();
      if (atOnce) stream.stopTls();
      const below = await owner.untilPlain();
      below.read(true);
      await owner.until(() => owner.ended, 'FIN');
      expect(owner.truncated).toBe(cut);
      expect(since(owner)).toEqual(['plain', 'end']);
      below.end(false);
      await owner.untilClosed();
      expect(owner.error).toBeUndefined();
    });

    it('tells of the end of a peer that is gone in the middle of a record', async () => {
      const { stream, owner, peer, tap } = await start();
      stream.stopTls();
      tap.holds = true;
      await tap.send(Buffer.from('half a record'));
      tap.letGo(20);
      peer.socket.end();
      await owner.untilPlain();
      expect(owner.received.length).toBe(0);
      expect(owner.truncated).toBe(true);
    });

    it('tells of a peer that resets the connection', async () => {
      const { stream, owner, peer, tap } = await start();
      stream.stopTls();
      await once(tap.tls, 'end');
      peer.socket.resetAndDestroy();
      await owner.untilClosed();
      expect(since(owner)).toEqual(['close']);
      expect(owner.error).toBe('ECONNRESET');
    });

    it('hands over what comes inside TLS meanwhile', async () => {
      const { stream, owner, peer, tap } = await start();
      const sent = pattern(300_000);
      stream.stopTls();
      await once(tap.tls, 'end');
      tap.holds = true;
      await tap.send(sent);
      await tap.closeNotify();
      tap.letGo();
      peer.socket.write('in plaintext');
      const below = await owner.untilPlain();
      below.read(true);
      await owner.untilReceived(sent.length + 12);
      expect(firstDifference(owner.received.bytes.subarray(0, sent.length), sent)).toBeUndefined();
      expect(owner.received.text.slice(sent.length)).toBe('in plaintext');
      expect(since(owner)).toEqual(['data', 'plain', 'data']);
    });

    it('is taken off behind all that is pending', async () => {
      const { stream, owner, tap } = await start();
      const sent = pattern(12 * MiB);
      const received: Buffer[] = [];
      tap.below.socket.pause();
      tap.tls.on('data', (bytes: Buffer) => received.push(bytes));
      stream.write(sent);
      stream.stopTls();
      expect(stream.write(Buffer.from('too late'))).toBe(true);
      stream.end(false);
      await lab().settle();
      expect(since(owner)).toEqual([]);
      tap.below.socket.resume();
      await once(tap.tls, 'end');
      expect(firstDifference(Buffer.concat(received), sent)).toBeUndefined();
      await tap.closeNotify();
      const below = await owner.untilPlain();
      const after = tap.release();
      below.write(Buffer.from('in plaintext'));
      await after.untilReceived(12);
      expect(after.received.text).toBe('in plaintext');
      expect(after.ended).toBe(false);
    });

    it.each(['destroy', 'reset', 'end'] as const)('may be followed by %s', async (how) => {
      const owner = new Recorder({
        onPlain: (below) => (how === 'end' ? below.end(false) : below[how]()),
      });
      const { stream, peer, tap } = await start(owner);
      stream.stopTls();
      await once(tap.tls, 'end');
      await tap.closeNotify();
      await owner.untilPlain();
      peer.socket.end();
      await peer.until(() => peer.ended || peer.closed, 'some end');
      if (how === 'end') owner.below?.read(true);
      await owner.untilClosed();
      expect(owner.error).toBeUndefined();
    });

    it('is forgotten: calls to the old stream do nothing', async () => {
      const { stream, owner, tap } = await start();
      stream.stopTls();
      stream.stopTls();
      await once(tap.tls, 'end');
      await tap.closeNotify();
      const below = await owner.untilPlain();
      stream.read(true);
      expect(stream.write(Buffer.from('x'))).toBe(true);
      stream.end(false);
      stream.stopTls();
      stream.destroy();
      stream.reset();
      const after = tap.release();
      below.read(true);
      after.socket.write('still there');
      await owner.untilReceived(11);
      expect(owner.closed).toBe(false);
    });

    it('may be destroyed before it is off', async () => {
      const { stream, owner, peer } = await start();
      stream.stopTls();
      stream.destroy();
      expect(since(owner)).toEqual(['close']);
      await peer.until(() => peer.ended || peer.closed, 'some end');
      await lab().settle();
    });
  });

  describe('what cannot be taken off', () => {
    it('is plaintext', async () => {
      const { stream } = await lab().accept();
      expect(() => stream.stopTls()).toThrow();
    });

    it('is TLS that was not started for it', async () => {
      const { stream: plain } = await lab().accept();
      const stream = plain.startTls(serverTls(), NOTHING);
      expect(() => stream.stopTls()).toThrow();
    });
  });
});
