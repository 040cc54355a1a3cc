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
const LINE_END = /\r\n|[\n\r\u2028\u2029]/;
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
    const place = placeOfGuest(file, line, Math.max(column, 1));
    if (place !== undefined) return place;
  }
  return undefined;
}

/**
 * QuickJS counts lines by their LF alone and columns in code points; editors and this program know
 * other ends of lines and count UTF-16 units. Undefined: a rule made the place up.
 */
function placeOfGuest(file: SourceFile, line: number, column: number): SourcePlace | undefined {
  const lines = file.text.split('\n');
  const text = lines[line - 1];
  if (text === undefined) return undefined;
  const before = [...lines.slice(0, line - 1), beforeColumn(text, column)].join('\n');
  const shown = before.split(LINE_END);
  return placeIn(file, shown.length, (shown.at(-1) ?? '').length + 1);
}

function lineOf(source: Pick<SourceFile, 'text'>, line: number): string {
  return source.text.split(LINE_END)[line - 1] ?? '';
}

/** What stands before a column that is counted in code points. */
function beforeColumn(text: string, column: number): string {
  return [...text].slice(0, column - 1).join('');
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
