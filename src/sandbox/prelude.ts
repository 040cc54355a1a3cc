/**
 * What runs in the guest before any rule: it makes the rules' globals, takes away what is unsafe,
 * and freezes everything else, so that no rule can change what another one, or the host, relies
 * on. Its value is an array of functions of one argument each: `name` and `command` take the path and
 * then the function of a command, `helper` one of the host's own functions, `describe` reads a
 * thrown value, `finish` closes the realm.
 *
 * - `eval` and the function constructors compile source at run time, whose nesting can overflow
 *   the host's stack; they are gone.
 * - Weak references, shared and resizable buffers have had memory bugs in QuickJS; they are gone.
 * - Frozen prototypes make plain assignment to an inherited property fail. Where rules do that in
 *   good faith (`error.name = …`, `object.toString = …`), a setter keeps it working.
 */
export const PRELUDE_FILE = '<prelude>';

export const prelude = `(() => {
'use strict';
const world = globalThis;
let pending;

const name = (path) => { pending = path.split('.'); };
const command = (fn) => {
  let parent = world;
  for (const part of pending.slice(0, -1)) {
    if (!Object.hasOwn(parent, part)) constant(parent, part, {});
    parent = parent[part];
  }
  constant(parent, pending.at(-1), fn);
};
const constant = (object, key, value) =>
  Object.defineProperty(object, key, { value, enumerable: true, configurable: false, writable: false });

const helpers = {};
const helper = (value) => { helpers[value.name] = value; };

const when = (event, handler, options = {}) => {
  if (typeof event !== 'string') throw new TypeError('when: event must be a string');
  if (typeof handler !== 'function') throw new TypeError('when: handler must be a function');
  const { priority = 500 } = options;
  if (!Number.isInteger(priority) || priority < 0 || priority > 1000) {
    throw new RangeError('when: priority must be a whole number from 0 to 1000');
  }
  helpers.register(event, priority, handler);
};

const onSide = (name, side) => (callback) => {
  if (callback === undefined) return helpers.isSide(side);
  if (typeof callback !== 'function') throw new TypeError(name + ': callback must be a function');
  const before = helpers.switchSide(side);
  try {
    return callback();
  } finally {
    helpers.switchSide(before);
  }
};

const text = (value) => {
  try {
    return String(value).slice(0, 2000);
  } catch {
    return 'a value that cannot be shown';
  }
};
const property = (value, key) => {
  try {
    return text(value[key]);
  } catch {
    return '';
  }
};
const describe = (value) => value instanceof Error
  ? [property(value, 'name'), property(value, 'message'), property(value, 'stack')].join('\\0')
  : ['', text(value), ''].join('\\0');

const remove = () => {
  for (const key of ['eval', 'Function', 'FinalizationRegistry', 'WeakRef', 'SharedArrayBuffer', 'Atomics']) {
    delete world[key];
  }
  for (const sample of [() => {}, function* () {}, async () => {}, async function* () {}]) {
    Object.defineProperty(Object.getPrototypeOf(sample), 'constructor', { value: undefined });
  }
  for (const key of ['resize', 'transfer', 'transferToFixedLength']) delete ArrayBuffer.prototype[key];
  delete Object.getPrototypeOf(Uint8Array.prototype).with;
};

const allowOverride = (prototype, key) => {
  const { value } = Object.getOwnPropertyDescriptor(prototype, key) ?? {};
  if (value === undefined) return;
  Object.defineProperty(prototype, key, {
    get() { return value; },
    set(next) {
      if (this === prototype) throw new TypeError('the built-in prototypes are frozen');
      Object.defineProperty(this, key, { value: next, writable: true, enumerable: true, configurable: true });
    },
    enumerable: false,
    configurable: false,
  });
};

const freezeAll = () => {
  const samples = [
    [][Symbol.iterator](), new Map()[Symbol.iterator](), new Set()[Symbol.iterator](),
    ''[Symbol.iterator](), 'a'.matchAll(/a/g), [].values().map((x) => x), Iterator.from({ next() {} }),
    Iterator.concat([]),
    (function* () {})(), (async function* () {})(), () => {}, async () => {}, function* () {}, async function* () {},
  ];
  const found = new Set([world, helpers, ...samples.map((sample) => Object.getPrototypeOf(sample))]);
  const add = (value) => {
    if ((typeof value === 'object' && value !== null) || typeof value === 'function') found.add(value);
  };
  for (const object of found) {
    const keys = Reflect.ownKeys(object);
    // Most are built-in functions with a length and a name, which lead nowhere.
    if (typeof object !== 'function' || keys.length > 2) {
      add(Object.getPrototypeOf(object));
      for (const key of keys) {
        const { value, get, set } = Object.getOwnPropertyDescriptor(object, key);
        add(value);
        add(get);
        add(set);
      }
    }
    if (object !== world) Object.freeze(object);
  }
};

const finish = () => {
  constant(world, 'when', when);
  constant(world, 'clientside', onSide('clientside', 0));
  constant(world, 'serverside', onSide('serverside', 1));
  remove();
  for (const key of ['toString', 'valueOf', 'toLocaleString']) allowOverride(Object.prototype, key);
  for (const type of [Error, AggregateError, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, InternalError]) {
    for (const key of ['name', 'message', 'toString']) allowOverride(type.prototype, key);
  }
  freezeAll();
  constant(world, 'statics', {});
  Object.freeze(world);
};

return [name, command, helper, describe, finish];
})()`;
