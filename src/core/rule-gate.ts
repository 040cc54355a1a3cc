import type { Effect } from './effects.ts';
import { type RuleEventName, ruleEventNames } from './rule-events.ts';

/** Which events of a flow fire, and the one whose handlers run now. */
export class RuleGate {
  /** The event whose handlers run. Nothing else happens in the flow meanwhile. */
  running: RuleEventName | undefined;

  private suspended = false;
  /** A handler was abandoned, and the connection's variables with it. */
  private abandoned = false;
  private disabled: Set<RuleEventName> | undefined;
  private readonly pending: RuleEventName[] = [];

  constructor(
    /** Events that some rule handles. */
    private readonly events: ReadonlySet<RuleEventName>,
    private readonly flow: { emit(effect: Effect): void },
  ) {}

  /** Fires an event before anything else happens in the flow. */
  push(event: RuleEventName): void {
    this.pending.push(event);
  }

  next(): RuleEventName | undefined {
    return this.pending.shift();
  }

  clear(): void {
    this.pending.length = 0;
  }

  isHandled(event: RuleEventName): boolean {
    return this.events.has(event) && !this.disabled?.has(event) && !this.abandoned;
  }

  /** Has the handlers of an event run. False when there are none. */
  start(event: RuleEventName): boolean {
    if (!this.isHandled(event)) return false;
    this.running = event;
    this.flow.emit({ type: 'runRules', event });
    return true;
  }

  suspend(): void {
    this.suspended = true;
    this.flow.emit({ type: 'setTimer', timer: 'handler' });
  }

  ended(): void {
    this.running = undefined;
    if (this.suspended) this.flow.emit({ type: 'clearTimer', timer: 'handler' });
    this.suspended = false;
  }

  /** Drops a suspended handler. The rules do not run again for this flow. */
  abandon(): void {
    if (this.running === undefined) return;
    this.ended();
    this.abandoned = true;
    this.flow.emit({ type: 'abandonRules' });
  }

  switch(event: RuleEventName | 'all', enabled: boolean): void {
    this.disabled ??= new Set();
    for (const name of event === 'all' ? ruleEventNames : [event]) {
      if (enabled) this.disabled.delete(name);
      else this.disabled.add(name);
    }
  }
}
