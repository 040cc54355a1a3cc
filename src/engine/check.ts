import { commandTable } from '../commands/index.ts';
import { loadConfig } from '../config/index.ts';
import type { Logger } from '../core/logger.ts';
import { checkRule } from '../sandbox/index.ts';
import { draw } from './blueprint.ts';
import { type Problem, withoutRepeats } from './problem.ts';

/** What RULE_INIT logs while a rule is only checked goes nowhere. */
const SILENT: Logger = {
  level: 'error',
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  flush: () => Promise.resolve(),
};

/** What `checkFile` finds. Warnings do not keep the configuration from running. */
export interface Findings {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** Everything that is wrong with a configuration, its certificates and its rules. Opens nothing. */
export async function checkFile(file: string): Promise<Findings> {
  const { problems, warnings } = await draw(file, SILENT);
  const { config } = await loadConfig(file);
  const rules = config?.virtualServers.flatMap((server) => server.rules) ?? [];
  const pools = config && new Set(config.pools.keys());
  const found = rules.flatMap((rule) => checkRule(rule, commandTable, pools));
  // What loading finds in a line, the closer look has found too, with the better place.
  const places = new Set(found.map(lineOf));
  const others = problems.filter((problem) => !places.has(lineOf(problem)));
  return { problems: withoutRepeats([...others, ...found]), warnings };
}

function lineOf({ file, line }: Problem): string {
  return `${file}:${line}`;
}
