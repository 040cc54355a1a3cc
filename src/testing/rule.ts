import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commandTable } from '../commands/index.ts';
import type { RuleServices } from '../core/rule-run.ts';
import type { LogLevel } from '../core/types.ts';
import { buildRuleInstance, type RuleInstance } from '../sandbox/index.ts';

/** A rule in its sandbox, ready for conversations. */
export interface Rule {
  readonly instance: RuleInstance;
  /** What the rule logged while it was loaded. */
  readonly logs: readonly string[];
}

export interface LoadRuleOptions {
  /** The rule's options, as the configuration would give them. Default: none. */
  readonly options?: Readonly<Record<string, unknown>>;
}

/** How the kit shows a line of the log. */
export function logLine(level: LogLevel, message: string): string {
  return `${level}: ${message}`;
}

/**
 * Loads a rule as a virtual server does, RULE_INIT included.
 *
 * @param file - a path from the current folder, or a URL: `new URL('my-rule.js', import.meta.url)`
 * @throws Error when the rule cannot be loaded, with the message and the place in its source
 */
export function loadRule(file: string | URL, given: LoadRuleOptions = {}): Promise<Rule> {
  return loadRules([{ file, ...given }]);
}

/**
 * Loads several rules as those of one virtual server, in their order there. They are used like one.
 *
 * @throws Error when one of them cannot be loaded, with the message and the place in its source
 */
export async function loadRules(
  rules: readonly (LoadRuleOptions & { readonly file: string | URL })[],
): Promise<Rule> {
  const logs: string[] = [];
  const { instance, problems } = await buildRuleInstance({
    rules: rules.map(({ file, options = {} }) => {
      const path = typeof file === 'string' ? resolve(file) : fileURLToPath(file);
      return { name: path, path, options };
    }),
    commands: commandTable,
    services: loadServices(logs),
  });
  if (instance !== undefined) return { instance, logs };
  const lines = problems.map(({ message, file, line, column, excerpt }) => {
    const place = [file, line, column].filter((part) => part !== undefined).join(':');
    return `${place}: ${message}${excerpt === undefined ? '' : `\n${excerpt}`}`;
  });
  throw new Error(`the rule cannot be loaded\n${lines.join('\n')}`);
}

function loadServices(logs: string[]): RuleServices {
  return {
    virtualServer: 'test',
    addresses: () => undefined,
    tlsProfile: () => undefined,
    tls: () => undefined,
    clientHello: () => undefined,
    serverName: () => undefined,
    hasPool: () => false,
    log: (level, _rule, message) => logs.push(logLine(level, message)),
    after: (milliseconds, callback) => {
      const timer = setTimeout(callback, milliseconds);
      return () => clearTimeout(timer);
    },
  };
}
