import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';

/** Larger files than this are refused: no configuration or certificate comes near it. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

type FileText =
  | { readonly text: string; readonly trouble?: undefined }
  | { readonly text?: undefined; readonly trouble: string };

/** The text of a file, or what is wrong with the file, to follow its name in a message. */
export async function readText(path: string): Promise<FileText> {
  const trouble = await fileTrouble(path);
  if (trouble !== undefined) return { trouble };
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path)) };
  } catch (error) {
    return { trouble: error instanceof TypeError ? 'is not UTF-8 text' : inWords(error) };
  }
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
