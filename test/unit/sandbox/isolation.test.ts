import { describe, expect, it } from 'vitest';
import { onAccept, World } from './harness.ts';

async function logsOf(body: string): Promise<string[]> {
  const world = new World();
  const instance = await world.instance(onAccept(body));
  const { outcome } = world.fire(instance.open(), 'CLIENT_ACCEPTED');
  expect(outcome).toEqual({ type: 'done' });
  return world.logs.map((line) => line.replace('info rule: ', ''));
}

describe('the world of rules', () => {
  it('has nothing of the host', async () => {
    const names = [
      'process',
      'require',
      'module',
      'fetchUrl',
      'setTimeout',
      'console',
      'WebAssembly',
      'Buffer',
      'std',
      'os',
      'print',
      'Atomics',
    ];
    expect(await logsOf(`log([${names.map((name) => `typeof ${name}`).join()}].join());`)).toEqual([
      names.map(() => 'undefined').join(),
    ]);
  });

  it('lacks what is unsafe in this engine', async () => {
    expect(
      await logsOf(`
        log([typeof eval, typeof Function, typeof WeakRef, typeof FinalizationRegistry, typeof SharedArrayBuffer].join());
        const proto = ArrayBuffer.prototype;
        log([typeof proto.resize, typeof proto.transfer, typeof proto.transferToFixedLength, typeof new Uint8Array(1).with].join());`),
    ).toEqual([
      'undefined,undefined,undefined,undefined,undefined',
      'undefined,undefined,undefined,undefined',
    ]);
  });

  it('has no way to compile text', async () => {
    expect(
      await logsOf(`
        const samples = [() => {}, function* () {}, async () => {}, async function* () {}, class {}, TCP.payload, log, when, Object, [].map];
        for (const f of samples) {
          for (let p = f; p !== null; p = Object.getPrototypeOf(p)) {
            const made = p.constructor;
            if (typeof made === 'function' && made !== Object && made !== f.constructor) log('found ' + made.name);
            if (made !== undefined && made !== Object) { try { if (typeof made('return 1') === 'function') log('compiled'); } catch {} }
          }
        }
        try { Reflect.construct((() => {}).constructor, ['return 1']); } catch (e) { log(e.name); }`),
    ).toEqual(['TypeError']);
  });

  it('keeps rules apart: nothing that they share can be changed', async () => {
    expect(
      await logsOf(`
        const tries = {
          global: () => { globalThis.x = 1; },
          undeclared: () => { y = 1; },
          builtin: () => { Object.prototype.polluted = 1; },
          method: () => { Array.prototype.push = () => 0; },
          define: () => Object.defineProperty(String.prototype, 'startsWith', { value: () => true }),
          proto: () => { ({}).__proto__.polluted = 1; },
          setProto: () => Object.setPrototypeOf(Array.prototype, {}),
          promise: () => { Promise.prototype.then = () => 0; },
          species: () => { Array[Symbol.species] = class {}; },
          iterator: () => { [][Symbol.iterator]().__proto__.next = () => 0; },
          generator: () => { (function* () {})().__proto__.__proto__.next = () => 0; },
          asyncGenerator: () => { Object.getPrototypeOf(async function* () {}).prototype.next = 1; },
          regexp: () => { RegExp.prototype.exec = () => null; },
          stringIterator: () => { 'a'.matchAll(/a/g).__proto__.next = 1; },
          math: () => { Math.max = 1; },
          json: () => { JSON.parse = 1; },
          date: () => { Date.now = () => 0; },
          command: () => { TCP.respond = 1; },
          commandProperty: () => { TCP.payload.more = 1; },
          errorName: () => { Error.prototype.name = 'x'; },
          toString: () => { Object.prototype.toString = 1; },
          when: () => { when = 1; },
          whenProperty: () => { when.more = 1; },
          statics: () => { statics = {}; },
          typedArray: () => { Object.getPrototypeOf(Uint8Array.prototype).set = 1; },
          symbol: () => { Symbol.prototype.description = 1; },
          remove: () => { delete Array.prototype.map; },
        };
        for (const [name, attempt] of Object.entries(tries)) {
          try { attempt(); log(name + ' worked'); } catch (e) { if (!/TypeError|ReferenceError/.test(e.name)) log(name + ' ' + e); }
        }
        log(String(({}).polluted));`),
    ).toEqual(['undefined']);
  });

  it('still lets rules override inherited names on their own objects', async () => {
    expect(
      await logsOf(`
        const e = new Error('a'); e.name = 'Mine'; e.message = 'b'; log(String(e));
        const o = {}; o.toString = () => 'own'; log(String(o));
        class Base { toString() { return 'base'; } } log(String(new Base()));
        class Oops extends TypeError { constructor() { super('x'); this.name = 'Oops'; } }
        log(new Oops().name + Object.keys(new Oops()).join() + new TypeError('t').name);`),
    ).toEqual(['Mine: b', 'own', 'base', 'OopsnameTypeError']);
  });

  it('is apart from other instances', async () => {
    const world = new World();
    const one = await world.instance(onAccept('statics.mark = 1;'));
    const two = await world.instance(onAccept('log(String(statics.mark));'));
    world.fire(one.open(), 'CLIENT_ACCEPTED');
    world.fire(two.open(), 'CLIENT_ACCEPTED');
    expect(world.logs).toEqual(['info rule: undefined']);
  });

  it('is frozen as far as one can reach', async () => {
    expect(
      await logsOf(`
        const found = new Map([[globalThis, 'globalThis']]);
        const add = (value, path) => {
          if (((typeof value === 'object' && value !== null) || typeof value === 'function') && value !== statics && !found.has(value)) found.set(value, path);
        };
        const samples = { when, array: [].values(), map: new Map().entries(), set: new Set().values(), string: ''[Symbol.iterator](), match: 'a'.matchAll(/a/g),
          helper: [].values().map((x) => x), drop: [].values().drop(1), flat: [].values().flatMap((x) => [x]), from: Iterator.from({ next() {} }), concat: Iterator.concat([]),
          f: () => {}, af: async () => {}, gf: function* () {}, agf: async function* () {},
          error: new TypeError('x'), date: new Date(), regexp: /a/d.exec('a'), promise: Promise.resolve(), groups: /(?<a>a)/.exec('a').groups, bound: (() => {}).bind(), args: (function () { return arguments; })(), proxy: new Proxy({}, {}), revocable: Proxy.revocable({}, {}), resolvers: Promise.withResolvers() };
        for (const [name, value] of Object.entries(samples)) add(Object.getPrototypeOf(value), name);
        for (const [object, path] of found) {
          add(Object.getPrototypeOf(object), path + '.__proto__');
          for (const key of Reflect.ownKeys(object)) {
            const { value, get, set } = Object.getOwnPropertyDescriptor(object, key);
            for (const one of [value, get, set]) add(one, path + '.' + String(key));
          }
          if (!Object.isFrozen(object)) log(path);
        }
        log(String(found.size > 400));`),
    ).toEqual(['true']);
  });

  it('does not show its own helpers', async () => {
    expect(
      await logsOf(
        `log(Object.getOwnPropertyNames(globalThis).filter((n) => /register|switchSide|isSide|describe|prelude/.test(n)).join());`,
      ),
    ).toEqual(['']);
  });
});
