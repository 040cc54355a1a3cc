/** A file of rule source as the guest knows it. */
export interface SourceFile {
  readonly path: string;
  /** The text as it was written. */
  readonly text: string;
  /** How many code points of the first line that the guest evaluates are not the author's. */
  readonly prefix: number;
}

/** A place in a rule's source, for people. Line and column count from 1. */
export interface SourcePlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The source line with a mark under the column. */
  readonly excerpt: string;
}

/** Something wrong with a rule, found before it serves a connection. */
export interface RuleProblem {
  /** The rule's name as configured. */
  readonly rule: string;
  readonly message: string;
  readonly file: string;
  /** From 1. */
  readonly line?: number;
  /** From 1. */
  readonly column?: number;
  /** The source line with a mark under the column. */
  readonly excerpt?: string;
}

const WIDEST = 100;
/** `    at name (file:line:column)`, or without a name. */
const FRAME = /^\s*at (?:.*\()?(.+):(\d+):(\d+)\)?$/;

export function placeIn(
  source: Pick<SourceFile, 'path' | 'text'>,
  line: number,
  column: number,
): SourcePlace {
  return { file: source.path, line, column, excerpt: excerpt(lineOf(source, line), line, column) };
}

/** The innermost frame of a guest's stack that lies in a file of the rules, by their names there. */
export function placeOfStack(
  stack: string,
  files: ReadonlyMap<string, SourceFile>,
): SourcePlace | undefined {
  for (const text of stack.split('\n')) {
    const frame = FRAME.exec(text);
    const file = files.get(frame?.[1] ?? '');
    if (frame === null || file === undefined) continue;
    const line = Number(frame[2]);
    const column = Number(frame[3]) - (line === 1 ? file.prefix : 0);
    return placeIn(file, line, fromCodePoints(lineOf(file, line), Math.max(column, 1)));
  }
  return undefined;
}

function lineOf(source: Pick<SourceFile, 'text'>, line: number): string {
  return source.text.split(/\r\n|[\n\r\u2028\u2029]/)[line - 1] ?? '';
}

/** QuickJS counts columns in code points, editors and this program in UTF-16 units. */
function fromCodePoints(text: string, column: number): number {
  return [...text].slice(0, column - 1).join('').length + 1;
}

function excerpt(text: string, line: number, column: number): string {
  const shown = text.replace(/[\t\p{Cc}]/gu, ' ');
  const at = Math.min(column - 1, shown.length);
  const from = at < WIDEST - 20 ? 0 : at - WIDEST / 2;
  const cut = shown.slice(from, from + WIDEST);
  const before = from > 0 ? '...' : '';
  const after = from + WIDEST < shown.length ? '...' : '';
  const number = String(line);
  const mark = ' '.repeat(before.length + at - from);
  return `${number} | ${before}${cut}${after}\n${' '.repeat(number.length)} | ${mark}^`;
}
