import type { Settle } from '../commands/spec.ts';
import type { RuleError, RuleRun } from '../core/rule-run.ts';
import { Budget } from './budget.ts';
import { GuestAbi, type Handle, Tag } from './guest-abi.ts';
import { abiFacts } from './guest-abi-check.ts';
import { GuestFault } from './guest-memory.ts';
import type { SandboxLimits } from './limits.ts';
import { PRELUDE_FILE, prelude } from './prelude.ts';

/** A function of the host that rules can call. Exceptions become the rule's. 0 is undefined. */
export type HostFunction = (argc: number, argv: Handle) => Handle;

/** Starts something that settles later; returns how to cancel it. */
export type Start = (settle: Settle) => () => void;

/** Who is in the guest: takes the awaited commands that its handlers start. */
export interface Visitor {
  /** A promise of the guest for `start`. */
  wait(command: string, start: Start): Handle;
}

/** What went wrong in the guest; `stack` as the guest tells it. */
export interface Failure {
  readonly reason: RuleError['reason'];
  readonly message: string;
  readonly stack: string;
}

/** Gives the guest what its `import`s name: its source, or undefined to refuse. */
export interface ModuleSource {
  resolve(base: string, specifier: string): string | undefined;
  code(name: string): string | undefined;
}

/** Above this share of its memory a guest is retired: memory never shrinks. */
const FULL = 0.8;
const JOBS_AT_ONCE = 16;
const WASM_PAGE = 64 * 1024;
const LOAD_FACTOR = 10;

/**
 * One QuickJS with its limits: who may be inside, for how long, and what a fault means. A guest is
 * never disposed of, as QuickJS aborts when it is after some faults: its references are dropped.
 */
export class Guest {
  /** Why the guest must not be entered any more. */
  dead: string | undefined;
  /** No new connection should begin here. */
  retired = false;
  onRetired: (() => void) | undefined;
  inside = false;

  private run: RuleRun | undefined;
  private visitor: Visitor | undefined;
  private readonly budget: Budget;
  private fault: GuestFault | undefined;
  private announced = false;
  private readonly garbage: Handle[] = [];
  private readonly functions: HostFunction[] = [];
  private describe: Handle = 0;
  private linking = false;
  private readonly fullBytes: number;

  /** @throws Error when QuickJS is not what this sandbox was written for. */
  static async create(limits: SandboxLimits, modules: ModuleSource): Promise<Guest> {
    const facts = await abiFacts();
    const abi = await GuestAbi.create(limits.memoryPages);
    abi.readsStringsDirectly = facts.readsStringsDirectly;
    abi.countsPolls = facts.countsPolls;
    return new Guest(abi, limits, modules);
  }

  private constructor(
    readonly abi: GuestAbi,
    private readonly limits: SandboxLimits,
    modules: ModuleSource,
  ) {
    this.budget = new Budget(abi, limits);
    this.fullBytes = Math.max(limits.memoryPages * WASM_PAGE * FULL, abi.memoryBytes);
    abi.callbacks = {
      callFunction: (_asyncify, _context, _self, argc, argv, id) => this.callHost(id, argc, argv),
      shouldInterrupt: () => (this.shouldInterrupt() ? 1 : 0),
      normalizeModule: (_asyncify, _runtime, _context, base, name) =>
        this.resolveModule(modules, base, name),
      loadModuleSource: (_asyncify, _runtime, _context, name) => this.loadModule(modules, name),
      freeHostRef: () => {},
    };
  }

  /** Makes the rules' world: their globals, and helpers of the prelude. To be called once. */
  install(
    commands: readonly { name: string; fn: HostFunction }[],
    helpers: readonly { name: string; fn: HostFunction }[],
  ): void {
    this.begin(undefined, undefined, LOAD_FACTOR);
    const { abi } = this;
    const parts = abi.evaluate(prelude, PRELUDE_FILE, 'script');
    const part = (index: number) => abi.element(parts, index);
    const [name, command, helper, describe, finish] = [part(0), part(1), part(2), part(3), part(4)];
    this.describe = describe;
    // A command comes before those under its name: it is the object that holds them.
    for (const { name: path, fn } of [...commands].sort((a, b) => depth(a.name) - depth(b.name))) {
      this.prepare(name, abi.newText(path));
      this.prepare(command, this.hostFunction(path, fn));
    }
    for (const { name: key, fn } of helpers) this.prepare(helper, this.hostFunction(key, fn));
    this.prepare(finish, abi.newBool(true));
    this.end();
  }

  /** Evaluates a module and runs its promise jobs. The result may be an exception. */
  load(code: string, name: string): Handle {
    this.linking = true;
    try {
      return this.abi.evaluate(code, name, 'module');
    } finally {
      this.linking = false;
    }
  }

  /** Opens an entry: what the guest may use up until `end`, and on whose behalf. */
  begin(visitor: Visitor | undefined, run: RuleRun | undefined, factor: number): void {
    if (this.inside) throw new Error('the guest is busy: its callbacks must not enter it');
    this.inside = true;
    this.visitor = visitor;
    this.run = run;
    this.budget.renew(factor);
  }

  /** Changes whose commands run from here on; undefined: the event is over. */
  setRun(run: RuleRun | undefined): void {
    this.run = run;
  }

  end(): void {
    this.inside = false;
    this.visitor = undefined;
    this.run = undefined;
    if (this.fault !== undefined) this.crashed(this.fault);
    if (this.dead === undefined && this.garbage.length > 0) this.sweep();
    if (this.abi.memoryBytes > this.fullBytes) this.retired = true;
    if (this.retired && !this.announced) {
      this.announced = true;
      this.onRetired?.();
    }
  }

  /**
   * Runs the promise jobs. As jobs cannot be taken back, a guest that goes on making them is dead.
   * When the budget is spent some may be left: they are for `clearJobs`.
   */
  drain(): Failure | undefined {
    let left = this.limits.jobsPerEntry;
    while (this.abi.hasJobs() && !this.budget.isSpent) {
      if (left <= 0 || this.fault !== undefined) {
        this.die('promise jobs were left behind');
        break;
      }
      this.abi.runJobs(Math.min(left, JOBS_AT_ONCE));
      left -= JOBS_AT_ONCE;
    }
    if (left <= 0 && this.dead !== undefined) {
      return {
        reason: 'timeout',
        message: `more than ${this.limits.jobsPerEntry} promise jobs in one event`,
        stack: '',
      };
    }
    return this.check();
  }

  /**
   * Runs the promise jobs that a failed event has left, with a budget of their own. None may be
   * left then: it would run in another connection's entry.
   */
  clearJobs(): void {
    if (this.dead !== undefined || !this.abi.hasJobs()) return;
    this.run = undefined;
    this.budget.renew(1);
    try {
      this.drain();
      if (this.abi.hasJobs()) this.die('promise jobs were left behind');
    } catch (error) {
      this.crashed(error);
    }
  }

  /** A fault that the guest's own exceptions do not tell of. */
  check(): Failure | undefined {
    if (this.fault !== undefined) return this.crashed(this.fault);
    return this.budget.isSpent ? timeout('') : undefined;
  }

  /** The failure behind an exception, which is freed; and what it means for this guest. */
  thrown(exception: Handle): Failure {
    return this.failure(this.abi.takeException(exception));
  }

  /** The failure that a thrown value, which is freed, stands for. */
  failure(value: Handle): Failure {
    if (this.fault !== undefined) return this.crashed(this.fault);
    const wasInterrupted = this.budget.isSpent;
    const [name = '', message = '', stack = ''] = this.describeThrown(value);
    if (wasInterrupted) return timeout(stack);
    if (name === 'InternalError' && message === 'stack overflow') {
      return { reason: 'stack', message: 'the stack is full: the recursion is too deep', stack };
    }
    if (name === 'InternalError' && message === 'out of memory') {
      return this.crashed(new GuestFault('memory', 'the memory of the sandbox is full'), stack);
    }
    return { reason: 'exception', message: name === '' ? message : `${name}: ${message}`, stack };
  }

  /** What an exception of the host, from a call into the guest, means. */
  crashed(error: unknown, stack = ''): Failure {
    this.retired = true;
    this.fault = undefined;
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof GuestFault && error.reason === 'memory') {
      return { reason: 'memory', message, stack };
    }
    this.die(message);
    return { reason: 'sandbox', message, stack };
  }

  die(why: string): void {
    this.dead ??= why;
    this.retired = true;
  }

  /** Frees a value, later if the guest is running. */
  release(value: Handle): void {
    if (this.dead !== undefined || value === 0) return;
    if (this.inside) this.garbage.push(value);
    else this.abi.free(value);
  }

  /** The run on whose behalf the guest is inside. @throws Error when there is none. */
  runFor(command: string): RuleRun {
    if (this.run === undefined) throw new Error(`${command}: the event is over`);
    return this.run;
  }

  wait(command: string, start: Start): Handle {
    if (this.visitor === undefined) {
      throw new Error(`${command}: nothing can be awaited while the rules load`);
    }
    return this.visitor.wait(command, start);
  }

  private shouldInterrupt(): boolean {
    return this.fault !== undefined || this.budget.look();
  }

  private callHost(id: number, argc: number, argv: Handle): Handle {
    try {
      this.abi.sync();
      const fn = this.functions[id];
      if (fn === undefined) throw new GuestFault('sandbox', 'the guest called what is not there');
      return fn(argc, argv);
    } catch (error) {
      return this.throwInGuest(error);
    }
  }

  private throwInGuest(error: unknown): Handle {
    if (error instanceof GuestFault || isHostOverflow(error)) return this.keepFault(error);
    const kind =
      error instanceof RangeError
        ? 'RangeError'
        : error instanceof TypeError
          ? 'TypeError'
          : 'Error';
    try {
      return this.abi.throwError(kind, error instanceof Error ? error.message : String(error));
    } catch (fault) {
      return this.keepFault(fault);
    }
  }

  private keepFault(error: unknown): Handle {
    this.fault ??= error instanceof GuestFault ? error : new GuestFault('sandbox', String(error));
    return 0;
  }

  private resolveModule(modules: ModuleSource, base: string, specifier: string): number {
    try {
      return this.abi.cString((this.linking ? modules.resolve(base, specifier) : undefined) ?? '');
    } catch (error) {
      return this.keepFault(error);
    }
  }

  private loadModule(modules: ModuleSource, name: string): number {
    try {
      const code = modules.code(name);
      if (code !== undefined) return this.abi.cString(code);
      this.abi.free(this.abi.throwError('TypeError', 'import() is not available in rules'));
      return 0;
    } catch (error) {
      return this.keepFault(error);
    }
  }

  private describeThrown(value: Handle): string[] {
    this.budget.renew(1);
    const told = this.abi.call(this.describe, value);
    this.abi.free(value);
    const text = this.abi.readText(told);
    this.abi.free(told);
    return text?.split('\0') ?? ['', 'the rule threw a value that cannot be read', ''];
  }

  private hostFunction(name: string, fn: HostFunction): Handle {
    this.functions.push(fn);
    return this.abi.newFunction(name, this.functions.length - 1);
  }

  private prepare(fn: Handle, argument: Handle): void {
    const result = this.abi.call(fn, argument);
    this.abi.free(argument);
    if (this.abi.tag(result) === Tag.exception) throw new Error(this.thrown(result).message);
    this.abi.free(result);
  }

  private sweep(): void {
    for (const value of this.garbage) this.abi.free(value);
    this.garbage.length = 0;
  }
}

function depth(name: string): number {
  return name.split('.').length;
}

function timeout(stack: string): Failure {
  return { reason: 'timeout', message: 'the event took too long', stack };
}

/** V8's own stack is full: the guest's frames were cut through. */
function isHostOverflow(error: unknown): boolean {
  return error instanceof RangeError && error.message.startsWith('Maximum call stack');
}
