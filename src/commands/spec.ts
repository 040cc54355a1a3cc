import type { RuleEventName } from '../core/rule-events.ts';
import type { RuleRun } from '../core/rule-run.ts';

/**
 * Types of arguments, as the sandbox checks them before a command sees them. Nothing is coerced.
 *
 * - `integer`: a whole number from 0 to 2^31 - 1.
 * - `string`: text.
 * - `binary`: a string of characters up to 0xFF, one a byte, or a Uint8Array; arrives as a
 *   Uint8Array of the command's own.
 * - `callback`: a function; only for commands that the guest's prelude carries out.
 */
export type ParamType = 'integer' | 'string' | 'binary' | 'callback';

interface ParamValues {
  integer: number;
  string: string;
  binary: Uint8Array;
  callback: never;
}

/**
 * Types of results. `binary` is a Uint8Array that the rule sees as a string of one character a
 * byte; `bytes` is one that it sees as a Uint8Array.
 */
export type ResultType = 'void' | 'integer' | 'boolean' | 'string' | 'binary' | 'bytes';

interface ResultValues {
  // biome-ignore lint/suspicious/noConfusingVoidType: a command without a result returns nothing
  void: void;
  integer: number;
  boolean: boolean;
  string: string;
  binary: Uint8Array;
  bytes: Uint8Array;
}

export interface Param {
  readonly name: string;
  readonly type: ParamType;
  readonly optional?: true;
  /** For `string`: the only values allowed. */
  readonly values?: readonly string[];
}

/** Where a command is valid: in these events, in every event of a connection, or also in RULE_INIT. */
export type ValidIn = readonly RuleEventName[] | 'connection' | 'any';

type Argument<P extends Param> = P extends { optional: true }
  ? ParamValues[P['type']] | undefined
  : ParamValues[P['type']];

type Arguments<P extends readonly Param[]> = { [K in keyof P]: Argument<P[K]> };

/** How an awaited command ends: with a value, or with the message of the error to throw. */
export type Settle = (
  outcome: { ok: true; value?: string } | { ok: false; message: string },
) => void;

/** A command of the rules API, declared once for all that is made of it. */
export interface CommandSpec {
  /** As JavaScript rules write it: `TCP.payload.replace`. */
  readonly name: string;
  /** As F5's iRules write it: `TCP::payload replace`; absent where iRules have no such command. */
  readonly tcl?: string;
  readonly params: readonly Param[];
  readonly returns: ResultType;
  readonly validIn: ValidIn;
  /** Markdown: what it does, units, ranges, errors. */
  readonly doc: string;
  readonly how: CommandHow;
}

export type CommandHow =
  /** Runs and returns. What it throws becomes an exception in the rule, at the place of the call. */
  | { readonly kind: 'call'; readonly run: Erased['run'] }
  /** Must be awaited: starts something, settles once, and may be cancelled by the returned function. */
  | { readonly kind: 'await'; readonly start: Erased['start'] }
  /** Carried out in the guest: `when`, `clientside(fn)`, `serverside(fn)`. */
  | { readonly kind: 'prelude' };

/** What is left of an implementation's type in the table; the sandbox checks arguments at run time. */
interface Erased {
  run: (run: RuleRun, ...args: never[]) => unknown;
  start: (run: RuleRun, settle: Settle, ...args: never[]) => () => void;
}

interface Declaration<P extends readonly Param[], R extends ResultType> {
  readonly tcl?: string;
  readonly params: P;
  readonly returns: R;
  readonly validIn: ValidIn;
  readonly doc: string;
}

/** Declares a command that runs at once; types its implementation from its declaration. */
export function command<const P extends readonly Param[], const R extends ResultType>(
  name: string,
  declaration: Declaration<P, R>,
  run: (run: RuleRun, ...args: Arguments<P>) => ResultValues[R],
): CommandSpec {
  return { name, ...declaration, how: { kind: 'call', run: run as Erased['run'] } };
}

/** Declares a command that rules must await. */
export function awaitedCommand<const P extends readonly Param[], const R extends ResultType>(
  name: string,
  declaration: Declaration<P, R>,
  start: (run: RuleRun, settle: Settle, ...args: Arguments<P>) => () => void,
): CommandSpec {
  return { name, ...declaration, how: { kind: 'await', start: start as Erased['start'] } };
}

/** Declares a command that the guest's prelude carries out. */
export function preludeCommand<const P extends readonly Param[], const R extends ResultType>(
  name: string,
  declaration: Declaration<P, R>,
): CommandSpec {
  return { name, ...declaration, how: { kind: 'prelude' } };
}

/** The error text for a command outside its events, or undefined where it is valid. */
export function refusal(
  spec: Pick<CommandSpec, 'name' | 'validIn'>,
  event: RuleEventName,
): string | undefined {
  if (spec.validIn === 'any') return undefined;
  if (spec.validIn === 'connection') {
    return event === 'RULE_INIT'
      ? `${spec.name} is not valid in RULE_INIT: there is no connection`
      : undefined;
  }
  if (spec.validIn.includes(event)) return undefined;
  return `${spec.name} is not valid in ${event}; it is valid in ${spec.validIn.join(', ')}`;
}
