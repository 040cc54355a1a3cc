import { expect } from 'vitest';
import type { Effect } from '../../../src/core/effects.ts';
import type { IoEvent, TimerName } from '../../../src/core/io-events.ts';
import type { RuleEventName } from '../../../src/core/rule-events.ts';
import type { Side } from '../../../src/core/types.ts';
import { A, B, show } from './playbook.ts';

/** One connection as the shell sees it. */
class Connection {
  /** Exists, as far as the flow knows. */
  up = false;
  reading = false;
  /** A segment that was read before reading was switched off may still come. */
  inFlight = false;
  peerEnded = false;
  endSent = false;
  /** Reset or destroyed from here; only `closed` is to come. */
  gone = false;
  /** Dropped when the flow perhaps did not know yet that it is connected. */
  unknown = false;
  /** `closed` was told. */
  closed = false;

  get usable(): boolean {
    return this.up && !this.gone;
  }
}

/**
 * A shell without sockets: it knows which happenings are possible, and refuses every effect that a
 * real one could not, or must not, carry out.
 */
export class ShellModel {
  /** Handlers are suspended: what is told waits in the flow. */
  suspended = false;
  done = false;

  private readonly client = new Connection();
  private readonly server = new Connection();
  private readonly timers = new Set<TimerName>();
  private readonly fired = new Set<RuleEventName>();
  private selecting = false;
  private connecting = false;
  /** How connecting ended, if that was told while handlers were suspended: the flow may not know. */
  private early: 'connected' | 'failed' | undefined;
  private handshake = false;
  private spliced = false;
  private abandoned = false;

  /** What can happen now. `data` comes without bytes. */
  possible(): IoEvent[] {
    const events: IoEvent[] = [
      { type: 'abort', reason: 'test' },
      ...[...this.timers, 'idle' as const].map((timer) => ({ type: 'timer', timer }) as const),
    ];
    events.push(...this.possibleOn('client'));
    if (this.early === undefined) events.push(...this.possibleOn('server'));
    if (this.handshake && this.client.usable && !this.client.closed) {
      events.push({ type: 'secured', side: 'client' });
    }
    if (this.selecting) {
      for (const server of [A, B]) {
        events.push({ type: 'selected', selection: { pool: 'web', server } });
      }
      events.push({ type: 'selected', selection: { pool: 'web' }, error: 'none' });
    }
    if (this.connecting) {
      events.push({ type: 'connected' }, { type: 'connectFailed', error: 'ECONNREFUSED' });
    }
    return events;
  }

  /** What brings a flow further, of all that is possible. */
  likely(): IoEvent[] {
    return this.possible().filter(
      (event) =>
        event.type === 'data' ||
        event.type === 'secured' ||
        event.type === 'connected' ||
        (event.type === 'selected' && event.selection.server !== undefined),
    );
  }

  private possibleOn(side: Side): IoEvent[] {
    const it = this[side];
    if (!it.up || it.closed) return [];
    if (it.gone) return [{ type: 'closed', side }];
    const events: IoEvent[] = [
      { type: 'closed', side },
      { type: 'closed', side, error: 'ECONNRESET' },
    ];
    const readable = !it.peerEnded && (it.reading || it.inFlight);
    if (!readable || this.spliced || (side === 'client' && this.handshake)) return events;
    return [...events, { type: 'ended', side }, { type: 'data', side, bytes: new Uint8Array(0) }];
  }

  /** What ends the flow if nothing else happens. */
  next(): IoEvent {
    if (this.client.up && !this.client.closed) return { type: 'closed', side: 'client' };
    if (this.server.up && !this.server.closed) return { type: 'closed', side: 'server' };
    throw new Error('both sides are closed, and the flow is not done');
  }

  /** The flow is about to be told `event`. */
  told(event: IoEvent): void {
    switch (event.type) {
      case 'accepted':
        this.client.up = true;
        return;
      case 'data':
        this[event.side].inFlight = false;
        return;
      case 'ended':
        this[event.side].peerEnded = true;
        return;
      case 'closed':
        this[event.side].closed = true;
        if (!this.suspended) this.settle();
        return;
      case 'secured':
        this.handshake = false;
        return;
      case 'selected':
        this.selecting = false;
        return;
      case 'connected':
        this.connecting = false;
        this.server.up = true;
        if (this.suspended) this.early = 'connected';
        return;
      case 'connectFailed':
        this.connecting = false;
        if (this.suspended) this.early = 'failed';
        return;
      case 'timer':
        this.timers.delete(event.timer);
        return;
      case 'ruleSuspended':
        this.suspended = true;
        return;
      case 'ruleDone':
      case 'ruleFailed':
        this.suspended = false;
        return;
      default:
    }
  }

  /** Nothing waits in the flow: it knows which sides are closed. */
  settle(): void {
    this.early = undefined;
    for (const it of [this.client, this.server]) {
      if (it.closed) it.up = false;
    }
  }

  /** Answers the event whose rules are to run. */
  carryOut(effects: readonly Effect[]): RuleEventName | undefined {
    for (const [index, effect] of effects.entries()) {
      if (this.done) throw new Error(`${show(effect)} after done`);
      if (effect.type === 'runRules') {
        expect(index, 'runRules is the last effect').toBe(effects.length - 1);
        this.runRules(effect.event);
        return effect.event;
      }
      this.one(effect);
    }
    return undefined;
  }

  private one(effect: Exclude<Effect, { type: 'runRules' }>): void {
    const line = show(effect);
    switch (effect.type) {
      case 'write':
      case 'end':
      case 'read':
      case 'startTls':
        this.onSide(effect, line);
        return;
      case 'reset':
      case 'destroy':
        this.drop(effect.side, line);
        return;
      case 'select':
        expect(this.wantsServer, line).toBe(true);
        this.selecting = true;
        return;
      case 'connect':
        expect(this.wantsServer && !this.handshake, line).toBe(true);
        this.connecting = true;
        return;
      case 'setTimer':
        this.timers.add(effect.timer);
        return;
      case 'clearTimer':
        this.timers.delete(effect.timer);
        return;
      case 'abandonRules':
        expect(this.suspended, line).toBe(true);
        this.suspended = false;
        this.abandoned = true;
        return;
      case 'splice':
        expect(this.client.usable && this.server.usable, line).toBe(true);
        expect(this.handshake || this.spliced, line).toBe(false);
        this.spliced = true;
        return;
      case 'done':
        expect(this.client.closed, line).toBe(true);
        expect(this.server.up && !this.server.closed && !this.server.unknown, line).toBe(false);
        expect(this.connecting, line).toBe(false);
        this.done = true;
        return;
      default:
    }
  }

  private onSide(effect: Effect & { readonly side: Side }, line: string): void {
    const it = this[effect.side];
    expect(it.usable, `${line}: the side is open`).toBe(true);
    const inHandshake = effect.side === 'client' && this.handshake;
    switch (effect.type) {
      case 'write':
        expect(it.endSent, `${line}: FIN was sent`).toBe(false);
        expect(inHandshake, `${line}: in the handshake`).toBe(false);
        return;
      case 'end':
        expect(it.endSent, `${line}: FIN was sent`).toBe(false);
        it.endSent = true;
        return;
      case 'read':
        expect(this.spliced, `${line}: spliced`).toBe(false);
        expect(effect.reading !== 'off' && inHandshake, `${line}: in the handshake`).toBe(false);
        it.inFlight = it.reading && effect.reading === 'off';
        it.reading = effect.reading !== 'off';
        return;
      case 'startTls':
        expect(effect.side).toBe('client');
        expect(it.endSent, `${line}: FIN was sent`).toBe(false);
        expect(this.handshake || this.spliced, line).toBe(false);
        this.handshake = true;
        it.reading = false;
        it.inFlight = false;
        return;
      default:
    }
  }

  private drop(side: Side, line: string): void {
    if (side === 'server' && (this.connecting || this.early === 'failed')) {
      this.connecting = false;
      this.early = undefined;
      return;
    }
    expect(this[side].usable, `${line}: the side is open`).toBe(true);
    this[side].gone = true;
    this[side].unknown = side === 'server' && this.early === 'connected';
  }

  private get wantsServer(): boolean {
    const { client, server } = this;
    const free = !this.selecting && !this.connecting && !server.up && !server.closed;
    return free && client.usable && !client.endSent;
  }

  private runRules(event: RuleEventName): void {
    expect(this.abandoned, `${event} after abandonRules`).toBe(false);
    expect(this.fired.has('CLIENT_CLOSED'), `${event} after CLIENT_CLOSED`).toBe(false);
    if (event === 'CLIENT_ACCEPTED' || event === 'SERVER_CLOSED' || event === 'SERVER_CONNECTED') {
      expect(this.fired.has(event), `${event} once`).toBe(false);
    }
    if (event === 'CLIENT_DATA' || event === 'CLIENTSSL_DATA') {
      expect(this.client.usable, `${event} of a closed side`).toBe(true);
    }
    if (event === 'SERVER_DATA') expect(this.server.usable, `${event} of a closed side`).toBe(true);
    this.fired.add(event);
  }
}
