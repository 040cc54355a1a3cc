import {
  createScanner,
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from 'jsonc-parser';
import { quote } from '../core/text.ts';
import type { ConfigProblem } from './types.ts';

/** Keys and indexes from the root of the document to a value. */
export type Path = readonly (string | number)[];

/** The parser and those who read its result recurse: this keeps them far from the end of the stack. */
const MAX_DEPTH = 64;

/** Nobody reads more, and each costs a look through the text. */
const MAX_PROBLEMS = 100;

/** The text of a configuration, and what was found in it, each with its place. */
export class ConfigSource {
  readonly problems: ConfigProblem[] = [];
  readonly warnings: ConfigProblem[] = [];
  /** Absolute paths that a watcher has to watch. */
  readonly files = new Set<string>();
  private readonly tree: Node | undefined;

  constructor(
    readonly file: string,
    private readonly text: string,
  ) {
    this.files.add(file);
    this.tree = this.parse();
  }

  /** What the document says. Its objects have no prototype. */
  get value(): unknown {
    return this.tree === undefined ? undefined : getNodeValue(this.tree);
  }

  /** Reports a problem with the value at `path`. */
  problem(path: Path, message: string, hint?: string): void {
    this.add(this.problems, this.nodeAt(path)?.offset ?? 0, message, hint);
  }

  /** Reports a problem with the key that ends `path`. */
  problemAtKey(path: Path, message: string, hint?: string): void {
    const node = this.nodeAt(path);
    const key = node?.parent?.type === 'property' ? node.parent : node;
    this.add(this.problems, key?.offset ?? 0, message, hint);
  }

  warning(path: Path, message: string, hint?: string): void {
    this.add(this.warnings, this.nodeAt(path)?.offset ?? 0, message, hint);
  }

  /**
   * Replaces `${NAME}` in all strings but keys by the environment's values, and `$${` by `${`. What
   * was put in is not looked at again.
   */
  substitute(env: NodeJS.ProcessEnv): void {
    if (this.tree !== undefined) this.substituteIn(this.tree, env);
  }

  private substituteIn(node: Node, env: NodeJS.ProcessEnv): void {
    if (node.type === 'string') Object.assign(node, { value: this.expand(node, env) });
    const children = node.type === 'property' ? node.children?.slice(1) : node.children;
    for (const child of children ?? []) this.substituteIn(child, env);
  }

  private expand(node: Node, env: NodeJS.ProcessEnv): string {
    return String(node.value).replace(/\$\$\{|\$\{([^}]*\}?)/g, (found, inner?: string) => {
      if (inner === undefined) return found.slice(1);
      const name = /^([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(inner)?.[1];
      const value = name === undefined ? undefined : env[name];
      if (value !== undefined) return value;
      if (name !== undefined) {
        this.add(this.problems, node.offset, `environment variable ${quote(name)} is not set`);
      } else {
        const message = `"\${" must be followed by the name of an environment variable and "}"`;
        this.add(this.problems, node.offset, message, `"$\${" stands for a plain "\${"`);
      }
      return found;
    });
  }

  private parse(): Node | undefined {
    const tooDeep = deeperThan(this.text, MAX_DEPTH);
    if (tooDeep !== undefined) {
      this.add(this.problems, tooDeep, `nested deeper than ${MAX_DEPTH} levels`);
      return undefined;
    }
    const errors: ParseError[] = [];
    const tree = parseTree(this.text, errors, { allowTrailingComma: true });
    const [first] = errors;
    if (first !== undefined) {
      // Only the first: the others mostly follow from it.
      const words = printParseErrorCode(first.error).replace(/(?<=.)[A-Z]/g, ' $&');
      this.add(this.problems, first.offset, `not valid JSON: ${words.toLowerCase()}`);
      return undefined;
    }
    if (tree !== undefined) this.refuseDuplicates(tree);
    return tree;
  }

  private refuseDuplicates(node: Node): void {
    const seen = new Set<string>();
    for (const child of node.children ?? []) {
      const key = child.type === 'property' ? child.children?.[0] : undefined;
      if (key !== undefined) {
        const name = String(key.value);
        const message = `key ${quote(name)} is there twice`;
        if (seen.has(name)) this.add(this.problems, key.offset, message);
        seen.add(name);
      }
      this.refuseDuplicates(child);
    }
  }

  private nodeAt(path: Path): Node | undefined {
    let node = this.tree;
    for (const step of path) {
      if (node?.type === 'array') node = node.children?.[Number(step)];
      else node = node?.children?.find((p) => p.children?.[0]?.value === step)?.children?.[1];
    }
    return node;
  }

  private add(list: ConfigProblem[], offset: number, message: string, hint?: string): void {
    if (list.length >= MAX_PROBLEMS) return;
    const before = this.text.slice(0, offset).split('\n');
    const place = { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
    list.push({ message, file: this.file, ...place, ...(hint === undefined ? {} : { hint }) });
  }
}

/** The offset of the first bracket beyond `limit` levels, found without recursion. */
function deeperThan(text: string, limit: number): number | undefined {
  const scanner = createScanner(text, true);
  let depth = 0;
  for (;;) {
    scanner.scan();
    const offset = scanner.getTokenOffset();
    const first = text[offset];
    if (first === undefined) return undefined;
    if (first === '{' || first === '[') depth++;
    if (first === '}' || first === ']') depth--;
    if (depth > limit) return offset;
  }
}
