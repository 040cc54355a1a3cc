import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  type Config,
  type ConfigProblem,
  loadConfig,
  type VirtualServerConfig,
} from '../config/index.ts';
import type { Logger } from '../core/logger.ts';
import type { LoadedRules, RuleProblem } from '../sandbox/index.ts';
import { loadRules } from './generation.ts';

/** A virtual server, checked and ready to be put to work. */
export interface VirtualServerPlan {
  readonly config: VirtualServerConfig;
  /** Undefined without rules. */
  readonly rules: LoadedRules | undefined;
  /** Differs when anything that decides its behaviour differs. */
  readonly fingerprint: string;
}

/** Everything that a configuration file stands for, built but not in use. */
export interface Blueprint {
  /** Undefined when there are problems. */
  readonly built:
    | { readonly config: Config; readonly plans: readonly VirtualServerPlan[] }
    | undefined;
  readonly problems: readonly (ConfigProblem | RuleProblem)[];
  readonly warnings: readonly ConfigProblem[];
  /** What a watcher has to watch, also when there are problems. */
  readonly files: readonly string[];
}

/** Reads and checks a configuration with its certificates and rules. Opens nothing. */
export async function draw(file: string, logger: Logger): Promise<Blueprint> {
  const { config, problems, warnings, files } = await loadConfig(file);
  if (config === undefined) return { built: undefined, problems, warnings, files };
  const watched = new Set(files);
  const ruleProblems: RuleProblem[] = [];
  const plans: VirtualServerPlan[] = [];
  for (const virtualServer of config.virtualServers) {
    const rules =
      virtualServer.rules.length > 0 ? await loadRules(virtualServer, logger) : undefined;
    for (const each of rules?.files ?? []) watched.add(each);
    ruleProblems.push(...(rules?.problems ?? []));
    plans.push({
      config: virtualServer,
      rules,
      fingerprint: await fingerprint(virtualServer, rules?.files ?? []),
    });
  }
  const built = ruleProblems.length === 0 ? { config, plans } : undefined;
  return { built, problems: ruleProblems, warnings, files: [...watched] };
}

async function fingerprint(config: VirtualServerConfig, files: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(config));
  for (const file of files) hash.update(await readFile(file).catch(() => 'missing'));
  return hash.digest('base64');
}
