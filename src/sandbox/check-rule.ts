import type { CallExpression, Function as FunctionNode, MemberExpression, Node } from 'acorn';
import { ancestor, full } from 'acorn-walk';
import { type CommandSpec, refusal } from '../commands/spec.ts';
import { isRuleEventName, type RuleEventName, ruleEventNames } from '../core/rule-events.ts';
import { orDidYouMean, quote } from '../core/text.ts';
import type { RuleSource } from './build.ts';
import { type ParsedFile, RuleSources } from './rule-sources.ts';
import { placeIn, type RuleProblem } from './source-table.ts';

/**
 * What is wrong with a rule as far as its source tells without running it: syntax, imports, events
 * that do not exist, commands that do not exist in their namespace, and commands in the handler of
 * an event in which they are not valid. Functions that a handler calls are not followed.
 *
 * @param pools - the pools that there are, if that is known: others are reported where a rule names
 * them literally
 */
export function checkRule(
  source: RuleSource,
  commands: readonly CommandSpec[],
  pools?: ReadonlySet<string>,
): RuleProblem[] {
  const sources = new RuleSources();
  const files = sources.load(source.name, source.path);
  const found = files.flatMap((file) =>
    new FileCheck(source.name, file, commands, pools).problems(),
  );
  return [...sources.problems, ...found];
}

/** A dotted name in the source, `TCP.payload.length`. */
interface Path {
  readonly node: Node;
  readonly name: string;
}

class FileCheck {
  private readonly found: RuleProblem[] = [];
  private readonly specs: ReadonlyMap<string, CommandSpec>;
  /** `TCP`, `TCP.payload`: names with others below. */
  private readonly namespaces: ReadonlySet<string>;
  /** Names that the file declares itself, in whatever scope: they may not mean the command. */
  private declared: ReadonlySet<string> = new Set();

  constructor(
    private readonly rule: string,
    private readonly file: ParsedFile,
    commands: readonly CommandSpec[],
    private readonly pools: ReadonlySet<string> | undefined,
  ) {
    this.specs = new Map(commands.map((spec) => [spec.name, spec]));
    this.namespaces = new Set(commands.flatMap((spec) => parents(spec.name)));
  }

  problems(): RuleProblem[] {
    try {
      this.check();
    } catch (error) {
      // The walk is recursive: what no person writes can overflow the stack.
      if (!(error instanceof RangeError)) throw error;
      this.report(this.file.program, 'the source nests too deeply to be checked');
    }
    return this.found;
  }

  private check(): void {
    this.declared = declaredNames(this.file.program);
    ancestor(this.file.program, {
      CallExpression: (node) => {
        this.checkWhen(node);
        this.checkPool(node);
      },
      MemberExpression: (node, _state, ancestors) => {
        // Only the whole of a chain, which no longer member expression holds.
        const parent = ancestors.at(-2);
        const inLonger = parent?.type === 'MemberExpression' && isObjectOf(parent, node);
        if (!inLonger || (parent as MemberExpression).computed) this.checkName(node);
      },
    });
  }

  private checkWhen(call: CallExpression): void {
    const [event, handler] = call.arguments;
    const isWhen = call.callee.type === 'Identifier' && call.callee.name === 'when';
    if (!isWhen || this.declared.has('when')) return;
    if (event?.type !== 'Literal' || typeof event.value !== 'string') return;
    if (!isRuleEventName(event.value)) {
      const meant = orDidYouMean(event.value, ruleEventNames);
      this.report(event, `there is no event '${event.value.slice(0, 80)}'${meant}`);
      return;
    }
    if (isFunction(handler)) this.checkHandler(handler, event.value);
  }

  private checkPool(call: CallExpression): void {
    const [name] = call.arguments;
    if (this.pools === undefined || this.pathOf(call.callee)?.name !== 'pool') return;
    if (name?.type !== 'Literal' || typeof name.value !== 'string') return;
    if (this.pools.has(name.value)) return;
    const meant = orDidYouMean(name.value, this.pools);
    this.report(name, `there is no pool ${quote(name.value)}${meant}`);
  }

  /** Commands called in a handler, whatever functions stand around them there. */
  private checkHandler(handler: FunctionNode, event: RuleEventName): void {
    full(handler, (node) => {
      if (node.type !== 'CallExpression') return;
      const path = this.pathOf((node as CallExpression).callee);
      const spec = path && this.specs.get(path.name);
      const reason = spec && refusal(spec, event);
      if (path !== undefined && reason !== undefined) this.report(path.node, reason);
    });
  }

  /** Finds what a known namespace does not have. */
  private checkName(node: Node): void {
    const path = this.pathOf(node);
    const namespace = path && parents(path.name).at(0);
    if (path === undefined || namespace === undefined || !this.namespaces.has(namespace)) return;
    const { name } = path;
    if (this.specs.has(name) || this.namespaces.has(name)) return;
    // What any function has, as in `TCP.respond.name`.
    if (parents(name).some((parent) => this.isLeaf(parent))) return;
    this.report(path.node, `there is no command ${name}${orDidYouMean(name, this.specs.keys())}`);
  }

  private isLeaf(name: string): boolean {
    return this.specs.has(name) && !this.namespaces.has(name);
  }

  private pathOf(node: Node): Path | undefined {
    const names = chainOf(node);
    const [root] = names ?? [];
    if (names === undefined || root === undefined || this.declared.has(root)) return undefined;
    return { node, name: names.join('.') };
  }

  private report(node: Node, message: string): void {
    const start = node.loc?.start ?? { line: 1, column: 0 };
    this.found.push({
      rule: this.rule,
      message,
      ...placeIn(this.file, start.line, start.column + 1),
    });
  }
}

/** `TCP`, `TCP.payload` for `TCP.payload.length`. */
function parents(name: string): string[] {
  const parts = name.split('.');
  return parts.slice(1).map((_, i) => parts.slice(0, i + 1).join('.'));
}

function isFunction(node: Node | undefined): node is FunctionNode {
  return node?.type === 'FunctionExpression' || node?.type === 'ArrowFunctionExpression';
}

function isObjectOf(parent: Node, node: Node): boolean {
  return parent.type === 'MemberExpression' && (parent as MemberExpression).object === node;
}

/** The names of a chain of plain properties on an identifier. */
function chainOf(node: Node): string[] | undefined {
  if (node.type === 'Identifier') return [(node as Node & { name: string }).name];
  if (node.type !== 'MemberExpression') return undefined;
  const { object, property, computed } = node as MemberExpression;
  if (computed || property.type !== 'Identifier') return undefined;
  const names = chainOf(object);
  return names && [...names, property.name];
}

/** Every name that a declaration, parameter or import in the file binds. */
function declaredNames(program: Node): Set<string> {
  const names = new Set<string>();
  full(program, (node, _state, type) => {
    if (type === 'VariablePattern') names.add((node as Node & { name: string }).name);
    const local = 'local' in node ? node.local : 'id' in node ? node.id : undefined;
    const isBinding = /^Import.*Specifier$|Function|^Class/.test(node.type);
    if (isBinding && isNamed(local)) names.add(local.name);
  });
  return names;
}

function isNamed(node: unknown): node is { name: string } {
  return typeof node === 'object' && node !== null && 'name' in node;
}
