import { GuestAbi, type Handle, POLLS_BY_DEFAULT, Tag, VALUE_BYTES } from './guest-abi.ts';

export interface AbiFacts {
  /** False: strings are laid out in another way than expected; they can only be read serialized. */
  readonly readsStringsDirectly: boolean;
  /** False: the interrupt handler is called as seldom as QuickJS does by itself. */
  readonly countsPolls: boolean;
}

let known: Promise<AbiFacts> | undefined;

/**
 * Whether QuickJS's values are laid out as `GuestAbi` expects, tried once for each process.
 * @throws Error when values cannot be exchanged at all.
 */
export function abiFacts(): Promise<AbiFacts> {
  known ??= checkAbi();
  return known;
}

const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
const MEMORY_PAGES = 384;
const CALL_ID = 7;
const long = Uint8Array.from({ length: 70_000 }, (_, i) => i % 251);
const latin1 = String.fromCharCode(...bytes);
const wide = `a\0\u00ff\u0100\ud83d\ude00`;

async function checkAbi(): Promise<AbiFacts> {
  const texts: (string | undefined)[] = [];
  let interrupts = 0;
  const abi = await GuestAbi.create(MEMORY_PAGES);
  abi.callbacks = {
    callFunction: (_asyncify, _context, _self, argc, argv, id) => {
      abi.sync();
      for (let i = 0; i < argc; i++) texts.push(abi.readText(argv + i * VALUE_BYTES));
      return id === CALL_ID ? abi.throwError('TypeError', 'thrown') : 0;
    },
    shouldInterrupt: () => {
      interrupts++;
      return 0;
    },
    normalizeModule: () => 0,
    loadModuleSource: () => 0,
    freeHostRef: () => {},
  };
  const run = (code: string) => abi.evaluate(code, '<check>', 'script');
  const expect = (what: string, right: boolean) => {
    if (!right) throw new Error(`this build of QuickJS is not supported: ${what}`);
  };
  checkScalars(abi, run, expect);
  if (!readsStrings(abi, run)) {
    abi.readsStringsDirectly = false;
    expect('strings', readsStrings(abi, run));
  }
  checkBytes(abi, run, expect);
  const fn = abi.newFunction('check', CALL_ID);
  const caller = run(`(f) => { try { f('x', 'y'); } catch (e) { return e.message; } }`);
  expect('calls of the host', abi.readText(abi.call(caller, fn)) === 'thrown');
  expect('arguments', texts.join() === 'x,y');
  const countsPolls = checkPolls(abi, run, () => interrupts);
  return { readsStringsDirectly: abi.readsStringsDirectly, countsPolls };
}

type Run = (code: string) => Handle;
type Expect = (what: string, right: boolean) => void;

function checkScalars(abi: GuestAbi, run: Run, expect: Expect): void {
  const tags: readonly [string, number][] = [
    ['-3', Tag.int],
    ['true', Tag.bool],
    ['undefined', Tag.undefined],
    ['({})', Tag.object],
    ['"a"', Tag.string],
    ['throw 1', Tag.exception],
  ];
  for (const [code, tag] of tags) expect(`the tag of ${code}`, abi.tag(run(code)) === tag);
  expect('integers', abi.readNumber(run('-3')) === -3);
  for (const number of [0.5, -1e308, 2 ** 31, Number.NaN, Number.NEGATIVE_INFINITY]) {
    expect('floating-point numbers', Object.is(abi.readNumber(run(`${number}`)), number));
  }
  for (const code of ['true', 'null', '"1"', '1n', '2n ** 80n', '({})', 'Symbol()']) {
    expect('values that are no numbers', abi.readNumber(run(code)) === undefined);
  }
  const identity = run('(x) => x');
  for (const number of [0, -1, 2 ** 31 - 1, 2 ** 40]) {
    const answer = abi.call(identity, abi.newNumber(number));
    expect('numbers handed in', abi.readNumber(answer) === number);
  }
  expect(
    'booleans handed in',
    abi.int(abi.call(run('(x) => x === true'), abi.newBool(true))) === 1,
  );
}

function checkBytes(abi: GuestAbi, run: Run, expect: Expect): void {
  const view = abi.readBinary(run('new Uint8Array([1, 2, 3, 0, 255]).subarray(1)'));
  expect('Uint8Array', view instanceof Uint8Array && [...view].join() === '2,3,0,255');
  for (const code of ['({})', '[1]', 'new Int8Array(2)', 'new Proxy(new Uint8Array(1), {})']) {
    expect('objects that are no Uint8Array', abi.readBinary(run(code)) === undefined);
  }
  const sum = run(
    '(a) => a instanceof Uint8Array ? a.length + ":" + a.reduce((x, y) => x + y, 0) : ""',
  );
  for (const data of [bytes, long]) {
    const total = data.reduce((a, b) => a + b, 0);
    const answer = abi.readText(abi.call(sum, abi.newUint8Array(data)));
    expect('bytes handed in', answer === `${data.length}:${total}`);
  }
  expect('wide strings', abi.readBinary(run('"\\u0100"')) === 'wide');
}

function readsStrings(abi: GuestAbi, run: Run): boolean {
  try {
    return exchangesStrings(abi, run);
  } catch {
    return false;
  }
}

/** Whether the countdown to the interrupt handler is where it should be: it goes, and can be set. */
function checkPolls(abi: GuestAbi, run: Run, interrupts: () => number): boolean {
  const before = abi.pollsLeft;
  if (before < 1_000 || before > POLLS_BY_DEFAULT) return false;
  run('for (let i = 0; i < 100; i++);');
  const used = before - abi.pollsLeft;
  if (used < 100 || used > 500) return false;
  const calls = interrupts();
  abi.pollsLeft = 50;
  run('for (let i = 0; i < 100; i++);');
  return interrupts() === calls + 1 && abi.pollsLeft > POLLS_BY_DEFAULT - 500;
}

/** Strings both ways: narrow with every byte, wide, long, and ropes. */
function exchangesStrings(abi: GuestAbi, run: Run): boolean {
  const identity = run('(x) => x');
  const there = (text: string) => abi.readText(abi.call(identity, abi.newText(text))) === text;
  const made = (code: string, text: string) => abi.readText(run(code)) === text;
  const bounced = abi.readBinary(abi.call(identity, abi.newBinary(long)));
  const rope = `(() => { let s = ''; for (let i = 0; i < 2000; i++) s += '\\0\\xff' + i; return s; })()`;
  let expected = '';
  for (let i = 0; i < 2000; i++) expected += `\0\xff${i}`;
  return (
    ['', 'a', latin1, wide, 'x'.repeat(70_000)].every(there) &&
    made('"a\\0\\xff"', 'a\0\xff') &&
    made('"\\0\\u1234"', '\0\u1234') &&
    made(rope, expected) &&
    bounced instanceof Uint8Array &&
    Buffer.compare(bounced, long) === 0
  );
}
