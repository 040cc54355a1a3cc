import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { FlowLab, type FlowOptions, type Handlers } from './flow-lab.ts';
import { describeBoth, pattern } from './lab.ts';
import { Peer } from './peer.ts';
import { connectTls } from './tls-peer.ts';

const MiB = 1024 * 1024;
/** In milliseconds. The clock looks every 100. */
const SHORT = 150;

const COLLECTING: Handlers = {
  CLIENT_ACCEPTED: (run) => {
    run.emit({ type: 'collect', side: 'client' });
    return undefined;
  },
  CLIENT_DATA: () => undefined,
};

describeBoth((net) => {
  let lab: FlowLab;
  let started = 0;

  async function open(options: FlowOptions): Promise<FlowLab> {
    lab = await FlowLab.open(net().net, options);
    started = performance.now();
    return lab;
  }

  afterEach(async () => {
    await lab.close();
    expect(lab.host.ticking.size).toBe(0);
    expect(lab.host.internalErrors).toEqual([]);
  });

  /** Waits until the flow is over; it must not be so before the time-out, nor much later. */
  async function expectTimeOut(message: string): Promise<void> {
    await lab.host.untilIdle();
    const passed = performance.now() - started;
    expect(lab.host.logs.join()).toContain(message);
    expect(passed).toBeGreaterThan(SHORT / 2);
    expect(passed).toBeLessThan(3_000);
  }

  it('handshake', async () => {
    await open({ clientTls: true, timeouts: { handshake: SHORT } });
    const client = await lab.client();
    client.socket.write('\x16\x03\x01');
    await expectTimeOut('info: the TLS handshake with the client failed: it took longer');
    await client.untilClosed();
  });

  it('handshake, while the answer before it does not get through', async () => {
    const handlers: Handlers = {
      CLIENT_ACCEPTED: (run) => {
        run.emit({ type: 'respond', side: 'client', data: pattern(16 * MiB) });
        return undefined;
      },
    };
    await open({ handlers, clientTls: true, timeouts: { handshake: SHORT } });
    const client = await lab.client();
    client.socket.pause();
    await expectTimeOut('info: the TLS handshake with the client failed: it took longer');
  });

  it('collect', async () => {
    await open({ handlers: COLLECTING, timeouts: { collect: SHORT } });
    const client = await lab.client();
    client.socket.write('half a comm');
    await expectTimeOut('info: a command or a handshake of the client stayed incomplete');
    await client.until(() => client.ended || client.closed, 'some end');
  });

  it('handler', async () => {
    const handlers: Handlers = { CLIENT_ACCEPTED: () => ({ type: 'suspended' }) };
    await open({ handlers, timeouts: { handler: SHORT } });
    const client = await lab.client();
    await expectTimeOut('error: a handler of CLIENT_ACCEPTED was suspended');
    await client.untilClosed();
    expect(lab.host.sessions).toBe(0);
  });

  it('handler, which settles in time', async () => {
    let settle: (() => void) | undefined;
    const handlers: Handlers = {
      CLIENT_ACCEPTED: (_run, settled) => {
        settle = () => settled({ type: 'done' });
        return { type: 'suspended' };
      },
    };
    await open({ handlers, timeouts: { handler: SHORT } });
    const served = lab.served();
    const client = await lab.client();
    await lab.host.until(() => settle !== undefined, 'the handler');
    settle?.();
    const server = await served;
    await exchangeFor(2 * SHORT, client, server);
    expect(lab.host.logs).toEqual([]);
  });

  it('idle', async () => {
    await open({ timeouts: { idle: SHORT } });
    const { client, server } = await lab.pair();
    await expectTimeOut('info: no data for longer than the idleTimeout');
    await Promise.all([client.untilClosed(), server.untilClosed()]);
  });

  it.each([
    ['idle', 'without rules', {}],
    ['idle', 'with rules', { handlers: COLLECTING }],
  ] as const)('%s, not while there is data, %s', async (timer, _how, options) => {
    await open({ ...options, timeouts: { [timer]: 4 * SHORT } });
    if ('handlers' in options) {
      const client = await lab.client();
      await sendFor(8 * SHORT, client);
    } else {
      const { client, server } = await lab.pair();
      await exchangeFor(8 * SHORT, client, server);
    }
    expect(lab.host.flows.size).toBe(1);
    expect(lab.host.logs).toEqual([]);
  });

  it('linger', async () => {
    const handlers: Handlers = {
      SERVER_CONNECTED: (run) => {
        run.emit({ type: 'close', side: 'client' });
        return undefined;
      },
    };
    await open({ handlers, timeouts: { linger: SHORT } });
    const { client, server } = await lab.pair();
    await Promise.all([client.untilEnded(), server.untilEnded()]);
    expect(lab.host.flows.size).toBe(1);
    await expectTimeOut('');
  });

  describe('connect', () => {
    it('ends in vain after its time', async () => {
      const deaf = await DeafServer.open();
      const to = { address: '127.0.0.1', port: deaf.port };
      await open({ to, timeouts: { connect: SHORT } });
      const client = await lab.client();
      await expectTimeOut(`warn: no server: 127.0.0.1:${deaf.port}: the connection timed out`);
      await client.untilClosed();
      expect(client.error).toBe('ECONNRESET');
      await deaf.close();
    });

    it('may be given up before', async () => {
      const deaf = await DeafServer.open();
      await open({ to: { address: '127.0.0.1', port: deaf.port } });
      const client = await lab.client();
      await lab.host.until(() => lab.host.flows.size > 0, 'the flow');
      lab.flow().abort('for the test');
      await client.untilClosed();
      await lab.host.untilIdle();
      await deaf.close();
    });
  });

  it('all of them at once leave nothing', async () => {
    const timeouts = { handshake: SHORT, collect: SHORT, idle: SHORT, linger: SHORT };
    await open({ clientTls: true, timeouts });
    const clients = await Promise.all(Array.from({ length: 50 }, () => lab.client()));
    for (const client of clients.slice(0, 25)) connectTls(client);
    await lab.host.untilIdle();
  });
});

/** Bytes to and fro, for a while. */
async function exchangeFor(milliseconds: number, client: Peer, server: Peer): Promise<void> {
  const end = performance.now() + milliseconds;
  for (let count = 1; performance.now() < end; count++) {
    client.socket.write('x');
    await server.untilReceived(count);
    server.socket.write('y');
    await client.untilReceived(count);
  }
}

/** Bytes that nobody answers, for a while. */
async function sendFor(milliseconds: number, client: Peer): Promise<void> {
  const end = performance.now() + milliseconds;
  while (performance.now() < end) {
    await new Promise((resolve) => client.socket.write('x', resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Listens, but accepts nothing: the kernel leaves further connections without an answer. */
class DeafServer {
  private constructor(
    private readonly worker: Worker,
    private readonly fillers: readonly Peer[],
    readonly port: number,
  ) {}

  static async open(): Promise<DeafServer> {
    const code = `
      const { parentPort } = require('node:worker_threads');
      const server = require('node:net').createServer();
      server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
        parentPort.postMessage(server.address().port);
        setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
      });`;
    const worker = new Worker(code, { eval: true });
    const [port] = (await once(worker, 'message')) as [number];
    // A queue of one holds two; those that find no room any more go on trying.
    const fillers = Array.from({ length: 4 }, () => Peer.connect(port));
    const room = fillers.slice(0, 2).map((filler) => {
      return filler.until(() => !filler.socket.connecting, 'room');
    });
    await Promise.all(room);
    return new DeafServer(worker, fillers, port);
  }

  async close(): Promise<void> {
    for (const filler of this.fillers) filler.socket.destroy();
    await this.worker.terminate();
  }
}
