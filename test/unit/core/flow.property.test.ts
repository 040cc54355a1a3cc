import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Flow, type FlowSetup } from '../../../src/core/flow.ts';
import type { IoEvent } from '../../../src/core/io-events.ts';
import { ruleEventNames } from '../../../src/core/rule-events.ts';
import { RuleRun } from '../../../src/core/rule-run.ts';
import type { Side } from '../../../src/core/types.ts';
import { bytes, collect, type Handler, Playbook, release, services } from './playbook.ts';
import { Dice, randomAction } from './random-rules.ts';
import { ShellModel } from './shell-model.ts';

/** A flow with random rules, in a world where everything possible happens at random. */
class Game {
  private readonly shell = new ShellModel();
  private readonly flow: Flow;
  /** The suspended run. */
  private run: RuleRun | undefined;

  constructor(
    setup: FlowSetup,
    private readonly dice: Dice,
  ) {
    this.flow = new Flow(setup);
  }

  play(): void {
    this.tell({ type: 'accepted' });
    while (this.dice.left && !this.shell.done) this.tell(this.something());
    // From here on the rules order nothing, and the sides close.
    for (let turn = 0; !this.shell.done; turn += 1) {
      expect(turn, 'the flow comes to its end').toBeLessThan(100);
      this.tell(this.resumed() ?? this.shell.next());
    }
    for (const event of this.shell.possible()) expect(this.flow.handle(event)).toEqual([]);
  }

  private something(): IoEvent {
    if (this.dice.roll(3) === 0) {
      const resumed = this.resumed();
      if (resumed !== undefined) return resumed;
    }
    const likely = this.dice.roll(12) === 0 ? [] : this.shell.likely();
    const [first, ...others] = likely.length > 0 ? likely : this.shell.possible();
    if (first === undefined) throw new Error('nothing can happen');
    const event = this.dice.pick([first, ...others]);
    if (event.type !== 'data') return event;
    const data = this.dice.roll(3) === 0 ? '\x16\x03\x01' : 'abcdefgh'.slice(this.dice.roll(8));
    return { ...event, bytes: bytes(data) };
  }

  private resumed(): IoEvent | undefined {
    if (!this.shell.suspended || this.run === undefined) return undefined;
    return this.script(this.run);
  }

  private tell(first: IoEvent): void {
    let event: IoEvent | undefined = first;
    for (let runs = 0; event !== undefined; runs += 1) {
      expect(runs, 'the rules come to rest').toBeLessThan(300);
      this.shell.told(event);
      const ordered = this.shell.carryOut(this.flow.handle(event));
      this.checkDirect();
      event =
        ordered === undefined ? undefined : this.script(new RuleRun(ordered, this.flow, services));
    }
    if (!this.shell.suspended) this.shell.settle();
  }

  /** What goes past the flow must not overtake what is in it, nor TLS that is about to start. */
  private checkDirect(): void {
    const { client, server, rules } = this.flow;
    if (rules.running !== undefined || this.shell.spliced) return;
    for (const [side, other] of [
      [client, server],
      [server, client],
    ] as const) {
      if (!side.open || side.reading !== 'direct') continue;
      expect([side.output, side.collect]).toEqual([0, undefined]);
      for (const { tls } of [side, other]) expect(['none', 'secured']).toContain(tls);
    }
  }

  /** What the rules do in one event: some actions, then they end, fail or suspend. */
  private script(run: RuleRun): IoEvent {
    for (let count = this.dice.roll(6); count > 2; count -= 1) {
      run.emit(randomAction(run, this.dice));
    }
    this.run = run;
    const end = this.dice.roll(30);
    if (end === 1) {
      const error = { reason: 'exception', rule: 'r', event: run.event, message: 'm' } as const;
      return { type: 'ruleFailed', error };
    }
    return end > 26 && !this.shell.suspended
      ? { type: 'ruleSuspended' }
      : { type: 'ruleDone', actions: run.actions };
  }
}

/** Enough for thousands of games; a failing one would else be made smaller for minutes. */
const BOUNDS = { numRuns: 2000, interruptAfterTimeLimit: 4000 };

const numbers = (maxLength: number) => fc.array(fc.nat(5039), { maxLength, size: 'max' });

const setups = fc.record({
  events: fc
    .subarray(ruleEventNames.filter((name) => name !== 'RULE_INIT'))
    .map((names) => new Set(names)),
  clientTls: fc.boolean(),
  serverTls: fc.boolean(),
  pool: fc.constantFrom('web', undefined),
  collectLimit: fc.constantFrom(32, 1024),
});

describe('a flow, whatever happens and whatever the rules order,', () => {
  it('orders only what is possible, and comes to its end', () => {
    fc.assert(
      fc.property(setups, numbers(120), (setup, dice) => new Game(setup, new Dice(dice)).play()),
      BOUNDS,
    );
  });

  it('does so when every event is handled', () => {
    const setup = {
      events: new Set(ruleEventNames),
      clientTls: true,
      serverTls: true,
      pool: 'web',
      collectLimit: 64,
    };
    fc.assert(
      fc.property(numbers(200), (dice) => new Game(setup, new Dice(dice)).play()),
      BOUNDS,
    );
  });
});

/** A flow whose rules only hold bytes and let them go, with both peers' streams as they come out. */
class Pipe {
  readonly out = { client: '', server: '' };
  private readonly in = { client: '', server: '' };
  private readonly reading = { client: false, server: false };
  private spliced = false;
  private readonly play: Playbook;

  constructor(private readonly dice: Dice) {
    const onData: Handler = (run) => this.letSomeGo(run);
    const atFirst: Handler = (run) => this.maybeCollect(run, run.side);
    this.play = new Playbook({
      collectLimit: 1_000_000,
      rules: {
        CLIENT_ACCEPTED: atFirst,
        CLIENT_DATA: onData,
        SERVER_CONNECTED: atFirst,
        SERVER_DATA: onData,
      },
    });
    this.note(this.play.accepted());
  }

  private maybeCollect(run: RuleRun, side: Side): void {
    const form = this.dice.roll(4);
    if (form === 1) run.emit(collect(side));
    if (form === 2) run.emit(collect(side, 1 + this.dice.roll(4)));
    if (form === 3) run.emit(collect(side, 1 + this.dice.roll(4), 1 + this.dice.roll(3)));
  }

  private letSomeGo(run: RuleRun): void {
    if (this.dice.left && this.dice.roll(3) > 0) {
      run.emit(release(run.side, Math.min(this.dice.roll(6), run.payloadLength(run.side))));
    } else {
      run.emit(release(run.side));
    }
    this.maybeCollect(run, run.side);
  }

  private note(lines: readonly string[]): void {
    for (const line of lines) {
      const write = /^write (client|server) (.*)$/s.exec(line);
      if (write?.[1] === 'client') this.out.client += write[2];
      if (write?.[1] === 'server') this.out.server += write[2];
      if (line.startsWith('read client')) this.reading.client = line.endsWith('on');
      if (line.startsWith('read server')) this.reading.server = line.endsWith('on');
      if (line === 'splice') this.spliced = true;
    }
    if (lines.includes('select web')) this.note(this.play.selected());
    if (lines.includes('setTimer connect')) this.note(this.play.connected());
  }

  /** A segment from `side`, if the flow reads it. */
  send(side: Side, segment: string): void {
    const other = side === 'client' ? 'server' : 'client';
    if (this.spliced) {
      this.out[other] += segment;
    } else if (this.reading[side]) {
      this.note(this.play.data(side, segment));
    } else {
      return;
    }
    this.in[side] += segment;
  }

  /** Sends until no rule holds anything, and says whether every byte came out in its order. */
  check(): void {
    for (let turn = 0; turn < 20 && !this.spliced; turn += 1) {
      for (const side of ['client', 'server'] as const) this.send(side, 'the last bytes');
    }
    expect(this.spliced).toBe(true);
    expect(this.out.server).toBe(this.in.client);
    expect(this.out.client).toBe(this.in.server);
  }
}

describe('rules that only collect and release', () => {
  it('change no byte and no order, however the bytes are cut', () => {
    const segment = fc.tuple(
      fc.constantFrom<Side>('client', 'server'),
      fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme-ascii' }),
    );
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 30 }), numbers(120), (segments, dice) => {
        const pipe = new Pipe(new Dice(dice));
        for (const [side, text] of segments) pipe.send(side, text);
        pipe.check();
      }),
      BOUNDS,
    );
  });
});
