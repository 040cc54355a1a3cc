import { escapeControls } from './log-text.ts';

/** A mistake in a configuration or rule, as far as its place is known. */
interface Problem {
  readonly message: string;
  readonly file: string;
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  readonly hint?: string | undefined;
  readonly excerpt?: string | undefined;
}

/** `file:line:column: message`, with hint and excerpt indented below, all ending in a line feed. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, message, hint, excerpt } = problem;
  const place = [file, line, line === undefined ? undefined : column]
    .filter((part) => part !== undefined)
    .join(':');
  const below = [
    ...(excerpt?.split(/\r?\n/) ?? []),
    ...(hint === undefined ? [] : [`hint: ${hint}`]),
  ];
  return [`${place}: ${message}`, ...below.map((text) => `    ${text}`)]
    .map((text) => `${escapeControls(text)}\n`)
    .join('');
}
