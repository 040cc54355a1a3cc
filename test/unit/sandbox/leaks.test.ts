import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { folderWith, World } from './harness.ts';

const MiB = 1024 * 1024;

describe('memory of the process', () => {
  it('stays flat over many generations', { timeout: 120_000 }, async () => {
    const world = new World();
    const path = `${folderWith({ 'rule.js': `when('CLIENT_ACCEPTED', (c) => { c.n = 1; });` })}/rule.js`;
    const build = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const { instance } = await world.load([{ path }]);
        const session = instance?.open();
        session?.run(world.newRun('CLIENT_ACCEPTED'), () => {});
        // The event loop has to turn for the dropped instances to be collected.
        if (i % 20 === 0) await setImmediate();
      }
    };
    await build(300);
    const before = process.memoryUsage().rss;
    await build(1_700);
    // A generation kept would be more than 0.3 MiB.
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * MiB);
  });
});

describe('memory of an instance', () => {
  it('stays flat over many connections, waits and failures', async () => {
    const world = new World();
    const instance = await world.instance(`
      when('CLIENT_ACCEPTED', (c) => { c.data = 'x'.repeat(1000); c.self = c; TCP.respond(c.data); });
      when('CLIENT_DATA', async (c) => { c.got = await fetch('x'); });
      when('CLIENT_CLOSED', () => { throw new Error('no'); });`);
    for (let i = 0; i < 20_000; i++) {
      const session = instance.open();
      world.fire(session, 'CLIENT_ACCEPTED');
      session.run(world.newRun('CLIENT_DATA'), () => {});
      if (i % 2 === 0) world.settles.pop()?.({ ok: true, value: 'y' });
      world.settles.length = 0;
      if (i % 2 === 0) world.failure(session, 'CLIENT_CLOSED');
      session.close();
    }
    expect(instance.liveSessions).toBe(0);
    // Its memory has not had to grow: it would have been retired.
    expect(instance.retired).toBe(false);
  });
});
