import type { Effect } from './effects.ts';
import type { IoEvent, TimerName } from './io-events.ts';
import type { RuleAction } from './rule-actions.ts';
import type { RuleEventName } from './rule-events.ts';
import { RuleGate } from './rule-gate.ts';
import type { FlowView, Selection } from './rule-run.ts';
import { ServerChoice } from './server-choice.ts';
import { looksLikeTls, SideState } from './side-state.ts';
import { assertNever, otherSide, type Side } from './types.ts';

/** What a flow must know of its virtual server. */
export interface FlowSetup {
  /** Events that some rule handles. */
  readonly events: ReadonlySet<RuleEventName>;
  /** TLS with the client starts after CLIENT_ACCEPTED, unless a rule disables it. */
  readonly clientTls: boolean;
  /** The default pool. */
  readonly pool: string | undefined;
  /** Bytes that a side may hold for the rules; more resets the connection. */
  readonly collectLimit: number;
}

const DATA_EVENTS = {
  client: { plain: 'CLIENT_DATA', secured: 'CLIENTSSL_DATA' },
  server: { plain: 'SERVER_DATA', secured: 'SERVER_DATA' },
} as const;

/**
 * One connection through a virtual server, as a state machine without sockets, clock or rules: it
 * takes what happened and answers what to do. The shell carries the effects out in order; while
 * rules run for an event (`runRules` to `ruleDone`), other happenings wait in a queue: the one
 * pause point of the system.
 *
 * After every happening `advance` looks at where things stand and takes each step that is possible.
 */
export class Flow implements FlowView {
  readonly client = new SideState('client');
  readonly server = new SideState('server');

  private out: Effect[] = [];
  private readonly choice: ServerChoice;
  private readonly rules: RuleGate;
  /** What happened while rules run. */
  private readonly waiting: IoEvent[] = [];
  private collectTimer = false;
  private spliced = false;
  private over = false;

  constructor(private readonly setup: FlowSetup) {
    const emit = (effect: Effect) => this.emit(effect);
    this.rules = new RuleGate(setup.events, emit);
    this.choice = new ServerChoice(setup.pool, emit, (event) => this.rules.push(event));
  }

  get selection(): Selection {
    return this.choice.selection;
  }

  /** Takes one happening and answers the effects to carry out, in order. */
  handle(event: IoEvent): readonly Effect[] {
    this.out = [];
    if (this.over) return this.out;
    if (this.rules.running !== undefined && waitsForRules(event)) {
      this.waiting.push(event);
      return this.out;
    }
    this.take(event);
    this.advance();
    while (this.rules.running === undefined && !this.over) {
      const next = this.waiting.shift();
      if (next === undefined) break;
      this.take(next);
      this.advance();
    }
    return this.out;
  }

  private take(event: IoEvent): void {
    switch (event.type) {
      case 'accepted':
        this.client.open = true;
        if (this.setup.clientTls) this.client.tls = 'pending';
        this.rules.push('CLIENT_ACCEPTED');
        return;
      case 'data':
        this.receive(this[event.side], event.bytes);
        return;
      case 'ended':
        this[event.side].peerEnded = true;
        return;
      case 'closed':
        this.closed(this[event.side], event.error);
        return;
      case 'secured':
        this[event.side].tls = 'secured';
        this.emit({ type: 'clearTimer', timer: 'handshake' });
        this.rules.push('CLIENTSSL_HANDSHAKE');
        return;
      case 'selected':
        if (this.choice.state === 'selecting') this.choice.selected(event.selection, event.error);
        return;
      case 'connected':
        this.connected();
        return;
      case 'connectFailed':
        if (this.choice.state === 'connecting') this.choice.fail(event.error);
        return;
      case 'timer':
        this.timer(event.timer);
        return;
      case 'ruleDone':
        this.rules.ended();
        this.apply(event.actions);
        return;
      case 'ruleSuspended':
        this.setReading(this.client, false);
        this.setReading(this.server, false);
        this.rules.suspend();
        return;
      case 'ruleFailed':
        this.rules.ended();
        this.emit({ type: 'ruleError', error: event.error });
        this.resetBoth();
        return;
      case 'abort':
        this.fail(event.reason, 'info');
        return;
      default:
        assertNever(event);
    }
  }

  private emit(effect: Effect): void {
    this.out.push(effect);
  }

  // ---- what happened -------------------------------------------------------------------------

  private receive(side: SideState, bytes: Uint8Array): void {
    side.receive(bytes);
    if (side.payload.length > this.setup.collectLimit) {
      this.fail(
        `the ${side.side} sent more than the collectLimit of ${this.setup.collectLimit} bytes while a rule was collecting`,
        'warn',
      );
    }
  }

  private closed(side: SideState, error: string | undefined): void {
    if (side.closed) return;
    side.closed = true;
    side.open = false;
    side.peerEnded = true;
    side.endSent = true;
    if (side === this.server) this.rules.push('SERVER_CLOSED');
    else this.choice.giveUp();
    if (error === undefined) return;
    const handshake = side.tls === 'handshake';
    this.emit({
      type: 'log',
      level: handshake ? 'info' : 'debug',
      message: `the ${handshake ? 'TLS handshake' : 'connection'} with the ${side.side} failed: ${error}`,
    });
    side.discard();
    const other = this[otherSide(side.side)];
    if (other.open) this.emit({ type: 'reset', side: other.side });
    other.open = false;
  }

  private connected(): void {
    if (this.choice.state !== 'connecting') return;
    this.server.open = true;
    this.choice.connected();
  }

  private timer(timer: TimerName): void {
    switch (timer) {
      case 'connect':
        if (this.choice.state !== 'connecting') return;
        this.emit({ type: 'destroy', side: 'server' });
        this.choice.fail('the connection timed out');
        return;
      case 'handshake':
        this.fail('the TLS handshake took longer than the handshakeTimeout', 'info');
        return;
      case 'collect':
        this.fail(
          'the client left a command or a handshake incomplete for longer than the collectTimeout',
          'info',
        );
        return;
      case 'idle':
        this.fail('no data for longer than the idleTimeout', 'info');
        return;
      case 'linger':
        this.destroyBoth();
        return;
      case 'handler':
        if (this.rules.running === undefined) return;
        this.fail(
          `a handler of ${this.rules.running} was suspended for longer than the handlerTimeout`,
          'error',
        );
        return;
      default:
        assertNever(timer);
    }
  }

  // ---- what rules ordered --------------------------------------------------------------------

  private apply(actions: readonly RuleAction[]): void {
    const before = { client: this.client.payload.length, server: this.server.payload.length };
    for (const action of actions) {
      this.applyOne(action, before);
      if (this.client.discarding && this.server.discarding) return;
    }
    this.letGo(this.client);
    this.letGo(this.server);
  }

  /** Without a collect, nothing may stay held. */
  private letGo(side: SideState): void {
    if (side.collect === undefined && side.tls !== 'pending') {
      side.release(side.payload.length);
      this.forward(side);
    }
  }

  private applyOne(action: RuleAction, before: Record<Side, number>): void {
    switch (action.type) {
      case 'collect': {
        const side = this[action.side];
        side.startCollect(action, side.payload.length < before[action.side]);
        return;
      }
      case 'release': {
        const side = this[action.side];
        side.release(action.length);
        side.collect = undefined;
        this.forward(side);
        return;
      }
      case 'replace':
        this[action.side].payload.replace(action);
        return;
      case 'respond':
        if (this[action.side].open && !this[action.side].endSent) {
          this.emit({ type: 'write', side: action.side, bytes: action.data });
        }
        return;
      case 'close':
        this.close();
        return;
      case 'tls':
        this.switchTls(this[action.side], action.enabled);
        return;
      case 'pool':
        this.choice.selection = {
          pool: action.pool,
          ...(action.member && { server: action.member }),
        };
        return;
      case 'node':
        this.choice.selection = { server: action.server };
        return;
      case 'reselect':
        this.choice.reselectAsked = true;
        return;
      case 'reject':
        this.resetBoth();
        return;
      case 'drop':
        this.destroyBoth();
        return;
      case 'event':
        this.rules.switch(action.event, action.enabled);
        return;
      default:
        assertNever(action);
    }
  }

  private switchTls(side: SideState, enabled: boolean): void {
    if (!enabled) {
      if (side.tls === 'pending') side.tls = 'none';
    } else if (side.tls === 'none') {
      side.tls = 'pending';
      side.collect = undefined;
    }
  }

  // ---- what is possible now ------------------------------------------------------------------

  private advance(): void {
    while (this.rules.running === undefined && !this.over) {
      const event = this.rules.next() ?? this.dueDataEvent();
      if (event !== undefined) {
        if (this.rules.start(event)) return;
        continue;
      }
      if (this.spliced || !this.step()) break;
    }
    if (this.rules.running === undefined && !this.over) this.settle();
  }

  /** Takes one step other than firing an event. False when none is possible. */
  private step(): boolean {
    const { client } = this;
    if (client.open && client.tls === 'pending' && client.collect === undefined)
      return this.startTls();
    if (client.tls === 'handshake') return false;
    switch (this.choice.state) {
      case 'none':
        if (!client.open || client.collect !== undefined) return false;
        this.choice.select();
        return true;
      case 'selected':
        this.choice.connect();
        return true;
      case 'failed':
        if (!this.choice.reselectAsked || !this.choice.reselect()) this.resetBoth();
        return true;
      default:
        return false;
    }
  }

  private dueDataEvent(): RuleEventName | undefined {
    if (this.client.tls === 'handshake') return undefined;
    for (const side of [this.client, this.server]) {
      if (side.isDue() && side.collect !== undefined) {
        side.collect.due = 'no';
        const event = DATA_EVENTS[side.side][side.tls === 'secured' ? 'secured' : 'plain'];
        if (this.rules.isHandled(event)) return event;
        side.collect = undefined;
        this.letGo(side);
      }
    }
    return undefined;
  }

  private startTls(): boolean {
    const { client } = this;
    const leftover = client.takeLeftover();
    if (leftover.length > 0 && !looksLikeTls(leftover)) {
      this.fail('the client sent plaintext behind the command that starts TLS', 'warn');
      return true;
    }
    client.tls = 'handshake';
    client.reading = false;
    this.emit({ type: 'startTls', side: 'client', leftover });
    this.emit({ type: 'setTimer', timer: 'handshake' });
    return true;
  }

  /** Moves what the side let go to the other one, if that can take it. */
  private forward(side: SideState): void {
    const other = this[otherSide(side.side)];
    if (!side.hasOutput || !other.open || other.tls === 'handshake' || other.tls === 'pending')
      return;
    const bytes = side.takeOutput();
    if (!other.endSent) this.emit({ type: 'write', side: other.side, bytes });
  }

  /** What follows from the state once no step is left: forwarding, ends, timers, reading, splice. */
  private settle(): void {
    if (!this.spliced) {
      this.forward(this.client);
      this.forward(this.server);
      this.passEnd(this.client);
      this.passEnd(this.server);
      this.updateCollectTimer();
      if (this.canSplice()) {
        this.spliced = true;
        this.emit({ type: 'splice' });
      } else {
        this.updateReading(this.client);
        this.updateReading(this.server);
      }
    }
    if (this.client.closed && (this.server.closed || this.choice.state !== 'connected'))
      this.finish();
  }

  /** Hands on the peer's FIN. Bytes that a rule still holds at that point go nowhere. */
  private passEnd(side: SideState): void {
    const other = this[otherSide(side.side)];
    if (!side.peerEnded || side.hasOutput || other.tls === 'handshake') return;
    // Without a server to tell, FIN ends the flow only if a rule waits for bytes that will not come.
    const stuck =
      side === this.client && side.collect !== undefined && this.choice.state === 'none';
    if (!side.endPassed && (other.open || stuck)) {
      side.endPassed = true;
      side.discard();
      this.end(stuck ? side : other);
    }
    if (side.closed && other.open && !other.discarding) {
      other.discard();
      this.emit({ type: 'setTimer', timer: 'linger' });
    }
  }

  private end(side: SideState): void {
    if (side.endSent || !side.open) return;
    side.endSent = true;
    this.emit({ type: 'end', side: side.side });
  }

  private updateCollectTimer(): void {
    const { client } = this;
    const held = client.collect !== undefined && client.payload.length > 0;
    const wanted = client.open && (held || (this.collectTimer && client.tls === 'handshake'));
    if (wanted === this.collectTimer) return;
    this.collectTimer = wanted;
    this.emit({ type: wanted ? 'setTimer' : 'clearTimer', timer: 'collect' });
  }

  private canSplice(): boolean {
    const { client, server } = this;
    return quiet(client) && quiet(server) && (client.tls === 'none' || client.tls === 'secured');
  }

  private updateReading(side: SideState): void {
    const other = this[otherSide(side.side)];
    const taken = side.collect !== undefined || side.discarding || (other.open && !side.hasOutput);
    const wanted =
      side.open &&
      !side.peerEnded &&
      taken &&
      side.tls !== 'handshake' &&
      other.tls !== 'handshake';
    this.setReading(side, wanted);
  }

  private setReading(side: SideState, wanted: boolean): void {
    if (side.reading === wanted || !side.open) return;
    side.reading = wanted;
    this.emit({ type: 'read', side: side.side, wanted });
  }

  // ---- endings -------------------------------------------------------------------------------

  private finish(): void {
    if (this.rules.start('CLIENT_CLOSED')) {
      // The flow is over when that event is done; settle comes here again.
      this.rules.switch('CLIENT_CLOSED', false);
      return;
    }
    this.over = true;
    this.emit({ type: 'done' });
  }

  /** FIN to both, behind what was written; what still comes is discarded until it ends. */
  private close(): void {
    this.forward(this.client);
    this.forward(this.server);
    for (const side of [this.client, this.server]) {
      side.discard();
      side.endPassed = true;
      this.end(side);
    }
    this.choice.giveUp();
    this.emit({ type: 'setTimer', timer: 'linger' });
  }

  private fail(reason: string, level: 'info' | 'warn' | 'error'): void {
    this.emit({ type: 'log', level, message: reason });
    this.resetBoth();
  }

  private resetBoth(): void {
    this.endBoth('reset');
  }

  private destroyBoth(): void {
    this.endBoth('destroy');
  }

  private endBoth(how: 'reset' | 'destroy'): void {
    this.rules.abandon();
    this.rules.clear();
    for (const side of [this.client, this.server]) {
      side.discard();
      side.endPassed = true;
      side.endSent = true;
      if (side.open) this.emit({ type: how, side: side.side });
      side.open = false;
    }
    this.choice.giveUp();
  }
}

function quiet(side: SideState): boolean {
  return (
    side.open &&
    side.collect === undefined &&
    !side.peerEnded &&
    !side.endSent &&
    !side.hasOutput &&
    !side.discarding
  );
}

/** Rules that run hold up everything but their own end, and the end of the whole flow. */
function waitsForRules(event: IoEvent): boolean {
  switch (event.type) {
    case 'ruleDone':
    case 'ruleSuspended':
    case 'ruleFailed':
    case 'abort':
    case 'timer':
      return false;
    default:
      return true;
  }
}
