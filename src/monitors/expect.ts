import { createContext, Script } from 'node:vm';
import { quote } from '../core/text.ts';
import type { Expected } from './types.ts';

/**
 * What the regular expression of a probe may take in all, in milliseconds. One that backtracks
 * without end would hold up the whole process. Only what runs in a context of `node:vm` can be
 * interrupted; setting up the interrupt takes about 0.2 ms.
 */
const MATCH_TIME = 100;

const ESCAPE = /\\(?:x([0-9A-Fa-f]{2})|(.?))/gsu;
const ESCAPED: Readonly<Record<string, string>> = {
  r: '\r',
  n: '\n',
  t: '\t',
  0: '\0',
  '\\': '\\',
};

const matcher = new Script('text.search(pattern) >= 0');
let room: { text: string; pattern: RegExp } | undefined;

/**
 * The bytes that a text in the configuration stands for, one character each. It is UTF-8, in which
 * `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH`, which is any byte, are escapes.
 *
 * @throws Error when a backslash begins something else
 */
export function encodeText(text: string): string {
  let bytes = '';
  let at = 0;
  for (const match of text.matchAll(ESCAPE)) {
    const [whole, hexadecimal, letter = ''] = match;
    const byte =
      hexadecimal === undefined
        ? ESCAPED[letter]
        : String.fromCharCode(Number.parseInt(hexadecimal, 16));
    if (byte === undefined) {
      throw new Error(`${quote(whole)} is no escape; there are \\r \\n \\t \\0 \\\\ and \\xHH`);
    }
    bytes += utf8(text.slice(at, match.index)) + byte;
    at = match.index + whole.length;
  }
  return bytes + utf8(text.slice(at));
}

/** A text as its bytes in UTF-8, one character each. */
export function utf8(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/** Looks for what is expected in what has come. For one probe. */
export class Expectation {
  /** For messages. */
  readonly name: string;
  private readonly wanted: string | RegExp;
  private timeLeft = MATCH_TIME;

  /** @throws Error when the text has a wrong escape, or the pattern is no regular expression */
  constructor(expected: Expected) {
    if (typeof expected === 'string') {
      this.wanted = encodeText(expected);
      this.name = quote(expected);
    } else {
      this.wanted = new RegExp(expected.pattern, expected.flags);
      this.name = quote(String(this.wanted));
    }
  }

  /**
   * @param text - one character a byte
   * @throws Error when the regular expression takes too long
   */
  isIn(text: string): boolean {
    const { wanted } = this;
    return typeof wanted === 'string' ? text.includes(wanted) : this.matches(wanted, text);
  }

  private matches(pattern: RegExp, text: string): boolean {
    room ??= createContext({ text, pattern }) as { text: string; pattern: RegExp };
    Object.assign(room, { text, pattern });
    const start = performance.now();
    try {
      const timeout = Math.max(1, Math.ceil(this.timeLeft));
      return matcher.runInContext(room, { timeout }) === true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
      throw new Error(`${this.name} takes more than ${MATCH_TIME} ms to match`);
    } finally {
      room.text = '';
      this.timeLeft -= performance.now() - start;
    }
  }
}
