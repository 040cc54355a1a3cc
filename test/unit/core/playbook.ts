import type { Effect } from '../../../src/core/effects.ts';
import { Flow, type FlowSetup } from '../../../src/core/flow.ts';
import type { IoEvent, TimerName } from '../../../src/core/io-events.ts';
import type { RuleAction } from '../../../src/core/rule-actions.ts';
import type { RuleEventName } from '../../../src/core/rule-events.ts';
import { RuleRun, type RuleServices } from '../../../src/core/rule-run.ts';
import type { Endpoint, Side } from '../../../src/core/types.ts';

/** What the rules of a playbook do in one event: they record actions, and say how the event ends. */
// biome-ignore lint/suspicious/noConfusingVoidType: most handlers just end
export type Handler = (run: RuleRun) => void | 'suspend' | 'fail';

export interface Script extends Partial<Omit<FlowSetup, 'events'>> {
  readonly rules?: Partial<Record<RuleEventName, Handler>>;
}

/** The flow's rules must come to rest; a scripted conversation never needs more runs at a time. */
const MAX_RUNS = 64;

export const A: Endpoint = { address: '10.0.0.1', port: 80 };
export const B: Endpoint = { address: '10.0.0.2', port: 80 };

/** The services of a virtual server with every profile and pool, and no world around it. */
export const services: RuleServices = {
  virtualServer: 'vs',
  addresses: () => undefined,
  tlsProfile: () => ({ name: 'tls', detachable: true }),
  tls: () => undefined,
  clientHello: () => undefined,
  serverName: () => undefined,
  hasPool: () => true,
  log: () => undefined,
  after: () => () => undefined,
};

export function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export function text(data: Uint8Array): string {
  return String.fromCharCode(...data);
}

/** A handler that always records the same actions. */
export function does(...actions: RuleAction[]): Handler {
  return (run) => {
    for (const action of actions) run.emit(action);
  };
}

/** A handler that is another one each time; the last one stays. */
export function inTurn(...handlers: [Handler, ...Handler[]]): Handler {
  let next = 0;
  return (run) => {
    const handler = handlers[next] ?? handlers.at(-1);
    next += 1;
    return handler?.(run);
  };
}

export function collect(side: Side, length?: number, skip?: number): RuleAction {
  return {
    type: 'collect',
    side,
    ...(length !== undefined && { length }),
    ...(skip !== undefined && { skip }),
  };
}

export function release(side: Side, length = Number.MAX_SAFE_INTEGER): RuleAction {
  return { type: 'release', side, length };
}

export function replace(side: Side, offset: number, length: number, data: string): RuleAction {
  return { type: 'replace', side, offset, length, data: bytes(data) };
}

export function respond(side: Side, data: string): RuleAction {
  return { type: 'respond', side, data: bytes(data) };
}

export function tls(enabled: boolean, side: Side = 'client'): RuleAction {
  return { type: 'tls', side, enabled };
}

export function disable(event: RuleEventName | 'all'): RuleAction {
  return { type: 'event', event, enabled: false };
}

export function enable(event: RuleEventName | 'all'): RuleAction {
  return { type: 'event', event, enabled: true };
}

/** An effect as a short line, so that a conversation can be read. */
export function show(effect: Effect): string {
  switch (effect.type) {
    case 'runRules':
      return `rules ${effect.event}`;
    case 'select': {
      const failed = effect.failed.map(({ address, port }) => ` not ${address}:${port}`);
      return `select ${effect.pool}${failed.join('')}`;
    }
    case 'connect':
      return `connect ${effect.server.address}:${effect.server.port}`;
    case 'write':
      return `write ${effect.side} ${text(effect.bytes)}`;
    case 'read':
      return `read ${effect.side} ${effect.reading === 'off' ? 'off' : 'on'}`;
    case 'startTls':
      return `startTls ${effect.side}${effect.asks ? ' asks' : ''} ${text(effect.leftover)}`.trimEnd();
    case 'end':
      return `end ${effect.side}${effect.truncated ? ' truncated' : ''}`;
    case 'stopTls':
    case 'reset':
    case 'destroy':
      return `${effect.type} ${effect.side}`;
    case 'clientCertificate':
      return `clientCertificate ${effect.mode}`;
    case 'setTimer':
    case 'clearTimer':
      return `${effect.type} ${effect.timer}`;
    case 'log':
      return `log ${effect.level}`;
    default:
      return effect.type;
  }
}

/**
 * A conversation with a flow: each method tells it what happened and answers the effects as lines.
 * The script's rules answer `runRules` on the spot, as the sandbox does.
 */
export class Playbook {
  readonly flow: Flow;
  /** The messages of all `log` effects. */
  readonly logs: string[] = [];
  /** What the rules saw: the payload of the current side at each event. */
  readonly seen: string[] = [];
  private readonly rules: Partial<Record<RuleEventName, Handler>>;
  private run: RuleRun | undefined;

  constructor(script: Script = {}) {
    this.rules = script.rules ?? {};
    this.flow = new Flow({
      events: new Set(Object.keys(this.rules) as RuleEventName[]),
      clientTls: script.clientTls ?? false,
      serverTls: script.serverTls ?? false,
      pool: 'pool' in script ? script.pool : 'web',
      collectLimit: script.collectLimit ?? 1024,
    });
  }

  tell(first: IoEvent): string[] {
    const lines: string[] = [];
    let event: IoEvent | undefined = first;
    for (let runs = 0; event !== undefined; runs += 1) {
      if (runs > MAX_RUNS) throw new Error(`the rules run for ever: ${lines.slice(-8).join(', ')}`);
      const effects = this.flow.handle(event);
      lines.push(...effects.map(show));
      for (const effect of effects) if (effect.type === 'log') this.logs.push(effect.message);
      const ordered = effects.findIndex((effect) => effect.type === 'runRules');
      if (ordered >= 0 && ordered !== effects.length - 1) throw new Error('runRules is not last');
      const last = effects.at(-1);
      event = last?.type === 'runRules' ? this.play(last.event) : undefined;
    }
    return lines;
  }

  private play(event: RuleEventName): IoEvent {
    const handler = this.rules[event];
    if (handler === undefined) throw new Error(`no rule handles ${event}`);
    const run = new RuleRun(event, this.flow, services);
    this.seen.push(`${event} ${text(run.payload(run.side))}`.trimEnd());
    return this.outcome(run, handler(run));
  }

  private outcome(run: RuleRun, how: ReturnType<Handler>): IoEvent {
    this.run = how === 'suspend' ? run : undefined;
    if (how === 'suspend') return { type: 'ruleSuspended' };
    if (how === undefined) return { type: 'ruleDone', actions: run.actions };
    const { event } = run;
    const error = { reason: 'exception', rule: 'test', event, message: 'failed' } as const;
    return { type: 'ruleFailed', error };
  }

  /** Ends the suspended handler. */
  resume(handler: Handler = does()): string[] {
    const { run } = this;
    if (run === undefined) throw new Error('no handler is suspended');
    return this.tell(this.outcome(run, handler(run)));
  }

  accepted(): string[] {
    return this.tell({ type: 'accepted' });
  }

  data(side: Side, data: string): string[] {
    return this.tell({ type: 'data', side, bytes: bytes(data) });
  }

  ended(side: Side, truncated = false): string[] {
    return this.tell({ type: 'ended', side, truncated });
  }

  /** With an error: RST, or another end that was not orderly. */
  closed(side: Side, error?: string): string[] {
    return this.tell({ type: 'closed', side, ...(error !== undefined && { error }) });
  }

  hello(): string[] {
    return this.tell({ type: 'hello' });
  }

  tlsRefused(side: Side, error: string): string[] {
    return this.tell({ type: 'tlsRefused', side, error });
  }

  secured(side: Side = 'client', certificate = false): string[] {
    return this.tell({ type: 'secured', side, certificate });
  }

  unsecured(side: Side = 'client'): string[] {
    return this.tell({ type: 'unsecured', side });
  }

  selected(server: Endpoint = A, pool = 'web'): string[] {
    return this.tell({ type: 'selected', selection: { pool, server } });
  }

  nothingSelected(error = 'no member is up'): string[] {
    return this.tell({ type: 'selected', selection: { pool: 'web' }, error });
  }

  connected(): string[] {
    return this.tell({ type: 'connected' });
  }

  connectFailed(error = 'ECONNREFUSED'): string[] {
    return this.tell({ type: 'connectFailed', error });
  }

  timer(timer: TimerName): string[] {
    return this.tell({ type: 'timer', timer });
  }

  abort(): string[] {
    return this.tell({ type: 'abort', reason: 'the engine stops' });
  }

  /** Everything up to the connected server, without looking. */
  open(): this {
    this.accepted();
    this.selected();
    this.connected();
    return this;
  }
}
