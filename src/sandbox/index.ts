export {
  type BuildArguments,
  buildRuleInstance,
  type LoadedRules,
  type RuleSource,
} from './build.ts';
export { checkRule } from './check-rule.ts';
export type { RuleInstance } from './instance.ts';
export { defaultLimits, type SandboxLimits } from './limits.ts';
export type { RuleProblem } from './source-table.ts';
