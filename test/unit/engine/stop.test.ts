import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/index.ts';
import type { Peer } from '../net/peer.ts';
import { ask, connectError, EngineLab, freePort, line, portOf } from './engine-lab.ts';

let lab: EngineLab;
let echo: number;
beforeEach(async () => {
  lab = new EngineLab();
  echo = await lab.server('one');
});
afterEach(() => lab.close());

function config(more: object = {}, servers: object = {}): Record<string, unknown> {
  return {
    virtualServers: { main: { listen: '127.0.0.1:0', pool: 'servers' }, ...servers },
    pools: { servers: { members: [`127.0.0.1:${echo}`] } },
    ...more,
  };
}

async function greeted(engine: Engine): Promise<Peer> {
  const client = await lab.client({ engine });
  expect(await line(client)).toBe('one');
  return client;
}

/** Whether a promise has settled, once all that is due now has happened. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

describe('stop', () => {
  it('ends at once without connections', async () => {
    const engine = await lab.start(config());
    const port = portOf(engine);
    await engine.stop();
    expect(engine.listeners).toEqual([]);
    expect(await connectError(port)).toBe('ECONNREFUSED');
    await engine.stop();
  });

  it('lets connections end by themselves', async () => {
    const engine = await lab.start(config());
    const port = portOf(engine);
    const clients = [await greeted(engine), await greeted(engine)];
    const stopped = engine.stop();
    expect(await connectError(port)).toBe('ECONNREFUSED');
    for (const client of clients) {
      expect(await settled(stopped)).toBe(false);
      expect(await ask(client, 'still there')).toBe('still there');
      client.socket.end();
      await client.untilEnded();
    }
    await stopped;
    expect(lab.logger.lines).toEqual([]);
  });

  it('ends them when the drain timeout is over', async () => {
    const engine = await lab.start(config({ drainTimeout: '200ms' }));
    const client = await greeted(engine);
    await engine.stop();
    await client.untilClosed();
    expect(lab.logger.with('the drain timeout is over')).toHaveLength(1);
  });

  it('asked for twice ends them at once', async () => {
    const engine = await lab.start(config());
    const client = await greeted(engine);
    const stopped = engine.stop();
    void engine.stop();
    await stopped;
    await client.untilClosed();
    expect(client.error).toBe('ECONNRESET');
    expect(lab.logger.with('info: stopped')).toHaveLength(1);
  });

  it('waits for connections of virtual servers that were removed', async () => {
    const other = { listen: '127.0.0.1:0', pool: 'servers' };
    const engine = await lab.start(config({}, { other }));
    const client = await lab.client({ engine, name: 'other' });
    expect(await line(client)).toBe('one');
    lab.configure(config());
    expect(await engine.reload()).toBe(true);
    const stopped = engine.stop();
    expect(await settled(stopped)).toBe(false);
    expect(await ask(client, 'still there')).toBe('still there');
    client.socket.end();
    await stopped;
  });

  it('is the end of reloading', async () => {
    const engine = await lab.start(config());
    await engine.stop();
    expect(await engine.reload()).toBe(false);
    expect(engine.listeners).toEqual([]);
  });

  it('while a reload is under way leaves nothing that listens', async () => {
    // However far the reload has come, until it is through.
    for (let turns = 0, through = false; !through; turns++) {
      const engine = await lab.start(config());
      const port = await freePort();
      // A name takes its time to be looked up.
      const pools = { servers: { members: ['localhost:9'] } };
      const second = { listen: `127.0.0.1:${port}`, pool: 'servers' };
      lab.configure(config({ pools }, { second }));
      const reloaded = engine.reload().then(() => {
        through = true;
      });
      for (let turn = 0; turn < turns; turn++) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      const wasThrough: boolean = through;
      await engine.stop();
      await reloaded;
      through = wasThrough;
      if (!through) expect(lab.logger.with('info: reloaded')).toEqual([]);
      expect(engine.listeners).toEqual([]);
      expect(await connectError(port)).toBe('ECONNREFUSED');
    }
  });
});
