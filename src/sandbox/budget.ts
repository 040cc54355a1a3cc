// Imported: the global is a getter, which hot paths would call each time.
import { performance } from 'node:perf_hooks';
import { type GuestAbi, POLLS_BY_DEFAULT } from './guest-abi.ts';
import type { SandboxLimits } from './limits.ts';

/**
 * Polls (loop turns and calls) up to the first look at the budget, and at most between two looks.
 * In between may be built-ins that are slow and do not poll: so the first look comes early, the
 * next ones ever later as long as all goes fast, and the one after a long gap at once.
 */
const FIRST_POLLS = 32;
const MOST_POLLS = 1_024;

/** What one entry into the guest may still use: work, which is deterministic, and time. */
export class Budget {
  /** It was used up: the guest was interrupted. */
  isSpent = false;

  private polls = 0;
  private maxPolls = 0;
  private ms = 0;
  private maxMs = 0;
  private lookedAt = 0;
  private interval = FIRST_POLLS;

  constructor(
    private readonly abi: GuestAbi,
    private readonly limits: SandboxLimits,
  ) {}

  /** Starts anew, with `factor` times the usual. */
  renew(factor: number): void {
    this.isSpent = false;
    this.polls = 0;
    this.maxPolls = this.limits.ticksPerEvent * POLLS_BY_DEFAULT * factor;
    this.ms = 0;
    this.maxMs = this.limits.deadlineMs * factor;
    this.lookedAt = performance.now();
    this.interval = FIRST_POLLS;
    if (this.abi.countsPolls) this.abi.pollsLeft = FIRST_POLLS;
  }

  /**
   * To be called when the guest polls; answers `isSpent`. A long gap since the last look counts as
   * half of the time allowed at most: this process may just not have been running.
   */
  look(): boolean {
    const now = performance.now();
    const gap = now - this.lookedAt;
    this.polls += this.countPolls(gap > this.maxMs / 4);
    this.ms += Math.min(gap, this.maxMs / 2);
    this.lookedAt = now;
    if (this.polls > this.maxPolls || this.ms >= this.maxMs) this.isSpent = true;
    return this.isSpent;
  }

  /** The polls since the last look; sets when the next one comes. */
  private countPolls(isSlow: boolean): number {
    const { abi, interval } = this;
    abi.sync();
    // Regular expressions have a count of their own, and leave this one alone.
    if (!abi.countsPolls || abi.pollsLeft !== POLLS_BY_DEFAULT) return POLLS_BY_DEFAULT;
    this.interval = isSlow ? 1 : Math.min(interval * 2, MOST_POLLS);
    abi.pollsLeft = this.interval;
    return interval;
  }
}
