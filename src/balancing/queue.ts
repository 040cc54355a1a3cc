import { LinkedMap } from './linked-map.ts';

/** Limits of a queue. */
export interface QueueSettings {
  /** How many may wait. */
  readonly length: number;
  /** How long each may wait, in milliseconds. */
  readonly timeout: number;
}

/**
 * What waits for a member of a pool that is full: first come, first served, none twice. Every
 * operation takes the same time however many wait. It has no clock: who owns it asks for `expired`.
 */
export class RequestQueue<T extends object> {
  /** When each has waited long enough. */
  private readonly waiting = new LinkedMap<T, number>();

  constructor(private readonly settings: QueueSettings) {}

  get size(): number {
    return this.waiting.size;
  }

  /** Puts a request last. False when the queue is full, or the request is in it already. */
  add(request: T, now: number): boolean {
    if (this.size >= this.settings.length || this.waiting.has(request)) return false;
    this.waiting.set(request, now + this.settings.timeout);
    return true;
  }

  /** Takes out the one that has waited longest. */
  take(): T | undefined {
    const request = this.waiting.first();
    if (request !== undefined) this.waiting.delete(request);
    return request;
  }

  /** Takes out one whose client has gone. False when it does not wait. */
  remove(request: T): boolean {
    return this.waiting.delete(request);
  }

  /** Takes out all that have waited too long, longest first. */
  expired(now: number): T[] {
    const requests: T[] = [];
    for (;;) {
      const request = this.waiting.first();
      if (request === undefined || (this.waiting.get(request) ?? 0) > now) return requests;
      this.waiting.delete(request);
      requests.push(request);
    }
  }
}
