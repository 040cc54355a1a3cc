import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import type { Side } from '../../../src/core/types.ts';
import { issueCertificate } from '../../../src/net/certificate.ts';
import { FlowLab, type FlowOptions, type Handlers } from './flow-lab.ts';
import { collects, flipping } from './flow-rules.ts';
import { describeBoth, firstDifference, pattern } from './lab.ts';
import { Peer } from './peer.ts';
import { acceptTls, authority, connectTls, Tap, unread } from './tls-peer.ts';

const MiB = 1024 * 1024;
/** In milliseconds. The clock looks every 100. */
const SHORT = 150;

describeBoth((net) => {
  let lab: FlowLab;

  async function open(options: FlowOptions): Promise<FlowLab> {
    lab = await FlowLab.open(net().net, options);
    return lab;
  }

  afterEach(async () => {
    await lab.close();
    expect(lab.host.ticking.size).toBe(0);
    expect(lab.host.sessions).toBe(0);
    expect(lab.host.internalErrors).toEqual([]);
    expect(lab.host.ruleErrors).toEqual([]);
  });

  describe.each([
    ['client', 'TLSv1.2'],
    ['client', 'TLSv1.3'],
    ['server', 'TLSv1.2'],
    ['server', 'TLSv1.3'],
  ] as const)('on the %s side, %s', (side, version) => {
    const plainFirst: Handlers = {
      CLIENT_ACCEPTED: (run) => {
        run.emit({ type: 'tls', side, enabled: false });
        return undefined;
      },
      ...flipping(side),
    };

    /** The one whose TLS is changed, and the one at the other end. */
    async function ends(handlers: Handlers = plainFirst) {
      const both = { clientTls: side === 'client', serverTls: side === 'server' };
      await open({ handlers, detachable: true, ...both });
      const { client, server } = await lab.pair();
      return side === 'client' ? { near: client, far: server } : { near: server, far: client };
    }

    /** Puts TLS on, sends `x` inside it, asks for the end of TLS, and has seen that of the flow. */
    async function plainAsked(near: Peer): Promise<Tap> {
      near.socket.write('STARTTLS\n');
      await near.untilReceived(3);
      unread(near, 3);
      const tap = new Tap(near, version, side === 'client' ? 'client' : 'server');
      tap.flow();
      tap.tls.resume();
      tap.tls.write('xPLAIN\n');
      await once(tap.tls, 'end');
      return tap;
    }

    it('TLS goes on and off three times, with much around each time', {
      timeout: 20_000,
    }, async () => {
      const { near: first, far } = await ends();
      let near = first;
      const letters = (seed: number) => pattern(100_000, seed).toString('hex');
      let sent = '';
      let answered = 0;
      /** Data and a command in one go, and as much the other way. */
      const say = async (peer: Peer, command: string, seed: number) => {
        const [there, back] = [letters(seed), letters(seed + 1)];
        const heard = peer.received.length;
        far.socket.write(back);
        await peer.untilReceived(heard + back.length);
        sent += there;
        peer.socket.write(`${there}${command}\n`);
        await far.untilReceived(sent.length);
        const answer = heard + back.length + 3;
        await peer.untilReceived(answer);
        expect(peer.received.text.slice(heard, answer)).toBe(`${back}OK\n`);
        if (command === 'STARTTLS') unread(peer, answer);
        answered += 1;
      };
      for (let turn = 0; turn < 3; turn++) {
        await say(near, 'STARTTLS', 10 * turn);
        const tap = new Tap(near, version, side === 'client' ? 'client' : 'server');
        tap.flow();
        const inner = new Peer(tap.tls);
        await say(inner, 'PLAIN', 10 * turn + 5);
        await inner.untilEnded();
        await tap.closeNotify();
        near = tap.release();
      }
      await say(near, 'BYE', 99);
      expect(answered).toBe(7);
      expect(firstDifference(Buffer.from(far.received.text), Buffer.from(sent))).toBeUndefined();
      // Nothing is collected any more: spliced.
      const [there, back] = [pattern(3 * MiB, 1), pattern(3 * MiB, 2)];
      const heard = near.received.length;
      near.socket.end(there);
      far.socket.write(back);
      await Promise.all([far.untilEnded(), near.untilReceived(heard + back.length)]);
      far.socket.end();
      await near.untilEnded();
      expect(firstDifference(far.received.bytes.subarray(sent.length), there)).toBeUndefined();
      expect(firstDifference(near.received.bytes.subarray(heard), back)).toBeUndefined();
      await lab.host.untilIdle();
      expect(lab.host.logs).toEqual([]);
    });

    it('three layers of TLS, one in the other', { timeout: 20_000 }, async () => {
      const { near: first, far } = await ends();
      let near = first;
      for (let depth = 1; depth <= 3; depth++) {
        const heard = near.received.length;
        near.socket.write('STARTTLS\n');
        await near.untilReceived(heard + 3);
        unread(near, heard + 3);
        near = side === 'client' ? connectTls(near, version) : acceptTls(near, version);
        const data = pattern(100_000, depth).toString('hex');
        const before = far.received.length;
        near.socket.write(data);
        await far.untilReceived(before + data.length);
        expect(far.received.text.slice(before)).toBe(data);
        far.socket.write(data);
        await near.untilReceived(data.length);
        expect(near.received.text).toBe(data);
      }
    });

    it('plaintext may come in one segment with the end of TLS', async () => {
      const { near, far } = await ends();
      const tap = await plainAsked(near);
      tap.holds = true;
      await tap.finish();
      const plain = `${'y'.repeat(70_000)}STARTTLS\n`;
      const after = tap.release();
      after.socket.write(Buffer.concat([tap.held, Buffer.from(plain)]));
      await far.untilReceived(70_001);
      await after.untilReceived(3);
      unread(after, 3);
      const again = side === 'client' ? connectTls(after, version) : acceptTls(after, version);
      again.socket.write('z');
      await far.untilReceived(70_002);
      expect(far.received.text).toBe(`x${'y'.repeat(70_000)}z`);
    });

    it('data inside TLS behind the command that ends it is refused', async () => {
      const { near } = await ends();
      const tap = await plainAsked(near);
      tap.tls.write('still inside');
      await lab.host.untilIdle();
      expect(lab.host.logs.join()).toContain('sent data inside TLS behind the command');
    });

    it('a peer that closes TCP instead of TLS ends the flow in order', async () => {
      const { near, far } = await ends();
      await plainAsked(near);
      near.socket.end();
      await far.untilEnded();
      expect(far.received.text).toBe('x');
      far.socket.end();
      await lab.host.untilIdle();
      expect(lab.host.logs).toEqual([]);
    });

    it('a peer that does not end TLS runs into the time-out', async () => {
      const both = { clientTls: side === 'client', serverTls: side === 'server' };
      const timeouts = { handshake: SHORT };
      await open({ handlers: plainFirst, detachable: true, timeouts, ...both });
      const { client, server } = await lab.pair();
      await plainAsked(side === 'client' ? client : server);
      await lab.host.untilIdle();
      expect(lab.host.logs.join()).toContain(`taking TLS off the ${side} side failed: it took`);
    });
  });

  it('data inside TLS is refused while the server has it taken off', async () => {
    const handlers: Handlers = {
      SERVER_CONNECTED: collects,
      SERVER_DATA: (run) => {
        run.emit({ type: 'tls', side: 'client', enabled: false });
        return undefined;
      },
    };
    await open({ handlers, clientTls: true, detachable: true });
    const served = lab.served();
    const tap = new Tap(await lab.client(), 'TLSv1.3');
    tap.flow();
    tap.tls.resume();
    const server = await served;
    tap.tls.write('before');
    await server.untilReceived(6);
    server.socket.write('OFF\n');
    await once(tap.tls, 'end');
    tap.tls.write('still inside');
    await lab.host.untilIdle();
    expect(lab.host.logs.join()).toContain('sent data inside TLS behind the command');
    expect(server.received.text).toBe('before');
  });

  describe.each([false, true])(
    'bytes on their way to a slow peer, detachable: %s',
    (detachable) => {
      /** Sends until some of it waits inside Portreeve for the paused receiver. */
      async function fill(from: Peer, to: Side): Promise<Buffer> {
        const sent: Buffer[] = [];
        const stream = lab.flow().stream(to);
        for (let seed = 1; stream?.pendingBytes === 0 && seed < 1000; seed++) {
          sent.push(pattern(16_000, seed));
          await new Promise((resolve) => from.socket.write(sent.at(-1) ?? '', resolve));
          await net().settle();
        }
        return Buffer.concat(sent);
      }

      it("survive the client's handshake", { timeout: 20_000 }, async () => {
        const handlers: Handlers = {
          CLIENT_ACCEPTED: (run) => {
            run.emit({ type: 'tls', side: 'client', enabled: false });
            return undefined;
          },
          SERVER_CONNECTED: collects,
          SERVER_DATA: (run) => {
            run.emit({ type: 'respond', side: 'client', data: Buffer.from('GO\n') });
            run.emit({ type: 'tls', side: 'client', enabled: true });
            const length = run.payloadLength('server');
            run.emit({ type: 'replace', side: 'server', offset: 0, length, data: Buffer.alloc(0) });
            return undefined;
          },
        };
        await open({ handlers, clientTls: true, detachable });
        const { client, server } = await lab.pair();
        server.socket.pause();
        const sent = await fill(client, 'server');
        server.socket.write('GO\n');
        await client.untilReceived(3);
        // A hello as long as what waits: were it read to the same place, that would show.
        const ALPNProtocols = Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(250, 'x'));
        const secure = connectTls(client, 'TLSv1.3', { ALPNProtocols });
        await net().settle();
        server.socket.resume();
        secure.socket.write('inside');
        await server.untilReceived(sent.length + 6);
        expect(firstDifference(server.received.bytes.subarray(0, -6), sent)).toBeUndefined();
        expect(server.received.text.slice(-6)).toBe('inside');
      });

      it("survive the server's handshake", { timeout: 20_000 }, async () => {
        const handlers: Handlers = {
          CLIENT_ACCEPTED: (run) => {
            run.emit({ type: 'tls', side: 'server', enabled: false });
            return undefined;
          },
          SERVER_CONNECTED: (run) => {
            run.emit({ type: 'collect', side: 'client' });
            return undefined;
          },
          CLIENT_DATA: (run) => {
            const length = run.payloadLength('client');
            run.emit({ type: 'replace', side: 'client', offset: 0, length, data: Buffer.alloc(0) });
            run.emit({ type: 'tls', side: 'server', enabled: true });
            return undefined;
          },
        };
        await open({ handlers, serverTls: true, detachable });
        const { client, server } = await lab.pair();
        client.socket.pause();
        const sent = await fill(server, 'client');
        client.socket.write('GO\n');
        const { certPem, keyPem } = issueCertificate({ authority, names: ['localhost'] });
        const cert = certPem + authority.certPem.repeat(30);
        const secureContext = createSecureContext({ cert, key: keyPem });
        const secure = acceptTls(server, 'TLSv1.3', { secureContext });
        await once(secure.socket, 'secure');
        secure.socket.write('inside');
        await net().settle();
        client.socket.resume();
        await client.untilReceived(sent.length + 6);
        expect(firstDifference(client.received.bytes.subarray(0, -6), sent)).toBeUndefined();
        expect(client.received.text.slice(-6)).toBe('inside');
      });
    },
  );

  it('leaves nothing behind after 300 connections', { timeout: 60_000 }, async () => {
    const handlers = { ...flipping('client') };
    await open({ handlers, clientTls: true, serverTls: true, detachable: true });
    const run = async (turn: number) => {
      const served = lab.served();
      const client = connectTls(await lab.client());
      // Collected from the handshake on: the server is chosen when some of it is let go.
      client.socket.write('hello');
      const raw = await served;
      const server = acceptTls(raw);
      await server.untilReceived(5);
      if (turn % 3 === 0) {
        raw.socket.resetAndDestroy();
      } else if (turn % 3 === 1) {
        client.socket.end();
        await server.untilEnded();
        server.socket.end();
      } else {
        client.socket.write('PLAIN\n');
        await client.untilEnded();
        client.socket.destroy();
      }
      await client.untilClosed();
      raw.socket.destroy();
    };
    const batch = async () => {
      for (let turn = 0; turn < 30; turn++) await run(turn);
      await lab.host.untilIdle();
      await net().settle();
    };
    await batch();
    const before = openFiles();
    for (let turn = 1; turn < 10; turn++) await batch();
    expect(openFiles()).toBeLessThanOrEqual(before + 2);
  });
});

function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}
