import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Addresses } from '../../../src/core/types.ts';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import { localPair } from '../../../src/net/local-pair.ts';
import { type FlowOptions, type Handlers, TestHost } from './flow-lab.ts';
import { firstDifference, loadNet, pattern } from './lab.ts';
import { Peer } from './peer.ts';
import { Recorder } from './recorder.ts';
import { clientTls, serverTls } from './tls-peer.ts';

const MiB = 1024 * 1024;
const NOTHING = Buffer.alloc(0);

const client = { address: '192.0.2.1', port: 40_000 };
const server = { address: '192.0.2.2', port: 110 };
const NEAR: Addresses = { local: client, remote: server };
const FAR: Addresses = { local: server, remote: client };

interface End {
  readonly stream: ByteStream;
  readonly owner: Recorder;
}

function openPair(): [End, End] {
  const [near, far] = localPair(NEAR, FAR).map((stream) => {
    const owner = new Recorder();
    stream.owner = owner;
    return { stream, owner };
  });
  if (near === undefined || far === undefined) throw new Error('no pair');
  return [near, far];
}

/** Puts TLS between two ends, whatever they are. */
async function secure([near, far]: [End, End], detachable = false): Promise<[End, End]> {
  const client = near.stream.startTls(clientTls(detachable), NOTHING);
  const server = far.stream.startTls(serverTls(detachable), NOTHING);
  const up = () => near.owner.heard.filter((what) => what === 'secure').length;
  const before = up();
  await near.owner.until(() => up() > before, 'the handshake');
  return [
    { stream: client, owner: near.owner },
    { stream: server, owner: far.owner },
  ];
}

async function exchange([near, far]: [End, End], text: string): Promise<void> {
  const [a, b] = [near.owner.received.length, far.owner.received.length];
  near.stream.read(true);
  far.stream.read(true);
  near.stream.write(Buffer.from(text));
  await far.owner.untilReceived(b + text.length);
  far.stream.write(Buffer.from(text));
  await near.owner.untilReceived(a + text.length);
  expect(near.owner.received.text.slice(a)).toBe(text);
}

describe('TLS over a local pair', () => {
  it('carries much both ways, then ends', async () => {
    const [near, far] = await secure(openPair());
    const [up, down] = [pattern(2 * MiB, 1), pattern(3 * MiB, 2)];
    near.stream.read(true);
    far.stream.read(true);
    near.stream.write(up);
    near.stream.end(false);
    far.stream.write(down);
    far.stream.end(false);
    await Promise.all([near.owner.untilClosed(), far.owner.untilClosed()]);
    expect(firstDifference(far.owner.received.bytes, up)).toBeUndefined();
    expect(firstDifference(near.owner.received.bytes, down)).toBeUndefined();
    expect([near, far].map(({ owner }) => [owner.truncated, owner.error])).toEqual([
      [false, undefined],
      [false, undefined],
    ]);
  });

  it('may lie inside TLS', async () => {
    await exchange(await secure(await secure(openPair())), 'twice');
  });

  it('begins with a leftover', async () => {
    const [near, far] = openPair();
    near.stream.startTls(clientTls(), NOTHING);
    far.stream.read(true);
    await far.owner.untilReceived(1);
    far.stream.read(false);
    far.stream.startTls(serverTls(), far.owner.received.bytes);
    await near.owner.untilSecured();
  });

  it('may be taken off and put on again', async () => {
    let [near, far] = openPair();
    for (let round = 1; round <= 3; round++) {
      const [above, below] = await secure([near, far], true);
      await exchange([above, below], `inside ${round}`);
      above.stream.stopTls();
      below.stream.stopTls();
      near = { stream: await near.owner.untilPlain(round), owner: near.owner };
      far = { stream: await far.owner.untilPlain(round), owner: far.owner };
      await exchange([near, far], `outside ${round}`);
    }
  });

  it('tells of an end without close_notify', async () => {
    const [near, far] = await secure(openPair());
    far.stream.read(true);
    near.stream.end(true);
    await far.owner.until(() => far.owner.ended, 'the end');
    expect(far.owner.truncated).toBe(true);
  });

  it.each(['reset', 'destroy'] as const)('ends by %s', async (how) => {
    const [near, far] = await secure(openPair());
    far.stream.read(true);
    near.stream[how]();
    expect(near.owner.closed).toBe(true);
    if (how === 'reset') await far.owner.untilClosed();
    else await far.owner.until(() => far.owner.ended, 'the end');
  });
});

describe.each(['bare handles', 'public API'] as const)('a flow with a local client, %s', (api) => {
  let served: Server;
  let host: TestHost;
  const peers: Peer[] = [];

  beforeEach(async () => {
    served = createServer({ allowHalfOpen: true }, (socket) => peers.push(new Peer(socket)));
    await once(served.listen(0, '127.0.0.1'), 'listening');
  });
  afterEach(async () => {
    served.close();
    for (const peer of peers.splice(0)) peer.socket.destroy();
    for (const flow of [...host.flows]) flow.abort('the test is over');
    await host.untilIdle();
    expect(host.internalErrors).toEqual([]);
  });

  /** The client's end of a new flow. */
  async function accept(options: FlowOptions = {}): Promise<End> {
    const net = await loadNet(api);
    host = new TestHost(net, options);
    host.server = { address: '127.0.0.1', port: (served.address() as AddressInfo).port };
    const [near, far] = openPair();
    new net.FlowDriver(host, (owner) => {
      far.stream.owner = owner;
      return far.stream;
    });
    return near;
  }

  async function connected(): Promise<Peer> {
    const [peer] = peers;
    if (peer !== undefined) return peer;
    await once(served, 'connection');
    return connected();
  }

  it('carries much both ways, with half-close', async () => {
    const { stream, owner } = await accept();
    const [up, down] = [pattern(5 * MiB, 1), pattern(4 * MiB, 2)];
    stream.read(true);
    stream.write(up);
    stream.end(false);
    const peer = await connected();
    await peer.untilEnded();
    expect(firstDifference(peer.received.bytes, up)).toBeUndefined();
    peer.socket.end(down);
    await owner.untilClosed();
    expect(firstDifference(owner.received.bytes, down)).toBeUndefined();
    expect(owner.error).toBeUndefined();
  });

  it('is held up by a slow server', async () => {
    const { stream, owner } = await accept({ queueLimit: 64 * 1024 });
    const peer = await connected();
    peer.socket.pause();
    const sent = pattern(24 * MiB);
    const pieces = Array.from({ length: 24 }, (_, i) => sent.subarray(i * MiB, (i + 1) * MiB));
    const more = () => {
      for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
        if (!stream.write(piece)) return;
      }
      stream.end(false);
    };
    owner.onDrain = more;
    more();
    for (let turn = 0; turn < 200; turn++) await new Promise(setImmediate);
    expect(pieces.length).toBeGreaterThan(0);
    peer.socket.resume();
    await peer.untilEnded();
    expect(firstDifference(peer.received.bytes, sent)).toBeUndefined();
  });

  it('is held up by a slow client', async () => {
    const { stream, owner } = await accept({ queueLimit: 64 * 1024 });
    const peer = await connected();
    const sent = pattern(24 * MiB);
    peer.socket.end(sent);
    stream.read(true);
    await owner.untilReceived(1);
    stream.read(false);
    expect(owner.received.length).toBeLessThan(sent.length);
    expect(peer.socket.writableLength).toBeGreaterThan(0);
    stream.read(true);
    await owner.until(() => owner.ended, 'the end');
    expect(firstDifference(owner.received.bytes, sent)).toBeUndefined();
  });

  it('shows rules its addresses', async () => {
    let seen: Addresses | undefined;
    const handlers: Handlers = {
      CLIENT_ACCEPTED: (run) => {
        seen = run.services.addresses('client');
        return undefined;
      },
    };
    await accept({ handlers });
    await connected();
    expect(seen).toEqual(FAR);
  });

  it('takes TLS from it', async () => {
    const { stream, owner } = await accept({ clientTls: true });
    const secured = stream.startTls(clientTls(), NOTHING);
    await owner.untilSecured();
    secured.read(true);
    secured.write(Buffer.from('hello'));
    const peer = await connected();
    await peer.untilReceived(5);
    peer.socket.end('good bye');
    await owner.untilReceived(8);
    secured.end(false);
    await owner.untilClosed();
    expect(owner.truncated).toBe(false);
  });

  it('ends when it is reset', async () => {
    const { stream } = await accept();
    const peer = await connected();
    stream.reset();
    await peer.untilClosed();
    expect(peer.error).toBe('ECONNRESET');
  });

  it('ends when the server resets it', async () => {
    const { owner } = await accept();
    const peer = await connected();
    peer.socket.resetAndDestroy();
    await owner.untilClosed();
    expect(owner.error).toBe('ECONNRESET');
  });
});
