import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, call, callIn, type LogLine, runIn, text } from './call.ts';

const convert = (name: string, argument: unknown) =>
  call({ event: 'RULE_INIT' }, name, argument).result;
const decoded = (name: string, argument: unknown) => text(convert(name, argument) as Uint8Array);

describe('Base64', () => {
  // RFC 4648, section 10.
  it.each([
    ['', ''],
    ['f', 'Zg=='],
    ['fo', 'Zm8='],
    ['foo', 'Zm9v'],
    ['foob', 'Zm9vYg=='],
    ['fooba', 'Zm9vYmE='],
    ['foobar', 'Zm9vYmFy'],
    ['\x00\xff\xfe', 'AP/+'],
  ])('%j is %j', (plain, encoded) => {
    expect(convert('b64encode', bytes(plain))).toBe(encoded);
    expect(decoded('b64decode', encoded)).toBe(plain);
  });

  it.each(['Zg', 'Zg=', 'Zg===', 'Z', '=', 'Zm9v\n', ' Zm9v', 'Zm-v', 'Zm_v', 'Zg==Zg==', 'ü'])(
    '%j is refused',
    (encoded) => {
      expect(() => convert('b64decode', encoded)).toThrow(
        new TypeError('b64decode: text is not Base64'),
      );
    },
  );

  it('goes there and back for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (data) => {
        expect(decoded('b64decode', convert('b64encode', data))).toBe(text(data));
      }),
    );
  });

  it('encodes only the bytes of a view', () => {
    expect(convert('b64encode', bytes('xfoox').subarray(1, 4))).toBe('Zm9v');
  });

  it('takes as much text as a rule can hold', () => {
    const encoded = 'AAAA'.repeat(2 * 1024 * 1024);
    expect((convert('b64decode', encoded) as Uint8Array).length).toBe(6 * 1024 * 1024);
    expect(() => convert('b64decode', `${encoded}!`)).toThrow('b64decode: text is not Base64');
  });
});

describe('UTF-8', () => {
  it.each([
    ['plain', 'plain'],
    ['ü€', '\xc3\xbc\xe2\x82\xac'],
    ['\u{1f600}', '\xf0\x9f\x98\x80'],
    ['', ''],
  ])('%j', (plain, encoded) => {
    expect(decoded('utf8', plain)).toBe(encoded);
    expect(convert('fromUtf8', bytes(encoded))).toBe(plain);
  });

  it('puts U+FFFD for what is not UTF-8', () => {
    expect(convert('fromUtf8', bytes('a\xffb'))).toBe('a\ufffdb');
    expect(decoded('utf8', '\ud800')).toBe('\xef\xbf\xbd');
  });
});

describe('log', () => {
  const logged = (...args: string[]): LogLine[] => {
    const lines: LogLine[] = [];
    const run = runIn({}, lines);
    run.rule = 'audit';
    callIn(run, 'log', ...args);
    expect(run.actions).toEqual([]);
    return lines;
  };

  it('writes at level info, with the name of the rule', () => {
    expect(logged('hello')).toEqual([{ level: 'info', rule: 'audit', message: 'hello' }]);
  });

  it.each(['error', 'warn', 'info', 'debug'])('writes at level %s', (level) => {
    expect(logged(level, 'hello')).toEqual([{ level, rule: 'audit', message: 'hello' }]);
  });

  it('takes a single argument as the message, even a level', () => {
    expect(logged('error')).toEqual([{ level: 'info', rule: 'audit', message: 'error' }]);
  });

  it('refuses other levels', () => {
    expect(() => logged('local0.info', 'hello')).toThrow(
      new TypeError("log: 'local0.info' is not a level; use error, warn, info, debug"),
    );
  });

  it('cuts long messages', () => {
    expect(logged('x'.repeat(10_000))[0]?.message).toHaveLength(8192);
  });
});
