import { describe, expect, test } from 'vitest';
import { Health } from '../../../src/monitors/health.ts';
import { combine, type MonitorTiming, type Verdict } from '../../../src/monitors/index.ts';
import { timing } from './lab.ts';

const LETTERS = { unknown: '?', up: 'U', down: 'D' };

/** Probes once a second: + passes, - fails. Answers the state behind each. */
function states(results: string, settings: Partial<MonitorTiming>): string {
  const health = new Health({ ...timing, ...settings }, 0);
  let shown = '';
  let before = 'unknown';
  for (const [index, result] of [...results].entries()) {
    const now = index * 1000;
    const hasChanged = result === '+' ? health.passed(now, now) : health.failed('no', now);
    const { state } = health.status;
    expect(hasChanged).toBe(state !== before);
    before = state;
    shown += LETTERS[state];
  }
  return shown;
}

describe('the state', () => {
  test.each<[string, string, string, Partial<MonitorTiming>]>([
    ['the first pass decides', '+', 'U', { rise: 3 }],
    ['the first failure decides', '-', 'D', { fall: 3 }],
    ['failures in a row count', '+--+--+---', 'UUUUUUUUUD', { fall: 3 }],
    ['passes in a row count', '-++-+++', 'DDDDDDU', { rise: 3 }],
    ['flapping changes nothing', '+-+-+--+-+-++', 'UUUUUUDDDDDDU', { rise: 2, fall: 2 }],
    ['up takes its time at first', '++++', '??UU', { timeUntilUp: 2000 }],
    ['up takes its time again', '-++-+++', 'DDDDDDU', { timeUntilUp: 2000 }],
    ['a failure meanwhile decides', '+-+++', '?DDDU', { timeUntilUp: 2000 }],
    ['both must be enough', '-++++', 'DDDDU', { rise: 2, timeUntilUp: 3000 }],
  ])('%s', (_, results, expected, settings) => {
    expect(states(results, settings)).toBe(expected);
  });

  test('has a reason and a time', () => {
    const health = new Health({ ...timing, fall: 2 }, 100);
    expect(health.status).toEqual({ state: 'unknown', reason: '', since: 100 });
    health.passed(0, 200);
    health.failed('one', 300);
    expect(health.status).toEqual({ state: 'up', reason: '', since: 200 });
    health.failed('two', 400);
    expect(health.status).toEqual({ state: 'down', reason: 'two', since: 400 });
    // The newest reason is the one that helps.
    health.failed('three', 500);
    expect(health.status).toEqual({ state: 'down', reason: 'three', since: 400 });
    health.passed(1, 600);
    expect(health.status).toEqual({ state: 'up', reason: '', since: 600 });
  });
});

describe('several monitors', () => {
  const up: Verdict = { state: 'up', reason: '' };
  const unknown: Verdict = { state: 'unknown', reason: '' };
  const down = (reason: string): Verdict => ({ state: 'down', reason });

  test.each<[string, readonly Verdict[], number | undefined, Verdict]>([
    ['none', [], undefined, up],
    ['all pass', [up, up], undefined, up],
    ['one fails', [up, down('a'), unknown], undefined, down('a')],
    ['several fail', [down('a'), up, down('b')], undefined, down('a; b')],
    ['one is not known', [up, unknown], undefined, unknown],
    ['enough pass', [up, down('a'), up], 2, up],
    ['enough may pass yet', [up, down('a'), unknown], 2, unknown],
    ['too few can pass', [up, down('a'), down('b')], 2, down('a; b')],
    ['one is enough', [down('a'), up, unknown], 1, up],
  ])('%s', (_, verdicts, minimum, expected) => {
    expect(combine(verdicts, minimum)).toEqual(expected);
  });
});
