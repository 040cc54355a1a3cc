import type { ConfigProblem } from '../config/index.ts';
import type { RuleProblem } from '../sandbox/index.ts';

/** A mistake in a configuration or a rule, as far as its place is known. Lines and columns count from 1. */
export interface Problem {
  readonly message: string;
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  readonly hint?: string;
  readonly excerpt?: string;
}

/** The engine cannot start. `configuration`: a mistake in a file; `listening`: the system refused. */
export class EngineStartError extends Error {
  override readonly name = 'EngineStartError';

  constructor(
    readonly reason: 'configuration' | 'listening',
    readonly problems: readonly Problem[],
  ) {
    super(problems.map(({ message }) => message).join('; '));
  }
}

/** The problems without those that were found twice. */
export function withoutRepeats(problems: readonly (ConfigProblem | RuleProblem)[]): Problem[] {
  const seen = new Set<string>();
  return problems.filter(({ file, line, column, message }) => {
    const key = JSON.stringify([file, line, column, message]);
    return !seen.has(key) && seen.add(key);
  });
}
