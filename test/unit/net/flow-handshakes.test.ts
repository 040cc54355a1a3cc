import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { FlowLab, type FlowOptions, type Handlers } from './flow-lab.ts';
import { flipping } from './flow-rules.ts';
import { inRecords, messageWith } from './hello-bytes.ts';
import { describeBoth, firstDifference, pattern } from './lab.ts';
import { Peer } from './peer.ts';
import { acceptTls, connectTls, Tap, TLS_VERSIONS } from './tls-peer.ts';

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

  describe('the ClientHello', () => {
    it.each([false, true])('may come byte by byte, detachable: %s', async (detachable) => {
      await open({ clientTls: true, detachable });
      const served = lab.served();
      const client = await lab.client();
      const tap = new Tap(client, 'TLSv1.3');
      await tap.hello();
      while (tap.held.length > 0) {
        tap.letGo(1);
        await new Promise((resolve) => setImmediate(resolve));
      }
      tap.flow();
      const server = await served;
      tap.tls.write('through');
      await server.untilReceived(7);
    });

    it('may come in one burst with more behind it', async () => {
      await open({ clientTls: true });
      const served = lab.served();
      const tap = new Tap(await lab.client(), 'TLSv1.2');
      const hello = await tap.hello();
      // What a hello in records of ten bytes looks like.
      tap.held = Buffer.from(inRecords(hello.subarray(5), 10));
      tap.flow();
      await once(tap.tls, 'secureConnect');
      tap.tls.write('through');
      await (await served).untilReceived(7);
    });

    async function expectRefused(bytes: Buffer, reason: string): Promise<void> {
      const client = await lab.client();
      client.socket.write(bytes);
      await client.untilClosed();
      await lab.host.untilIdle();
      expect(lab.host.logs).toEqual([
        `info: the TLS handshake with the client failed: the ClientHello ${reason}`,
      ]);
    }

    it('is refused when it is too long', async () => {
      await open({ clientTls: true });
      const extensions = [[21, Buffer.alloc(17_000)]] as const;
      await expectRefused(inRecords(messageWith({ extensions }), 4000), 'is too long');
    });

    it('must be one, from its first byte on', async () => {
      await open({ clientTls: true });
      await expectRefused(Buffer.from('E'), 'is not in a TLS handshake record');
    });

    it('does not wait for ever', async () => {
      await open({ clientTls: true, timeouts: { handshake: SHORT } });
      const tap = new Tap(await lab.client(), 'TLSv1.3');
      const { length } = await tap.hello();
      tap.letGo(length - 1);
      await lab.host.untilIdle();
      expect(lab.host.logs.join()).toContain('took longer than the handshakeTimeout');
    });
  });

  describe('CLIENTSSL_CLIENTHELLO', () => {
    it('may send the ClientHello on to the server as it came', async () => {
      const passing: Handlers = {
        CLIENTSSL_CLIENTHELLO: (run) => {
          expect(run.services.clientHello()?.serverName).toBe('localhost');
          run.emit({ type: 'tls', side: 'client', enabled: false });
          return undefined;
        },
      };
      await open({ clientTls: true, handlers: passing });
      const served = lab.served();
      const tap = new Tap(await lab.client(), 'TLSv1.3');
      const hello = Buffer.from(await tap.hello());
      tap.letGo(100);
      await net().settle();
      tap.letGo();
      const server = await served;
      await server.untilReceived(hello.length);
      expect(server.received.bytes.equals(hello)).toBe(true);
      server.socket.pause();
      server.socket.unshift(hello);
      const secure = acceptTls(server);
      tap.flow();
      await once(tap.tls, 'secureConnect');
      const [up, down] = [pattern(3 * MiB, 1), pattern(3 * MiB, 2)];
      const client = new Peer(tap.tls);
      tap.tls.write(up);
      secure.socket.write(down);
      await Promise.all([client.untilReceived(down.length), secure.untilReceived(up.length)]);
      expect(firstDifference(client.received.bytes, down)).toBeUndefined();
      expect(firstDifference(secure.received.bytes, up)).toBeUndefined();
    });

    it('may take its time, and answer', async () => {
      let entered: (settle: () => void) => void = () => {};
      const suspended = new Promise<() => void>((resolve) => {
        entered = resolve;
      });
      const slow: Handlers = {
        CLIENTSSL_CLIENTHELLO: (_run, settled) => {
          entered(() => settled({ type: 'done' }));
          return { type: 'suspended' };
        },
      };
      await open({ clientTls: true, handlers: slow });
      const served = lab.served();
      const client = connectTls(await lab.client());
      const settle = await suspended;
      await net().settle();
      settle();
      client.socket.write('through');
      await (await served).untilReceived(7);
    });

    it('in mid-stream may leave the client in plaintext', async () => {
      const handlers: Handlers = {
        ...flipping('client'),
        CLIENT_ACCEPTED: (run) => {
          run.emit({ type: 'tls', side: 'client', enabled: false });
          return undefined;
        },
        CLIENTSSL_CLIENTHELLO: (run) => {
          run.emit({ type: 'tls', side: 'client', enabled: false });
          return undefined;
        },
      };
      await open({ clientTls: true, handlers });
      const { client, server } = await lab.pair();
      client.socket.write('before STARTTLS\n');
      await client.untilReceived(3);
      const tap = new Tap(client, 'TLSv1.3');
      const hello = Buffer.from(await tap.hello());
      tap.letGo();
      await server.untilReceived(7 + hello.length);
      expect(server.received.bytes.subarray(7).equals(hello)).toBe(true);
    });
  });

  describe.each(TLS_VERSIONS)('TLS of %s on both sides', (version) => {
    async function pair(options: FlowOptions) {
      await open({ clientTls: true, serverTls: true, ...options });
      const served = lab.served();
      const client = connectTls(await lab.client(), version);
      const server = acceptTls(await served, version);
      return { client, server };
    }

    it.each([false, true])(
      'moves much, and ends, detachable: %s',
      { timeout: 20_000 },
      async (detachable) => {
        const { client, server } = await pair({ detachable });
        const [up, down] = [pattern(8 * MiB, 1), pattern(8 * MiB, 2)];
        client.socket.end(up);
        server.socket.write(down);
        await Promise.all([server.untilEnded(), client.untilReceived(down.length)]);
        server.socket.end();
        await client.untilEnded();
        expect(firstDifference(server.received.bytes, up)).toBeUndefined();
        expect(firstDifference(client.received.bytes, down)).toBeUndefined();
        await lab.host.untilIdle();
        expect(lab.host.logs).toEqual([]);
      },
    );

    it.each([
      ['client', false],
      ['client', true],
      ['server', false],
      ['server', true],
    ] as const)(
      'a FIN without close_notify by the %s is passed on as one, detachable: %s',
      async (first, detachable) => {
        await open({ clientTls: true, serverTls: true, detachable });
        const served = lab.served();
        const client = new Tap(await lab.client(), version);
        client.flow();
        const server = new Tap(await served, version, 'server');
        server.flow();
        const [cut, other] = first === 'client' ? [client, server] : [server, client];
        cut.tls.write('last words');
        const [words] = await once(other.tls, 'data');
        expect(String(words)).toBe('last words');
        await net().settle();
        const { arrived } = other;
        cut.below.socket.end();
        await other.below.untilEnded();
        // No alert came in front of it.
        expect(other.arrived).toBe(arrived);
      },
    );

    it('a server that fails in the handshake resets the client', async () => {
      await open({ clientTls: true, serverTls: true });
      const served = lab.served();
      const client = connectTls(await lab.client(), version);
      const server = await served;
      server.socket.write('220 ready\r\n');
      await client.untilClosed();
      await lab.host.untilIdle();
      expect(lab.host.logs.join()).toMatch(
        /^warn: the TLS handshake with the server failed: ERR_SSL/,
      );
    });

    it('a server that never answers resets the client', async () => {
      await open({ serverTls: true, timeouts: { handshake: SHORT } });
      const { client } = await lab.pair();
      await client.untilClosed();
      expect(client.error).toBe('ECONNRESET');
      await lab.host.untilIdle();
      expect(lab.host.logs).toEqual([
        'warn: the TLS handshake with the server failed: it took longer than the handshakeTimeout',
      ]);
    });
  });
});
