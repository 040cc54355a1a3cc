import { describe, expect, it } from 'vitest';
import type { RuleInstance } from '../../../src/sandbox/index.ts';
import { onAccept, responses, World } from './harness.ts';

/** An instance whose CLIENT_ACCEPTED does this, with another connection that was there before. */
async function victim(body: string, limits = {}) {
  const world = new World();
  const instance = await world.instance(
    `${onAccept(body)}
     when('CLIENT_DATA', (c) => { c.n = (c.n ?? 0) + 1; TCP.respond('n' + c.n); });`,
    limits,
  );
  let announced = 0;
  instance.onRetired = () => announced++;
  const neighbour = instance.open();
  world.fire(neighbour, 'CLIENT_DATA');
  const error = world.failure(instance.open());
  return { world, instance, neighbour, error, announced: () => announced };
}

function expectUsable(world: World, neighbour: ReturnType<RuleInstance['open']>): void {
  const { run, outcome } = world.fire(neighbour, 'CLIENT_DATA');
  expect(outcome).toEqual({ type: 'done' });
  expect(responses(run)).toEqual(['n2']);
}

describe('a handler that throws', () => {
  it.each([
    [`throw new Error('no')`, 'Error: no'],
    [
      `throw new (class Own extends Error { constructor() { super('mine'); this.name = 'Own'; } })()`,
      'Own: mine',
    ],
    [`throw 'text'`, 'text'],
    ['throw undefined', 'undefined'],
    ['throw Symbol("s")', 'Symbol(s)'],
    ['throw { toString() { throw 1; } }', 'a value that cannot be shown'],
    [`throw { toString() { return 'shown'; } }`, 'shown'],
    ['throw Object.create(null)', 'a value that cannot be shown'],
    ['null.x', "TypeError: cannot read property 'x' of null"],
    [`const e = new Error('a'.repeat(5000)); throw e`, `Error: ${'a'.repeat(2000)}`],
    [`throw new Error('nul\\0wide\\u20ac')`, 'Error: nul'],
  ])('%s', async (body, message) => {
    const { world, instance, neighbour, error } = await victim(body);
    expect(error).toMatchObject({
      reason: 'exception',
      rule: 'rule',
      event: 'CLIENT_ACCEPTED',
      message,
    });
    expect(error.file).toMatch(/rule\.js$/);
    expectUsable(world, neighbour);
    expect(instance.retired).toBe(false);
  });

  it('does not run the handlers behind it', async () => {
    const world = new World();
    const instance = await world.instance(`${onAccept('throw 1')}${onAccept(`log('ran')`)}`);
    world.failure(instance.open());
    expect(world.logs).toEqual([]);
  });

  it('cannot keep its describer busy for ever', async () => {
    const { world, neighbour, error } = await victim(`
      const e = new Error(); Object.defineProperty(e, 'message', { get() { for (;;); } }); throw e;`);
    expect(error.message).toBe('the rule threw a value that cannot be read');
    expectUsable(world, neighbour);
  });

  it('leaves no promise jobs to others', async () => {
    const { world, neighbour, error } = await victim(
      `Promise.resolve().then(() => log('job')).then(() => TCP.respond('x')); throw new Error('sync');`,
    );
    expect(error.message).toBe('Error: sync');
    const { run } = world.fire(neighbour, 'CLIENT_DATA');
    expect(responses(run)).toEqual(['n2']);
    expect(world.logs).toEqual([]);
  });
});

describe('a handler that runs too long', () => {
  it.each([
    ['for (;;);'],
    ['for (;;) { try { for (;;); } catch {} }'],
    ['for (;;) { try { continue; } finally { continue; } }'],
    [`/^(a+)+$/.test('a'.repeat(40) + '!')`],
    [`/(x+x+)+y/.test('x'.repeat(5000))`],
    [
      'const f = () => { for (const x of iterate()) {} }; function* iterate() { for (;;) yield 1; } f();',
    ],
    ['[...{ *[Symbol.iterator]() { for (;;) yield; } }].length'],
    [`'a'.repeat(1e3).replace(/a/g, () => { for (;;); })`],
    ['[3, 2, 1].sort(() => { for (;;); })'],
    ['JSON.stringify({ toJSON() { for (;;); } })'],
    ['const p = new Proxy({}, { get() { for (;;); } }); TCP.respond(p.x);'],
  ])('%s is cut', async (body) => {
    const { world, instance, neighbour, error } = await victim(body);
    expect(error).toMatchObject({ reason: 'timeout', message: 'the event took too long' });
    expectUsable(world, neighbour);
    expect(instance.retired).toBe(false);
  });

  it('is cut soon also when each step is slow', { timeout: 4_000 }, async () => {
    for (const body of [
      'for (;;) "x".repeat(5e6);',
      'const s = "x".repeat(1e6); for (;;) s.indexOf("y");',
    ]) {
      expect((await victim(body)).error.reason).toBe('timeout');
    }
  });

  it('is cut at a place', async () => {
    const { error } = await victim('\n  for (;;) Math.max(1);');
    // Loops have no position of their own: it is the last call's, or the function's.
    expect([1, 2]).toContain(error.line);
  });

  it('is cut in an async function too', async () => {
    const world = new World();
    const instance = await world.instance(
      `when('CLIENT_ACCEPTED', async () => { await null; try { for (;;); } catch { log('caught'); } });`,
    );
    expect(world.failure(instance.open()).reason).toBe('timeout');
    expect(world.logs).toEqual([]);
  });

  it('is cut while the rules load', async () => {
    const world = new World();
    await expect(world.instance('let n = 0;\nfor (;;) Math.max(1);')).rejects.toThrow(
      /took too long.*"line":2/,
    );
    await expect(world.instance(`when('RULE_INIT', () => { for (;;); })`)).rejects.toThrow(
      'too long',
    );
  });
});

describe('promise jobs behind one that spins', () => {
  const jobs = `Promise.resolve().then(() => { for (;;); });
    for (let i = 0; i < 40; i++) Promise.resolve().then(() => {});`;

  it('fail only the connection', async () => {
    const { world, instance, neighbour, error } = await victim(jobs);
    expect(error.reason).toBe('timeout');
    expectUsable(world, neighbour);
    expect(instance.retired).toBe(false);
  });

  it('that run when no event does are for no other connection', async () => {
    const world = new World();
    const instance = await world.instance(`
      ${onAccept(`fetch('x').then(() => { ${jobs} Promise.resolve().then(() => log('ran')); });`)}
      when('CLIENT_DATA', () => {});`);
    world.fire(instance.open(), 'CLIENT_ACCEPTED');
    world.settles[0]?.({ ok: true });
    world.fire(instance.open(), 'CLIENT_DATA');
    expect(world.logs).toEqual(['error rule: after CLIENT_ACCEPTED: the event took too long']);
    expect(instance.retired).toBe(false);
  });
});

describe('promise jobs without end', () => {
  it('fail the connection and end the instance', async () => {
    const { world, instance, neighbour, error, announced } = await victim(
      'const again = () => Promise.resolve().then(again); again();',
    );
    expect(error).toMatchObject({
      reason: 'timeout',
      message: 'more than 256 promise jobs in one event',
    });
    expect(instance.retired).toBe(true);
    expect(announced()).toBe(1);
    expect(world.failure(neighbour, 'CLIENT_DATA')).toMatchObject({ reason: 'sandbox' });
    neighbour.close();
    expect(announced()).toBe(1);
  });
});

describe('recursion', () => {
  it.each([
    ['const f = () => f(); f();'],
    ['const f = () => { try { f(); } finally { f(); } }; f();'],
    ['const o = { toString() { return String(o); } }; String(o);'],
    ['let o = {}; for (let i = 0; i < 5000; i++) o = { o }; JSON.stringify(o);'],
    [`JSON.parse('['.repeat(100000));`],
    [`new RegExp('('.repeat(50000) + ')'.repeat(50000));`],
    ['let a = []; for (let i = 0; i < 5000; i++) a = [a]; String(a);'],
    ['let a = []; for (let i = 0; i < 5000; i++) a = [a]; a.flat(Infinity);'],
    ['const p = new Proxy({}, { get(t, k, r) { return r[k]; } }); p.x;'],
    ['const o = { get x() { return this.x; } }; o.x;'],
    ['class A { constructor() { new A(); } } new A();'],
    [`let f = () => {}; for (let i = 0; i < 1000; i++) f = f.bind(null); f();`],
    [`const f = (s) => s.replace(/a/, () => f(s)); f('a');`],
    [`[1].map(function f() { return [1].map(f); });`],
    ['let p = {}; for (let i = 0; i < 5000; i++) p = new Proxy(p, {}); p.x;'],
    ['clientside(function f() { return clientside(f); });'],
  ])('%s is stopped', async (body) => {
    const { world, instance, neighbour, error } = await victim(body);
    expect(['stack', 'exception', 'timeout']).toContain(error.reason);
    expectUsable(world, neighbour);
    expect(instance.retired).toBe(false);
  });

  it('is told as such, with its place', async () => {
    const { error } = await victim('\n  const f = (n) => f(n + 1) + 1; f(0);');
    expect(error).toMatchObject({ reason: 'stack', line: 2 });
  });

  it('may be caught by the rule', async () => {
    const world = new World();
    const instance = await world.instance(
      onAccept(`const f = () => f(); try { f(); } catch (e) { log(e.message); }`),
    );
    expect(world.fire(instance.open(), 'CLIENT_ACCEPTED').outcome).toEqual({ type: 'done' });
    expect(world.logs).toEqual(['info rule: stack overflow']);
  });
});

describe('an overflow of the stack of the host', () => {
  it('ends the instance, for all its connections, and no other', async () => {
    const { world, instance, neighbour, error, announced } = await victim(
      'try { overflow(); } catch {} for (;;);',
    );
    expect(error.reason).toBe('sandbox');
    expect([instance.retired, announced()]).toEqual([true, 1]);
    expect(world.failure(neighbour, 'CLIENT_DATA')).toMatchObject({ reason: 'sandbox' });
    const next = (await world.instance(`when('CLIENT_DATA', () => {});`)).open();
    expect(world.fire(next, 'CLIENT_DATA').outcome).toEqual({ type: 'done' });
  });

  it('also reaches handlers that are suspended', async () => {
    const world = new World();
    const instance = await world.instance(`${onAccept('overflow();')}
      when('CLIENT_DATA', async () => { await fetch('x'); });`);
    const outcomes: unknown[] = [];
    instance.open().run(world.newRun('CLIENT_DATA'), (outcome) => outcomes.push(outcome));
    world.failure(instance.open());
    world.settles[0]?.({ ok: true });
    expect(outcomes).toMatchObject([{ type: 'failed', error: { reason: 'sandbox' } }]);
  });
});

describe('memory', () => {
  // The deadline would cut some of these first.
  const patient = { deadlineMs: 30_000, ticksPerEvent: 2_000 };
  const bombs: readonly [string][] = [
    [`let s = 'x'.repeat(1000); for (;;) s += s;`],
    ['const a = []; for (;;) a.push({ a });'],
    ['const a = []; for (;;) a.push(new Uint8Array(100_000));'],
    ['new Uint8Array(2 ** 30);'],
    [`'x'.repeat(2 ** 29);`],
    ['new Array(2 ** 28).fill(0);'],
    ['const m = new Map(); for (let i = 0; ; i++) m.set(i, [i]);'],
    ['let n = 3n; for (;;) n *= n;'],
    [`const a = ['x'.repeat(1e6)]; for (;;) a.push(a.join(''));`],
    [`let o = {}; for (;;) o = { o, p: 'x'.repeat(1e5) };`],
  ];

  it.each(bombs)('%s is stopped', async (body) => {
    const { instance, error, announced } = await victim(body, patient);
    expect(['memory', 'exception', 'timeout', 'sandbox']).toContain(error.reason);
    if (error.reason === 'memory') {
      expect(instance.retired).toBe(true);
      expect(announced()).toBe(1);
    }
  });

  it('that is full is told as such, and other connections keep their state', async () => {
    const { world, neighbour, error, instance } = await victim(
      'const a = []; for (;;) a.push(new Uint8Array(100_000));',
      patient,
    );
    expect(error).toMatchObject({ reason: 'memory', line: 1 });
    expect(instance.retired).toBe(true);
    expectUsable(world, neighbour);
  });

  it('nearly filled retires the instance though the event succeeds', async () => {
    const world = new World();
    const instance = await world.instance(
      onAccept('try { for (const a = []; ; ) a.push(new Uint8Array(100_000)); } catch {}'),
      patient,
    );
    let retired = 0;
    instance.onRetired = () => retired++;
    expect(world.fire(instance.open(), 'CLIENT_ACCEPTED').outcome).toEqual({ type: 'done' });
    expect([instance.retired, retired]).toEqual([true, 1]);
  });

  it('that a connection finds full fails its first event as such', async () => {
    const world = new World();
    const instance = await world.instance(
      `${onAccept('try { for (statics.a = null; ; ) statics.a = { a: statics.a, b: 1 }; } catch {}')}
       when('CLIENT_DATA', (c) => log(typeof c));`,
      patient,
    );
    expect(world.fire(instance.open(), 'CLIENT_ACCEPTED').outcome).toEqual({ type: 'done' });
    expect(world.failure(instance.open(), 'CLIENT_DATA').reason).toBe('memory');
    expect(world.logs).toEqual([]);
  });

  it('that the payload does not fit in fails the event', async () => {
    const world = new World();
    const instance = await world.instance(onAccept('TCP.payload();'));
    const { outcome } = world.fire(instance.open(), 'CLIENT_ACCEPTED', 'x'.repeat(20_000_000));
    expect(outcome).toMatchObject({ type: 'failed', error: { reason: 'memory' } });
    expect(instance.retired).toBe(true);
  });

  it('filled while the rules load is a problem', async () => {
    const world = new World();
    await expect(
      world.instance('const a = []; for (;;) a.push(new Uint8Array(100_000));', patient),
    ).rejects.toThrow('the memory of the sandbox is full');
    await expect(
      world.instance(
        'try { for (const a = []; ; ) a.push(new Uint8Array(100_000)); } catch {}',
        patient,
      ),
    ).rejects.toThrow('the rules fill the memory of the sandbox while they load');
  });
});
