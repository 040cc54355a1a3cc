import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { folderWith, responses, World } from './harness.ts';

describe('handlers', () => {
  it('run by priority, then in the order of rules and of their source', async () => {
    const world = new World();
    const add = (text: string, options = '') =>
      `when('CLIENT_ACCEPTED', () => log('${text}')${options});\n`;
    const folder = folderWith({
      'a.js': add('a late', ', { priority: 501 }') + add('a 1') + add('a 2', ', {}'),
      'b.js':
        add('b first', ', { priority: 0 }') +
        add('b', ', { priority: 500 }') +
        add('b last', ', { priority: 1000 }'),
    });
    const { instance, problems } = await world.load([
      { path: join(folder, 'a.js'), name: 'A' },
      { path: join(folder, 'b.js'), name: 'B' },
    ]);
    expect(problems).toEqual([]);
    expect([...(instance?.events ?? [])]).toEqual(['CLIENT_ACCEPTED']);
    const session = instance?.open();
    session?.run(world.newRun('CLIENT_ACCEPTED'), () => {});
    expect(world.logs).toEqual([
      'info B: b first',
      'info A: a 1',
      'info A: a 2',
      'info B: b',
      'info A: a late',
      'info B: b last',
    ]);
  });

  it('do not run behind one that disabled the event', async () => {
    const world = new World();
    const instance = await world.instance(`
      when('CLIENT_DATA', () => { event.disable(); log('first'); });
      when('CLIENT_DATA', () => log('second'));`);
    expect(world.fire(instance.open(), 'CLIENT_DATA').outcome).toEqual({ type: 'done' });
    expect(world.logs).toEqual(['info rule: first']);
  });

  it.each([
    [
      `when('CLIENT_ACEPTED', () => {})`,
      `RangeError: when: there is no event 'CLIENT_ACEPTED'; did you mean 'CLIENT_ACCEPTED'?`,
    ],
    [`when(5, () => {})`, 'TypeError: when: event must be a string'],
    [`when('CLIENT_DATA')`, 'TypeError: when: handler must be a function'],
    [
      `when('CLIENT_DATA', () => {}, { priority: 1001 })`,
      'RangeError: when: priority must be a whole number from 0 to 1000',
    ],
    [
      `when('CLIENT_DATA', () => {}, { priority: '5' })`,
      'RangeError: when: priority must be a whole number from 0 to 1000',
    ],
    [
      `for (let i = 0; i < 2000; i++) when('CLIENT_DATA', () => {})`,
      'RangeError: when: the rules have more than 1000 handlers',
    ],
  ])('%s is a problem', async (source, message) => {
    const world = new World();
    const path = join(folderWith({ 'rule.js': `\n  ${source}` }), 'rule.js');
    const { instance, problems } = await world.load([{ path, options: { long: 'x'.repeat(50) } }]);
    expect(instance).toBeUndefined();
    expect(problems).toMatchObject([{ rule: 'rule', message, file: path, line: 2 }]);
  });

  it('cannot be registered once the rules are loaded', async () => {
    const world = new World();
    const instance = await world.instance(
      `when('CLIENT_ACCEPTED', () => when('CLIENT_DATA', () => {}));`,
    );
    expect(world.failure(instance.open()).message).toBe(
      'Error: when: handlers are registered only while rules load',
    );
  });

  it('of events without any do not enter the guest', async () => {
    const world = new World();
    const instance = await world.instance('');
    expect(instance.events.size).toBe(0);
    expect(world.fire(instance.open(), 'CLIENT_DATA').outcome).toEqual({ type: 'done' });
  });
});

describe('variables', () => {
  it('belong to the connection and are shared by the rules', async () => {
    const world = new World();
    const folder = folderWith({
      'a.js': `when('CLIENT_ACCEPTED', (c) => { c.n = (c.n ?? 0) + 1; });`,
      'b.js': `when('CLIENT_DATA', (c) => log(String(c.n)));`,
    });
    const { instance } = await world.load([
      { path: join(folder, 'a.js') },
      { path: join(folder, 'b.js') },
    ]);
    const [one, two] = [instance?.open(), instance?.open()];
    if (one === undefined || two === undefined) throw new Error('not loaded');
    for (const session of [one, one, two]) world.fire(session, 'CLIENT_ACCEPTED');
    for (const session of [one, two]) world.fire(session, 'CLIENT_DATA');
    expect(world.logs).toEqual(['info rule: 2', 'info rule: 1']);
    expect(instance?.liveSessions).toBe(2);
    one.close();
    one.close();
    expect(instance?.liveSessions).toBe(1);
    expect(world.fire(one, 'CLIENT_ACCEPTED').outcome).toEqual({ type: 'done' });
  });

  it('`statics` is shared by all rules and connections', async () => {
    const world = new World();
    const folder = folderWith({
      'a.js': `statics.count = 0; when('CLIENT_ACCEPTED', () => { statics.count++; });`,
      'b.js': `when('CLIENT_ACCEPTED', () => log(String(statics.count)));`,
    });
    const { instance } = await world.load([
      { path: join(folder, 'a.js') },
      { path: join(folder, 'b.js') },
    ]);
    for (let i = 0; i < 2; i++) instance?.open().run(world.newRun('CLIENT_ACCEPTED'), () => {});
    expect(world.logs).toEqual(['info rule: 1', 'info rule: 2']);
  });

  it('`options` are those of the rule, frozen all through', async () => {
    const world = new World();
    const source = `
      when('CLIENT_ACCEPTED', () => log(JSON.stringify(options)));
      when('CLIENT_DATA', () => { options.list[0].a = 1; });`;
    const folder = folderWith({ 'rule.js': source });
    const path = join(folder, 'rule.js');
    const tricky = { text: '\u2028"\\\n`', list: [{ a: 0 }], ['__proto__']: { x: 1 } };
    const { instance } = await world.load([
      { path, name: 'A', options: tricky },
      { path, name: 'B', options: {} },
    ]);
    const session = instance?.open();
    session?.run(world.newRun('CLIENT_ACCEPTED'), () => {});
    expect(world.logs).toEqual([`info A: ${JSON.stringify(tricky)}`, 'info B: {}']);
    expect(session?.run(world.newRun('CLIENT_DATA'), () => {})).toMatchObject({
      error: { reason: 'exception', line: 3 },
    });
  });
});

describe('the first line', () => {
  it('keeps its columns in spite of the options', async () => {
    const world = new World();
    const path = join(
      folderWith({ 'rule.js': `when('CLIENT_ACCEPTED', () => { nothing(); });` }),
      'rule.js',
    );
    const { instance } = await world.load([{ path, options: { a: '\u{1f600}long'.repeat(20) } }]);
    const session = instance?.open();
    if (session === undefined) throw new Error('not loaded');
    expect(world.failure(session)).toMatchObject({
      message: "ReferenceError: 'nothing' is not defined",
      line: 1,
      column: 33,
    });
  });
});

describe('places', () => {
  it.each([
    ['\r', 3, 1],
    ['\u2028', 3, 1],
    ['\r\n', 3, 1],
  ])('count %j as an end of a line, as editors do', async (end, line, column) => {
    const world = new World();
    const path = join(folderWith({ 'rule.js': `let a;${end}${end}nothing();${end}` }), 'rule.js');
    const { problems } = await world.load([{ path }]);
    expect(problems).toMatchObject([
      { line, column, excerpt: expect.stringContaining('nothing();') },
    ]);
  });

  it.each([['0:1'], ['9:1'], [`${'9'.repeat(400)}:1`]])(
    'that a rule makes up and that do not exist are none: %s',
    async (place) => {
      const world = new World();
      const instance = await world.instance(`when('CLIENT_ACCEPTED', () => {
      throw Object.defineProperty(new Error('x'), 'stack', { value: 'at f (rule.js:${place})' }); });`);
      const error = world.failure(instance.open());
      expect(error.message).toBe('Error: x');
      expect(error.line).toBeUndefined();
    },
  );
});

describe('columns', () => {
  it('count UTF-16 units, as editors do', async () => {
    const world = new World();
    const instance = await world.instance(
      `when('CLIENT_ACCEPTED', () => {\n  '\u{1f600}\u20ac'; nothing(); });`,
    );
    expect(world.failure(instance.open())).toMatchObject({ line: 2, column: 10 });
  });
});

describe('clientside and serverside', () => {
  it('switch the side for a function, and back also after a throw', async () => {
    const world = new World();
    const instance = await world.instance(`when('SERVER_DATA', () => {
      log([clientside(), serverside()].join());
      log(clientside(() => { TCP.respond('c'); return String(serverside(() => clientside())); }));
      try { clientside(() => { throw new Error('x'); }); } catch {}
      TCP.respond('s');
    });`);
    const { run, outcome } = world.fire(instance.open(), 'SERVER_DATA');
    expect(outcome).toEqual({ type: 'done' });
    expect(world.logs).toEqual(['info rule: false,true', 'info rule: false']);
    expect(run.actions).toMatchObject([{ side: 'client' }, { side: 'server' }]);
    expect(responses(run)).toEqual(['c', 's']);
  });

  it('are refused without a connection and without a function', async () => {
    const world = new World();
    await expect(world.instance('clientside();')).rejects.toThrow('not valid in RULE_INIT');
    const instance = await world.instance(`when('CLIENT_ACCEPTED', () => clientside(5));`);
    expect(world.failure(instance.open()).message).toBe(
      'TypeError: clientside: callback must be a function',
    );
  });
});

describe('RULE_INIT', () => {
  it('runs once when the rules are loaded, without variables, and may await', async () => {
    const world = new World();
    const instance = await world.instance(`
      when('RULE_INIT', (c) => { statics.c = typeof c; });
      when('RULE_INIT', async () => { statics.fetched = await fetch('now'); });
      when('CLIENT_ACCEPTED', () => log(statics.c + ' ' + statics.fetched));`);
    world.fire(instance.open(), 'CLIENT_ACCEPTED');
    expect(world.logs).toEqual(['info rule: undefined at once']);
    expect(instance.liveSessions).toBe(1);
  });

  it('that fails or waits too long keeps the rules from loading', async () => {
    const world = new World();
    await expect(
      world.instance(`when('RULE_INIT', () => {\n throw new Error('no'); });`),
    ).rejects.toThrow(/in RULE_INIT: Error: no.*"line":2/);
    await expect(
      world.instance(`when('RULE_INIT', async () => { await fetch('never'); });`, { initMs: 10 }),
    ).rejects.toThrow('still waiting after 10 ms');
    expect(world.cancelled).toBe(1);
    await expect(world.instance(`when('RULE_INIT', () => TCP.respond('x'));`)).rejects.toThrow(
      'there is no connection',
    );
  });
});
