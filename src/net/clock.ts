import { shrinkIdleBuffers } from './raw-stream.ts';

/** Milliseconds of a tick: the precision of a flow's time-outs. */
export const TICK = 100;

const TICKS_PER_SHRINK = 10;

/** Something with deadlines, looked at once a tick. */
export interface Expiring {
  onTick(tick: number): void;
}

/**
 * One timer for all flows. A flow has up to six deadlines, and most are cleared before they are
 * due: a number in the flow and a look every 100 ms cost far less than timers that come and go.
 */
export class Clock {
  /** Ticks since the clock began. Starts at 1: 0 can mean "no deadline". */
  tick = 1;
  private readonly watched = new Set<Expiring>();
  private timer: NodeJS.Timeout | undefined;

  add(item: Expiring): void {
    this.watched.add(item);
    this.timer ??= setInterval(() => this.onTick(), TICK);
  }

  delete(item: Expiring): void {
    this.watched.delete(item);
  }

  private onTick(): void {
    // A set may be changed while it is walked: what is deleted is not visited any more.
    this.tick += 1;
    for (const item of this.watched) item.onTick(this.tick);
    if (this.tick % TICKS_PER_SHRINK === 0) shrinkIdleBuffers();
    if (this.watched.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }
}

/** Milliseconds as whole ticks, rounded up. */
export function ticks(milliseconds: number): number {
  return Math.max(1, Math.ceil(milliseconds / TICK));
}
