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

/** Everything that is wrong with a configuration, its certificates and its rules. Opens nothing. */
export async function checkFile(file: string): Promise<readonly Problem[]> {
  const blueprint = await draw(file, SILENT);
  const { config } = await loadConfig(file);
  const rules = config?.virtualServers.flatMap((server) => server.rules) ?? [];
  const found = rules.flatMap((rule) => checkRule(rule, commandTable));
  return withoutRepeats([...blueprint.problems, ...found]);
}
