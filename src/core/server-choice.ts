import type { Effect } from './effects.ts';
import type { RuleEventName } from './rule-events.ts';
import type { Selection } from './rule-run.ts';
import { type Endpoint, formatEndpoint } from './types.ts';

/** `LB.reselect` at most this often on a connection; iRules know no limit, and loop. */
const MAX_RESELECTS = 8;

type State = 'none' | 'selecting' | 'selected' | 'connecting' | 'connected' | 'failed' | 'given up';

/** How a flow comes to its server: choose a member, connect, and again when that failed. */
export class ServerChoice {
  selection: Selection;
  state: State = 'none';
  /** A rule called `LB.reselect`. */
  reselectAsked = false;

  /** The server was picked from the pool, not named by a rule. */
  private picked = false;
  private readonly failed: Endpoint[] = [];
  private reselects = 0;

  constructor(
    pool: string | undefined,
    private readonly flow: { emit(effect: Effect): void },
    private readonly rules: { push(event: RuleEventName): void },
  ) {
    this.selection = pool === undefined ? {} : { pool };
  }

  /** A rule names a pool, a member or a server. */
  choose(selection: Selection): void {
    this.selection = selection;
    this.picked = false;
  }

  /** Begins, or begins again. */
  select(): void {
    const { pool, server } = this.selection;
    if (server !== undefined) {
      this.selected(this.selection);
    } else if (pool === undefined) {
      this.fail('the virtual server has no pool, and no rule chose one');
    } else {
      this.state = 'selecting';
      this.flow.emit({ type: 'select', pool, failed: this.failed });
    }
  }

  /** The answer to a `select` effect. */
  answered(selection: Selection, error: string | undefined): void {
    this.picked = true;
    this.selected(selection, error);
  }

  private selected(selection: Selection, error?: string): void {
    this.selection = selection;
    if (selection.server === undefined) {
      this.fail(error ?? 'no member to choose');
    } else {
      this.state = 'selected';
      this.rules.push('LB_SELECTED');
    }
  }

  /** After LB_SELECTED: connects, unless a rule wants another choice. */
  connect(): void {
    const { server } = this.selection;
    if (this.reselectAsked || server === undefined) {
      this.reselect();
      return;
    }
    this.state = 'connecting';
    this.flow.emit({ type: 'connect', server });
    this.flow.emit({ type: 'setTimer', timer: 'connect' });
  }

  connected(): void {
    this.flow.emit({ type: 'clearTimer', timer: 'connect' });
    this.state = 'connected';
    this.rules.push('SERVER_CONNECTED');
  }

  /** No member, or no connection to it. */
  fail(error: string): void {
    if (this.state === 'connecting') this.flow.emit({ type: 'clearTimer', timer: 'connect' });
    const { pool, server } = this.selection;
    if (server !== undefined) this.failed.push(server);
    const target = server === undefined ? pool : formatEndpoint(server);
    const message = target === undefined ? `no server: ${error}` : `no server: ${target}: ${error}`;
    this.flow.emit({ type: 'log', level: 'warn', message });
    this.state = 'failed';
    this.rules.push('LB_FAILED');
  }

  /** False when it was asked for too often. */
  reselect(): boolean {
    this.reselectAsked = false;
    this.reselects += 1;
    if (this.reselects > MAX_RESELECTS) {
      this.flow.emit({
        type: 'log',
        level: 'warn',
        message: `LB.reselect was called more than ${MAX_RESELECTS} times`,
      });
      this.state = 'failed';
      return false;
    }
    const { pool, server } = this.selection;
    const used = this.picked || (server !== undefined && this.failed.includes(server));
    if (pool !== undefined && used) this.selection = { pool };
    this.select();
    return true;
  }

  /** No server is wanted any more. Without effect on one that is connected. */
  giveUp(): void {
    if (this.state === 'connected') return;
    if (this.state === 'connecting') {
      this.flow.emit({ type: 'clearTimer', timer: 'connect' });
      this.flow.emit({ type: 'destroy', side: 'server' });
    }
    this.state = 'given up';
  }
}
