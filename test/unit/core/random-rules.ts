import type { RuleAction } from '../../../src/core/rule-actions.ts';
import { type RuleEventName, ruleEventNames } from '../../../src/core/rule-events.ts';
import type { RuleRun } from '../../../src/core/rule-run.ts';
import { A, B, bytes, collect, release } from './playbook.ts';

/** A stream of small numbers; 0 for ever once it is used up. */
export class Dice {
  private next = 0;

  constructor(private readonly numbers: readonly number[]) {}

  get left(): boolean {
    return this.next < this.numbers.length;
  }

  /** A number below `sides`. */
  roll(sides: number): number {
    const number = this.numbers[this.next] ?? 0;
    this.next += 1;
    return number % sides;
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.roll(choices.length)] ?? choices[0];
  }
}

const BEFORE_CONNECT: readonly RuleEventName[] = [
  'CLIENT_ACCEPTED',
  'CLIENT_DATA',
  'CLIENTSSL_CLIENTHELLO',
  'CLIENTSSL_CLIENTCERT',
  'CLIENTSSL_HANDSHAKE',
  'CLIENTSSL_DATA',
  'LB_SELECTED',
  'LB_FAILED',
];

/** One of the actions that the commands let a rule order at this point. */
export function randomAction(run: RuleRun, dice: Dice): RuleAction {
  const choices: [RuleAction, ...RuleAction[]] = [
    {
      type: 'event',
      event: dice.pick(['all', ...ruleEventNames]),
      enabled: dice.roll(3) > 0,
    },
    ...payloadActions(run, dice),
    ...payloadActions(run, dice),
    ...tlsActions(run),
  ];
  if (dice.roll(12) === 1) {
    choices.push({ type: 'close', side: 'client' }, { type: 'reject' }, { type: 'drop' });
  }
  if (BEFORE_CONNECT.includes(run.event)) {
    choices.push(
      { type: 'pool', pool: 'other' },
      { type: 'pool', pool: 'other', member: B },
      { type: 'node', server: A },
    );
  }
  if (run.event === 'LB_SELECTED' || run.event === 'LB_FAILED') {
    choices.push({ type: 'reselect' }, { type: 'reselect' });
  }
  return dice.pick(choices);
}

/** What the commands of `collect`, `release`, `payload` and `respond` let a rule order. */
function payloadActions(run: RuleRun, dice: Dice): RuleAction[] {
  const actions: RuleAction[] = [];
  for (const side of ['client', 'server'] as const) {
    const view = run.flow?.[side];
    if (view === undefined || !view.open) continue;
    const length = dice.roll(6);
    const collects = [
      collect(side),
      collect(side, 1 + length),
      collect(side, 1 + length, 1 + dice.roll(4)),
    ];
    if (view.tls === 'hello' || view.tls === 'handshake' || view.tls === 'closing') {
      const comesOff = view.tls === 'closing' || (view.tls === 'hello' && run.stopsTls(side));
      if (comesOff) actions.push(...collects);
      continue;
    }
    const data = bytes('*'.repeat(dice.roll(4)));
    actions.push(
      ...collects,
      release(side, Math.min(length, run.payloadLength(side))),
      release(side, run.payloadLength(side)),
      { type: 'replace', side, offset: dice.roll(6), length: dice.roll(6), data },
      { type: 'respond', side, data },
    );
  }
  return actions;
}

function tlsActions(run: RuleRun): RuleAction[] {
  const actions: RuleAction[] = [{ type: 'clientCertificate', mode: 'request' }];
  for (const side of ['client', 'server'] as const) {
    const tls = run.flow?.[side].tls;
    if (tls === undefined || tls === 'handshake' || tls === 'closing') continue;
    actions.push({ type: 'tls', side, enabled: false });
    if (tls !== 'hello') actions.push({ type: 'tls', side, enabled: true });
  }
  return actions;
}
