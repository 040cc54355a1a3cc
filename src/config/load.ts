import { resolve } from 'node:path';
import { quote } from '../core/text.ts';
import { readText } from './files.ts';
import { normalize } from './normalize.ts';
import { ConfigSource } from './source.ts';
import type { Config, ConfigProblem, LoadResult } from './types.ts';
import { validate } from './validate.ts';

/**
 * Reads and checks a configuration, with the files that it names. Mistakes are results, not
 * exceptions. They are looked for in steps (syntax, environment, form, meaning), and all those of
 * the first step that fails are reported.
 *
 * @param env where `${NAME}` in strings is looked up
 */
export async function loadConfig(
  file: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<LoadResult> {
  const path = resolve(file);
  const { text, trouble } = await readText(path);
  const source = new ConfigSource(path, text ?? '');
  if (trouble !== undefined) {
    const message = `configuration file ${quote(path)} ${trouble}`;
    return {
      config: undefined,
      problems: [{ message, file: path, line: 1, column: 1 }],
      warnings: [],
      files: [path],
    };
  }
  const config = await check(source, env);
  const findings = { warnings: inOrder(source.warnings), files: [...source.files] };
  if (config === undefined) return { config, problems: inOrder(source.problems), ...findings };
  return { config, problems: [], ...findings };
}

async function check(source: ConfigSource, env: NodeJS.ProcessEnv): Promise<Config | undefined> {
  if (source.problems.length === 0) source.substitute(env);
  if (source.problems.length > 0) return undefined;
  const document = validate(source);
  const config = document === undefined ? undefined : await normalize(document, source);
  return source.problems.length > 0 ? undefined : config;
}

function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

/** One line: `file:line:column: message; hint`. */
export function formatProblem(problem: ConfigProblem): string {
  const { file, line, column, message, hint } = problem;
  return `${file}:${line}:${column}: ${message}${hint === undefined ? '' : `; ${hint}`}`;
}
