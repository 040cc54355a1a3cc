import { type RuleEventName, ruleEventNames, ruleEvents } from '../core/rule-events.ts';
import type { CommandSpec, Param, ResultType, ValidIn } from './spec.ts';

/** How wide a line of the declarations gets: as Biome formats them. */
const WIDTH = 100;

/** One way to call a command, in TypeScript. */
interface Signature {
  /** `<T>`, or nothing. */
  readonly generics: string;
  /** `length?: number`. */
  readonly params: readonly string[];
  readonly returns: string;
}

const RESULTS: Readonly<Record<ResultType, string>> = {
  void: 'void',
  integer: 'number',
  boolean: 'boolean',
  string: 'string',
  binary: 'string',
  bytes: 'Uint8Array',
};

/** The ways to call a command, as TypeScript writes them behind its name: `(data: Bytes): void`. */
export function signatureTexts(spec: CommandSpec): readonly string[] {
  return signatures(spec).map(
    ({ generics, params, returns }) => `${generics}(${params.join(', ')}): ${returns}`,
  );
}

/** Where a command is valid, in words that go on from `Valid in `. */
export function validInText(validIn: ValidIn): string {
  if (validIn === 'any') return 'every event';
  return validIn === 'connection' ? 'every event but RULE_INIT' : validIn.join(', ');
}

/** The text of the declarations for editors and TypeScript, with which authors write rules. */
export function declarationsText(commands: readonly CommandSpec[]): string {
  const root: Branch = { members: new Map() };
  for (const spec of commands) place(spec, root);
  const members = [...root.members].flatMap(([name, branch]) => ['', ...lines(name, branch, '')]);
  return `${[HEAD, ...members].join('\n')}\n`;
}

const EVENTS = ruleEventNames.map((name) => `  | '${name}'`).join('\n');

const HEAD = `// What rules can call and handle. Made by \`npm run generate\` from the table of commands; changes
// here are lost. How rules work: docs/rules.md.

// biome-ignore lint/suspicious/noExplicitAny: rules keep there what they like
type RuleValue = any;

/**
 * The variables of a connection, shared by all rules of its virtual server. In TypeScript, declare
 * yours: \`interface Connection { loggedIn?: boolean }\`.
 */
interface Connection {
  [name: string]: RuleValue;
}

/** What the configuration gives the rule; frozen. */
interface Options {
  readonly [name: string]: RuleValue;
}

/** What all connections and rules of a virtual server share, until the rules are loaded anew. */
interface Statics {
  [name: string]: RuleValue;
}

/** Bytes: a string of characters up to 0xFF, one a byte, or a Uint8Array. */
type Bytes = string | Uint8Array;

interface HandlerOptions {
  /** 0 to 1000, default 500. The handlers of an event run in this order, lower ones first. */
  priority?: number;
}

type EventName =
${EVENTS};

type ConnectionEvent = Exclude<EventName, 'RULE_INIT'>;

/** The options of this rule in the configuration; an empty object where it gives none. */
declare const options: Options;

/** Kept as long as the rules stay loaded: for what is made once, in RULE_INIT. */
declare const statics: Statics;`;

/** A name in the rules' world: a command, a namespace, or both. */
interface Branch {
  spec?: CommandSpec;
  readonly members: Map<string, Branch>;
}

function place(spec: CommandSpec, root: Branch): void {
  let branch = root;
  for (const part of spec.name.split('.')) {
    const next: Branch = branch.members.get(part) ?? { members: new Map() };
    branch.members.set(part, next);
    branch = next;
  }
  branch.spec = spec;
}

/** The declaration of a name and of all below it. */
function lines(name: string, { spec, members }: Branch, indent: string): string[] {
  const declare = indent === '' ? 'declare ' : '';
  const result = spec === undefined ? [] : functionLines(name, spec, indent, declare);
  if (members.size === 0) return result;
  const inside = [...members].flatMap(([member, branch], index) => [
    ...(index === 0 ? [] : ['']),
    ...lines(member, branch, `${indent}  `),
  ]);
  const gap = spec === undefined ? [] : [''];
  return [...result, ...gap, `${indent}${declare}namespace ${name} {`, ...inside, `${indent}}`];
}

function functionLines(name: string, spec: CommandSpec, indent: string, declare: string): string[] {
  const head = `${indent}${declare}function ${name}`;
  if (spec.name === 'when') {
    return [
      ...ruleEventNames.flatMap((event) => [
        ...comment([eventDoc(event)], indent),
        ...wrapped(head, whenSignature(event), indent),
        '',
      ]),
      ...comment([spec.doc], indent),
      ...signatures(spec).flatMap((signature) => wrapped(head, signature, indent)),
    ];
  }
  const irules = spec.tcl === undefined ? '' : ` iRules: \`${spec.tcl}\`.`;
  const doc = [spec.doc, `Valid in ${validInText(spec.validIn)}.${irules}`];
  return signatures(spec).flatMap((signature, index) => [
    ...(index === 0 ? [] : ['']),
    ...comment(doc, indent),
    ...wrapped(head, signature, indent),
  ]);
}

function eventDoc(event: RuleEventName): string {
  const { side, doc } = ruleEvents[event];
  return side === undefined ? doc : `${doc} The current side is the ${side}.`;
}

function signatures(spec: CommandSpec): readonly Signature[] {
  // Its third argument is an object, which the table of commands has no type for.
  if (spec.name === 'when') return [whenSignature()];
  if (spec.params.some((param) => param.type === 'callback')) return sideSignatures(spec);
  const params = spec.params.map(
    (param) => `${param.name}${param.optional ? '?' : ''}: ${paramType(param)}`,
  );
  const returns = RESULTS[spec.returns];
  return [
    { generics: '', params, returns: spec.how.kind === 'await' ? `Promise<${returns}>` : returns },
  ];
}

/** Without an event: for a name that is only known when the rule is loaded. */
function whenSignature(event?: RuleEventName): Signature {
  const hasConnection = event === undefined || ruleEvents[event].side !== undefined;
  const handler = `handler: (${hasConnection ? 'c: Connection' : ''}) => unknown`;
  const name = event === undefined ? 'ConnectionEvent' : `'${event}'`;
  const params = [`event: ${name}`, handler, 'options?: HandlerOptions'];
  return { generics: '', params, returns: 'void' };
}

/** `clientside` and `serverside`: with a callback they return what it returns. */
function sideSignatures(spec: CommandSpec): readonly Signature[] {
  return [
    { generics: '', params: [], returns: RESULTS[spec.returns] },
    { generics: '<T>', params: ['callback: () => T'], returns: 'T' },
  ];
}

function paramType({ type, values }: Param): string {
  switch (type) {
    case 'integer':
      return 'number';
    case 'binary':
      return 'Bytes';
    case 'callback':
      return '() => unknown';
    case 'string':
      return values === undefined ? 'string' : oneOf(values);
  }
}

function oneOf(values: readonly string[]): string {
  const all = ruleEventNames.every((name) => values.includes(name));
  const names = all ? values.filter((value) => !Object.hasOwn(ruleEvents, value)) : values;
  return [...(all ? ['EventName'] : []), ...names.map((value) => `'${value}'`)].join(' | ');
}

/** A function's head with a signature; one parameter a line where they do not fit into one. */
function wrapped(head: string, signature: Signature, indent: string): readonly string[] {
  const { generics, params, returns } = signature;
  const line = `${head}${generics}(${params.join(', ')}): ${returns};`;
  if (line.length <= WIDTH) return [line];
  return [
    `${head}${generics}(`,
    ...params.map((param) => `${indent}  ${param},`),
    `${indent}): ${returns};`,
  ];
}

function comment(paragraphs: readonly string[], indent: string): readonly string[] {
  const room = WIDTH - indent.length - 3;
  const texts = paragraphs.map((paragraph) => fill(paragraph, room));
  const only = texts.length === 1 && texts[0]?.length === 1 ? texts[0][0] : undefined;
  if (only !== undefined && only.length + 4 <= room) return [`${indent}/** ${only} */`];
  const body = texts.flatMap((text, index) => (index === 0 ? text : ['', ...text]));
  return [`${indent}/**`, ...body.map((line) => `${indent} * ${line}`.trimEnd()), `${indent} */`];
}

/** Breaks text into lines of at most `room` characters, never within code. */
function fill(text: string, room: number): string[] {
  const result: string[] = [];
  let line = '';
  for (const word of text.match(/(?:`[^`]*`|\S)+/g) ?? []) {
    if (line !== '' && line.length + 1 + word.length > room) {
      result.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...result, line];
}
