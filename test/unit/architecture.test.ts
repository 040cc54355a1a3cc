import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const SRC = resolve(import.meta.dirname, '../../src');

/** Which folders of src a folder may import from, besides itself. */
const PURE = ['core'];
const RULES = [...PURE, 'commands', 'tcl', 'balancing'];
const PARTS = [...RULES, 'net', 'sandbox', 'config', 'monitors', 'state'];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  commands: PURE,
  tcl: PURE,
  balancing: PURE,
  net: RULES,
  sandbox: RULES,
  config: RULES,
  monitors: RULES,
  state: RULES,
  engine: PARTS,
  admin: [...PARTS, 'engine'],
  cli: [...PARTS, 'engine', 'admin'],
  testing: ['core', 'commands', 'balancing', 'sandbox'],
  'index.ts': [...PARTS, 'engine', 'admin', 'cli', 'testing'],
};

/** Folders that import nothing from outside src. */
const WITHOUT_OUTSIDE = ['core', 'balancing', 'tcl'];

/** Packages and Node modules that belong to some folders only. */
const OWNERS: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^(@jitl\/)?quickjs/, ['sandbox']],
  [/^(ajv|@sinclair\/typebox|chokidar|jsonc-parser)(\/|$)/, ['config']],
  [/^(commander|pino|picocolors)(\/|$)/, ['cli']],
  // config checks certificates and ciphers when it loads; the demo of cli is a server itself.
  [/^node:tls$/, ['net', 'monitors', 'admin', 'cli', 'config']],
  [/^node:net$/, ['net', 'monitors', 'admin', 'cli']],
];

/** What core and balancing must not know of: they have no clock, no chance and no Node.js. */
const IMPURE =
  /\b(Date|Buffer|performance|queueMicrotask|set(Timeout|Interval|Immediate)|Math\.random|(process|console|globalThis)\.)\b/;

interface SourceFile {
  /** From src on, with slashes. */
  readonly path: string;
  /** The folder of src that it is in; its own name for a file beside them. */
  readonly part: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const files: readonly SourceFile[] = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((name) => {
    const path = name.replaceAll('\\', '/');
    const text = readFileSync(join(SRC, name), 'utf8');
    const imports = ts.preProcessFile(text, true, true).importedFiles.map((file) => file.fileName);
    return { path, part: path.split('/')[0] ?? '', text, imports };
  });

/** The part of src that a relative import leads to. */
function target(file: SourceFile, specifier: string): string {
  const path = relative(SRC, resolve(SRC, dirname(file.path), specifier));
  return path.replaceAll('\\', '/').split('/')[0] ?? '';
}

/** `import { isIP, isIPv4 } from 'node:net'`: only asks what an address looks like. */
function onlyIsIp(file: SourceFile): boolean {
  return /^import \{ (isIP(v[46])?(, )?)+ \} from 'node:net';$/m.test(file.text);
}

function mayUse(file: SourceFile, specifier: string): boolean {
  const owners = OWNERS.find(([pattern]) => pattern.test(specifier))?.[1];
  if (owners === undefined || owners.includes(file.part)) return true;
  const asksOnly = file.part === 'commands' || file.part === 'config';
  return specifier === 'node:net' && asksOnly && onlyIsIp(file);
}

/** The code of a file without comments and the contents of strings. */
function codeOf(file: SourceFile): string {
  const scanner = ts.createScanner(ts.ScriptTarget.Latest, true, undefined, file.text);
  let code = '';
  for (let token = scanner.scan(); token !== ts.SyntaxKind.EndOfFileToken; token = scanner.scan()) {
    code += token === ts.SyntaxKind.StringLiteral ? "''" : scanner.getTokenText();
  }
  return code;
}

describe('the files of src', () => {
  it('are seen', () => {
    expect(files.length).toBeGreaterThan(40);
    expect(files.flatMap(({ imports }) => imports).length).toBeGreaterThan(100);
    for (const part of ['core', 'commands', 'sandbox', 'net', 'config', 'engine', 'cli']) {
      expect(
        files.some((file) => file.part === part),
        part,
      ).toBe(true);
    }
  });

  it('are in folders that have their place', () => {
    const strange = files.filter(({ part }) => MAY_IMPORT[part] === undefined);
    expect(strange.map(({ path }) => path)).toEqual([]);
  });

  it('import one way only', () => {
    const wrong = files.flatMap((file) =>
      file.imports
        .filter((specifier) => specifier.startsWith('.'))
        .map((specifier) => target(file, specifier))
        .filter((part) => part !== file.part && !MAY_IMPORT[file.part]?.includes(part))
        .map((part) => `${file.path} imports ${part}`),
    );
    expect(wrong).toEqual([]);
  });

  it('import packages and sockets only where they belong', () => {
    const wrong = files.flatMap((file) =>
      file.imports
        .filter((specifier) => !specifier.startsWith('.') && !mayUse(file, specifier))
        .map((specifier) => `${file.path} imports ${specifier}`),
    );
    expect(wrong).toEqual([]);
  });

  it('are pure where they should be', () => {
    const pure = files.filter(({ part }) => WITHOUT_OUTSIDE.includes(part));
    const wrong = pure.flatMap((file) => {
      const outside = file.imports.filter((specifier) => !specifier.startsWith('.'));
      const impure = IMPURE.exec(codeOf(file))?.[0];
      return [...outside, ...(impure === undefined ? [] : [impure])].map(
        (what) => `${file.path} uses ${what}`,
      );
    });
    expect(wrong).toEqual([]);
  });

  it('are not too long', () => {
    const long = files.filter(({ text }) => text.split('\n').length > 501);
    expect(long.map(({ path }) => path)).toEqual([]);
  });
});
