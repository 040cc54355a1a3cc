import { createRequire } from 'node:module';

/** A place where TypeScript could not be turned into JavaScript. */
export interface StripError {
  readonly message: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

interface Amaro {
  transformSync(code: string, options: { mode: 'strip-only' }): { code: string };
}

let amaro: Amaro | undefined;

/**
 * Blanks the types out of TypeScript, so that lines and columns stay. What is not just types
 * (enums, namespaces, parameter properties) is an error. The library loads on first use.
 */
export function stripTypes(text: string): { code: string } | { error: StripError } {
  amaro ??= load();
  try {
    return { code: amaro.transformSync(text, { mode: 'strip-only' }).code };
  } catch (report) {
    // Not a report: the library's own program has failed, as it does when the source nests too
    // deeply, and it takes no other source after that.
    if (typeof report !== 'string') amaro = undefined;
    return { error: readReport(String(report)) };
  }
}

/** The library, in a state of its own. */
function load(): Amaro {
  const require = createRequire(import.meta.url);
  delete require.cache[require.resolve('amaro')];
  return require('amaro') as Amaro;
}

/** Reads the library's report: a message, the line with its number, carets under the place. */
function readReport(report: string): StripError {
  const message = /^\s*x (.+)/.exec(report)?.[1] ?? 'the types cannot be stripped';
  const place = /^\s*(\d+) \| .*\n(\s*: )(\s*)\^/m.exec(report);
  return { message, line: Number(place?.[1] ?? 1), column: (place?.[3]?.length ?? 0) + 1 };
}
