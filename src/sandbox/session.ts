import type { Settle } from '../commands/spec.ts';
import type { RuleEventName } from '../core/rule-events.ts';
import type { RuleError, RuleRun, RuleSession, RunOutcome } from '../core/rule-run.ts';
import type { Failure, Guest, Start, Visitor } from './guest.ts';
import { type Handle, PromiseState, Tag } from './guest-abi.ts';
import type { SandboxLimits } from './limits.ts';
import type { SourcePlace } from './source-table.ts';

/** A handler that a rule registered with `when`. */
export interface Handler {
  /** The name of the rule. */
  readonly rule: string;
  readonly path: string;
  readonly priority: number;
  readonly fn: Handle;
}

/** What the sessions of one instance share. */
export interface SessionHost {
  readonly guest: Guest;
  readonly limits: SandboxLimits;
  /** By event, in the order in which they run. */
  readonly handlers: ReadonlyMap<RuleEventName, readonly Handler[]>;
  /** Where a stack of the guest points to in the rules. */
  place(stack: string): SourcePlace | undefined;
}

/** An awaited command under way. */
interface Wait {
  readonly run: RuleRun;
  readonly resolve: Handle;
  readonly reject: Handle;
  /** Made when the command was called, for its place in the source. */
  readonly error: Handle;
  settled: boolean;
  cancel: () => void;
}

interface Settlement {
  readonly wait: Wait;
  readonly outcome: Parameters<Settle>[0];
}

const DONE: RunOutcome = { type: 'done' };
const SUSPENDED: RunOutcome = { type: 'suspended' };
const NO_HANDLERS: readonly Handler[] = [];

/**
 * One connection in the guest. Its handlers run one after the other, each to its end or to its
 * first real wait; the settlement of what they wait for comes back here.
 *
 * What follows an `await` runs for the connection whose command settled. A promise kept outside of
 * `c` and awaited by several connections would run them all for one, so rules must not do that.
 */
export class Session implements RuleSession, Visitor {
  private isClosed = false;
  /** The connection's variables; made when the first handler runs. */
  private variables: Handle = 0;
  private current: RuleRun | undefined;
  private settled: ((outcome: RunOutcome) => void) | undefined;
  private handlers = NO_HANDLERS;
  private next = 0;
  /** What the suspended handler returned. */
  private promise: Handle = 0;
  private readonly waits = new Set<Wait>();

  constructor(
    private readonly host: SessionHost,
    /** How many times the usual budget an entry has. */
    private readonly factor: number,
    private readonly onClosed: () => void,
  ) {}

  run(run: RuleRun, settled: (outcome: RunOutcome) => void): RunOutcome {
    const handlers = this.host.handlers.get(run.event);
    if (handlers === undefined || this.isClosed) return DONE;
    if (this.current !== undefined) throw new Error('a handler of this connection is suspended');
    this.current = run;
    this.settled = settled;
    this.handlers = handlers;
    this.next = 0;
    return this.enter(run, undefined);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const wait of this.waits) {
      wait.settled = true;
      wait.cancel();
      this.forget(wait);
    }
    this.waits.clear();
    const { guest } = this.host;
    guest.release(this.promise);
    guest.release(this.variables);
    this.current = undefined;
    this.settled = undefined;
    this.onClosed();
  }

  wait(command: string, start: Start): Handle {
    const { guest, limits } = this.host;
    if (this.waits.size >= limits.waitsPerSession) {
      throw new RangeError(`${command}: more than ${limits.waitsPerSession} commands are awaited`);
    }
    const error = guest.abi.newError('Error', '');
    const { promise, resolve, reject } = guest.abi.newPromise();
    const run = guest.runFor(command);
    const wait: Wait = { run, resolve, reject, error, settled: false, cancel: () => {} };
    this.waits.add(wait);
    try {
      wait.cancel = start((outcome) => this.settle(wait, outcome));
    } catch (thrown) {
      this.waits.delete(wait);
      wait.settled = true;
      this.forget(wait);
      guest.release(promise);
      throw thrown;
    }
    return promise;
  }

  /** One entry into the guest: goes on with what settled, if given, then with the handlers. */
  private enter(run: RuleRun | undefined, settlement: Settlement | undefined): RunOutcome {
    const { guest } = this.host;
    if (guest.dead !== undefined) return this.over(this.failed(sandboxFailure(guest.dead)));
    guest.begin(this, run, this.factor);
    let outcome: RunOutcome;
    try {
      outcome = (settlement && this.resume(settlement)) ?? this.runHandlers();
    } catch (error) {
      outcome = this.failed(guest.crashed(error));
    }
    if (outcome.type === 'failed') guest.clearJobs();
    if (outcome.type !== 'suspended') this.over(outcome);
    guest.end();
    return outcome;
  }

  private runHandlers(): RunOutcome {
    const run = this.current;
    if (run === undefined) return DONE;
    this.host.guest.setRun(run);
    if (this.promise !== 0) {
      const outcome = this.afterPromise(this.promise);
      if (outcome !== undefined) return outcome;
    }
    while (this.next < this.handlers.length && !run.skipsRest) {
      const handler = this.handlers[this.next++];
      if (handler === undefined) break;
      run.rule = handler.rule;
      const outcome = this.callHandler(handler, run);
      if (outcome !== undefined) return outcome;
    }
    return DONE;
  }

  /** Undefined: the handler is done, go on with the next one. */
  private callHandler(handler: Handler, run: RuleRun): RunOutcome | undefined {
    const { guest } = this.host;
    const { abi } = guest;
    if (this.variables === 0 && run.event !== 'RULE_INIT') this.variables = abi.newObject();
    const result = abi.call(handler.fn, this.variables === 0 ? abi.undefined : this.variables);
    const tag = abi.tag(result);
    if (tag === Tag.exception) return this.failed(guest.thrown(result));
    const failure = abi.hasJobs() ? guest.drain() : guest.check();
    if (failure !== undefined) return this.failed(failure);
    if (tag === Tag.object) return this.afterPromise(result);
    abi.freeTagged(result, tag);
    return undefined;
  }

  /** Looks at what a handler returned, after the promise jobs ran. Undefined: it is done. */
  private afterPromise(value: Handle): RunOutcome | undefined {
    const { guest } = this.host;
    const { abi } = guest;
    const state = abi.promiseState(value);
    if (state === PromiseState.pending) {
      this.promise = value;
      return SUSPENDED;
    }
    this.promise = 0;
    const reason = state === PromiseState.rejected ? abi.promiseResult(value) : 0;
    abi.free(value);
    return reason === 0 ? undefined : this.failed(guest.failure(reason));
  }

  private settle(wait: Wait, outcome: Parameters<Settle>[0]): void {
    if (wait.settled) return;
    wait.settled = true;
    // A command may settle at once, while the handler that called it is still inside.
    if (this.host.guest.inside) queueMicrotask(() => this.goOn({ wait, outcome }));
    else this.goOn({ wait, outcome });
  }

  private goOn(settlement: Settlement): void {
    const { wait } = settlement;
    // Closing has taken it out.
    if (!this.waits.delete(wait)) return;
    const { settled } = this;
    const run = wait.run === this.current ? wait.run : undefined;
    const outcome = this.enter(run, settlement);
    if (outcome.type !== 'suspended') settled?.(outcome);
  }

  /** Settles the guest's promise and runs what awaited it. Undefined: all is well. */
  private resume({ wait, outcome }: Settlement): RunOutcome | undefined {
    const { guest } = this.host;
    const { abi } = guest;
    if (outcome.ok) {
      const value = outcome.value === undefined ? abi.undefined : abi.newText(outcome.value);
      abi.free(abi.call(wait.resolve, value));
      if (outcome.value !== undefined) abi.free(value);
    } else {
      abi.setMessage(wait.error, outcome.message);
      abi.free(abi.call(wait.reject, wait.error));
    }
    this.forget(wait);
    const failure = guest.drain();
    if (failure === undefined) return undefined;
    if (this.current !== undefined) return this.failed(failure);
    guest.clearJobs();
    wait.run.services.log('error', wait.run.rule, `after ${wait.run.event}: ${failure.message}`);
    return DONE;
  }

  private forget(wait: Wait): void {
    const { guest } = this.host;
    guest.release(wait.resolve);
    guest.release(wait.reject);
    guest.release(wait.error);
  }

  private failed(failure: Failure): RunOutcome {
    const run = this.current;
    const handler = this.handlers[Math.max(this.next - 1, 0)];
    const place = this.host.place(failure.stack);
    const error: RuleError = {
      reason: failure.reason,
      rule: handler?.rule ?? '',
      event: run?.event ?? 'RULE_INIT',
      message: failure.message,
      ...(place ?? (handler && { file: handler.path })),
    };
    return { type: 'failed', error };
  }

  private over(outcome: RunOutcome): RunOutcome {
    this.host.guest.release(this.promise);
    this.promise = 0;
    this.current = undefined;
    this.settled = undefined;
    return outcome;
  }
}

function sandboxFailure(why: string): Failure {
  return { reason: 'sandbox', message: `the sandbox of these rules has failed: ${why}`, stack: '' };
}
