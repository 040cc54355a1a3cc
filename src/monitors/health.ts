import type { MonitorState, MonitorStatus, MonitorTiming, Verdict } from './types.ts';

/**
 * Counts the results of probes. The first result decides at once, so that a server which is down
 * from the start is not used while failures are counted; from then on `rise` and `fall` hold.
 */
export class Health {
  private current: MonitorStatus;
  /** Passes in a row, or failures in a row; the other one is 0. */
  private passes = 0;
  private failures = 0;
  /** When the passes began, on the clock that never goes back. */
  private passingSince = 0;

  /** @param date - now, in milliseconds since 1970 */
  constructor(
    private readonly timing: MonitorTiming,
    date: number,
  ) {
    this.current = { state: 'unknown', reason: '', since: date };
  }

  get status(): MonitorStatus {
    return this.current;
  }

  /**
   * A probe has passed.
   *
   * @param now - milliseconds of a clock that never goes back
   * @param date - milliseconds since 1970
   * @returns whether the state has changed
   */
  passed(now: number, date: number): boolean {
    if (this.passes === 0) this.passingSince = now;
    this.passes += 1;
    this.failures = 0;
    const { state } = this.current;
    const { rise, timeUntilUp } = this.timing;
    const isLongEnough = now - this.passingSince >= timeUntilUp;
    if (state === 'up' || !isLongEnough) return false;
    return (state === 'unknown' || this.passes >= rise) && this.become('up', '', date);
  }

  /** A probe has failed; as {@link Health.passed}. */
  failed(reason: string, date: number): boolean {
    this.failures += 1;
    this.passes = 0;
    const { state, since } = this.current;
    if (state === 'down') {
      this.current = { state, reason, since };
      return false;
    }
    const isEnough = state === 'unknown' || this.failures >= this.timing.fall;
    return isEnough && this.become('down', reason, date);
  }

  private become(state: MonitorState, reason: string, since: number): true {
    this.current = { state, reason, since };
    return true;
  }
}

/**
 * What several monitors together say of a member.
 *
 * @param minimum - how many must say that it is up; absent: all
 */
export function combine(verdicts: readonly Verdict[], minimum = verdicts.length): Verdict {
  const count = (wanted: MonitorState) => verdicts.filter(({ state }) => state === wanted).length;
  if (count('up') >= minimum) return { state: 'up', reason: '' };
  if (verdicts.length - count('down') >= minimum) return { state: 'unknown', reason: '' };
  const reasons = verdicts.filter(({ state }) => state === 'down').map(({ reason }) => reason);
  return { state: 'down', reason: reasons.join('; ') };
}
