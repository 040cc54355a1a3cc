import { describe, expect, it } from 'vitest';
import type { RunOutcome } from '../../../src/core/rule-run.ts';
import { responses, World } from './harness.ts';

async function start(source: string, event: 'CLIENT_ACCEPTED' | 'CLIENT_DATA' = 'CLIENT_ACCEPTED') {
  const world = new World();
  const instance = await world.instance(source);
  const session = instance.open();
  const run = world.newRun(event);
  const outcomes: RunOutcome[] = [];
  outcomes.push(session.run(run, (outcome) => outcomes.push(outcome)));
  return { world, instance, session, run, outcomes };
}

const types = (outcomes: readonly RunOutcome[]) => outcomes.map((outcome) => outcome.type);

describe('async handlers', () => {
  it('that wait for nothing real end at once', async () => {
    const { run, outcomes } = await start(`when('CLIENT_ACCEPTED', async () => {
      for (let i = 0; i < 20; i++) await null;
      TCP.respond(await Promise.resolve('x'));
    });`);
    expect(outcomes).toEqual([{ type: 'done' }]);
    expect(responses(run)).toEqual(['x']);
  });

  it('are suspended by an awaited command and go on when it settles', async () => {
    const { world, run, outcomes } = await start(`when('CLIENT_ACCEPTED', async (c) => {
      TCP.respond('1');
      c.value = await fetch('a');
      TCP.respond(c.value + await fetch('b'));
    });
    when('CLIENT_ACCEPTED', (c) => log('next ' + c.value));`);
    expect(types(outcomes)).toEqual(['suspended']);
    world.settles[0]?.({ ok: true, value: 'A' });
    expect(types(outcomes)).toEqual(['suspended']);
    expect(responses(run)).toEqual(['1']);
    world.settles[1]?.({ ok: true, value: '\u20ac'.slice(1) });
    expect(types(outcomes)).toEqual(['suspended', 'done']);
    expect(responses(run)).toEqual(['1', 'A']);
    expect(world.logs).toEqual(['info rule: next A']);
  });

  it('may be several of one event, one after the other', async () => {
    const { world, outcomes } = await start(`
      for (const name of ['a', 'b']) {
        when('CLIENT_ACCEPTED', async () => { log(name + (await fetch(name)) + run()); });
      }
      const run = () => (clientside() ? '' : '!');`);
    world.settles[0]?.({ ok: true, value: '1' });
    expect(world.logs).toEqual(['info rule: a1']);
    expect(types(outcomes)).toEqual(['suspended']);
    world.settles[1]?.({ ok: true });
    expect(world.logs).toEqual(['info rule: a1', 'info rule: bundefined']);
    expect(types(outcomes)).toEqual(['suspended', 'done']);
  });

  it('can await several commands at once', async () => {
    const { world, run, outcomes } = await start(`when('CLIENT_ACCEPTED', async () => {
      TCP.respond((await Promise.all([fetch('a'), fetch('b')])).join());
    });`);
    world.settles[1]?.({ ok: true, value: 'B' });
    world.settles[0]?.({ ok: true, value: 'A' });
    expect(types(outcomes)).toEqual(['suspended', 'done']);
    expect(responses(run)).toEqual(['A,B']);
  });

  it('see a failed command as an exception at its call, which they may catch', async () => {
    const { world, outcomes } = await start(`when('CLIENT_ACCEPTED', async () => {
      try { await fetch('a'); } catch (e) { log(e.message); }
      await fetch('b');
    });`);
    world.settles[0]?.({ ok: false, message: 'no route' });
    world.settles[1]?.({ ok: false, message: 'gone' });
    expect(world.logs).toEqual(['info rule: no route']);
    expect(outcomes[1]).toMatchObject({
      type: 'failed',
      error: { reason: 'exception', message: 'Error: gone', line: 3, column: 18 },
    });
  });

  it('that throw fail with the place, before and after a wait', async () => {
    const { outcomes: early } = await start(`when('CLIENT_ACCEPTED', async () => {
      throw new TypeError('early'); });`);
    expect(early).toMatchObject([{ error: { message: 'TypeError: early', line: 2 } }]);
    const { world, outcomes } = await start(`when('CLIENT_ACCEPTED', async () => {
      await fetch('a');
      missing(); });`);
    world.settles[0]?.({ ok: true });
    expect(outcomes[1]).toMatchObject({ error: { line: 3, column: 7, reason: 'exception' } });
  });

  it('get exceptions of the start of a command where they call it', async () => {
    const { outcomes } = await start(`when('CLIENT_ACCEPTED', async () => {
      await fetch('refuse'); });`);
    expect(outcomes).toMatchObject([
      { error: { message: 'TypeError: fetch: no such thing', line: 2 } },
    ]);
  });

  it('go on when a command settles at once', async () => {
    const world = new World();
    const instance = await world.instance(
      `when('CLIENT_ACCEPTED', async () => TCP.respond(await fetch('now')));`,
    );
    const run = world.newRun('CLIENT_ACCEPTED');
    const outcome = await new Promise((resolve) => {
      expect(instance.open().run(run, resolve).type).toBe('suspended');
    });
    expect(outcome).toEqual({ type: 'done' });
    expect(responses(run)).toEqual(['at once']);
  });

  it('ignore a second settlement', async () => {
    const { world, outcomes } = await start(
      `when('CLIENT_ACCEPTED', async () => { await fetch('a'); });`,
    );
    world.settles[0]?.({ ok: true });
    world.settles[0]?.({ ok: false, message: 'again' });
    expect(types(outcomes)).toEqual(['suspended', 'done']);
  });

  it('that wait for what nothing settles stay suspended', async () => {
    const { session, outcomes } = await start(
      `when('CLIENT_ACCEPTED', async () => { await new Promise(() => {}); });`,
    );
    session.close();
    expect(types(outcomes)).toEqual(['suspended']);
  });

  it('may return what only looks like a promise', async () => {
    const { outcomes } = await start(`when('CLIENT_ACCEPTED', () => ({ then() { for (;;); } }));`);
    expect(outcomes).toEqual([{ type: 'done' }]);
  });
});

describe('closing', () => {
  it('cancels what is awaited and never resumes', async () => {
    const { world, instance, session, outcomes } =
      await start(`when('CLIENT_ACCEPTED', async () => {
      try { await Promise.all([fetch('a'), fetch('b')]); } finally { log('resumed'); } });`);
    session.close();
    expect(world.cancelled).toBe(2);
    world.settles[0]?.({ ok: true });
    expect(types(outcomes)).toEqual(['suspended']);
    expect(world.logs).toEqual([]);
    expect(world.fire(instance.open(), 'CLIENT_DATA').outcome).toEqual({ type: 'done' });
  });
});

describe('commands that nobody awaits', () => {
  it('settle later without harm, and the event is over for what follows them', async () => {
    const { world, instance, outcomes, run } = await start(`when('CLIENT_ACCEPTED', () => {
      fetch('a').then(() => TCP.respond('late')).catch((e) => { statics.error = e.message; });
    });
    when('CLIENT_DATA', () => log(statics.error));`);
    expect(outcomes).toEqual([{ type: 'done' }]);
    world.settles[0]?.({ ok: true });
    expect(run.actions).toEqual([]);
    world.fire(instance.open(), 'CLIENT_DATA');
    expect(world.logs).toEqual(['info rule: TCP.respond: the event is over']);
  });

  it('do not act for a later event of the connection', async () => {
    const { world, session } = await start(`
      when('CLIENT_ACCEPTED', () => { fetch('old').then(() => TCP.respond('late')); });
      when('CLIENT_DATA', async () => { await fetch('new'); TCP.respond('new'); });`);
    const run = world.newRun('CLIENT_DATA');
    const outcomes: RunOutcome[] = [];
    session.run(run, (outcome) => outcomes.push(outcome));
    world.settles[0]?.({ ok: true });
    expect(outcomes).toEqual([]);
    world.settles[1]?.({ ok: true });
    expect(outcomes).toEqual([{ type: 'done' }]);
    expect(responses(run)).toEqual(['new']);
  });

  it('that run away later are cut and logged', async () => {
    const { world, instance } = await start(
      `when('CLIENT_ACCEPTED', () => { fetch('a').then(() => { for (;;); }); });`,
    );
    world.settles[0]?.({ ok: true });
    expect(world.logs).toEqual(['error rule: after CLIENT_ACCEPTED: the event took too long']);
    expect(world.fire(instance.open(), 'CLIENT_DATA').outcome).toEqual({ type: 'done' });
  });

  it('are bounded', async () => {
    const { outcomes, world } = await start(
      `when('CLIENT_ACCEPTED', () => {\n for (let i = 0; i < 65; i++) fetch('x'); });`,
    );
    expect(outcomes).toMatchObject([
      { error: { message: 'RangeError: fetch: more than 64 commands are awaited', line: 2 } },
    ]);
    expect(world.settles).toHaveLength(64);
  });
});

describe('several connections', () => {
  it('are suspended and resumed independently', async () => {
    const world = new World();
    const instance = await world.instance(`
      when('CLIENT_ACCEPTED', async (c) => { c.got = await fetch('x'); TCP.respond(c.got); });
      when('CLIENT_DATA', (c) => TCP.respond(String(c.got)));`);
    const flows = ['1', '2', '3'].map(() => {
      const [session, run] = [instance.open(), world.newRun('CLIENT_ACCEPTED')];
      let settled: RunOutcome | undefined;
      session.run(run, (outcome) => {
        settled = outcome;
      });
      return { session, run, outcome: () => settled };
    });
    world.settles[2]?.({ ok: true, value: 'c' });
    flows[1]?.session.close();
    world.settles[1]?.({ ok: true, value: 'b' });
    world.settles[0]?.({ ok: true, value: 'a' });
    expect(flows.map(({ run }) => responses(run).join())).toEqual(['a', '', 'c']);
    expect(flows.map(({ outcome }) => outcome()?.type)).toEqual(['done', undefined, 'done']);
    expect(instance.liveSessions).toBe(2);
  });
});

describe('top-level await', () => {
  it('works as long as nothing real is awaited', async () => {
    const world = new World();
    await world.instance(`log(await Promise.resolve('here'));`);
    expect(world.logs).toEqual(['info rule: here']);
    await expect(world.instance(`await new Promise(() => {});`)).rejects.toThrow(
      'awaits at its top level',
    );
    await expect(world.instance(`await fetch('x');`)).rejects.toThrow(
      'nothing can be awaited while',
    );
    await expect(world.instance(`await null;\nthrow new Error('late');`)).rejects.toThrow(
      /Error: late.*"line":2/,
    );
  });
});
