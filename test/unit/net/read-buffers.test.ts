import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import { describeBoth, firstDifference, type Lab, pattern } from './lab.ts';
import type { Peer } from './peer.ts';
import { Recorder } from './recorder.ts';

const MiB = 1024 * 1024;

/** The buffers that streams read into are pooled: a mistake would show as bytes of others. */

/** Numbers below a limit, the same in each run. */
function chance(seed: number): (limit: number) => number {
  let state = Math.imul(seed, 2654435761);
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** Moves what comes on one stream to the other, as the contract asks: it reads on after the drain. */
function relay(from: Recorder, to: () => ByteStream): void {
  from.take = (bytes, stream) => {
    if (!to().write(bytes)) stream.read(false);
  };
}

/** A server that sends everything back, with pauses that `next` decides on. */
async function echoWithPauses(next: (limit: number) => number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      if (!socket.write(bytes) || next(8) === 0) {
        socket.pause();
        const goOn = () => void setImmediate(() => socket.resume());
        if (socket.writableNeedDrain) socket.once('drain', goOn);
        else goOn();
      }
    });
    socket.on('end', () => socket.end());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}

/** One connection through two streams to the echo and back; answers what it should and did get. */
async function throughRelay(lab: Lab, echo: number, seed: number): Promise<[Buffer, Peer]> {
  const next = chance(seed);
  const inner: Recorder = new Recorder({
    onConnect: () => {
      client.read(true);
      server.read(true);
    },
    onEnd: () => client.end(false),
    onDrain: () => client.read(true),
  });
  const outer = new Recorder({ onEnd: () => server.end(false), onDrain: () => server.read(true) });
  const { stream: client, peer } = await lab.accept(outer);
  const to = { address: '127.0.0.1', port: echo };
  const server = lab.net.openConnection(to, lab.watch(inner));
  relay(outer, () => server);
  relay(inner, () => client);
  const sent = pattern([100, 5_000, 200_000, 2 * MiB][next(4)] ?? 0, seed);
  void (async () => {
    for (let at = 0; at < sent.length && !peer.closed; ) {
      const end = at + 1 + next([10, 3_000, 300_000][next(3)] ?? 1);
      if (!peer.socket.write(sent.subarray(at, end))) {
        await peer.until(() => !peer.socket.writableNeedDrain || peer.closed, 'the drain');
      } else if (next(3) === 0) await lab.settle();
      if (next(10) === 0) lab.net.shrinkIdleBuffers();
      at = end;
    }
    peer.socket.end();
  })();
  // Some are given up in the middle, with bytes under way in both directions.
  if (next(4) === 0) {
    await peer.until(() => peer.received.length > 0, 'the first bytes back');
    if (next(2) === 0) peer.socket.resetAndDestroy();
    else client.destroy();
    server.destroy();
  } else {
    await peer.untilEnded();
  }
  return [sent, peer];
}

describeBoth((lab) => {
  it('connections keep their own bytes, whatever the others do', { timeout: 60_000 }, async () => {
    const echo = await echoWithPauses(chance(7));
    const { port } = echo.address() as AddressInfo;
    for (let round = 0; round < 4; round++) {
      const seeds = Array.from({ length: 25 }, (_, i) => 1 + round * 100 + i);
      const all = await Promise.all(seeds.map((seed) => throughRelay(lab(), port, seed)));
      const whole = all.filter(([sent, peer]) => peer.received.length === sent.length);
      expect(whole.length).toBeGreaterThan(all.length / 2);
      expect(whole.length).toBeLessThan(all.length);
      for (const [sent, peer] of all) {
        const { bytes } = peer.received;
        expect(firstDifference(bytes, sent.subarray(0, bytes.length))).toBeUndefined();
      }
      lab().cleanUp();
    }
    echo.close();
  });

  describe('what a slow peer still waits for stays as it was, when its source is', () => {
    const ends: [string, (source: ByteStream) => void, boolean][] = [
      ['destroyed at once', (source) => source.destroy(), true],
      ['reset at once', (source) => source.reset(), true],
      ['destroyed later', (source) => source.destroy(), false],
      ['reset later', (source) => source.reset(), false],
    ];

    // The more a stream has read, the larger its buffer.
    describe.each([0, 40_000, 8 * MiB])('which had read %i bytes before', (before) => {
      it.each(ends)('%s', async (_how, end, atOnce) => {
        const slow = await lab().accept();
        slow.peer.socket.pause();
        const filler = pattern(MiB, 2);
        let filled = filler.length;
        while (slow.stream.write(filler)) filled += filler.length;
        const owner = new Recorder();
        let read = 0;
        let lent = 0;
        owner.take = (bytes, source) => {
          read += bytes.length;
          if (read - bytes.length < before) return;
          lent = bytes.length;
          expect(slow.stream.write(bytes)).toBe(false);
          if (atOnce) end(source);
          else source.read(false);
        };
        const { stream: source, peer } = await lab().accept(owner);
        const sent = pattern(32 * MiB);
        source.read(true);
        peer.socket.write(sent);
        await owner.until(() => lent > 0, 'bytes that wait');
        if (!atOnce) {
          await lab().settle();
          end(source);
        }
        await readMuch(lab());
        slow.peer.socket.resume();
        await slow.peer.untilReceived(filled + lent);
        const waited = slow.peer.received.bytes.subarray(filled);
        expect(firstDifference(waited, sent.subarray(read - lent, read))).toBeUndefined();
      });
    });
  });

  // As TLS makes its reader do: it takes its time for every write.
  it('a stream that is paused after each read gets larger buffers, too', async () => {
    const sent = pattern(8 * MiB);
    const owner = new Recorder();
    let received = 0;
    let largest = 0;
    owner.take = (bytes, source) => {
      expect(
        firstDifference(bytes, sent.subarray(received, received + bytes.length)),
      ).toBeUndefined();
      received += bytes.length;
      largest = Math.max(largest, bytes.length);
      source.read(false);
      setImmediate(() => source.read(true));
    };
    const { stream, peer } = await lab().accept(owner);
    stream.read(true);
    peer.socket.write(sent);
    await owner.until(() => received === sent.length, 'all of it');
    expect(largest).toBeGreaterThan(16_384);
  });

  it('idle connections give their large buffers back, and go on', async () => {
    const connections = await Promise.all(Array.from({ length: 20 }, () => lab().accept()));
    const sent = pattern(3 * MiB);
    for (let turn = 1; turn <= 3; turn++) {
      for (const { stream, peer } of connections) {
        stream.read(true);
        peer.socket.write(sent);
      }
      for (const { owner } of connections) await owner.untilReceived(turn * sent.length);
      for (const { owner } of connections) {
        const { bytes } = owner.received;
        expect(firstDifference(bytes.subarray(-sent.length), sent)).toBeUndefined();
      }
      // The first call only takes note of who has read since.
      lab().net.shrinkIdleBuffers();
      for (const { stream } of connections.slice(0, 5)) stream.read(false);
      lab().net.shrinkIdleBuffers();
    }
  });
});

/** Has new connections read into buffers of all sizes. */
async function readMuch(lab: Lab): Promise<void> {
  const other = Buffer.alloc(4 * MiB, 0xff);
  const connections = await Promise.all(Array.from({ length: 8 }, () => lab.accept()));
  for (const { stream, peer } of connections) {
    stream.read(true);
    peer.socket.end(other);
  }
  await Promise.all(
    connections.map(async ({ owner }) => {
      await owner.until(() => owner.ended, 'FIN');
      expect(firstDifference(owner.received.bytes, other)).toBeUndefined();
    }),
  );
}
