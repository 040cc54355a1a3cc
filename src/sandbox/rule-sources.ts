import { readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, extname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { type Node, type Program, parse } from 'acorn';
import { MAX_SOURCE_BYTES, MAX_SOURCE_FILES } from './limits.ts';
import { placeIn, type RuleProblem } from './source-table.ts';
import { stripTypes } from './typescript.ts';

/** A file of a rule, read and parsed. */
export interface ParsedFile {
  /** The real path: one file, one module. */
  readonly path: string;
  readonly text: string;
  /** JavaScript: `text`, with its types blanked if it is TypeScript. */
  readonly code: string;
  readonly program: Program;
  readonly imports: readonly ImportedName[];
}

interface ImportedName {
  readonly specifier: string;
  readonly line: number;
  readonly column: number;
}

const EXTENSIONS = ['.js', '.mjs', '.ts', '.mts'];

class SourceError extends Error {
  constructor(readonly problem: Omit<RuleProblem, 'rule'>) {
    super(problem.message);
  }
}

/**
 * Reads rules and the modules that they import. A module lies in the folder of the rule's main file
 * or below, also after symbolic links are followed; nothing else can be imported.
 */
export class RuleSources {
  readonly problems: RuleProblem[] = [];
  /** Every file read or looked for. */
  readonly files = new Set<string>();
  private readonly parsed = new Map<string, ParsedFile>();
  private readonly targets = new Map<string, string>();

  /** Reads a rule's main file, which comes first, and all that it imports, as far as they can be. */
  load(rule: string, path: string): ParsedFile[] {
    this.files.add(resolve(path));
    // The folder's real path is the root; the main file itself may be a link to anywhere.
    const root = realPath(dirname(resolve(path))) ?? dirname(resolve(path));
    const main = this.attempt(rule, () => this.read(join(root, basename(path)), undefined));
    return main === undefined ? [] : this.loadImports(rule, main, root);
  }

  /** The file that an import in a file leads to. */
  target(importer: string, specifier: string): string | undefined {
    return this.targets.get(`${importer}\0${specifier}`);
  }

  file(path: string): ParsedFile | undefined {
    return this.parsed.get(path);
  }

  private loadImports(rule: string, main: ParsedFile, root: string): ParsedFile[] {
    const seen = new Set([main]);
    for (const importer of seen) {
      for (const imported of importer.imports) {
        const file = this.attempt(rule, () => this.follow(importer, imported, root));
        if (file !== undefined) seen.add(file);
      }
    }
    return [...seen];
  }

  private attempt(rule: string, read: () => ParsedFile): ParsedFile | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      this.problems.push({ rule, ...error.problem });
      return undefined;
    }
  }

  private follow(importer: ParsedFile, imported: ImportedName, root: string): ParsedFile {
    const { specifier, line, column } = imported;
    const fail = (message: string) =>
      new SourceError({ message, ...placeIn(importer, line, column) });
    if (!/^\.\.?\//.test(specifier)) {
      throw fail(`a rule can import only files beside it, such as './${relativeName(specifier)}'`);
    }
    if (!EXTENSIONS.includes(extname(specifier))) {
      throw fail(`an imported file must end in ${EXTENSIONS.join(', ')}`);
    }
    const path = resolve(dirname(importer.path), specifier);
    if (!isInside(root, path)) throw fail('a rule can import only from its own folder and below');
    this.files.add(path);
    const real = realPath(path);
    if (real === undefined) throw fail(`there is no file ${path}`);
    if (!isInside(root, real)) throw fail('a rule can import only from its own folder and below');
    this.targets.set(`${importer.path}\0${specifier}`, real);
    if (!this.parsed.has(real) && this.parsed.size >= MAX_SOURCE_FILES) {
      throw fail(`the rules consist of more than ${MAX_SOURCE_FILES} files`);
    }
    return this.read(real, fail);
  }

  private read(path: string, fail: ((message: string) => Error) | undefined): ParsedFile {
    this.files.add(path);
    const known = this.parsed.get(path);
    if (known !== undefined) return known;
    const text = readText(path, fail ?? ((message) => new SourceError({ message, file: path })));
    const code = toJavaScript(path, text);
    const program = parseModule(path, text, code);
    const file = { path, text, code, program, imports: importsOf(program) };
    this.parsed.set(path, file);
    return file;
  }
}

function relativeName(specifier: string): string {
  return specifier.replace(/^[./\\]+/, '');
}

function isInside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

function readText(path: string, fail: (message: string) => Error): string {
  let bytes: Uint8Array;
  try {
    const { size } = regularFile(path);
    if (size > MAX_SOURCE_BYTES) throw new Error(`it is larger than ${MAX_SOURCE_BYTES} bytes`);
    bytes = readFileSync(path);
  } catch (error) {
    throw fail(`${path} cannot be read: ${(error as Error).message}`);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw fail(`${path} is not UTF-8 text`);
  }
  if (text.includes('\0')) throw fail(`${path} has a NUL character`);
  return text;
}

function regularFile(path: string): { size: number } {
  const stats = statSync(path);
  if (!stats.isFile()) throw new Error('it is not a file');
  return stats;
}

function toJavaScript(path: string, text: string): string {
  if (!/\.m?ts$/.test(path)) return text;
  const stripped = stripTypes(text);
  if ('code' in stripped) return stripped.code;
  const { message, line, column } = stripped.error;
  throw new SourceError({ message, ...placeIn({ path, text }, line, column) });
}

function parseModule(path: string, text: string, code: string): Program {
  try {
    return parse(code, {
      ecmaVersion: 'latest',
      sourceType: 'module',
      locations: true,
      allowHashBang: false,
    });
  } catch (error) {
    if (!(error instanceof SyntaxError) || !('loc' in error)) throw error;
    const { line, column } = error.loc as { line: number; column: number };
    const message = `SyntaxError: ${error.message.replace(/ \(\d+:\d+\)$/, '')}`;
    throw new SourceError({ message, ...placeIn({ path, text }, line, column + 1) });
  }
}

function importsOf(program: Program): ImportedName[] {
  const names: ImportedName[] = [];
  for (const node of program.body) {
    const source: Node | null | undefined = 'source' in node ? node.source : undefined;
    if (source?.type !== 'Literal' || !('value' in source) || source.loc == null) continue;
    const { line, column } = source.loc.start;
    names.push({ specifier: String(source.value), line, column: column + 1 });
  }
  return names;
}
