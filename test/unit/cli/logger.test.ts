import { Writable } from 'node:stream';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { escapeControls } from '../../../src/cli/log-text.ts';
import { createLogger, type LogFormat, logLevels } from '../../../src/cli/logger.ts';
import type { LogFields, Logger } from '../../../src/core/logger.ts';
import type { LogLevel } from '../../../src/core/types.ts';

class Sink extends Writable {
  text = '';
  constructor(readonly isTTY: boolean) {
    super();
  }
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}

function setUp(
  format: LogFormat,
  { level = 'debug', terminal = false }: { level?: LogLevel; terminal?: boolean } = {},
): { sink: Sink; logger: Logger } {
  const sink = new Sink(terminal);
  return { sink, logger: createLogger({ level, format, stream: sink }) };
}

function textOf(message: string, fields?: LogFields): string {
  const { sink, logger } = setUp('text');
  logger.info(message, fields);
  return sink.text;
}

function jsonOf(message: string, fields?: LogFields): Record<string, unknown> {
  const { sink, logger } = setUp('json');
  logger.info(message, fields);
  return JSON.parse(sink.text);
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('levels', () => {
  it.each(logLevels)('at %s writes it and what is graver', (level) => {
    for (const format of ['text', 'json'] as const) {
      const { sink, logger } = setUp(format, { level });
      for (const each of logLevels) logger[each](`at ${each}`);
      const lines = sink.text.trimEnd().split('\n');
      const expected = logLevels.slice(0, logLevels.indexOf(level) + 1);
      expect(lines.map((line) => /at (\w+)/.exec(line)?.[1])).toEqual(expected);
      expect(logger.level).toBe(level);
    }
  });

  it('does not touch the fields of a message that is not written', () => {
    const { logger } = setUp('text', { level: 'info' });
    const touched = vi.fn();
    logger.debug('quiet', Object.defineProperty({}, 'x', { enumerable: true, get: touched }));
    expect(touched).not.toHaveBeenCalled();
  });
});

describe('formats', () => {
  it('auto is json in a pipe and text on a terminal', () => {
    const pipe = setUp('auto');
    pipe.logger.info('hello');
    expect(JSON.parse(pipe.sink.text)).toMatchObject({ msg: 'hello', level: 30 });
    const terminal = setUp('auto', { terminal: true });
    terminal.logger.info('hello');
    expect(terminal.sink.text).toContain('INFO');
  });

  it('json is one object in a line, with the fields', () => {
    const line = jsonOf('hello', { virtualServer: 'pop3', client: '127.0.0.1:5000', bytes: 12 });
    expect(line).toMatchObject({ msg: 'hello', virtualServer: 'pop3', bytes: 12 });
    expect(line).toHaveProperty('time');
  });

  it('colours only on a terminal, and not with NO_COLOR', () => {
    const coloured = setUp('text', { terminal: true });
    coloured.logger.error('red', { client: 'x' });
    expect(coloured.sink.text).toContain('\x1b[31mERROR');
    vi.stubEnv('NO_COLOR', '1');
    const plain = setUp('text', { terminal: true });
    plain.logger.error('plain');
    expect(plain.sink.text).not.toContain('\x1b');
    expect(textOf('plain')).not.toContain('\x1b');
  });
});

describe('a text line', () => {
  const time = /^\d\d:\d\d:\d\d\.\d{3} /;

  it('has time, level, virtual server, peers, message and fields', () => {
    const fields = { virtualServer: 'pop3', client: '127.0.0.1:5000', rule: 'audit', bytes: 12 };
    const line = textOf('closed', fields);
    expect(line).toMatch(time);
    const rest = line.replace(time, '');
    expect(rest).toBe('INFO  pop3  client 127.0.0.1:5000: closed rule=audit bytes=12\n');
  });

  it('names both peers', () => {
    expect(textOf('x', { client: 'a:1', server: 'b:2' })).toMatch(/ client a:1, server b:2: x\n$/);
  });

  it('keeps the columns aligned from the longest name on', () => {
    const { sink, logger } = setUp('text');
    logger.info('one');
    for (const virtualServer of ['pop3', 'pop3s-outside', 'v'.repeat(40), 'ftp']) {
      logger.warn('two', { virtualServer });
    }
    logger.info('three');
    const lines = sink.text.replace(/\d\d:\d\d:\d\d\.\d{3} /g, '').split('\n');
    expect(lines).toEqual([
      'INFO  one',
      'WARN  pop3  two',
      'WARN  pop3s-outside  two',
      `WARN  ${'v'.repeat(40)}  two`,
      'WARN  ftp                   two',
      'INFO                        three',
      '',
    ]);
  });

  it('shows an excerpt below, indented', () => {
    const line = textOf('failed', { line: 2, excerpt: 'a();\n  b();\n  ^' });
    expect(line).toMatch(/failed line=2\n {4}a\(\);\n {6}b\(\);\n {6}\^\n$/);
  });

  it('shows the message of an error beside it and the stack below', () => {
    const error = Object.assign(new Error('broken pipe'), { code: 'EPIPE' });
    const line = textOf('failed', { error });
    expect(line).toMatch(/failed error="broken pipe"\n {4}Error: broken pipe\n {8}at /);
    expect(jsonOf('failed', { error })).toMatchObject({
      error: { name: 'Error', message: 'broken pipe', code: 'EPIPE' },
    });
  });

  it('quotes values that could be taken for other fields', () => {
    expect(textOf('x', { name: 'a b=c', empty: '' })).toMatch(/x name="a b=c" empty=""\n$/);
    expect(textOf('x', { list: [1, 'two'] })).toMatch(/x list=\[1,"two"\]\n$/);
  });
});

describe('hostile text', () => {
  it.each([
    ['a\nb', 'a\\nb'],
    ['a\r\tb', 'a\\r\\tb'],
    ['\x1b[2J\x07', '\\x1b[2J\\x07'],
    ['\x9b31m\x7f\0', '\\x9b31m\\x7f\\x00'],
    ['\u2028\u202e', '\\u2028\\u202e'],
    ['\ud800', '\\ud800'],
    ['grüße 船 😀', 'grüße 船 😀'],
  ])('%j is shown as %s', (text, shown) => {
    expect(escapeControls(text)).toBe(shown);
  });

  it('never makes a second line nor an escape sequence, wherever it stands', () => {
    const nasty = fc.array(
      fc.constantFrom('a', ' ', '\n', '\r', '\x1b[0m', '\u0085', '"', '=', '\\'),
    );
    const text = nasty.map((parts) => parts.join(''));
    const fields = fc.dictionary(text, fc.oneof(text, fc.array(text), fc.record({ text })));
    fc.assert(
      fc.property(text, fields, text, (message, others, client) => {
        const line = textOf(message, { ...others, client, virtualServer: client });
        expect(line.indexOf('\n')).toBe(line.length - 1);
        expect(line).toMatch(/^[^\p{Cc}]*\n$/u);
      }),
    );
  });

  it('in an excerpt makes only indented lines', () => {
    const line = textOf('x', { excerpt: 'one\n12:00:00.000 ERROR forged\r\n\x1b[2J' });
    expect(line.split('\n').slice(1, -1)).toEqual([
      '    one',
      '    12:00:00.000 ERROR forged',
      '    \\x1b[2J',
    ]);
  });

  it('is cut when it is long', () => {
    const line = textOf('m'.repeat(100_000), { long: 'f'.repeat(100_000) });
    expect(line.length).toBeLessThan(20_000);
    expect(line).toContain('(91808 characters more)');
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`k${i}`, i]));
    expect(Object.keys(jsonOf('x', many)).length).toBeLessThan(120);
  });

  it('may be of any shape', () => {
    const loop: Record<string, unknown> = {
      big: 10n,
      bytes: new Uint8Array(3),
      nothing: undefined,
    };
    loop.self = loop;
    loop.call = () => 'x';
    const fields = { loop, when: new Date(0), never: new Date(Number.NaN) };
    const line = jsonOf('x', fields);
    expect(line).toMatchObject({ when: '1970-01-01T00:00:00.000Z', never: null });
    expect(line.loop).toMatchObject({ big: '10', bytes: '[3 bytes]' });
    expect(line.loop).not.toHaveProperty('call');
    expect(textOf('x', fields)).toContain('[more]');
  });
});

describe('secrets', () => {
  it.each(['text', 'json'] as const)('are not written in %s, however deep', (format) => {
    const { sink, logger } = setUp(format);
    logger.info('x', {
      password: 'hunter2',
      Passphrase: 'hunter2',
      profile: { passphrase: 'hunter2', list: [{ password: { text: 'hunter2' } }] },
    });
    expect(sink.text).not.toContain('hunter2');
    expect(sink.text.match(/\[redacted\]/g)).toHaveLength(4);
  });
});

describe('the stream', () => {
  it('is flushed', async () => {
    const written: string[] = [];
    const slow = new Writable({
      write: (chunk, _, done) => {
        written.push(String(chunk));
        setImmediate(done);
      },
    });
    const logger = createLogger({ level: 'info', format: 'text', stream: slow });
    for (const message of ['a', 'b', 'c']) logger.info(message);
    await logger.flush();
    expect(written.filter((text) => text !== '')).toHaveLength(3);
  });

  it('may break', async () => {
    const broken = new Writable({ write: (_chunk, _encoding, done) => done(new Error('EPIPE')) });
    for (const format of ['text', 'json'] as const) {
      const logger = createLogger({ level: 'info', format, stream: broken });
      logger.info('into the void');
      await logger.flush();
    }
  });
});
