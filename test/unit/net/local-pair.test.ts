import { afterEach, describe, expect, it } from 'vitest';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import { localPair } from '../../../src/net/local-pair.ts';
import { firstDifference, pattern } from './lab.ts';
import { Recorder } from './recorder.ts';
import { serverTls } from './tls-peer.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const BUFFER = 256 * KiB;

const local = { address: '192.0.2.1', port: 1 };
const remote = { address: '2001:db8::2', port: 2 };
const NEAR = { local, remote };
const FAR = { local: remote, remote: local };

const owners: Recorder[] = [];

/** Two ends; the first is the one under test. */
function open(owner = new Recorder(), other = new Recorder()) {
  const [stream, peer] = localPair(NEAR, FAR);
  stream.owner = owner;
  peer.owner = other;
  owners.push(owner, other);
  return { stream, owner, peer, other };
}

afterEach(() => {
  const violations = owners.flatMap((owner) => owner.violations);
  owners.length = 0;
  expect(violations).toEqual([]);
});

/** Lets all happen that a turn of either end brings about. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 6; turn++) await new Promise(setImmediate);
}

function expectDeaf(stream: ByteStream, owner: Recorder): void {
  const heard = [...owner.heard];
  stream.read(true);
  stream.read(false);
  expect(stream.write(Buffer.from('x'))).toBe(true);
  expect(stream.pendingBytes).toBe(0);
  expect(stream.addresses()).toBeUndefined();
  stream.end(false);
  stream.reset();
  stream.destroy();
  expect(stream.startTls(serverTls(), Buffer.alloc(0))).toBe(stream);
  expect(owner.heard).toEqual(heard);
}

describe('an end of a local pair', () => {
  it.each([1, BUFFER, BUFFER + 1, 5 * MiB])('carries %i bytes', async (size) => {
    const { stream, peer, other } = open();
    const sent = pattern(size);
    stream.write(sent);
    stream.end(false);
    peer.read(true);
    await other.until(() => other.ended, 'the end');
    expect(firstDifference(other.received.bytes, sent)).toBeUndefined();
    expect(other.heard).toEqual(['data', 'end']);
  });

  it('carries both directions at once', async () => {
    const { stream, owner, peer, other } = open();
    const [up, down] = [pattern(3 * MiB, 2), pattern(2 * MiB, 3)];
    stream.read(true);
    peer.read(true);
    for (let i = 0; i < up.length; i += 10_007) stream.write(up.subarray(i, i + 10_007));
    for (let i = 0; i < down.length; i += 9_001) peer.write(down.subarray(i, i + 9_001));
    stream.end(false);
    peer.end(false);
    await Promise.all([owner.untilClosed(), other.untilClosed()]);
    expect(firstDifference(other.received.bytes, up)).toBeUndefined();
    expect(firstDifference(owner.received.bytes, down)).toBeUndefined();
    expect([owner.error, other.error]).toEqual([undefined, undefined]);
  });

  it('has the addresses that it was given', () => {
    const { stream, peer } = open();
    expect(stream.addresses()).toEqual(NEAR);
    expect(peer.addresses()).toEqual(FAR);
    expect(stream.tls).toBeUndefined();
  });

  it('tells nothing within the turn in which it happens, nor within a call', async () => {
    let depth = 0;
    const owner = new Recorder();
    owner.take = (bytes, stream) => {
      expect(depth).toBe(0);
      depth += 1;
      if (owner.received.length < 100) stream.write(Buffer.from(bytes));
      owner.received.append(bytes);
      depth -= 1;
    };
    const { stream, peer } = open(owner, owner);
    peer.read(true);
    stream.read(true);
    stream.write(Buffer.from('x'));
    await Promise.resolve();
    expect(owner.heard).toEqual([]);
    await owner.untilReceived(100);
  });

  it('lets others have their turn between two ends that answer each other', async () => {
    const echo = new Recorder();
    echo.take = (bytes, stream) => stream.write(bytes);
    const { stream, peer } = open(echo, echo);
    stream.read(true);
    peer.read(true);
    stream.write(Buffer.from('x'));
    await new Promise((resolve) => setTimeout(resolve, 1));
    stream.destroy();
  });
});

describe('a slow reader', () => {
  it('leaves what is beyond the buffer pending, and drains once', async () => {
    const { stream, owner, peer, other } = open();
    const chunk = pattern(64 * KiB);
    for (let written = 0; written < BUFFER; written += chunk.length) {
      expect(stream.write(chunk)).toBe(true);
    }
    expect(stream.pendingBytes).toBe(0);
    for (let more = 1; more <= 3; more++) {
      expect(stream.write(chunk)).toBe(false);
      expect(stream.pendingBytes).toBe(more * chunk.length);
    }
    await settle();
    expect([owner.heard, other.heard]).toEqual([[], []]);
    peer.read(true);
    await other.untilReceived(BUFFER + 3 * chunk.length);
    await settle();
    expect(owner.drains).toBe(1);
    expect(stream.pendingBytes).toBe(0);
    for (let i = 0; i < other.received.length; i += chunk.length) {
      const part = other.received.bytes.subarray(i, i + chunk.length);
      expect(firstDifference(part, chunk)).toBeUndefined();
    }
    expect(stream.write(chunk)).toBe(true);
  });

  it('takes no byte that was changed behind a write that answered true, or behind the drain', async () => {
    const owner = new Recorder({ onDrain: () => big.fill(0) });
    const { stream, peer, other } = open(owner);
    const [small, big] = [pattern(1000), pattern(MiB)];
    const sent = Buffer.concat([small, big]);
    expect(stream.write(small)).toBe(true);
    small.fill(0);
    expect(stream.write(big)).toBe(false);
    peer.read(true);
    await other.untilReceived(sent.length);
    await owner.until(() => owner.drains > 0, 'the drain');
    expect(firstDifference(other.received.bytes, sent)).toBeUndefined();
  });

  it('may keep what it was given', async () => {
    const pieces: Uint8Array[] = [];
    const other = new Recorder();
    other.take = (bytes) => pieces.push(bytes);
    const owner = new Recorder({ onDrain: () => sent.fill(0) });
    const { stream, peer } = open(owner, other);
    const sent = pattern(MiB);
    stream.write(sent);
    peer.read(true);
    await owner.until(() => owner.drains > 0, 'the drain');
    expect(firstDifference(Buffer.concat(pieces), pattern(MiB))).toBeUndefined();
    expect(peer.reusesBuffers).toBe(false);
  });

  it('stops at once, and goes on where it stopped', async () => {
    const other = new Recorder({ onData: (stream) => stream.read(false) });
    const { stream, peer } = open(new Recorder(), other);
    const sent = pattern(3 * MiB);
    stream.write(sent.subarray(0, 1000));
    stream.write(sent.subarray(1000));
    stream.end(false);
    for (let turns = 0; other.received.length < sent.length; turns++) {
      expect(turns).toBeLessThan(100);
      const before = other.received.length;
      peer.read(true);
      await other.untilReceived(before + 1);
      const { length } = other.received;
      expect(length - before).toBeLessThanOrEqual(BUFFER);
      await settle();
      expect(other.received.length).toBe(length);
    }
    expect(other.ended).toBe(false);
    peer.read(true);
    await other.until(() => other.ended, 'the end');
    expect(firstDifference(other.received.bytes, sent)).toBeUndefined();
  });

  it('may leave very many small pieces waiting', async () => {
    const { stream, peer, other } = open(new Recorder(), new Recorder());
    const sent = pattern(300_000);
    for (let i = 0; i < sent.length; i++) stream.write(sent.subarray(i, i + 1));
    peer.read(true);
    await other.untilReceived(sent.length);
    expect(firstDifference(other.received.bytes, sent)).toBeUndefined();
  });

  it('does not hold the other direction', async () => {
    const { stream, owner, peer } = open();
    expect(stream.write(pattern(MiB))).toBe(false);
    stream.read(true);
    peer.write(Buffer.from('still heard'));
    await owner.untilReceived(11);
    expect(stream.pendingBytes).toBe(MiB);
  });
});

describe('half-close', () => {
  it('comes behind all that is pending, and closes with the other one', async () => {
    const { stream, owner, peer, other } = open();
    const sent = pattern(2 * MiB);
    expect(stream.write(sent)).toBe(false);
    stream.end(false);
    stream.end(true);
    expect(stream.write(Buffer.from('behind the end'))).toBe(true);
    peer.read(true);
    stream.read(true);
    await other.until(() => other.ended, 'the end');
    expect(firstDifference(other.received.bytes, sent)).toBeUndefined();
    expect(other.truncated).toBe(false);
    peer.write(Buffer.from('last'));
    peer.end(false);
    await Promise.all([owner.untilClosed(), other.untilClosed()]);
    expect(owner.heard).toEqual(['drain', 'data', 'end', 'close']);
    expect(other.heard).toEqual(['data', 'end', 'close']);
    expect([owner.error, other.error]).toEqual([undefined, undefined]);
    expectDeaf(stream, owner);
    expectDeaf(peer, other);
  });

  it('closes only when all has been taken', async () => {
    const { stream, owner, peer, other } = open();
    peer.end(false);
    stream.read(true);
    await owner.until(() => owner.ended, 'the end');
    stream.write(pattern(MiB));
    stream.end(false);
    await settle();
    expect(owner.closed).toBe(false);
    peer.read(true);
    await Promise.all([owner.untilClosed(), other.untilClosed()]);
    expect(owner.heard).toEqual(['end', 'drain', 'close']);
    expect(other.received.length).toBe(MiB);
  });

  it('tells that it was not the end of TLS', async () => {
    const { stream, peer, other } = open();
    stream.end(true);
    peer.read(true);
    await other.until(() => other.ended, 'the end');
    expect(other.truncated).toBe(true);
  });

  it('waits for who does not read', async () => {
    const { stream, peer, other } = open();
    stream.end(false);
    await settle();
    expect(other.heard).toEqual([]);
    peer.read(true);
    await other.until(() => other.ended, 'the end');
  });
});

describe('reset', () => {
  it.each([true, false])('is told to the other end, reading: %s', async (reads) => {
    const { stream, owner, peer, other } = open();
    peer.read(reads);
    peer.write(pattern(MiB));
    stream.write(pattern(MiB));
    stream.reset();
    expect(owner.heard).toEqual(['close']);
    expect(other.heard).toEqual([]);
    await other.untilClosed();
    expect(other.heard).toEqual(['close']);
    expect([owner.error, other.error]).toEqual([undefined, 'ECONNRESET']);
    expectDeaf(stream, owner);
    expectDeaf(peer, other);
  });

  it('may come behind an end', async () => {
    const { stream, peer, other } = open();
    stream.end(false);
    peer.read(true);
    await other.until(() => other.ended, 'the end');
    stream.reset();
    await other.untilClosed();
    expect(other.error).toBe('ECONNRESET');
  });
});

describe('destroy', () => {
  it('is an end to the other one, behind what was taken', async () => {
    const { stream, owner, peer, other } = open();
    stream.write(Buffer.from('last'));
    stream.destroy();
    expect(owner.heard).toEqual(['close']);
    peer.read(true);
    await other.until(() => other.ended, 'the end');
    expect(other.received.text).toBe('last');
    expectDeaf(stream, owner);
    peer.end(false);
    await other.untilClosed();
    expect(other.error).toBeUndefined();
  });

  it('is a reset to who still writes', async () => {
    const { stream, peer, other } = open();
    stream.destroy();
    peer.read(true);
    await other.until(() => other.ended, 'the end');
    expect(peer.write(Buffer.from('x'))).toBe(true);
    await other.untilClosed();
    expect(other.error).toBe('ECONNRESET');
  });

  it.each([
    ['was not taken', (stream: ByteStream) => stream.write(pattern(MiB))],
    ['was not read', (_stream: ByteStream, peer: ByteStream) => peer.write(Buffer.from('x'))],
  ])('is a reset where something %s', async (_what, arrange) => {
    const { stream, peer, other } = open();
    stream.write(Buffer.from('last'));
    arrange(stream, peer);
    stream.end(false);
    stream.destroy();
    peer.read(true);
    await other.untilClosed();
    expect(other.error).toBe('ECONNRESET');
    expect(other.received.text).toBe('last');
    expect(other.drains).toBe(0);
  });
});

describe('a call from', () => {
  const actions = {
    destroy: (stream: ByteStream) => stream.destroy(),
    reset: (stream: ByteStream) => stream.reset(),
    'write, end and reset': (stream: ByteStream) => {
      stream.write(pattern(MiB));
      stream.end(false);
      stream.reset();
    },
  };
  const moments = {
    onData: (_stream: ByteStream, peer: ByteStream) => peer.write(pattern(MiB)),
    onEnd: (_stream: ByteStream, peer: ByteStream) => peer.end(false),
    'onEnd of one that has ended': (stream: ByteStream, peer: ByteStream) => {
      stream.end(false);
      peer.end(false);
    },
    onDrain: (stream: ByteStream, peer: ByteStream) => {
      stream.write(pattern(MiB));
      peer.read(true);
    },
  };

  describe.each(Object.entries(moments))('%s', (moment, arrange) => {
    const [callback = ''] = moment.split(' ');

    it.each(Object.entries(actions))('may %s', async (_what, act) => {
      const owner = new Recorder({ [callback]: act });
      const { stream, peer } = open(owner);
      stream.read(true);
      arrange(stream, peer);
      await owner.untilClosed();
      expect(owner.error).toBeUndefined();
      await settle();
      expect(owner.heard.filter((what) => what === 'close')).toHaveLength(1);
      expectDeaf(stream, owner);
    });
  });

  it('onDrain may write again and again', async () => {
    const piece = pattern(MiB);
    let left = 5;
    const owner = new Recorder({
      onDrain: (stream) => {
        if (left-- > 0) stream.write(piece);
        else stream.end(false);
      },
    });
    const { stream, peer, other } = open(owner);
    stream.write(piece);
    peer.read(true);
    await other.until(() => other.ended, 'the end');
    expect(other.received.length).toBe(6 * piece.length);
  });
});
