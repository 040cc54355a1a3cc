import { pino } from 'pino';
import type { LogFields, Logger } from '../core/logger.ts';
import type { LogLevel } from '../core/types.ts';
import { createTextFormatter } from './log-text.ts';

export type LogFormat = 'text' | 'json' | 'auto';

/** From the gravest to the least. */
export const logLevels = ['error', 'warn', 'info', 'debug'] as const satisfies readonly LogLevel[];

export const logFormats = ['text', 'json', 'auto'] as const satisfies readonly LogFormat[];

/** Of strings, in characters; a peer or a rule must not fill the log with one line. */
const MAX_TEXT = 8192;
const MAX_ENTRIES = 100;
const MAX_DEPTH = 4;
const SECRET = /^(password|passphrase)$/i;

/**
 * Makes a logger.
 *
 * @param options.level - the least grave level that is written
 * @param options.format - `json`: pino's lines; `text`: lines for people, coloured on a terminal
 * (unless NO_COLOR is set); `auto`: text on a terminal, else json
 * @param options.stream - standard error by default
 */
export function createLogger(options: {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly stream?: NodeJS.WritableStream;
}): Logger {
  const { level, stream = process.stderr } = options;
  const isTerminal = 'isTTY' in stream && stream.isTTY === true;
  // Traffic must not stop because nobody reads the log any more.
  stream.on('error', () => {});
  const text = options.format === 'text' || (options.format === 'auto' && isTerminal);
  const write = text ? textWriter(stream, isTerminal) : jsonWriter(level, stream);
  const enabled = logLevels.slice(0, logLevels.indexOf(level) + 1);
  const log = (at: LogLevel) =>
    enabled.includes(at)
      ? (message: string, fields: LogFields = {}) => write(at, clip(message), cleanFields(fields))
      : () => {};
  return {
    level,
    error: log('error'),
    warn: log('warn'),
    info: log('info'),
    debug: log('debug'),
    // The callback comes in any case, also with an error: there is nothing to do about it.
    flush: () => new Promise((done) => void stream.write('', () => done())),
  };
}

type Write = (level: LogLevel, message: string, fields: LogFields) => void;

function textWriter(stream: NodeJS.WritableStream, isTerminal: boolean): Write {
  const format = createTextFormatter(isTerminal && !process.env.NO_COLOR);
  return (level, message, fields) => {
    stream.write(format(new Date(), level, message, fields));
  };
}

function jsonWriter(level: LogLevel, stream: NodeJS.WritableStream): Write {
  const logger = pino({ level }, stream);
  return (at, message, fields) => logger[at](fields, message);
}

/** A copy for writing: without secrets, bounded, and of plain values. */
function cleanFields(fields: LogFields, depth = 1): Record<string, unknown> {
  const entries: [string, unknown][] = [];
  for (const name of Object.keys(fields)) {
    if (entries.length === MAX_ENTRIES) break;
    const value = SECRET.test(name) ? '[redacted]' : clean(fields[name], depth);
    if (value !== undefined) entries.push([name, value]);
  }
  return Object.fromEntries(entries);
}

function clean(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return clip(value);
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return `[${value.length} bytes]`;
  if (depth > MAX_DEPTH) return '[more]';
  if (Array.isArray(value)) {
    return value.slice(0, MAX_ENTRIES).map((item) => clean(item, depth + 1) ?? null);
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Error) {
    const { name, message, stack } = value;
    return cleanFields({ ...value, name, message, stack }, depth + 1);
  }
  return cleanFields(value as LogFields, depth + 1);
}

function clip(text: string): string {
  if (text.length <= MAX_TEXT) return text;
  return `${text.slice(0, MAX_TEXT)}... (${text.length - MAX_TEXT} characters more)`;
}
