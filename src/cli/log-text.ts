import picocolors from 'picocolors';
import type { LogFields } from '../core/logger.ts';
import type { LogLevel } from '../core/types.ts';

/** The column of virtual servers grows up to here; longer names break the alignment. */
const MAX_COLUMN = 20;

/**
 * What must not reach a terminal or forge a line: control characters, line separators, and the
 * marks that turn the direction of writing.
 */
const UNSAFE = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Cs}/gu;

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Replaces characters that could act on a terminal by visible escapes, such as `\x1b`. */
export function escapeControls(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.charCodeAt(0);
    const hex = code.toString(16);
    return (
      SHORT[character] ??
      (code > 0xff ? `\\u${hex.padStart(4, '0')}` : `\\x${hex.padStart(2, '0')}`)
    );
  });
}

/**
 * Makes a formatter of log lines for people:
 *
 *     12:34:56.789 INFO  pop3  client 127.0.0.1:5000: message name=value
 *
 * It remembers the longest name of a virtual server, to keep the columns aligned. An excerpt and the
 * stacks of errors follow, indented.
 */
export function createTextFormatter(
  coloured: boolean,
): (at: Date, level: LogLevel, message: string, fields: LogFields) => string {
  const colours = picocolors.createColors(coloured);
  const paint = {
    error: colours.red,
    warn: colours.yellow,
    info: colours.green,
    debug: colours.dim,
  } as const satisfies Record<LogLevel, (text: string) => string>;
  let column = 0;
  return (at, level, message, fields) => {
    const { virtualServer = '', client, server, excerpt, ...others } = fields;
    const name = show(virtualServer);
    column = Math.max(column, Math.min(name.length, MAX_COLUMN));
    const place = column > 0 ? `${colours.cyan(name.padEnd(column))}  ` : '';
    const who = Object.entries({ client, server })
      .filter(([, value]) => value !== undefined)
      .map(([side, value]) => `${side} ${show(value)}`)
      .join(', ');
    const facts = Object.entries(others).map(
      ([key, value]) => ` ${colours.dim(`${quoteIfNeeded(key)}=`)}${showFact(value)}`,
    );
    const head = `${colours.dim(timeOfDay(at))} ${paint[level](level.toUpperCase().padEnd(5))} `;
    const text = `${who === '' ? '' : `${who}: `}${escapeControls(message)}${facts.join('')}`;
    const below = [excerpt, ...Object.values(others).map(stackOf)].flatMap(indented);
    return `${head}${place}${text}\n${below.map((line) => `${colours.dim(line)}\n`).join('')}`;
  };
}

/** Local time, to the millisecond. */
function timeOfDay(at: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':');
  return `${time}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

function show(value: unknown): string {
  return escapeControls(typeof value === 'string' ? value : String(JSON.stringify(value)));
}

/** An error is its message here: the stack stands below. */
function showFact(value: unknown): string {
  const text = stackOf(value) === undefined ? value : (value as { message: unknown }).message;
  return typeof text === 'string' ? quoteIfNeeded(text) : show(text);
}

/** Quoted, a value cannot be taken for more fields. */
function quoteIfNeeded(text: string): string {
  return escapeControls(/^[^\s"'=\\]+$/.test(text) ? text : JSON.stringify(text));
}

function stackOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'stack' in value ? value.stack : undefined;
}

function indented(block: unknown): readonly string[] {
  if (typeof block !== 'string') return [];
  return block.split(/\r?\n/).map((line) => `    ${escapeControls(line)}`.trimEnd());
}
