import { type CommandSpec, type Param, type ResultType, refusal } from '../commands/spec.ts';
import type { RuleRun } from '../core/rule-run.ts';
import type { Guest, HostFunction } from './guest.ts';
import { type GuestAbi, type Handle, VALUE_BYTES } from './guest-abi.ts';

const LARGEST_INTEGER = 0x7fffffff;

type Call = (run: RuleRun, ...args: unknown[]) => unknown;

/** The face of a command towards the guest: checks, converts, runs, converts back. */
export function bindCommand(spec: CommandSpec, guest: Guest): HostFunction {
  const { how } = spec;
  if (how.kind === 'await') {
    const { start } = how;
    return bindCall(spec, guest, (run, ...args) =>
      guest.wait(spec.name, (settle) => start(run, settle, ...(args as unknown[] as never[]))),
    );
  }
  if (how.kind !== 'call') throw new Error(`${spec.name} has no implementation in the sandbox`);
  const write = resultWriters[spec.returns];
  const call = how.run as Call;
  return bindCall(spec, guest, (run, a, b, c) => write(guest.abi, call(run, a, b, c)));
}

/** No command has more parameters: they are passed without an array, as calls are many. */
const MOST_PARAMETERS = 3;

function bindCall(
  spec: CommandSpec,
  guest: Guest,
  call: (run: RuleRun, a: unknown, b: unknown, c: unknown) => Handle,
): HostFunction {
  const most = spec.params.length;
  if (most > MOST_PARAMETERS) throw new Error(`${spec.name} has too many parameters`);
  const required = spec.params.filter((param) => param.optional !== true).length;
  const [first, second, third] = spec.params.map((param) => argumentReader(spec.name, param));
  const { abi } = guest;
  return (argc, argv) => {
    const run = guest.runFor(spec.name);
    checkEvent(spec, run);
    if (argc > most || argc < required) throw new TypeError(countMessage(spec, argc));
    // What is not given is undefined: its reader, if there is one, has nothing to read.
    const a = argc > 0 ? first?.(abi, argv) : undefined;
    const b = argc > 1 ? second?.(abi, argv + VALUE_BYTES) : undefined;
    const c = argc > 2 ? third?.(abi, argv + 2 * VALUE_BYTES) : undefined;
    return call(run, a, b, c);
  };
}

/** @throws Error when the command is not valid in the run's event. */
export function checkEvent(spec: CommandSpec, run: RuleRun): void {
  const reason = refusal(spec, run.event);
  if (reason !== undefined) throw new Error(reason);
}

function countMessage(spec: CommandSpec, argc: number): string {
  const most = spec.params.length;
  const least = spec.params.filter((param) => param.optional !== true).length;
  const range = least === most ? `${most}` : `${least} to ${most}`;
  return `${spec.name}: takes ${range} argument${range === '1' ? '' : 's'}, got ${argc}`;
}

type ArgumentReader = (abi: GuestAbi, value: Handle) => unknown;

function argumentReader(command: string, param: Param): ArgumentReader {
  const read = requiredReader(`${command}: ${param.name}`, param);
  if (param.optional !== true) return read;
  return (abi, value) => (abi.isUndefined(value) ? undefined : read(abi, value));
}

function requiredReader(where: string, param: Param): ArgumentReader {
  switch (param.type) {
    case 'integer':
      return (abi, value) => {
        const number = abi.readNumber(value);
        if (number === undefined) throw new TypeError(`${where} must be a number`);
        if (!Number.isInteger(number) || number < 0 || number > LARGEST_INTEGER) {
          throw new RangeError(`${where} must be a whole number from 0 to ${LARGEST_INTEGER}`);
        }
        return number;
      };
    case 'string':
      return (abi, value) => {
        const text = abi.readText(value);
        if (text === undefined) throw new TypeError(`${where} must be a string`);
        if (param.values !== undefined && !param.values.includes(text)) {
          throw new RangeError(`${where} must be one of ${param.values.join(', ')}`);
        }
        return text;
      };
    case 'binary':
      return (abi, value) => {
        const bytes = abi.readBinary(value);
        if (bytes === undefined) throw new TypeError(`${where} must be a string or Uint8Array`);
        if (bytes === 'wide') {
          throw new TypeError(`${where} has a character above 0xFF, which is no byte; use utf8()`);
        }
        return bytes;
      };
    case 'callback':
      throw new Error(`${where}: only commands of the prelude take callbacks`);
  }
}

/** 0 is undefined. The values are the commands' own, typed by their declarations. */
const resultWriters: Record<ResultType, (abi: GuestAbi, value: unknown) => Handle> = {
  void: () => 0,
  integer: (abi, value) => abi.newNumber(value as number),
  boolean: (abi, value) => abi.newBool(value as boolean),
  string: (abi, value) => abi.newText(value as string),
  binary: (abi, value) => abi.newBinary(value as Uint8Array),
  bytes: (abi, value) => abi.newUint8Array(value as Uint8Array),
};
