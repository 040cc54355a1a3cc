import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, vi } from 'vitest';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import type { Listener } from '../../../src/net/listener.ts';
import { Peer } from './peer.ts';
import { Recorder } from './recorder.ts';

const APIS = ['bare handles', 'public API'] as const;

/** `src/net` as it is on this Node, or as it is on one whose internals have changed. */
export async function loadNet(api: (typeof APIS)[number]) {
  vi.resetModules();
  vi.stubEnv('PORTREEVE_PUBLIC_API_ONLY', api === 'public API' ? '1' : undefined);
  const { internals } = await import('../../../src/net/internals.ts');
  const { Listener } = await import('../../../src/net/listener.ts');
  const { openConnection } = await import('../../../src/net/connector.ts');
  const { shrinkIdleBuffers } = await import('../../../src/net/raw-stream.ts');
  const { FlowDriver } = await import('../../../src/net/flow-driver.ts');
  const { Clock } = await import('../../../src/net/clock.ts');
  vi.unstubAllEnvs();
  expect(internals === undefined).toBe(api === 'public API');
  return { api, Listener, openConnection, shrinkIdleBuffers, FlowDriver, Clock };
}

export type Net = Awaited<ReturnType<typeof loadNet>>;

/** A stream under test with its owner, and the socket at the other end. */
export interface Connection {
  readonly stream: ByteStream;
  readonly owner: Recorder;
  readonly peer: Peer;
}

/** Opens connections whose one end is a stream under test. Watches that the contract is kept. */
export class Lab {
  private readonly owners: Recorder[] = [];
  private readonly streams = new Set<ByteStream>();
  private readonly sockets = new Set<Socket>();
  private expected: ((stream: ByteStream) => void)[] = [];
  private next: Recorder[] = [];

  private constructor(
    readonly net: Net,
    private readonly listener: Listener,
    private readonly server: Server,
  ) {}

  static async open(net: Net): Promise<Lab> {
    const listener = await net.Listener.open('', 0, (take) => lab.accepted(take));
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const lab = new Lab(net, listener, server);
    return lab;
  }

  get port(): number {
    return this.listener.endpoint.port;
  }

  /** A stream that a listener has accepted. */
  async accept(owner: Recorder = new Recorder(), host = '127.0.0.1'): Promise<Connection> {
    const stream = this.expect(owner);
    const peer = Peer.connect(this.port, host);
    this.sockets.add(peer.socket);
    await peer.until(() => !peer.socket.connecting, 'the connection');
    return { stream: await stream, owner, peer };
  }

  /** The stream of the next connection that comes. */
  expect(owner: Recorder): Promise<ByteStream> {
    this.next.push(owner);
    return new Promise((resolve) => this.expected.push(resolve));
  }

  /** A stream that opened its connection itself. */
  async connect(owner: Recorder = new Recorder()): Promise<Connection> {
    const { port } = this.server.address() as AddressInfo;
    const accepted = once(this.server, 'connection') as Promise<[Socket]>;
    const stream = this.net.openConnection({ address: '127.0.0.1', port }, this.watch(owner));
    this.streams.add(stream);
    const [socket] = await accepted;
    this.sockets.add(socket);
    await owner.until(() => owner.heard.includes('connect'), 'the connection');
    const peer = new Peer(socket);
    socket.resume();
    return { stream, owner, peer };
  }

  /** Has the clean-up look at a stream or an owner that the test made itself. */
  watch(owner: Recorder): Recorder {
    this.owners.push(owner);
    return owner;
  }

  /**
   * Lets everything happen that is under way on this machine: others have gone to and fro three
   * times meanwhile.
   */
  async settle(): Promise<void> {
    const { stream, owner, peer } = await this.accept();
    owner.take = (bytes) => stream.write(Buffer.from(bytes));
    stream.read(true);
    for (let round = 1; round <= 3; round++) {
      peer.socket.write('x');
      await peer.untilReceived(round);
    }
    stream.destroy();
    peer.socket.destroy();
  }

  /** After each test: nothing may be open, and no owner may have heard what it must not. */
  cleanUp(): void {
    for (const socket of this.sockets) socket.destroy();
    for (const stream of this.streams) stream.destroy();
    const violations = this.owners.flatMap((owner) => owner.violations);
    for (const list of [this.owners, this.expected, this.next]) list.length = 0;
    this.sockets.clear();
    this.streams.clear();
    expect(violations).toEqual([]);
  }

  close(): void {
    this.listener.close();
    this.server.close();
  }

  private accepted(take: (owner: Recorder) => ByteStream): void {
    const stream = take(this.watch(this.next.shift() ?? new Recorder()));
    this.streams.add(stream);
    this.expected.shift()?.(stream);
  }
}

/** Declares the same tests for both implementations of ByteStream. */
export function describeBoth(declare: (lab: () => Lab) => void): void {
  describe.each(APIS)('on %s', (api) => {
    let lab: Lab;
    beforeAll(async () => {
      lab = await Lab.open(await loadNet(api));
    });
    afterEach(() => lab.cleanUp());
    afterAll(() => lab.close());
    declare(() => lab);
  });
}

/** Bytes without order, the same for the same seed. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = (seed * 2654435761) >>> 0;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** Compares without printing megabytes when it fails: answers where they begin to differ. */
export function firstDifference(actual: Uint8Array, expected: Uint8Array): number | undefined {
  const length = Math.min(actual.length, expected.length);
  if (Buffer.compare(actual, expected) === 0) return undefined;
  for (let i = 0; i < length; i++) if (actual[i] !== expected[i]) return i;
  return length;
}
