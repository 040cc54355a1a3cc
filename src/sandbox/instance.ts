import { basename, dirname, relative } from 'node:path';
import type { CommandSpec } from '../commands/spec.ts';
import { isRuleEventName, type RuleEventName, ruleEventNames } from '../core/rule-events.ts';
import { RuleRun, type RuleServices, type RuleSession } from '../core/rule-run.ts';
import { orDidYouMean } from '../core/text.ts';
import { otherSide, type Side } from '../core/types.ts';
import type { RuleSource } from './build.ts';
import { bindCommand, checkEvent } from './command-binding.ts';
import { type Failure, Guest, type ModuleSource } from './guest.ts';
import { type Handle, PromiseState, Tag, VALUE_BYTES } from './guest-abi.ts';
import { MAX_HANDLERS, type SandboxLimits } from './limits.ts';
import type { ParsedFile, RuleSources } from './rule-sources.ts';
import { type Handler, Session, type SessionHost } from './session.ts';
import {
  placeOfStack,
  type RuleProblem,
  type SourceFile,
  type SourcePlace,
} from './source-table.ts';

/** The rules of one virtual server, loaded once: one generation. */
export interface RuleInstance {
  /** Those that have a handler. No others need to be run. */
  readonly events: ReadonlySet<RuleEventName>;
  /** A place for a new connection. */
  open(): RuleSession;
  /** Connections opened and not closed. */
  readonly liveSessions: number;
  /**
   * True after a fault that may have left the instance short of memory or inconsistent: new
   * connections should get a new one.
   */
  readonly retired: boolean;
  /** Called once when `retired` becomes true. */
  onRetired: (() => void) | undefined;
}

/** The specs of `clientside` and `serverside`, as far as the table has them. */
type Sides = readonly (CommandSpec | undefined)[];

const sideNumbers: Record<Side, number> = { client: 0, server: 1 };

interface Registration extends Handler {
  readonly event: RuleEventName;
}

/** Goes in front of a rule's first line, so that line numbers hold. */
function optionsLine(rule: RuleSource): string {
  const json = JSON.stringify(JSON.stringify(rule.options));
  return `const options=JSON.parse(${json},(_,v)=>Object.freeze(v));`;
}

export class Instance implements RuleInstance, SessionHost, ModuleSource {
  readonly handlers = new Map<RuleEventName, readonly Handler[]>();
  readonly events: Set<RuleEventName> = new Set();
  liveSessions = 0;
  onRetired: (() => void) | undefined;

  private readonly registrations: Registration[] = [];
  private loading: RuleSource | undefined;
  /** The main file of the rule that was loaded last, which its own modules may import. */
  private main: { file: ParsedFile; name: string } | undefined;
  /** What the guest knows, by the names that it knows it by. */
  private readonly files = new Map<string, SourceFile>();
  private readonly modules = new Map<string, ParsedFile>();

  static async create(
    commands: readonly CommandSpec[],
    sources: RuleSources,
    limits: SandboxLimits,
  ): Promise<Instance> {
    const modules: ModuleSource = {
      resolve: (base, specifier) => instance.resolve(base, specifier),
      code: (name) => instance.code(name),
    };
    const instance = new Instance(await Guest.create(limits, modules), sources, limits);
    instance.install(commands);
    return instance;
  }

  private constructor(
    readonly guest: Guest,
    /** Until the rules are loaded; it holds their syntax trees. */
    private sources: RuleSources | undefined,
    readonly limits: SandboxLimits,
  ) {
    guest.onRetired = () => this.onRetired?.();
  }

  get retired(): boolean {
    return this.guest.retired;
  }

  open(): RuleSession {
    this.liveSessions++;
    return new Session(this, 1, () => {
      this.liveSessions--;
    });
  }

  /** The session in which RULE_INIT runs. */
  openForLoad(): RuleSession {
    return new Session(this, this.limits.loadFactor, () => {});
  }

  place(stack: string): SourcePlace | undefined {
    return placeOfStack(stack, this.files);
  }

  /** Runs the top level of a rule, which registers its handlers. */
  evaluate(rule: RuleSource, main: ParsedFile, services: RuleServices): RuleProblem | undefined {
    const { guest, limits } = this;
    const prefix = optionsLine(rule);
    const name = this.addFile(basename(main.path), main, [...prefix].length);
    this.main = { file: main, name };
    const run = new RuleRun('RULE_INIT', undefined, services);
    run.rule = rule.name;
    this.loading = rule;
    guest.abi.setStack(limits.loadStackBytes);
    guest.begin(undefined, run, limits.loadFactor);
    let failure: Failure | undefined;
    try {
      failure = this.afterLoad(guest.load(prefix + main.code, name));
    } catch (error) {
      failure = guest.crashed(error);
    }
    guest.end();
    guest.abi.setStack(limits.stackBytes);
    this.loading = undefined;
    if (failure === undefined) return undefined;
    const place = this.place(failure.stack) ?? { file: main.path };
    return { rule: rule.name, message: failure.message, ...place };
  }

  /** To be called when all rules are evaluated: puts their handlers in order. */
  loaded(): void {
    this.sources = undefined;
    this.main = undefined;
    this.modules.clear();
    const sorted = this.registrations.toSorted((a, b) => a.priority - b.priority);
    for (const event of sorted.map((handler) => handler.event)) {
      this.events.add(event);
      this.handlers.set(
        event,
        sorted.filter((handler) => handler.event === event),
      );
    }
  }

  resolve(base: string, specifier: string): string | undefined {
    const importer = this.files.get(base);
    const path = importer && this.sources?.target(importer.path, specifier);
    const module = path === undefined ? undefined : this.sources?.file(path);
    if (module === undefined) return undefined;
    if (module === this.main?.file) return this.main.name;
    for (const [name, known] of this.modules) if (known === module) return name;
    const main = this.loading?.path ?? module.path;
    const name = this.addFile(relative(dirname(main), module.path), module, 0);
    this.modules.set(name, module);
    return name;
  }

  code(name: string): string | undefined {
    return this.modules.get(name)?.code;
  }

  private install(commands: readonly CommandSpec[]): void {
    const { guest } = this;
    const bound = commands
      .filter((spec) => spec.how.kind !== 'prelude')
      .map((spec) => ({ name: spec.name, fn: bindCommand(spec, guest) }));
    const sides = ['clientside', 'serverside'].map((name) =>
      commands.find((spec) => spec.name === name),
    );
    guest.install(bound, [
      { name: 'register', fn: (_argc, argv) => this.register(argv) },
      { name: 'isSide', fn: (_argc, argv) => guest.abi.newBool(this.runOnSide(sides, argv)[1]) },
      { name: 'switchSide', fn: (_argc, argv) => this.switchSide(sides, argv) },
    ]);
  }

  /** `register(event, priority, handler)`: the prelude has checked their types. */
  private register(argv: Handle): Handle {
    const { abi } = this.guest;
    const event = abi.readText(argv) ?? '';
    const rule = this.loading;
    if (rule === undefined) throw new Error('when: handlers are registered only while rules load');
    if (!isRuleEventName(event)) {
      const meant = orDidYouMean(event, ruleEventNames);
      throw new RangeError(`when: there is no event '${event.slice(0, 80)}'${meant}`);
    }
    if (this.registrations.length >= MAX_HANDLERS) {
      throw new RangeError(`when: the rules have more than ${MAX_HANDLERS} handlers`);
    }
    const priority = abi.readNumber(argv + VALUE_BYTES) ?? 0;
    const fn = abi.duplicate(argv + 2 * VALUE_BYTES);
    this.registrations.push({ event, rule: rule.name, path: rule.path, priority, fn });
    return 0;
  }

  /** `switchSide(side)`: answers the side before. */
  private switchSide(sides: Sides, argv: Handle): Handle {
    const { guest } = this;
    const [run, isCurrent] = this.runOnSide(sides, argv);
    const before = sideNumbers[run.side];
    if (!isCurrent) run.side = otherSide(run.side);
    return guest.abi.newNumber(before);
  }

  /** The current run, and whether the side in the argument is its current one. */
  private runOnSide(sides: Sides, argv: Handle): [RuleRun, boolean] {
    const { guest } = this;
    const side = guest.abi.int(argv);
    const spec = sides[side];
    const run = guest.runFor(spec?.name ?? 'clientside');
    if (spec !== undefined) checkEvent(spec, run);
    return [run, sideNumbers[run.side] === side];
  }

  private addFile(wanted: string, file: ParsedFile, prefix: number): string {
    let name = wanted;
    for (let i = 2; this.files.has(name); i++) name = `${wanted}#${i}`;
    this.files.set(name, { path: file.path, text: file.text, prefix });
    return name;
  }

  private afterLoad(result: Handle): Failure | undefined {
    const { guest } = this;
    const { abi } = guest;
    const tag = abi.tag(result);
    if (tag === Tag.exception) {
      const failure = guest.thrown(result);
      guest.clearJobs();
      return failure;
    }
    const failure = guest.drain();
    if (failure !== undefined) return failure;
    // A module with a top-level await answers a promise.
    const state = abi.promiseState(result);
    if (state === PromiseState.rejected) return guest.failure(abi.promiseResult(result));
    abi.free(result);
    if (state !== PromiseState.pending) return undefined;
    return { reason: 'exception', message: 'the rule awaits at its top level', stack: '' };
  }
}
