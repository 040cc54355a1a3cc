import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { quote } from '../core/text.ts';
import type { ConfigSource, Path } from './source.ts';

/** Larger files than this are refused: no configuration or certificate comes near it. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

type Outcome<T> =
  | (T & { readonly trouble?: undefined })
  | ({ readonly [K in keyof T]?: undefined } & { readonly trouble: string });

/** The text of a file, or what is wrong with the file, to follow its name in a message. */
export async function readText(path: string): Promise<Outcome<{ readonly text: string }>> {
  const { bytes, trouble } = await readBytes(path);
  if (trouble !== undefined) return { trouble };
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    return { trouble: 'is not UTF-8 text' };
  }
}

async function readBytes(path: string): Promise<Outcome<{ readonly bytes: Buffer }>> {
  const trouble = await fileTrouble(path);
  if (trouble !== undefined) return { trouble };
  try {
    return { bytes: await readFile(path) };
  } catch (error) {
    return { trouble: inWords(error) };
  }
}

/**
 * Reads a file that the configuration names, and has it watched. What is wrong with it is reported
 * at `path`.
 *
 * @param kind what messages call it, such as "certificate file"
 */
export async function readNamedFile(
  kind: string,
  written: string,
  path: Path,
  source: ConfigSource,
): Promise<{ readonly file: string; readonly bytes: Buffer } | undefined> {
  const file = resolve(dirname(source.file), written);
  source.files.add(file);
  const { bytes, trouble } = await readBytes(file);
  if (trouble === undefined) return { file, bytes };
  source.problem(path, `${kind} ${quote(file)} ${trouble}`);
  return undefined;
}

/** Why a file cannot be read, to follow its name in a message; undefined if it can. */
export async function fileTrouble(path: string): Promise<string | undefined> {
  try {
    const stats = await stat(path);
    if (!stats.isFile()) return stats.isDirectory() ? 'is a folder' : 'is not a regular file';
    if (stats.size > MAX_FILE_BYTES) return 'is larger than 4 MiB';
    await access(path, constants.R_OK);
    return undefined;
  } catch (error) {
    return inWords(error);
  }
}

function inWords(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
  if (code === 'EACCES') return 'may not be read by this user';
  return `cannot be read (${typeof code === 'string' ? code : 'unknown error'})`;
}
