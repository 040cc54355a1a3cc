import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import type { ByteStream } from '../../../src/net/byte-stream.ts';
import { ByteLog } from './byte-log.ts';
import { describeBoth, firstDifference, type Lab, pattern } from './lab.ts';
import type { Peer } from './peer.ts';
import { Recorder } from './recorder.ts';
import { connectTls, serverTls, Tap, TLS_VERSIONS, type TlsVersion } from './tls-peer.ts';
import { Watched } from './watched.ts';

const MiB = 1024 * 1024;
const NOTHING = Buffer.alloc(0);
const tls = serverTls();

/** A stream that waits for a handshake, and the plain socket at the other end. */
async function awaiting(lab: Lab, owner = new Recorder()) {
  const { stream, peer } = await lab.accept(owner);
  return { stream: stream.startTls(tls, NOTHING), owner, peer };
}

/** A stream on which the handshake is complete, and the TLS client. */
async function secured(lab: Lab, version: TlsVersion, owner = new Recorder()) {
  const { stream, peer } = await awaiting(lab, owner);
  const client = connectTls(peer, version);
  await owner.until(() => owner.secured, 'the handshake');
  return { stream, owner, client };
}

/** The same with a tap below the client: what the client sends now is held. */
async function tapped(lab: Lab, version: TlsVersion, owner = new Recorder()) {
  const { stream, peer } = await awaiting(lab, owner);
  const tap = new Tap(peer, version);
  tap.flow();
  await Promise.all([
    once(tap.tls, 'secureConnect'),
    owner.until(() => owner.secured, 'the handshake'),
  ]);
  tap.holds = true;
  return { stream, owner, peer, tap };
}

/** Sends back what comes, and reads no faster than the peer does. */
function echoing(): Recorder {
  const owner = new Recorder({ onDrain: (stream) => stream.read(true) });
  owner.take = (bytes, stream) => {
    if (!stream.write(bytes)) stream.read(false);
  };
  return owner;
}

/** A handshake of which `cut` bytes are read before TLS starts. Answers the ClientHello's length. */
async function handshakeCutAt(lab: Lab, version: TlsVersion, cut: number): Promise<number> {
  const owner = new Recorder();
  const { stream, peer } = await lab.accept(owner);
  const tap = new Tap(peer, version);
  const { length } = await tap.hello();
  let secure: ByteStream | undefined;
  const read = new ByteLog();
  owner.take = (bytes, plain) => {
    read.append(bytes);
    if (read.length < cut) return;
    owner.take = undefined;
    secure = plain.startTls(tls, read.bytes);
  };
  if (cut === 0) owner.take(NOTHING, stream);
  stream.read(true);
  tap.letGo(cut);
  await owner.until(() => secure !== undefined, 'the bytes before the cut');
  tap.flow();
  await owner.until(() => owner.secured, `the handshake cut at ${cut}`);
  tap.tls.write('done');
  secure?.read(true);
  await owner.untilReceived(4);
  expect(owner.received.text).toBe('done');
  lab.cleanUp();
  return length;
}

describeBoth((lab) => {
  describe.each(TLS_VERSIONS)('%s', (version) => {
    it('carries data both ways', async () => {
      const { stream, client } = await secured(lab(), version, echoing());
      stream.read(true);
      client.socket.write('to and fro');
      await client.untilReceived(10);
      expect(client.received.text).toBe('to and fro');
      expect((client.socket as TLSSocket).getProtocol()).toBe(version);
      expect((client.socket as TLSSocket).authorized).toBe(true);
      expect(stream.addresses()?.remote.port).toBe(client.socket.localPort);
    });

    it('begins with a ClientHello cut at any byte', { timeout: 60_000 }, async () => {
      let length = 1;
      for (let cut = 0; cut <= length; cut++) length = await handshakeCutAt(lab(), version, cut);
      expect(length).toBeGreaterThan(100);
    });

    it('can be read before it is up', async () => {
      const { stream, owner, peer } = await awaiting(lab());
      stream.read(true);
      const client = connectTls(peer, version);
      client.socket.write('first');
      await owner.untilReceived(5);
      expect(owner.heard).toEqual(['secure', 'data']);
      stream.write(Buffer.from('second'));
      await client.untilReceived(6);
    });

    it('can be written to as soon as it is up', async () => {
      const owner = new Recorder({
        onSecure: (stream) => {
          stream.write(Buffer.from('welcome'));
          stream.end(false);
        },
      });
      const { peer } = await awaiting(lab(), owner);
      const client = connectTls(peer, version);
      await client.untilEnded();
      expect(client.received.text).toBe('welcome');
    });

    it('holds what comes before it is wanted, with the end behind it', async () => {
      const { stream, owner, peer, tap } = await tapped(lab(), version);
      const sent = Array.from({ length: 20 }, (_, i) => pattern(1000, i));
      await tap.send(...sent);
      await tap.finish();
      tap.letGo();
      peer.socket.end();
      await lab().settle();
      expect(owner.heard).toEqual(['secure']);
      stream.read(true);
      await owner.until(() => owner.ended, 'the end');
      expect(firstDifference(owner.received.bytes, Buffer.concat(sent))).toBeUndefined();
      stream.end(false);
      await owner.untilClosed();
      expect(owner.heard).toEqual(['secure', 'data', 'end', 'close']);
    });

    it.each(['destroy', 'reset'] as const)(
      'may be ended by %s with data and an end still held',
      async (end) => {
        const owner = new Recorder({ onData: (stream) => stream[end]() });
        const { stream, peer, tap } = await tapped(lab(), version, owner);
        await tap.send(...Array.from({ length: 5 }, (_, i) => pattern(1000, i)));
        await tap.finish();
        tap.letGo();
        peer.socket.end();
        await lab().settle();
        stream.read(true);
        await owner.untilClosed();
        expect(owner.heard).toEqual(['secure', 'data', 'close']);
        await lab().settle();
      },
    );

    it('stops in the middle of a burst of records', async () => {
      const owner = new Recorder({ onData: (stream) => stream.read(false) });
      const { stream, tap } = await tapped(lab(), version, owner);
      const sent = Array.from({ length: 60 }, (_, i) => pattern(1 + i * 17, i));
      await tap.send(...sent);
      tap.letGo();
      for (let records = 1; records <= sent.length; records++) {
        const before = owner.received.length;
        stream.read(true);
        await owner.untilReceived(before + 1);
        const { length } = owner.received;
        if (records <= 3) await lab().settle();
        expect(owner.received.length).toBe(length);
        if (length === Buffer.concat(sent).length) break;
      }
      expect(firstDifference(owner.received.bytes, Buffer.concat(sent))).toBeUndefined();
    });

    it('may be stopped and started while it hands out a burst', async () => {
      const owner = new Recorder({
        onData: (stream) => {
          for (const wanted of [false, true]) stream.read(wanted);
        },
      });
      const { stream, peer, tap } = await tapped(lab(), version, owner);
      const sent = Array.from({ length: 20 }, (_, i) => pattern(500, i));
      await tap.send(...sent);
      await tap.finish();
      tap.letGo();
      peer.socket.end();
      await lab().settle();
      for (const wanted of [true, false, true]) stream.read(wanted);
      await owner.until(() => owner.ended, 'the end');
      expect(firstDifference(owner.received.bytes, Buffer.concat(sent))).toBeUndefined();
    });

    it('carries much in both directions at the pace of the slower', {
      timeout: 30_000,
    }, async () => {
      const owner = echoing();
      const { stream, client } = await secured(lab(), version, owner);
      const take = owner.take;
      let most = 0;
      owner.take = (bytes, from) => {
        take?.(bytes, from);
        most = Math.max(most, stream.pendingBytes);
      };
      const sent = pattern(8 * MiB);
      let pauses = 0;
      client.socket.on('data', () => {
        if (client.received.length < (pauses + 1) * 100_000) return;
        pauses += 1;
        client.socket.pause();
        void lab()
          .settle()
          .then(() => client.socket.resume());
      });
      stream.read(true);
      client.socket.write(sent);
      await client.untilReceived(sent.length);
      expect(firstDifference(client.received.bytes, sent)).toBeUndefined();
      expect(most).toBeLessThan(256 * 1024);
      expect(pauses).toBeGreaterThan(20);
    });

    it('sends much to a slow client, then the end', { timeout: 30_000 }, async () => {
      const { stream, owner, client } = await secured(lab(), version);
      const sent = pattern(12 * MiB);
      client.socket.pause();
      for (let i = 0; i < sent.length; i += MiB) stream.write(sent.subarray(i, i + MiB));
      stream.end(false);
      await lab().settle();
      expect(owner.drains).toBe(0);
      client.socket.resume();
      await client.untilEnded();
      expect(firstDifference(client.received.bytes, sent)).toBeUndefined();
      expect(owner.drains).toBe(1);
      expect(stream.pendingBytes).toBe(0);
    });

    it('ends with close_notify and FIN', async () => {
      const { stream, owner, client } = await secured(lab(), version);
      stream.read(true);
      client.socket.end('last');
      await owner.until(() => owner.ended, 'the end');
      expect(owner.received.text).toBe('last');
      expect(owner.closed).toBe(false);
      stream.end(false);
      await owner.untilClosed();
      expect(owner.error).toBeUndefined();
      await client.untilClosed();
      expect(client.error).toBeUndefined();
    });

    it('ends with FIN alone', async () => {
      const { stream, owner, peer, tap } = await tapped(lab(), version);
      stream.read(true);
      await tap.send(Buffer.from('last'));
      tap.letGo();
      peer.socket.end();
      await owner.until(() => owner.ended, 'the end');
      expect(owner.received.text).toBe('last');
      stream.end(false);
      await owner.untilClosed();
      expect(owner.error).toBeUndefined();
    });

    it('is cut off by the reset of the client', async () => {
      const { stream, owner, peer } = await tapped(lab(), version);
      stream.read(true);
      await lab().settle();
      peer.socket.resetAndDestroy();
      await owner.untilClosed();
      expect(owner.error).toBe('ECONNRESET');
    });

    it('is cut off by a record that was tampered with', async () => {
      const { stream, owner, tap } = await tapped(lab(), version);
      stream.read(true);
      await tap.send(Buffer.from('some text'));
      tap.held.writeUInt8(tap.held.readUInt8(tap.held.length - 1) ^ 1, tap.held.length - 1);
      tap.letGo();
      await owner.untilClosed();
      expect(owner.received.length).toBe(0);
      expect(owner.error).toMatch(/^ERR_SSL_/);
    });

    it('tells the client of a reset', async () => {
      const { stream, owner, client } = await secured(lab(), version);
      // libuv shows a reset as an end where unread data, such as session tickets, is in front of it.
      await lab().settle();
      stream.reset();
      await client.untilClosed();
      expect(client.error).toBe('ECONNRESET');
      expect(owner.heard).toEqual(['secure', 'close']);
    });
  });

  it('takes data that comes in one segment with the end of the handshake', async () => {
    const { stream, owner, peer } = await awaiting(lab());
    const tap = new Tap(peer, 'TLSv1.3');
    await tap.hello();
    tap.letGo();
    // TLS 1.3 is complete for the client when its own Finished is on the way: here, held.
    await once(tap.tls, 'secureConnect');
    expect(owner.secured).toBe(false);
    await tap.send(Buffer.from('early '), Buffer.from('words'));
    tap.letGo();
    await owner.until(() => owner.secured, 'the handshake');
    await lab().settle();
    expect(owner.heard).toEqual(['secure']);
    stream.read(true);
    await owner.untilReceived(11);
    expect(owner.received.text).toBe('early words');
  });

  describe('within the handshake', () => {
    /** The client's first flight is at `fraction` of its length when `act` is called. */
    async function interrupted(fraction: number, act: (peer: Peer) => void): Promise<Recorder> {
      const { owner, peer } = await awaiting(lab());
      const tap = new Tap(peer, 'TLSv1.3');
      const { length } = await tap.hello();
      tap.letGo(Math.floor(length * fraction));
      await lab().settle();
      act(peer);
      await owner.until(() => owner.ended || owner.closed, 'some end');
      expect(owner.secured).toBe(false);
      return owner;
    }

    it.each([0, 0.01, 0.5, 1])('FIN after %f of the ClientHello is told', async (fraction) => {
      await interrupted(fraction, (peer) => peer.socket.end());
    });

    it.each([0, 0.01, 0.5, 1])('a reset after %f of it is told', async (fraction) => {
      const owner = await interrupted(fraction, (peer) => peer.socket.resetAndDestroy());
      expect(owner.closed).toBe(true);
      expect(owner.error).toBe('ECONNRESET');
    });

    const garbage: [string, Buffer][] = [
      ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n')],
      ['SMTP', Buffer.from('EHLO example.com\r\n')],
      [
        'an SSLv2 hello',
        Buffer.concat([Buffer.from('802e0100020015000000100100', 'hex'), pattern(64)]),
      ],
      ['zeros', Buffer.alloc(4096)],
      ['a record that is too long', Buffer.from('160301ffff', 'hex')],
      ['data without a handshake', Buffer.from('1703030005aaaaaaaaaa', 'hex')],
      ['a hello of nonsense', Buffer.from('16030100080100000400000000', 'hex')],
      ['an alert', Buffer.from('15030100020228', 'hex')],
      ['noise', pattern(64 * 1024, 99)],
    ];

    it.each(garbage)('%s ends the connection with an error', async (_what, bytes) => {
      const { owner, peer } = await awaiting(lab());
      peer.socket.write(bytes);
      await owner.untilClosed();
      expect(owner.heard).toEqual(['close']);
      expect(owner.error).toMatch(/^ERR_/);
      await peer.until(() => peer.ended || peer.closed, 'some end');
    });

    it('a ClientHello with a wrong byte anywhere does no harm', { timeout: 30_000 }, async () => {
      let length = 1;
      for (let at = 0; at < length; at += 5) {
        const { owner, peer } = await awaiting(lab());
        const tap = new Tap(peer, 'TLSv1.3');
        const hello = await tap.hello();
        length = hello.length;
        hello.writeUInt8(hello.readUInt8(at) ^ 0x15, at);
        tap.flow();
        // Some bytes can be changed and the client notices, others make the server wait for more.
        await Promise.race([
          owner.until(() => owner.closed || owner.ended || owner.secured, 'an answer'),
          lab().settle(),
        ]);
        peer.socket.destroy();
        await owner.until(() => owner.closed || owner.ended, 'some end');
        lab().cleanUp();
      }
    });
  });

  describe('openssl s_client', () => {
    async function withClient(
      args: readonly string[],
      act: (client: SslClient, owner: Recorder, stream: ByteStream) => Promise<void>,
    ): Promise<void> {
      const owner = new Recorder();
      const accepted = lab().expect(owner);
      const client = new SslClient(['-connect', `127.0.0.1:${lab().port}`, ...args]);
      try {
        const stream = (await accepted).startTls(tls, NOTHING);
        stream.read(true);
        await owner.until(() => owner.secured, 'the handshake');
        await act(client, owner, stream);
      } finally {
        await client.stop();
      }
    }

    it('may not negotiate anew in TLS 1.2', async () => {
      await withClient(['-tls1_2'], async (client, owner) => {
        client.type('before');
        await owner.untilReceived(7);
        client.type('R');
        await owner.untilClosed();
        expect(owner.error).toMatch(/HANDSHAKE_FAILURE/);
        expect(owner.received.text).toBe('before\n');
      });
    });

    it('may change its keys in TLS 1.3', async () => {
      await withClient(['-tls1_3'], async (client, owner, stream) => {
        client.type('before');
        await owner.untilReceived(7);
        for (const [command, word] of [
          ['k', 'one'],
          ['K', 'two'],
        ] as const) {
          client.type(command);
          await client.says('KEYUPDATE');
          client.type(word);
          await owner.until(() => owner.received.text.endsWith(`${word}\n`), word);
          stream.write(Buffer.from(`${word} heard`));
          await client.says(`${word} heard`);
        }
        expect(owner.closed).toBe(false);
      });
    });
  });
});

/** `openssl s_client`, which takes commands of one letter on lines of their own. */
class SslClient extends Watched {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly gone: Promise<unknown>;
  private said = '';

  constructor(args: readonly string[]) {
    super();
    this.child = spawn('openssl', ['s_client', ...args]);
    this.gone = once(this.child, 'exit');
    this.child.stdin.on('error', () => {});
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on('data', (bytes) => {
        this.said += bytes;
        this.changed();
      });
    }
  }

  type(line: string): void {
    this.child.stdin.write(`${line}\n`);
  }

  /** Waits for a text, and takes it with all before it off what was said. */
  async says(text: string): Promise<void> {
    await this.until(() => this.said.includes(text), text);
    this.said = this.said.slice(this.said.indexOf(text) + text.length);
  }

  async stop(): Promise<void> {
    this.child.kill();
    await this.gone;
  }

  protected story(): string {
    return this.said;
  }
}
