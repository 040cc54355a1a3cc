import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { type LoadRuleOptions, loadRule, type Rule } from '../../../src/testing/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'rules-'));
let files = 0;

afterAll(() => rmSync(folder, { recursive: true }));

/** Writes a rule to a file, which the test run removes, and answers its path. */
export function ruleFile(source: string): string {
  files += 1;
  const path = join(folder, `rule-${files}.js`);
  writeFileSync(path, source);
  return path;
}

export function ruleFrom(source: string, given?: LoadRuleOptions): Promise<Rule> {
  return loadRule(ruleFile(source), given);
}
