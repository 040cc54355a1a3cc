import { commandTable } from '../../../src/commands/index.ts';
import type { CommandSpec, Settle } from '../../../src/commands/spec.ts';
import { Payload } from '../../../src/core/payload.ts';
import type { RuleEventName } from '../../../src/core/rule-events.ts';
import {
  type FlowView,
  RuleRun,
  type RuleServices,
  type Selection,
  type SideView,
} from '../../../src/core/rule-run.ts';
import type { Addresses, LogLevel } from '../../../src/core/types.ts';
import { bytes } from '../core/playbook.ts';

export { bytes, text } from '../core/playbook.ts';

/** The world of one command call. */
export interface World {
  readonly event?: RuleEventName;
  readonly client?: Partial<Omit<SideView, 'payload'>> & { readonly payload?: string };
  readonly server?: Partial<Omit<SideView, 'payload'>> & { readonly payload?: string };
  readonly selection?: Selection;
  readonly services?: Partial<RuleServices>;
}

export interface LogLine {
  readonly level: LogLevel;
  readonly rule: string;
  readonly message: string;
}

export const CLIENT: Addresses = {
  local: { address: '192.0.2.1', port: 110 },
  remote: { address: '198.51.100.7', port: 40_001 },
};

export const SERVER: Addresses = {
  local: { address: '10.0.0.9', port: 50_002 },
  remote: { address: '10.0.0.1', port: 10_110 },
};

function side(view: World['client']): SideView {
  const payload = new Payload();
  payload.append(bytes(view?.payload ?? ''));
  const depth = view?.tls === 'secured' ? 1 : 0;
  return { open: true, tls: 'none', depth, ...view, payload };
}

export function runIn(world: World = {}, logged: LogLine[] = []): RuleRun {
  const event = world.event ?? 'CLIENT_DATA';
  const flow: FlowView = {
    client: side(world.client),
    server: side(world.server),
    selection: world.selection ?? { pool: 'web' },
  };
  const services: RuleServices = {
    virtualServer: 'vs',
    addresses: (of) => (of === 'client' ? CLIENT : SERVER),
    tlsProfile: (of) => (of === 'client' ? { name: 'tls', detachable: false } : undefined),
    tls: () => undefined,
    clientHello: () => undefined,
    serverName: () => undefined,
    hasPool: (name) => name === 'web' || name === 'sorry',
    log: (level, rule, message) => logged.push({ level, rule, message }),
    after: () => () => undefined,
    ...world.services,
  };
  return new RuleRun(event, event === 'RULE_INIT' ? undefined : flow, services);
}

export function specOf(name: string): CommandSpec {
  const spec = commandTable.find((candidate) => candidate.name === name);
  if (spec === undefined) throw new Error(`there is no command ${name}`);
  return spec;
}

/** Calls a command in a run, as the sandbox does once it has checked the arguments. */
export function callIn(run: RuleRun, name: string, ...args: unknown[]): unknown {
  const { how } = specOf(name);
  if (how.kind !== 'call') throw new Error(`${name} is not called`);
  return how.run(run, ...(args as never[]));
}

export function call(world: World, name: string, ...args: unknown[]) {
  const run = runIn(world);
  const result = callIn(run, name, ...args);
  return { result, actions: run.actions };
}

/** Starts a command that rules await; answers how to cancel it. */
export function start(run: RuleRun, settle: Settle, name: string, ...args: unknown[]): () => void {
  const { how } = specOf(name);
  if (how.kind !== 'await') throw new Error(`${name} is not awaited`);
  return how.start(run, settle, ...(args as never[]));
}
