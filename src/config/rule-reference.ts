import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { didYouMean, quote } from '../core/text.ts';
import { fileTrouble } from './files.ts';

/** The rules that come with the package. As far from `src/config` as from `dist/config`. */
const bundledRules = fileURLToPath(new URL('../../rules', import.meta.url));

type Located =
  | { readonly path: string; readonly message?: undefined }
  /** `path` is the file that is missing, where the reference is a path. */
  | { readonly path?: string; readonly message: string; readonly hint?: string | undefined };

/**
 * Finds the file of a rule. What looks like a path is one, relative to `folder`; everything else is
 * a bundled rule's name.
 */
export async function locateRule(
  reference: string,
  folder: string,
  bundled: string = bundledRules,
): Promise<Located> {
  if (/^\.{0,2}\/|\.[jt]s$/.test(reference)) {
    const path = resolve(folder, reference);
    const trouble = await fileTrouble(path);
    return trouble === undefined
      ? { path }
      : { path, message: `rule file ${quote(path)} ${trouble}` };
  }
  const names = await bundledNames(bundled);
  if (names.includes(reference)) return { path: join(bundled, `${reference}.js`) };
  const hint = didYouMean(reference, names) ?? 'a rule of your own is a path, such as "./rule.js"';
  return { message: `there is no bundled rule ${quote(reference)}`, hint };
}

async function bundledNames(folder: string): Promise<string[]> {
  const files = await readdir(folder).catch(() => []);
  return files.filter((file) => file.endsWith('.js')).map((file) => file.slice(0, -'.js'.length));
}
