import { describe, expect, it } from 'vitest';
import { onAccept, responses, World } from './harness.ts';

async function accept(body: string, payload = '') {
  const world = new World();
  const instance = await world.instance(onAccept(body));
  const { run, outcome } = world.fire(instance.open(), 'CLIENT_ACCEPTED', payload);
  return { world, run, outcome, logs: world.logs.map((line) => line.replace('info rule: ', '')) };
}

async function errorOf(body: string) {
  const world = new World();
  const instance = await world.instance(onAccept(body));
  return world.failure(instance.open());
}

describe('commands in the guest', () => {
  it('are functions that hold the commands under their names, frozen', async () => {
    const { logs } = await accept(`
      log([typeof TCP.payload, typeof TCP.payload.length, typeof TCP.payload.bytes].join());
      log(String(Object.isFrozen(TCP) && Object.isFrozen(TCP.payload)));
      try { TCP.payload = 1; } catch (e) { log(e.name); }
      try { TCP.more = 1; } catch (e) { log(e.name); }
    `);
    expect(logs).toEqual(['function,function,function', 'true', 'TypeError', 'TypeError']);
  });

  it('record on the run of the connection', async () => {
    const { run, outcome } = await accept(`TCP.collect(); TCP.collect(7); TCP.respond('ok');`);
    expect(outcome).toEqual({ type: 'done' });
    expect(run.actions).toEqual([
      { type: 'collect', side: 'client' },
      { type: 'collect', side: 'client', length: 7 },
      { type: 'respond', side: 'client', data: Buffer.from('ok') },
    ]);
  });

  it('return every type of result', async () => {
    const { logs } = await accept(`
      log(JSON.stringify([echo.text('\\u20ac\\0'), echo.integer(7), echo.huge(), echo.yes()]));
      const bytes = echo.bytes('\\x00\\xff');
      log(String(bytes instanceof Uint8Array) + bytes.join());
      log(String(log('nothing')));
    `);
    expect(logs).toEqual([
      '["€\\u0000",7,1099511627776,true]',
      'true0,255',
      'nothing',
      'undefined',
    ]);
  });

  it('throw their own exceptions at the place of the call', async () => {
    const error =
      await errorOf(`try { fail('range') } catch (e) { if (!(e instanceof RangeError)) throw e; }
      fail('plain');`);
    expect(error).toMatchObject({ message: 'Error: the command refuses', line: 2, column: 11 });
  });
});

describe('binary data', () => {
  const everything = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join('');

  it('keeps every byte on the way in and out', async () => {
    const { run, logs } = await accept(
      `const p = TCP.payload(); log(String(p.length)); TCP.respond(p); TCP.respond(TCP.payload.bytes());`,
      everything,
    );
    expect(logs).toEqual(['256']);
    expect(responses(run)).toEqual([everything, everything]);
  });

  it('takes ropes, slices, wide strings that are all bytes, and views', async () => {
    const { run } = await accept(`
      let rope = ''; for (let i = 0; i < 3000; i++) rope += '\\0\\xff' + (i % 10);
      TCP.respond(rope);
      TCP.respond('\\u1234\\xff\\0x'.slice(1));
      TCP.respond(new Uint8Array([1, 2, 255, 0]).subarray(1, 3));
      TCP.respond('');
      TCP.respond(new Uint8Array(0));
    `);
    const rope = Array.from({ length: 3000 }, (_, i) => `\0\xff${i % 10}`).join('');
    expect(responses(run)).toEqual([rope, '\xff\0x', '\x02\xff', '', '']);
  });

  it('carries large payloads', async () => {
    const large = 'ab\0\xff'.repeat(200_000);
    const { run } = await accept('TCP.respond(TCP.payload());', large);
    expect(responses(run)[0] === large).toBe(true);
  });

  it('copies: later changes in the guest do not reach what was recorded', async () => {
    const { run } = await accept(`const b = new Uint8Array([65]); TCP.respond(b); b[0] = 66;`);
    expect(responses(run)).toEqual(['A']);
  });

  it('refuses characters above 0xFF, also in ropes', async () => {
    const hint =
      'TypeError: TCP.respond: data has a character above 0xFF, which is no byte; use utf8()';
    expect((await errorOf(`TCP.respond('\\u0100')`)).message).toBe(hint);
    expect(
      (await errorOf(`let s = '\\u20ac'; while (s.length < 5000) s += s; TCP.respond(s + 'x')`))
        .message,
    ).toBe(hint);
  });
});

describe('arguments', () => {
  const cases: readonly [string, string][] = [
    ['TCP.respond()', 'TypeError: TCP.respond: takes 1 argument, got 0'],
    [`TCP.respond('a', 'b')`, 'TypeError: TCP.respond: takes 1 argument, got 2'],
    ['TCP.payload.length(1)', 'TypeError: TCP.payload.length: takes 0 arguments, got 1'],
    [`choose()`, 'TypeError: choose: takes 1 to 2 arguments, got 0'],
    ['TCP.respond(5)', 'TypeError: TCP.respond: data must be a string or Uint8Array'],
    ['TCP.respond(undefined)', 'TypeError: TCP.respond: data must be a string or Uint8Array'],
    ['TCP.respond(null)', 'TypeError: TCP.respond: data must be a string or Uint8Array'],
    ['TCP.respond([65])', 'TypeError: TCP.respond: data must be a string or Uint8Array'],
    [
      'TCP.respond(new Int8Array(1))',
      'TypeError: TCP.respond: data must be a string or Uint8Array',
    ],
    [
      'TCP.respond(new ArrayBuffer(1))',
      'TypeError: TCP.respond: data must be a string or Uint8Array',
    ],
    [`TCP.respond(new String('x'))`, 'TypeError: TCP.respond: data must be a string or Uint8Array'],
    [`TCP.collect('5')`, 'TypeError: TCP.collect: length must be a number'],
    ['TCP.collect(5n)', 'TypeError: TCP.collect: length must be a number'],
    ['TCP.collect(true)', 'TypeError: TCP.collect: length must be a number'],
    ['TCP.collect(null)', 'TypeError: TCP.collect: length must be a number'],
    ['TCP.collect({ valueOf: () => 5 })', 'TypeError: TCP.collect: length must be a number'],
    [
      'TCP.collect(-1)',
      'RangeError: TCP.collect: length must be a whole number from 0 to 2147483647',
    ],
    [
      'TCP.collect(1.5)',
      'RangeError: TCP.collect: length must be a whole number from 0 to 2147483647',
    ],
    [
      'TCP.collect(NaN)',
      'RangeError: TCP.collect: length must be a whole number from 0 to 2147483647',
    ],
    [
      'TCP.collect(2 ** 31)',
      'RangeError: TCP.collect: length must be a whole number from 0 to 2147483647',
    ],
    ['echo.text(7)', 'TypeError: echo.text: text must be a string'],
    ['echo.text({ toString() { for (;;); } })', 'TypeError: echo.text: text must be a string'],
    [`choose('green')`, 'RangeError: choose: color must be one of red, blue'],
  ];

  it.each(cases)('%s is refused', async (call, message) => {
    expect(await errorOf(call)).toMatchObject({ reason: 'exception', message, line: 1 });
  });

  it('tells the exact place', async () => {
    const world = new World();
    const instance = await world.instance(
      `const answer = (text) => {\n\tTCP.respond(text);\n};\n${onAccept('answer(5);')}`,
    );
    expect(world.failure(instance.open())).toEqual({
      reason: 'exception',
      rule: 'rule',
      event: 'CLIENT_ACCEPTED',
      message: 'TypeError: TCP.respond: data must be a string or Uint8Array',
      file: expect.stringMatching(/rule\.js$/),
      line: 2,
      column: 13,
      excerpt: '2 |  TCP.respond(text);\n  |             ^',
    });
  });

  it('may be undefined where they are optional, and whole floats', async () => {
    const { run, logs } = await accept(`
      TCP.collect(undefined);
      TCP.collect(Number('1e3') * 1.5);
      log(choose('red', undefined));
      log(choose('blue', 'dark'));
      log(String(echo.integer(2147483647) + echo.integer(-0)));
    `);
    expect(run.actions).toEqual([
      { type: 'collect', side: 'client' },
      { type: 'collect', side: 'client', length: 1500 },
    ]);
    expect(logs).toEqual(['red/undefined', 'blue/dark', '2147483647']);
  });

  it('never run code of the guest: proxies and getters are just wrong types', async () => {
    const { logs, run } = await accept(`
      const trap = new Proxy(new Uint8Array(4), { get() { log('trapped'); }, getPrototypeOf() { log('trapped'); } });
      for (const value of [trap, { get length() { log('trapped'); } }, Symbol('x'), () => 'x']) {
        try { TCP.respond(value); } catch (e) { log(e.name); }
      }
    `);
    expect(logs).toEqual(['TypeError', 'TypeError', 'TypeError', 'TypeError']);
    expect(run.actions).toEqual([]);
  });
});

describe('where commands are valid', () => {
  it('refuses a command outside its events', async () => {
    const world = new World();
    const instance = await world.instance(`when('CLIENT_CLOSED', () => {\n  TCP.collect(); });`);
    expect(world.failure(instance.open(), 'CLIENT_CLOSED')).toMatchObject({
      message:
        'Error: TCP.collect is not valid in CLIENT_CLOSED; it is valid in CLIENT_ACCEPTED, CLIENT_DATA',
      line: 2,
    });
  });

  it('allows those for any event while the rule loads, and no others', async () => {
    const world = new World();
    await world.instance(`log(echo.text('loading'));`);
    expect(world.logs).toEqual(['info rule: loading']);
    await expect(world.instance('TCP.payload();')).rejects.toThrow(
      'TCP.payload is not valid in RULE_INIT: there is no connection',
    );
  });
});
