import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import { describeBoth, firstDifference, type Lab, pattern } from './lab.ts';
import { Recorder } from './recorder.ts';
import { clientTls, serverTls, Tap, type TlsVersion } from './tls-peer.ts';

const MiB = 1024 * 1024;
const NOTHING = Buffer.alloc(0);

type Role = 'server' | 'client';

/** A secured stream in this role; what the peer sends from now on is held in the tap. */
async function secured(
  lab: Lab,
  role: Role,
  version: TlsVersion,
  detachable: boolean,
  owner = new Recorder(),
) {
  const { stream: plain, peer } = await (role === 'server'
    ? lab.accept(owner)
    : lab.connect(owner));
  const tap = new Tap(peer, version, role === 'server' ? 'client' : 'server');
  tap.flow();
  const start = role === 'server' ? serverTls(detachable) : clientTls(detachable);
  const stream = plain.startTls(start, NOTHING);
  await owner.untilSecured();
  // TLS 1.3 sends session tickets behind the handshake.
  await lab.settle();
  tap.holds = true;
  return { stream, owner, peer, tap };
}

describeBoth((lab) => {
  describe.each([
    ['server', 'TLSv1.2', false],
    ['server', 'TLSv1.3', false],
    ['server', 'TLSv1.2', true],
    ['server', 'TLSv1.3', true],
    ['client', 'TLSv1.2', false],
    ['client', 'TLSv1.3', false],
    ['client', 'TLSv1.2', true],
    ['client', 'TLSv1.3', true],
  ] as const)('the end of TLS as a %s of %s, detachable: %s', (role, version, detachable) => {
    const open = (owner?: Recorder) => secured(lab(), role, version, detachable, owner);

    /** What the peer sends before its FIN, and whether that is whole. */
    const endings: [string, boolean, (tap: Tap) => Promise<void>][] = [
      ['close_notify and FIN', false, (tap) => tap.finish()],
      ['FIN alone', true, async () => {}],
    ];

    describe.each(endings)('%s', (_what, truncated, finish) => {
      it('while the stream is read', async () => {
        const { stream, owner, tap } = await open();
        stream.read(true);
        await tap.send(Buffer.from('last words'));
        await finish(tap);
        tap.letGo();
        tap.below.socket.end();
        await owner.until(() => owner.ended, 'the end');
        expect(owner.truncated).toBe(truncated);
        expect(owner.received.text).toBe('last words');
        stream.write(Buffer.from('an answer'));
        stream.end(false);
        await owner.untilClosed();
        expect(owner.error).toBeUndefined();
      });

      it('one segment at a time', async () => {
        const { stream, owner, tap } = await open();
        stream.read(true);
        await tap.send(Buffer.from('last words'));
        await finish(tap);
        while (tap.held.length > 0) {
          tap.letGo(1);
          await new Promise((resolve) => setImmediate(resolve));
        }
        tap.below.socket.end();
        await owner.until(() => owner.ended, 'the end');
        expect(owner.truncated).toBe(truncated);
        expect(owner.received.text).toBe('last words');
      });

      it('while nobody reads', async () => {
        const { stream, owner, tap } = await open();
        const sent = [pattern(100, 1), pattern(16_384, 2), pattern(5_000, 3), pattern(90_000, 4)];
        await tap.send(...sent);
        await finish(tap);
        tap.letGo();
        tap.below.socket.end();
        await lab().settle();
        expect(owner.ended).toBe(false);
        stream.read(true);
        await owner.until(() => owner.ended, 'the end');
        expect(owner.truncated).toBe(truncated);
        expect(firstDifference(owner.received.bytes, Buffer.concat(sent))).toBeUndefined();
      });

      it('after a pause in the middle of a burst', async () => {
        let pieces = 0;
        const pausing = new Recorder({
          onData: (stream) => {
            pieces += 1;
            if (pieces % 2 === 1) stream.read(false);
          },
        });
        const { stream, owner, tap } = await open(pausing);
        const sent = Array.from({ length: 9 }, (_, i) => pattern(1_000 * (i + 1), i));
        await tap.send(...sent);
        await finish(tap);
        tap.letGo();
        tap.below.socket.end();
        for (let turn = 0; turn < 60 && !owner.ended; turn++) {
          stream.read(true);
          await lab().settle();
        }
        expect(owner.ended).toBe(true);
        expect(owner.truncated).toBe(truncated);
        expect(firstDifference(owner.received.bytes, Buffer.concat(sent))).toBeUndefined();
      });

      it.each([5_000, 2 * MiB])('behind our own end, with %i bytes unread', async (length) => {
        const { stream, owner, tap } = await open();
        const sent = pattern(length);
        stream.end(false);
        await tap.send(sent);
        await finish(tap);
        tap.letGo();
        tap.below.socket.end();
        await lab().settle();
        expect(owner.closed).toBe(false);
        stream.read(true);
        await owner.untilClosed();
        expect(firstDifference(owner.received.bytes, sent)).toBeUndefined();
        expect(owner.truncated).toBe(truncated);
        expect(owner.heard.slice(-2)).toEqual(['end', 'close']);
      });
    });

    it('in the middle of a record is truncated', async () => {
      const { stream, owner, tap } = await open();
      stream.read(true);
      await tap.send(Buffer.from('last words'));
      const length = tap.held.length + 10;
      await tap.send(Buffer.from('of a long story'));
      tap.letGo(length);
      tap.below.socket.end();
      await owner.until(() => owner.ended, 'the end');
      expect(owner.truncated).toBe(true);
      expect(owner.received.text).toBe('last words');
    });

    it.each([
      ['close_notify and FIN', false],
      ['FIN alone', true],
    ] as const)('is sent as %s', async (_what, truncated) => {
      const { stream, owner, peer, tap } = await open();
      const sent = pattern(1 * MiB);
      tap.tls.resume();
      // A record with its lengths and all, to measure against.
      const before = tap.arrived;
      stream.write(Buffer.from('x'));
      await once(tap.tls, 'data');
      const overhead = tap.arrived - before - 1;
      const start = tap.arrived;
      stream.write(sent);
      await owner.until(() => stream.pendingBytes === 0, 'the drain');
      await lab().settle();
      const data = tap.arrived - start;
      stream.end(truncated);
      stream.end(truncated);
      expect(stream.write(Buffer.from('behind the end'))).toBe(true);
      await peer.untilEnded();
      const rest = tap.arrived - start - data;
      // An alert has two bytes; in TLS 1.3 its type is one more, as in the data above.
      expect(rest).toBe(truncated ? 0 : overhead + 2);
      // The peer may go on.
      stream.read(true);
      tap.flow();
      tap.tls.write('an answer');
      await owner.untilReceived(9);
      tap.tls.end();
      await owner.untilClosed();
      expect(owner.error).toBeUndefined();
      expect(owner.truncated).toBe(false);
    });

    it('without close_notify is sent behind all that is pending', async () => {
      const { stream, owner, peer, tap } = await open();
      const sent = pattern(12 * MiB);
      const received: Buffer[] = [];
      tap.tls.on('data', (bytes: Buffer) => received.push(bytes));
      stream.write(sent);
      expect(stream.pendingBytes).toBeGreaterThan(0);
      stream.end(true);
      await peer.untilEnded();
      await owner.until(() => stream.pendingBytes === 0, 'the drain');
      await lab().settle();
      expect(firstDifference(Buffer.concat(received), sent)).toBeUndefined();
      expect(owner.drains).toBe(1);
    });

    it.each(['destroy', 'reset'] as const)('may be %s, whatever is unread', async (how) => {
      const { stream, owner, tap } = await open();
      stream.end(false);
      await tap.send(pattern(200_000));
      await tap.finish();
      tap.letGo();
      tap.below.socket.end();
      await lab().settle();
      stream[how]();
      expect(owner.heard.filter((what) => what !== 'drain').slice(-1)).toEqual(['close']);
      expectDeaf(stream, owner);
      await lab().settle();
    });
  });
});

function expectDeaf(stream: ByteStream, owner: Recorder): void {
  const heard = [...owner.heard];
  stream.read(true);
  stream.end(false);
  stream.destroy();
  stream.reset();
  expect(stream.write(Buffer.from('x'))).toBe(true);
  expect(stream.pendingBytes).toBe(0);
  expect(stream.tls).toBeUndefined();
  expect(owner.heard).toEqual(heard);
}
