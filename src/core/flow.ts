import { type ActionTarget, applyActions, letGo } from './apply-actions.ts';
import type { Effect, Reading } from './effects.ts';
import type { IoEvent, TimerName } from './io-events.ts';
import type { RuleAction } from './rule-actions.ts';
import type { RuleEventName } from './rule-events.ts';
import { RuleGate } from './rule-gate.ts';
import type { FlowView, Selection } from './rule-run.ts';
import { ServerChoice } from './server-choice.ts';
import { SideState } from './side-state.ts';
import { TlsSteps } from './tls-steps.ts';
import { assertNever, type Side } from './types.ts';

/** What a flow must know of its virtual server. */
export interface FlowSetup {
  /** Events that some rule handles. */
  readonly events: ReadonlySet<RuleEventName>;
  /** TLS with the client starts after CLIENT_ACCEPTED, unless a rule disables it. */
  readonly clientTls: boolean;
  /** TLS with the server starts after SERVER_CONNECTED, unless a rule disables it. */
  readonly serverTls: boolean;
  /** The default pool. */
  readonly pool: string | undefined;
  /** Bytes that a side may hold for the rules; more resets the connection. */
  readonly collectLimit: number;
}

const NO_EFFECTS: readonly Effect[] = [];

/**
 * One connection through a virtual server, as a state machine without sockets, clock or rules: it
 * takes what happened and answers what to do. The shell carries the effects out in order; while
 * rules run for an event (`runRules` to `ruleDone`), other happenings wait in a queue: the one
 * pause point of the system.
 *
 * After every happening `advance` looks at where things stand and takes each step that is possible.
 */
export class Flow implements FlowView, ActionTarget {
  readonly client = new SideState('client');
  readonly server = new SideState('server');

  private out: Effect[] | undefined;
  readonly choice: ServerChoice;
  readonly rules: RuleGate;
  readonly tls: TlsSteps;
  /** What happened while rules run. */
  private readonly waiting: IoEvent[] = [];
  private collectTimer = false;
  /** Bytes were let go since the timer was set. */
  private collectTimerStale = false;
  private spliced = false;
  private closedFired = false;
  private over = false;

  constructor(private readonly setup: FlowSetup) {
    this.rules = new RuleGate(setup.events, this);
    this.choice = new ServerChoice(setup.pool, this, this.rules);
    this.tls = new TlsSteps(this);
  }

  get selection(): Selection {
    return this.choice.selection;
  }

  /** Takes one happening and answers the effects to carry out, in order. */
  handle(event: IoEvent): readonly Effect[] {
    if (this.over) return NO_EFFECTS;
    if (this.rules.running !== undefined && waitsForRules(event)) {
      this.waiting.push(event);
      return NO_EFFECTS;
    }
    this.out = undefined;
    let next: IoEvent | undefined = event;
    while (next !== undefined) {
      this.take(next);
      this.advance();
      next = this.rules.running === undefined ? this.waiting.shift() : undefined;
    }
    if (this.rules.running === undefined) this.settle();
    return this.out ?? NO_EFFECTS;
  }

  private take(event: IoEvent): void {
    switch (event.type) {
      case 'accepted':
        this.client.open = true;
        if (this.setup.clientTls) this.client.tls = 'pending';
        if (this.setup.serverTls) this.server.tls = 'pending';
        this.rules.push('CLIENT_ACCEPTED');
        return;
      case 'data':
        this.receive(this.side(event.side), event.bytes);
        return;
      case 'ended':
        this.ended(this.side(event.side), event.truncated);
        return;
      case 'closed':
        this.closed(this.side(event.side), event.error);
        return;
      case 'hello':
        this.tls.hello(this.client);
        return;
      case 'secured':
        this.tls.secured(this.side(event.side), event);
        return;
      case 'tlsRefused':
        this.tls.fail(this.side(event.side), event.error);
        return;
      case 'unsecured':
        this.tls.unsecured(this.side(event.side));
        return;
      case 'selected':
        if (this.choice.state === 'selecting') this.choice.answered(event.selection, event.error);
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
        this.rulesDone(event.actions);
        return;
      case 'ruleSuspended':
        this.setReading(this.client, 'off');
        this.setReading(this.server, 'off');
        this.rules.suspend();
        return;
      case 'ruleFailed':
        this.rules.ended();
        this.emit({ type: 'ruleError', error: event.error });
        this.endBoth('reset');
        return;
      case 'abort':
        this.fail(event.reason, 'info');
        return;
      default:
        assertNever(event);
    }
  }

  side(side: Side): SideState {
    return side === 'client' ? this.client : this.server;
  }

  private other(side: SideState): SideState {
    return side === this.client ? this.server : this.client;
  }

  emit(effect: Effect): void {
    if (this.out === undefined) this.out = [effect];
    else this.out.push(effect);
  }

  // ---- what happened -------------------------------------------------------------------------

  private receive(side: SideState, bytes: Uint8Array): void {
    if (side.tls === 'closing') {
      this.tls.refuseData(side);
      return;
    }
    side.receive(bytes);
    if (side.held > this.setup.collectLimit) {
      this.fail(
        `the ${side.side} sent more than the collectLimit of ${this.setup.collectLimit} bytes while a rule was collecting`,
        'warn',
      );
    }
  }

  private ended(side: SideState, truncated: boolean): void {
    // What ends is the TLS layer that is being taken off.
    if (side.tls === 'closing' && !truncated) return;
    side.peerEnded = true;
    side.truncated = truncated;
    // It came before the shell had heard of the splice: from then on it passes ends on by itself.
    if (this.spliced) this.end(this.other(side), truncated);
    this.tls.fail(side, 'the connection was ended');
  }

  private closed(side: SideState, error: string | undefined): void {
    if (side.closed) return;
    side.closed = true;
    side.open = false;
    side.peerEnded = true;
    side.endSent = true;
    if (side === this.server) this.rules.push('SERVER_CLOSED');
    else this.choice.giveUp();
    const wasChanging = side.isChanging;
    this.tls.closed(side, error);
    if (error === undefined && !wasChanging) return;
    side.discard();
    const other = this.other(side);
    // One that is only waited for after `TCP.close` gets what was said to it.
    if (!other.open || (other.discarding && other.endSent)) return;
    this.emit({ type: 'reset', side: other.side });
    other.open = false;
    other.discard();
    this.tls.giveUp(other);
  }

  private connected(): void {
    if (this.choice.state !== 'connecting') return;
    this.server.open = true;
    this.choice.connected();
  }

  private rulesDone(actions: readonly RuleAction[]): void {
    this.rules.ended();
    const held = this.client.payload.length;
    applyActions(actions, this);
    if (this.client.payload.length < held) this.collectTimerStale = true;
  }

  private timer(timer: TimerName): void {
    switch (timer) {
      case 'connect':
        // The answer may have come in time, and wait for the rules.
        if (this.choice.state !== 'connecting' || this.hasConnectAnswer()) return;
        this.emit({ type: 'destroy', side: 'server' });
        this.choice.fail('the connection timed out');
        return;
      case 'handshake':
        for (const side of [this.client, this.server]) {
          this.tls.fail(side, 'it took longer than the handshakeTimeout');
        }
        return;
      case 'collect':
        this.collectTimer = false;
        if (this.client.peerEnded && this.server.open) this.client.discard();
        else
          this.fail(
            'a command or a handshake of the client stayed incomplete for longer than the collectTimeout',
            'info',
          );
        return;
      case 'idle':
        this.fail('no data for longer than the idleTimeout', 'info');
        return;
      case 'linger':
        if (!this.bothClosed()) this.endBoth('destroy');
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

  // ---- what is possible now ------------------------------------------------------------------

  private advance(): void {
    while (this.rules.running === undefined) {
      const event = this.rules.next() ?? this.dueDataEvent();
      if (event !== undefined) {
        if (this.rules.start(event)) return;
      } else if (this.spliced || !this.step()) {
        break;
      }
    }
    this.forward(this.client);
    this.forward(this.server);
  }

  /** Takes one step other than firing an event. False when none is possible. */
  private step(): boolean {
    const { client, server } = this;
    if (!client.open || client.endSent) return this.afterFailure();
    if (this.tls.step(client)) return true;
    if (client.isChanging) return this.afterFailure();
    if (this.tls.step(server)) return true;
    switch (this.choice.state) {
      case 'none':
        if (client.collect !== undefined && !client.released) return false;
        this.choice.select();
        return true;
      case 'selected':
        this.choice.connect();
        return true;
      default:
        return this.afterFailure();
    }
  }

  private afterFailure(): boolean {
    if (this.choice.state !== 'failed') return false;
    if (!this.choice.reselectAsked || !this.choice.reselect()) this.endBoth('reset');
    return true;
  }

  private dueDataEvent(): RuleEventName | undefined {
    if (this.client.isChanging || this.server.isChanging) return undefined;
    return this.dueOn(this.client) ?? this.dueOn(this.server);
  }

  private dueOn(side: SideState): RuleEventName | undefined {
    if (!side.open || side.collect === undefined || !side.isDue()) return undefined;
    side.collect.due = 'no';
    const event = dataEvent(side);
    if (this.rules.isHandled(event)) return event;
    side.collect = undefined;
    letGo(side, this);
    return undefined;
  }

  private hasConnectAnswer(): boolean {
    return this.waiting.some(({ type }) => type === 'connected' || type === 'connectFailed');
  }

  /** Bytes that came while rules ran came before TLS, too: the barrier is for them as well. */
  takeWaitingData(side: SideState): void {
    for (let i = 0; i < this.waiting.length; ) {
      const event = this.waiting[i];
      if (event?.type === 'data' && event.side === side.side) {
        this.waiting.splice(i, 1);
        side.payload.append(event.bytes);
      } else {
        i += 1;
      }
    }
  }

  /** Moves what the side let go to the other one, if that can take it. */
  forward(side: SideState): void {
    const other = this.other(side);
    if (side.output === 0 || !other.open) return;
    if (other.isChanging || other.tls === 'pending') return;
    const bytes = side.takeOutput();
    if (!other.endSent) this.emit({ type: 'write', side: other.side, bytes });
  }

  /** What follows from the state once no step is left: ends, timers, splice, reading. */
  private settle(): void {
    if (this.over) return;
    if (!this.spliced) {
      this.passEnd(this.client);
      this.passEnd(this.server);
      this.updateCollectTimer();
      if (this.client.isQuiet && this.server.isQuiet) {
        this.spliced = true;
        this.emit({ type: 'splice' });
      } else {
        this.updateReading(this.client);
        this.updateReading(this.server);
      }
    }
    if (this.bothClosed()) this.finish();
  }

  private bothClosed(): boolean {
    return this.client.closed && (this.server.closed || this.choice.state !== 'connected');
  }

  /** Hands on the peer's FIN. What a rule still holds of the side goes nowhere. */
  private passEnd(side: SideState): void {
    const other = this.other(side);
    if (!side.peerEnded || other.isChanging) return;
    // Like bytes, it belongs inside TLS that is to start.
    if (other.tls === 'pending' && other.open && !side.closed) return;
    if (side.output > 0 && !other.closed && !other.endSent) return;
    if (side === this.client && this.holdsBack()) return;
    // Without a server to tell, FIN ends the flow only if a rule waits for bytes that will not come.
    const stuck =
      side === this.client && side.collect !== undefined && this.choice.state === 'none';
    if (!side.endPassed && (other.open || stuck)) {
      side.endPassed = true;
      side.discard();
      this.end(stuck ? side : other, side.truncated);
    }
    if (side.closed && other.open && !other.discarding) {
      other.discard();
      this.emit({ type: 'setTimer', timer: 'linger' });
    }
  }

  /**
   * Whether the client's last commands wait for a rule to let them go: clients that are scripts send
   * all they have, and FIN. The collect timer bounds it.
   */
  private holdsBack(): boolean {
    const { client, server } = this;
    return (
      client.collect !== undefined && client.payload.length > 0 && server.open && !client.closed
    );
  }

  private end(side: SideState, truncated: boolean): void {
    if (side.endSent || !side.open) return;
    side.endSent = true;
    // While TLS is taken off, FIN waits for it.
    if (!side.closingOrdered) this.emit({ type: 'end', side: side.side, truncated });
  }

  private updateCollectTimer(): void {
    const { client } = this;
    const holds = client.collect !== undefined && client.held > 0;
    const wanted = client.open && (holds || (this.collectTimer && client.isChanging));
    // Each incomplete command has its own time; the handshake shares that of its command.
    const again = this.collectTimerStale && holds;
    this.collectTimerStale = false;
    if (wanted === this.collectTimer && !again) return;
    this.collectTimer = wanted;
    this.emit({ type: wanted ? 'setTimer' : 'clearTimer', timer: 'collect' });
  }

  private updateReading(side: SideState): void {
    const other = this.other(side);
    // What no rule collects waits for TLS that is to start on the other side: it belongs inside.
    const goesOn = other.open && other.tls !== 'pending';
    const useful = side.collect !== undefined || side.discarding || goesOn;
    // A collect goes on while the other side cannot take its bytes yet, up to the limit.
    const room =
      side.output === 0 || (side.collect !== undefined && side.output < this.setup.collectLimit);
    const changing = side.isChanging || other.isChanging;
    const wanted = side.open && !side.peerEnded && useful && room && !changing;
    const direct = wanted && side.collect === undefined && !side.discarding && !other.endSent;
    this.setReading(side, direct ? 'direct' : wanted ? 'on' : 'off');
  }

  private setReading(side: SideState, reading: Reading): void {
    if (side.reading === reading || !side.open || this.spliced) return;
    side.reading = reading;
    this.emit({ type: 'read', side: side.side, reading });
  }

  // ---- endings -------------------------------------------------------------------------------

  private finish(): void {
    if (!this.closedFired) {
      this.closedFired = true;
      if (this.rules.start('CLIENT_CLOSED')) return;
    }
    this.over = true;
    this.emit({ type: 'done' });
  }

  /** FIN to both, behind what was written; what still comes is discarded until it ends. */
  close(): void {
    this.forward(this.client);
    this.forward(this.server);
    for (const side of [this.client, this.server]) {
      side.discard();
      side.endPassed = true;
      if (!side.closingOrdered) this.tls.giveUp(side);
      this.end(side, false);
    }
    this.choice.giveUp();
    this.emit({ type: 'setTimer', timer: 'linger' });
  }

  fail(reason: string, level: 'info' | 'warn' | 'error'): void {
    this.emit({ type: 'log', level, message: reason });
    this.endBoth('reset');
  }

  endBoth(how: 'reset' | 'destroy'): void {
    this.rules.abandon();
    this.rules.clear();
    for (const side of [this.client, this.server]) {
      side.discard();
      side.endPassed = true;
      side.endSent = true;
      if (side.open) this.emit({ type: how, side: side.side });
      side.open = false;
    }
    this.tls.giveUp(this.client);
    this.tls.giveUp(this.server);
    this.choice.giveUp();
  }
}

function dataEvent(side: SideState): RuleEventName {
  if (side.side === 'client') return side.depth > 0 ? 'CLIENTSSL_DATA' : 'CLIENT_DATA';
  return side.depth > 0 ? 'SERVERSSL_DATA' : 'SERVER_DATA';
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
