import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { FlowLab, type FlowOptions, type Handlers } from './flow-lab.ts';
import { describeBoth, firstDifference, pattern } from './lab.ts';
import type { Peer } from './peer.ts';
import { connectTls, Tap } from './tls-peer.ts';

const MiB = 1024 * 1024;

/** Rules that put each piece of the client's data into upper case. */
const SHOUTING: Handlers = {
  SERVER_CONNECTED: (run) => {
    run.emit({ type: 'collect', side: 'client' });
    return undefined;
  },
  CLIENT_DATA: (run) => {
    const length = run.payloadLength('client');
    const data = Buffer.from(Buffer.from(run.payload('client')).toString('latin1').toUpperCase());
    run.emit({ type: 'replace', side: 'client', offset: 0, length, data });
    run.emit({ type: 'release', side: 'client', length });
    run.emit({ type: 'collect', side: 'client' });
    return undefined;
  },
};

/** Rules that answer STLS themselves, and then let TLS start. */
const STARTTLS: Handlers = {
  CLIENT_ACCEPTED: (run) => {
    run.emit({ type: 'tls', side: 'client', enabled: false });
    run.emit({ type: 'collect', side: 'client' });
    return undefined;
  },
  CLIENT_DATA: (run) => {
    if (!Buffer.from(run.payload('client')).toString().startsWith('STLS\n')) return undefined;
    run.emit({ type: 'respond', side: 'client', data: Buffer.from('OK\n') });
    run.emit({ type: 'replace', side: 'client', offset: 0, length: 5, data: Buffer.alloc(0) });
    run.emit({ type: 'tls', side: 'client', enabled: true });
    return undefined;
  },
};

describeBoth((net) => {
  let lab: FlowLab;

  async function open(options?: FlowOptions): Promise<FlowLab> {
    lab = await FlowLab.open(net().net, options);
    return lab;
  }

  afterEach(async () => {
    await lab.close();
    expect(lab.host.ticking.size).toBe(0);
    expect(lab.host.sessions).toBe(0);
  });

  function expectNoErrors(): void {
    expect(lab.host.internalErrors).toEqual([]);
    expect(lab.host.ruleErrors).toEqual([]);
  }

  describe('without rules', () => {
    it('moves much in both directions at once', async () => {
      const { client, server } = await (await open()).pair();
      const [up, down] = [pattern(20 * MiB, 1), pattern(20 * MiB, 2)];
      client.socket.end(up);
      server.socket.end(down);
      await Promise.all([client.untilEnded(), server.untilEnded()]);
      expect(firstDifference(server.received.bytes, up)).toBeUndefined();
      expect(firstDifference(client.received.bytes, down)).toBeUndefined();
      await lab.host.untilIdle();
      expect(lab.host.logs).toEqual([]);
      expectNoErrors();
    });

    it.each(['client', 'server'] as const)(
      'a half-close by the %s leaves the other half',
      async (first) => {
        const peers = await (await open()).pair();
        const [closing, open_] =
          first === 'client' ? [peers.client, peers.server] : [peers.server, peers.client];
        closing.socket.end('last words');
        await open_.untilEnded();
        expect(open_.received.text).toBe('last words');
        const answer = pattern(2 * MiB);
        open_.socket.end(answer);
        await closing.untilEnded();
        expect(firstDifference(closing.received.bytes, answer)).toBeUndefined();
        await lab.host.untilIdle();
        expectNoErrors();
      },
    );

    it.each(['client', 'server'] as const)('a reset by the %s is passed on', async (first) => {
      const peers = await (await open()).pair();
      const [resetting, other] =
        first === 'client' ? [peers.client, peers.server] : [peers.server, peers.client];
      resetting.socket.write('x');
      await other.untilReceived(1);
      resetting.socket.resetAndDestroy();
      await other.untilClosed();
      expect(other.error).toBe('ECONNRESET');
      await lab.host.untilIdle();
      expectNoErrors();
    });

    it('a reset within a transfer ends it', async () => {
      const { client, server } = await (await open()).pair();
      client.socket.pause();
      server.socket.write(pattern(32 * MiB));
      await net().settle();
      client.socket.resetAndDestroy();
      await server.untilClosed();
      await lab.host.untilIdle();
      expectNoErrors();
    });

    it('a server that cannot be reached resets the client', async () => {
      await open({ to: { address: '255.255.255.255', port: 9 } });
      const client = await lab.client();
      await client.untilClosed();
      expect(client.error).toBe('ECONNRESET');
      await lab.host.untilIdle();
      expect(lab.host.logs).toEqual(['warn: no server: 255.255.255.255:9: ENETUNREACH']);
      expectNoErrors();
    });

    it.each(['client', 'server'] as const)('a slow %s makes the other wait', async (slow) => {
      const peers = await (await open()).pair();
      const [reading, sending] =
        slow === 'client' ? [peers.client, peers.server] : [peers.server, peers.client];
      reading.socket.pause();
      const sent = pattern(64 * MiB);
      sending.socket.end(sent);
      await net().settle();
      expect(sending.socket.writableLength).toBeGreaterThan(sent.length / 2);
      reading.socket.resume();
      await reading.untilEnded();
      expect(firstDifference(reading.received.bytes, sent)).toBeUndefined();
    });
  });

  describe('with rules', () => {
    it('passes on what they make of the data', async () => {
      const { client, server } = await (await open({ handlers: SHOUTING })).pair();
      client.socket.write('hello ');
      await server.untilReceived(6);
      client.socket.end('world');
      await server.untilEnded();
      expect(server.received.text).toBe('HELLO WORLD');
      server.socket.end('hello client');
      await client.untilEnded();
      expect(client.received.text).toBe('hello client');
      await lab.host.untilIdle();
      expectNoErrors();
    });

    it('moves much through them in both directions', async () => {
      const { client, server } = await (await open({ handlers: SHOUTING })).pair();
      const up = Buffer.from(pattern(4 * MiB, 1).toString('hex'));
      const down = pattern(4 * MiB, 2);
      client.socket.end(up);
      server.socket.end(down);
      await Promise.all([client.untilEnded(), server.untilEnded()]);
      const shouted = Buffer.from(up.toString('latin1').toUpperCase());
      expect(firstDifference(server.received.bytes, shouted)).toBeUndefined();
      expect(firstDifference(client.received.bytes, down)).toBeUndefined();
      expectNoErrors();
    });

    it('starts TLS behind the answer to the command', async () => {
      await open({ handlers: STARTTLS, clientTls: true });
      const served = lab.served();
      const client = await lab.client();
      client.socket.write('STLS\n');
      await client.untilReceived(3);
      const secure = connectTls(client);
      const server = await served;
      secure.socket.write('secret');
      await server.untilReceived(6);
      server.socket.end('answer');
      await secure.untilEnded();
      expect(secure.received.text).toBe('answer');
      secure.socket.end();
      await lab.host.untilIdle();
      expectNoErrors();
    });

    it('passes on the end of a client that said all it had with its handshake', async () => {
      // Nobody handles the data: the first of it splices, while the end is known already.
      const collects: Handlers = {
        SERVER_CONNECTED: (run) => {
          run.emit({ type: 'collect', side: 'client' });
          return undefined;
        },
      };
      await open({ handlers: collects, clientTls: true });
      const served = lab.served();
      const tap = new Tap(await lab.client(), 'TLSv1.3');
      await tap.hello();
      tap.letGo();
      await once(tap.tls, 'secureConnect');
      await tap.send(Buffer.from('last words'));
      await tap.finish();
      tap.letGo();
      const server = await served;
      await server.untilEnded();
      expect(server.received.text).toBe('last words');
      server.socket.end();
      await lab.host.untilIdle();
      expectNoErrors();
    });

    it('refuses plaintext behind the command', async () => {
      await open({ handlers: STARTTLS, clientTls: true });
      const client = await lab.client();
      client.socket.write('STLS\nUSER injected\n');
      await client.until(() => client.ended || client.closed, 'some end');
      await lab.host.untilIdle();
      expect(lab.host.logs.join()).toContain('plaintext behind the command');
      expectNoErrors();
    });

    it('bears a client that is gone when TLS is to start', async () => {
      await open({ handlers: STARTTLS, clientTls: true });
      for (let turn = 0; turn < 20; turn++) {
        const client = await lab.client();
        client.socket.write('STLS\n');
        client.socket.resetAndDestroy();
        await lab.host.until(() => lab.host.flows.size > 0, 'the flow');
        await lab.host.untilIdle();
      }
      expectNoErrors();
    });

    it('does not read a client that never reads their answers', async () => {
      const queueLimit = 256 * 1024;
      const handlers: Handlers = {
        SERVER_CONNECTED: SHOUTING.SERVER_CONNECTED ?? (() => undefined),
        CLIENT_DATA: (run) => {
          const length = run.payloadLength('client');
          run.emit({ type: 'respond', side: 'client', data: Buffer.alloc(8 * length, 'x') });
          run.emit({ type: 'replace', side: 'client', offset: 0, length, data: Buffer.alloc(0) });
          run.emit({ type: 'collect', side: 'client' });
          answered += 8 * length;
          return undefined;
        },
      };
      let answered = 0;
      await open({ handlers, queueLimit });
      const { client } = await lab.pair();
      client.socket.pause();
      client.socket.write(pattern(64 * MiB));
      await net().settle();
      await net().settle();
      const before = answered;
      await net().settle();
      expect(answered).toBe(before);
      // What the kernels hold, the limit, and the answer to one more piece.
      expect(answered).toBeLessThan(48 * MiB);
      expect(client.socket.writableLength).toBeGreaterThan(0);
      client.socket.resume();
      await client.untilReceived(before + 1);
      client.socket.destroy();
      await lab.host.untilIdle();
      expectNoErrors();
    });

    it('hears the server after much was sent to it, and the end', async () => {
      const much = pattern(8 * MiB);
      const handlers: Handlers = {
        SERVER_CONNECTED: SHOUTING.SERVER_CONNECTED ?? (() => undefined),
        CLIENT_DATA: (run) => {
          const length = run.payloadLength('client');
          run.emit({ type: 'replace', side: 'client', offset: 0, length, data: much });
          run.emit({ type: 'release', side: 'client', length: much.length });
          return undefined;
        },
      };
      const { client, server } = await (await open({ handlers, queueLimit: 65_536 })).pair();
      server.socket.pause();
      client.socket.end('go');
      await net().settle();
      server.socket.resume();
      await server.untilEnded();
      expect(firstDifference(server.received.bytes, much)).toBeUndefined();
      server.socket.end('answer');
      await client.untilEnded();
      expect(client.received.text).toBe('answer');
      expectNoErrors();
    });
  });

  describe('a defect', () => {
    const boom = (): never => {
      throw new Error('boom');
    };

    const places: [string, FlowOptions][] = [
      ['in a handler', { handlers: { CLIENT_ACCEPTED: boom } }],
      ['in a later handler', { handlers: { ...SHOUTING, CLIENT_DATA: boom } }],
      ['at the end of the session', { handlers: SHOUTING, onSessionClosed: boom }],
    ];

    it.each(places)('%s hurts its own flow only', async (_where, options) => {
      await open();
      const bystander = await lab.pair();
      const other = await FlowLab.open(net().net, options);
      void other.served().then((server) => server.socket.end());
      const client = await other.client();
      client.socket.end('x');
      await other.host.until(() => other.host.internalErrors.length > 0, 'the report');
      await client.untilClosed();
      await other.host.untilIdle();
      expect(other.host.internalErrors.map(String)).toEqual(['Error: boom']);
      expect(other.host.ticking.size).toBe(0);
      await other.close();
      bystander.client.socket.write('still there');
      await bystander.server.untilReceived(11);
    });
  });

  describe('abort', () => {
    const suspended: Handlers = { CLIENT_ACCEPTED: () => ({ type: 'suspended' }) };
    const states: [
      string,
      FlowOptions,
      (client: Peer, served: Promise<Peer>) => Promise<unknown>,
    ][] = [
      ['a spliced flow', {}, (_, served) => served],
      ['a collecting flow', { handlers: SHOUTING }, (_, served) => served],
      ['a suspended flow', { handlers: suspended }, async () => {}],
      [
        'a flow in the TLS handshake',
        { clientTls: true },
        async (client) => client.socket.write('\x16\x03'),
      ],
      [
        'a flow with a half-closed client',
        {},
        async (client, served) => {
          client.socket.end();
          await (await served).untilEnded();
        },
      ],
      [
        'a flow with a half-closed server',
        {},
        async (client, served) => {
          (await served).socket.end();
          await client.untilEnded();
        },
      ],
      [
        'a flow with a slow client',
        {},
        async (client, served) => {
          client.socket.pause();
          (await served).socket.write(pattern(32 * MiB));
          await net().settle();
        },
      ],
      [
        'a flow whose server is gone',
        { handlers: { CLIENT_CLOSED: () => undefined } },
        async (client, served) => {
          const server = await served;
          client.socket.pause();
          server.socket.end(pattern(32 * MiB));
          await net().settle();
        },
      ],
    ];

    it.each(states)('ends %s', async (_state, options, arrange) => {
      await open(options);
      const served = lab.served();
      const client = await lab.client();
      await arrange(client, served);
      await lab.host.until(() => lab.host.flows.size > 0, 'the flow');
      const flow = lab.flow();
      flow.abort('for the test');
      flow.abort('twice');
      client.socket.resume();
      await client.until(() => client.closed || client.ended, 'some end');
      await lab.host.untilIdle();
      expect(lab.host.logs.join()).toContain('info: for the test');
      expect(lab.host.logs.join()).not.toContain('twice');
      expectNoErrors();
    });

    it('ends a flow that is connecting', async () => {
      await open();
      // It has only begun: nothing has come from the system since.
      lab.host.opened = (flow) => {
        lab.host.flows.add(flow);
        queueMicrotask(() => flow.abort('for the test'));
      };
      const client = await lab.client();
      await client.untilClosed();
      await lab.host.untilIdle();
      expectNoErrors();
    });
  });

  it('leaves nothing behind after 2,000 connections', { timeout: 60_000 }, async () => {
    await open({ handlers: SHOUTING });
    const ruled = lab;
    const plain = await FlowLab.open(net().net);
    const run = async (from: FlowLab, turn: number) => {
      const { client, server } = await from.pair();
      client.socket.write('hello');
      await server.untilReceived(5);
      const [first, second] = turn % 2 === 0 ? [client, server] : [server, client];
      if (turn % 3 === 0) {
        first.socket.resetAndDestroy();
      } else {
        first.socket.end();
        await second.untilEnded();
        second.socket.end();
      }
      await Promise.all([client.untilClosed(), server.untilClosed()]);
    };
    const batch = async (turn: number) => {
      const labs = Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? ruled : plain));
      await Promise.all(labs.map((each, i) => run(each, turn + i)));
      await Promise.all([ruled.host.untilIdle(), plain.host.untilIdle()]);
      await net().settle();
    };
    await batch(0);
    const before = openFiles();
    for (let turn = 1; turn < 40; turn++) await batch(turn);
    expect(openFiles()).toBeLessThanOrEqual(before + 2);
    expect(ruled.host.sessions).toBe(0);
    expect(ruled.host.ticking.size + plain.host.ticking.size).toBe(0);
    await plain.close();
    expectNoErrors();
  });
});

function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}
