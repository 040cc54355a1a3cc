interface Alarm {
  readonly due: number;
  readonly callback: () => void;
}

/** Time that passes only when told to. */
export class FakeClock {
  private now = 0;
  private readonly alarms = new Set<Alarm>();

  /** Calls back once after `milliseconds`, unless the returned function is called first. */
  after(milliseconds: number, callback: () => void): () => void {
    const alarm = { due: this.now + milliseconds, callback };
    this.alarms.add(alarm);
    return () => this.alarms.delete(alarm);
  }

  /** Lets time pass. Alarms go off in their order, those that are set on the way included. */
  advance(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (
      let next = this.earliest();
      next !== undefined && next.due <= end;
      next = this.earliest()
    ) {
      this.now = next.due;
      this.alarms.delete(next);
      next.callback();
    }
    this.now = end;
  }

  private earliest(): Alarm | undefined {
    let earliest: Alarm | undefined;
    for (const alarm of this.alarms) {
      if (earliest === undefined || alarm.due < earliest.due) earliest = alarm;
    }
    return earliest;
  }
}
