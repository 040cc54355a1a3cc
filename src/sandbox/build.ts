import type { CommandSpec } from '../commands/spec.ts';
import { type RuleError, RuleRun, type RuleServices, type RunOutcome } from '../core/rule-run.ts';
import { Instance, type RuleInstance } from './instance.ts';
import { defaultLimits, type SandboxLimits } from './limits.ts';
import { type ParsedFile, RuleSources } from './rule-sources.ts';
import type { RuleProblem } from './source-table.ts';

/** A rule of a virtual server. */
export interface RuleSource {
  /** As configured; shown in logs. */
  readonly name: string;
  /** The absolute path of its main file. */
  readonly path: string;
  /** JSON. The rule sees a frozen copy as `options`. */
  readonly options: Readonly<Record<string, unknown>>;
}

export interface LoadedRules {
  /** Absent when there are problems. */
  readonly instance?: RuleInstance;
  readonly problems: readonly RuleProblem[];
  /** Every file read or looked for, rules and modules, also when there are problems. */
  readonly files: readonly string[];
  /** Loads the same rules again from what was read, whatever the files say now. */
  readonly rebuild: () => Promise<LoadedRules>;
}

export interface BuildArguments {
  /** In their order on the virtual server. */
  readonly rules: readonly RuleSource[];
  readonly commands: readonly CommandSpec[];
  /** For RULE_INIT. */
  readonly services: RuleServices;
  readonly limits?: Partial<SandboxLimits>;
}

/**
 * Loads the rules of a virtual server into a sandbox of their own and runs their RULE_INIT.
 * @throws Error when the sandbox itself does not work here, or when a command in the table has no
 *   implementation.
 */
export async function buildRuleInstance(args: BuildArguments): Promise<LoadedRules> {
  const limits = { ...defaultLimits, ...args.limits };
  const sources = new RuleSources();
  const mains = args.rules.map((rule) => ({ rule, main: sources.load(rule.name, rule.path)[0] }));
  return instantiate(args, limits, sources, mains);
}

async function instantiate(
  args: BuildArguments,
  limits: SandboxLimits,
  sources: RuleSources,
  mains: readonly { rule: RuleSource; main: ParsedFile | undefined }[],
): Promise<LoadedRules> {
  const result = (problems: readonly RuleProblem[]) => ({
    problems,
    files: [...sources.files],
    rebuild: () => instantiate(args, limits, sources, mains),
  });
  if (sources.problems.length > 0) return result(sources.problems);

  const instance = await Instance.create(args.commands, sources, limits);
  for (const { rule, main } of mains) {
    if (main === undefined) continue;
    const problem = instance.evaluate(rule, main, args.services);
    if (problem !== undefined) return result([problem]);
  }
  instance.loaded();
  const outcome = await initialize(instance, args.services, limits);
  const problem =
    outcome.type === 'failed' ? initProblem(outcome.error, args) : fullProblem(instance, args);
  return problem === undefined ? { instance, ...result([]) } : result([problem]);
}

function initProblem(error: RuleError, args: BuildArguments): RuleProblem {
  const { rule, event, reason: _, ...rest } = error;
  const file = args.rules.find((source) => source.name === rule)?.path ?? '';
  return { rule, file, ...rest, message: `in ${event}: ${error.message}` };
}

function fullProblem(instance: RuleInstance, args: BuildArguments): RuleProblem | undefined {
  const rule = args.rules[0];
  if (!instance.retired || rule === undefined) return undefined;
  const message = 'the rules fill the memory of the sandbox while they load';
  return { rule: rule.name, file: rule.path, message };
}

/** Runs RULE_INIT, for at most `limits.initMs`. */
function initialize(
  instance: Instance,
  services: RuleServices,
  limits: SandboxLimits,
): Promise<RunOutcome> {
  const session = instance.openForLoad();
  const run = new RuleRun('RULE_INIT', undefined, services);
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined;
    const outcome = session.run(run, (settled) => {
      clearTimeout(timer);
      resolve(settled);
    });
    if (outcome.type !== 'suspended') {
      resolve(outcome);
      return;
    }
    timer = setTimeout(() => {
      session.close();
      const message = `still waiting after ${limits.initMs} ms`;
      const { rule, event } = run;
      resolve({ type: 'failed', error: { reason: 'timeout', rule, event, message } });
    }, limits.initMs);
  });
}
