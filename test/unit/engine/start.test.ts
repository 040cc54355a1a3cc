import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Engine, EngineStartError } from '../../../src/engine/index.ts';
import { ask, connectError, EngineLab, freePort, line, portOf } from './engine-lab.ts';

let lab: EngineLab;
beforeEach(() => {
  lab = new EngineLab();
});
afterEach(() => lab.close());

/** The error that a start ends with. */
async function startError(config: Parameters<EngineLab['start']>[0]): Promise<EngineStartError> {
  const error = await lab.start(config).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof EngineStartError)) throw new Error(`no start error, but ${error}`);
  return error;
}

describe('start', () => {
  it('listens, and serves', async () => {
    const port = await lab.server('one');
    const engine = await lab.start({
      virtualServers: {
        main: { listen: '127.0.0.1:0', pool: 'servers' },
        other: { listen: '127.0.0.1:0', pool: 'servers' },
        inner: { listen: 'none', pool: 'servers' },
      },
      pools: { servers: { members: [`127.0.0.1:${port}`] } },
    });
    expect(engine.listeners).toEqual([
      { virtualServer: 'main', address: '127.0.0.1', port: portOf(engine) },
      { virtualServer: 'other', address: '127.0.0.1', port: portOf(engine, 'other') },
    ]);
    for (const name of ['main', 'other']) {
      const client = await lab.client({ engine, name });
      expect(await line(client)).toBe('one');
      expect(await ask(client, 'hello')).toBe('hello');
    }
    expect(lab.logger.lines).toEqual([]);
  });

  it('serves nobody before all of it can', async () => {
    const port = await freePort();
    const servers = { members: [`127.0.0.1:${await lab.server('one')}`] };
    // Names take their time to be looked up.
    const others = Array.from({ length: 30 }, (_, i) => [
      `other${i}`,
      { listen: 'localhost:0', pool: 'servers' },
    ]);
    const virtualServers = {
      main: { listen: `127.0.0.1:${port}`, pool: 'servers' },
      ...Object.fromEntries(others),
    };
    let started = false;
    const starting = lab.start({ virtualServers, pools: { servers } }).then((engine) => {
      started = true;
      return engine;
    });
    while (!started) await connectError(port);
    const engine = await starting;
    expect(await line(await lab.client({ engine }))).toBe('one');
    expect(lab.logger.lines).toEqual([]);
  });

  it('takes turns with the members, and leaves out those that fail', async () => {
    const ports = [await lab.server('one'), await freePort(), await lab.server('three')];
    const rule = "when('LB_FAILED', () => LB.reselect());";
    lab.write('again.js', rule);
    const engine = await lab.start({
      virtualServers: { main: { listen: '127.0.0.1:0', pool: 'servers', rules: ['./again.js'] } },
      pools: { servers: { members: ports.map((port) => `127.0.0.1:${port}`) } },
    });
    const names: string[] = [];
    for (let i = 0; i < 5; i++) names.push(await line(await lab.client({ engine })));
    expect(names).toEqual(['one', 'three', 'one', 'three', 'one']);
    expect(lab.logger.with(`no server: 127.0.0.1:${ports[1]}: ECONNREFUSED`)).toHaveLength(2);
  });

  it('tells every mistake of the configuration with its place', async () => {
    const { reason, problems } = await startError({
      virtualServers: { main: { listen: '127.0.0.1:0', pool: 'server' } },
      pools: { servers: { members: ['127.0.0.1:1', 'nonsense'] } },
    });
    expect(reason).toBe('configuration');
    expect(problems).toHaveLength(2);
    for (const problem of problems) {
      expect(problem.file).toBe(`${lab.folder}/portreeve.json`);
      expect(problem.line).toBeGreaterThan(1);
    }
    expect(problems.map(({ hint }) => hint)).toContain("did you mean 'servers'?");
  });

  it('tells mistakes of a rule once, though two virtual servers have it', async () => {
    lab.write('bad.js', "when('CLIENT_ACCEPTED', () => {});\nconst = 1;\n");
    const server = { listen: '127.0.0.1:0', rules: ['./bad.js'] };
    const { reason, problems } = await startError({ virtualServers: { a: server, b: server } });
    expect(reason).toBe('configuration');
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ file: `${lab.folder}/bad.js`, line: 2 });
  });

  it('is refused where an address is taken, and lets go of the others', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const free = await freePort();
    const { reason, problems } = await startError({
      virtualServers: {
        first: { listen: `127.0.0.1:${free}`, pool: 'servers' },
        main: { listen: `127.0.0.1:${port}`, pool: 'servers' },
        foreign: { listen: '192.0.2.1:0', pool: 'servers' },
      },
      pools: { servers: { members: ['127.0.0.1:1'] } },
    });
    taken.close();
    expect(reason).toBe('listening');
    expect(problems.map(({ message }) => message)).toEqual([
      `virtual server 'main' cannot listen on 127.0.0.1:${port}: another process, or another virtual server, listens there already`,
      "virtual server 'foreign' cannot listen on 192.0.2.1:0: this machine has no such address",
    ]);
    expect(await connectError(free)).toBe('ECONNREFUSED');
  });

  it('refuses a file that is not there, or is a folder', async () => {
    const options = { logger: lab.logger, watch: false };
    await expect(Engine.start(`${lab.folder}/none.json`, options)).rejects.toThrow(
      EngineStartError,
    );
    await expect(Engine.start(lab.folder, options)).rejects.toThrow(EngineStartError);
    lab.write('folder.js/file', '');
    const error = await startError({
      virtualServers: { main: { listen: '127.0.0.1:0', rules: ['./folder.js'] } },
    });
    expect(error.reason).toBe('configuration');
  });
});

describe('names in a pool', () => {
  it('are resolved', async () => {
    const port = await lab.server('one');
    const engine = await lab.start({
      virtualServers: { main: { listen: 'localhost:0', pool: 'servers' } },
      pools: { servers: { members: [`localhost:${port}`] } },
    });
    // The server listens on IPv4 alone; where the name has an IPv6 address as well, it fails.
    for (let turn = 0; turn < 2; turn++) {
      const client = await lab.client({ engine });
      await client.until(() => client.received.length > 0 || client.closed, 'an outcome');
      if (client.received.length > 0) return expect(await line(client)).toBe('one');
    }
    expect.unreachable('neither address worked');
  });

  it('that nobody knows are left out, with a warning', async () => {
    const port = await lab.server('one');
    const engine = await lab.start({
      virtualServers: {
        main: { listen: '127.0.0.1:0', pool: 'mixed' },
        other: { listen: '127.0.0.1:0', pool: 'empty' },
      },
      pools: {
        mixed: { members: [`no-such-host.invalid:${port}`, `127.0.0.1:${port}`] },
        empty: { members: ['no-such-host.invalid:1'] },
      },
    });
    expect(lab.logger.with("cannot resolve 'no-such-host.invalid'; it is left out")).toHaveLength(
      2,
    );
    for (let turn = 0; turn < 2; turn++) {
      expect(await line(await lab.client({ engine }))).toBe('one');
    }
    const client = await lab.client({ engine, name: 'other' });
    await client.untilClosed();
    expect(lab.logger.with('no server: empty: no member has an address')).toHaveLength(1);
  });
});

describe('connectionLimit', () => {
  it('resets those that are too many, and logs so now and then', async () => {
    const port = await lab.server('one');
    const engine = await lab.start({
      virtualServers: { main: { listen: '127.0.0.1:0', pool: 'servers', connectionLimit: 2 } },
      pools: { servers: { members: [`127.0.0.1:${port}`] } },
    });
    const first = await lab.client({ engine });
    const second = await lab.client({ engine });
    expect([await line(first), await line(second)]).toEqual(['one', 'one']);
    for (let turn = 0; turn < 5; turn++) {
      const refused = await lab.client({ engine });
      await refused.untilClosed();
      expect(refused.error).toBe('ECONNRESET');
    }
    expect(lab.logger.with('connectionLimit')).toEqual([
      'warn: refused 1 connections: the connectionLimit of 2 is reached',
    ]);
    expect(await ask(first, 'still there')).toBe('still there');
    first.socket.end();
    await first.untilClosed();
    await waitForRoom();
    expect(await ask(second, 'still there')).toBe('still there');

    /** The flow has ended for the client a moment before it has for the engine. */
    async function waitForRoom(): Promise<void> {
      for (;;) {
        const client = await lab.client({ engine });
        await client.until(() => client.received.length > 0 || client.closed, 'an outcome');
        if (client.received.length > 0) return;
      }
    }
  });
});
