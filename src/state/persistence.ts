import { LinkedMap } from '../balancing/linked-map.ts';
import type { PersistenceRecord } from '../balancing/persistence.ts';

interface Kept {
  readonly record: PersistenceRecord;
  /** In milliseconds, from its last use on. */
  readonly timeout: number;
  expires: number;
}

/** Records that one sweep looks at unless told: a millisecond or two of work. */
const SWEEP_STEPS = 5000;

/**
 * The persistence records, in memory. There are never more than `maxRecords`: the one not used for
 * longest makes room. Whoever owns the store keeps it when the configuration is loaded again.
 *
 * Times are milliseconds of one clock that never goes back. Except for `sweep`, every operation takes
 * the same time however many records there are.
 */
export class PersistenceStore {
  /** Least recently used first. */
  private readonly records = new LinkedMap<string, Kept>();
  private sweeping: Iterator<string> | undefined;

  /** @param maxRecords 1 at least */
  constructor(private readonly maxRecords: number) {}

  /** Records held, also those that are over and were not swept yet. */
  get size(): number {
    return this.records.size;
  }

  /** Adds a record or replaces the one under this key. It is over `timeout` ms after its last use. */
  add(key: string, record: PersistenceRecord, timeout: number, now: number): void {
    const oldest = this.records.first();
    const crowded = this.records.size >= this.maxRecords && !this.records.has(key);
    if (crowded && oldest !== undefined) this.records.delete(oldest);
    this.records.set(key, { record, timeout, expires: now + timeout });
  }

  /** Finds a record and counts that as its use. */
  lookUp(key: string, now: number): PersistenceRecord | undefined {
    const kept = this.records.get(key);
    if (kept === undefined) return undefined;
    if (kept.expires <= now) {
      this.records.delete(key);
      return undefined;
    }
    kept.expires = now + kept.timeout;
    this.records.set(key, kept);
    return kept.record;
  }

  /** False when there was none. */
  delete(key: string): boolean {
    return this.records.delete(key);
  }

  /**
   * Deletes records that are over, going on where the last sweep ended.
   *
   * @param steps records to look at
   * @returns how many were deleted
   */
  sweep(now: number, steps = SWEEP_STEPS): number {
    let deleted = 0;
    for (let step = 0; step < steps; step++) {
      this.sweeping ??= this.records.keys();
      const { done, value: key } = this.sweeping.next();
      if (done) {
        // From the beginning again, next time.
        this.sweeping = undefined;
        return deleted;
      }
      const kept = this.records.get(key);
      if (kept !== undefined && kept.expires <= now && this.records.delete(key)) deleted += 1;
    }
    return deleted;
  }
}
