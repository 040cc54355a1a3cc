import { beforeEach, describe, expect, it } from 'vitest';
import { GuestAbi, PromiseState, Tag } from '../../../src/sandbox/guest-abi.ts';
import { abiFacts } from '../../../src/sandbox/guest-abi-check.ts';
import { GuestFault, GuestMemory } from '../../../src/sandbox/guest-memory.ts';
import { loadQuickJs } from '../../../src/sandbox/quickjs-wasm.ts';

let abi: GuestAbi;
beforeEach(async () => {
  abi = await GuestAbi.create(384);
});

const run = (code: string) => abi.evaluate(code, 'test', 'script');
const identity = () => run('(x) => x');

const texts = [
  '',
  'a',
  'nul\0',
  '\xff\x80',
  '\u0100',
  '\ud83d\ude00',
  '\ud800',
  'x'.repeat(127),
  'x'.repeat(128),
  '\u20ac'.repeat(40_000),
  'y'.repeat(300_000),
];

describe('the self-test', () => {
  it('finds the pinned build as expected', async () => {
    expect(await abiFacts()).toEqual({ readsStringsDirectly: true, countsPolls: true });
  });
});

describe.each([
  ['directly', true],
  ['serialized', false],
])('strings read %s', (_how, direct) => {
  beforeEach(() => {
    abi.readsStringsDirectly = direct;
  });

  it.each(texts.map((text) => [text.length, text] as const))(
    'of length %i come back',
    (_length, text) => {
      expect(abi.readText(abi.call(identity(), abi.newText(text))) === text).toBe(true);
    },
  );

  it('include ropes, in both widths', () => {
    const rope = (part: string) =>
      `(() => { let s = ''; for (let i = 0; i < 900; i++) s += ${JSON.stringify(part)}; return s; })()`;
    for (const part of ['ab\0\xff', 'a\u20ac']) {
      expect(abi.readText(run(rope(part))) === part.repeat(900)).toBe(true);
    }
    expect(Buffer.from(abi.readBinary(run(rope('\0\xff'))) as Uint8Array).toString('latin1')).toBe(
      '\0\xff'.repeat(900),
    );
    expect(abi.readBinary(run(rope('\u20ac')))).toBe('wide');
  });

  it('as bytes are one a character', () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    expect(abi.readBinary(abi.call(identity(), abi.newBinary(bytes)))).toEqual(bytes);
    expect(abi.readBinary(run('"\\u1234\\xff".slice(1)'))).toEqual(Buffer.from([255]));
  });
});

describe('values', () => {
  it('have the tags that their types have', () => {
    expect(
      ['1', 'true', 'undefined', '[]', '"a"', 'throw 1'].map((code) => abi.tag(run(code))),
    ).toEqual([Tag.int, Tag.bool, Tag.undefined, Tag.object, Tag.string, Tag.exception]);
  });

  it('that are numbers are read without coercion', () => {
    for (const number of [
      0,
      -1,
      2 ** 31 - 1,
      -(2 ** 31),
      2 ** 31,
      0.1,
      -0,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ]) {
      expect(abi.readNumber(run(Object.is(number, -0) ? '-0' : String(number)))).toBe(number);
    }
    for (const code of [
      '"1"',
      'true',
      'null',
      '1n',
      '2n ** 90n',
      'new Number(1)',
      '({ valueOf() { return 1; } })',
    ]) {
      expect(abi.readNumber(run(code))).toBeUndefined();
    }
  });

  it('of another type than asked for are undefined', () => {
    expect(abi.readText(run('new String("x")'))).toBeUndefined();
    for (const code of [
      '1',
      'null',
      '({})',
      '[1]',
      'new DataView(new ArrayBuffer(2))',
      'new Uint8ClampedArray(2)',
      'new Proxy(new Uint8Array(1), {})',
    ]) {
      expect(abi.readBinary(run(code))).toBeUndefined();
    }
  });

  it('that are a Uint8Array go both ways, large or small, as views too', () => {
    for (const length of [0, 1, 64, 70_000]) {
      const bytes = Buffer.alloc(length, 7);
      const value = abi.call(
        run('(a) => (a.constructor === Uint8Array && a.buffer.byteLength === a.length ? a : 0)'),
        abi.newUint8Array(bytes),
      );
      expect(abi.readBinary(value)).toEqual(bytes);
    }
    expect(abi.readBinary(run('new Uint8Array([1, 2, 3, 4]).subarray(2)'))).toEqual(
      Buffer.from([3, 4]),
    );
    expect(abi.readBinary(run('new (class X extends Uint8Array {})(2)'))).toEqual(Buffer.alloc(2));
  });

  it('that are promises can be made, settled and looked at', () => {
    const { promise, resolve } = abi.newPromise();
    expect(abi.promiseState(promise)).toBe(PromiseState.pending);
    abi.call(resolve, abi.newText('v'));
    expect(abi.promiseState(promise)).toBe(PromiseState.fulfilled);
    expect(abi.readText(abi.promiseResult(promise))).toBe('v');
    expect(Object.values(PromiseState)).not.toContain(abi.promiseState(run('({ then() {} })')));
  });

  it('do not leak: many of them leave the memory as it was', () => {
    const fn = identity();
    const before = abi.memoryBytes;
    const bytes = Buffer.alloc(1_000, 1);
    for (let i = 0; i < 50_000; i++) {
      const value = i % 2 === 0 ? abi.newBinary(bytes) : abi.newUint8Array(bytes);
      abi.free(abi.call(fn, value));
      abi.free(value);
    }
    expect(abi.memoryBytes).toBe(before);
  });
});

describe('a forged guest', () => {
  it('cannot make the host read outside of its memory', async () => {
    const memory = new GuestMemory(await loadQuickJs(384));
    const end = memory.heap.length;
    for (const attempt of [
      () => memory.word(end),
      () => memory.word(0xfffffffc),
      () => memory.copy(end - 4, 5),
      () => memory.copy(0, 0xffffffff),
      () => memory.text(16, 0x7fffffff, true),
    ]) {
      expect(attempt).toThrow(GuestFault);
    }
    expect(memory.copy(end - 4, 4)).toHaveLength(4);
  });

  it('gets no memory beyond its cap', () => {
    expect(() => abi.newBinary(Buffer.alloc(30_000_000))).toThrow(GuestFault);
    expect(abi.readText(abi.newText('still there'))).toBe('still there');
  });
});
