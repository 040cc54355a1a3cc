import { expect } from 'vitest';
import type { Effect } from '../../../src/core/effects.ts';
import type { IoEvent, TimerName } from '../../../src/core/io-events.ts';
import type { RuleEventName } from '../../../src/core/rule-events.ts';
import { otherSide, type Side } from '../../../src/core/types.ts';
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
  tls: 'steady' | 'hello' | 'handshake' | 'closing' = 'steady';
  /** `hello` was told. */
  said = false;
  /** TLS layers that are up. */
  layers = 0;
  /** The shell has the ClientHello, and hands it over as data. */
  returned = false;

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
  spliced = false;

  private readonly client = new Connection();
  private readonly server = new Connection();
  private readonly timers = new Set<TimerName>();
  private readonly fired = new Set<RuleEventName>();
  private selecting = false;
  private connecting = false;
  /** How connecting ended, if that was told while handlers were suspended: the flow may not know. */
  private early: 'connected' | 'failed' | undefined;
  private abandoned = false;

  /** What can happen now. `data` comes without bytes. */
  possible(): IoEvent[] {
    if (this.client.returned) return [{ type: 'data', side: 'client', bytes: new Uint8Array(0) }];
    const events: IoEvent[] = [
      { type: 'abort', reason: 'test' },
      ...[...this.timers, 'idle' as const].map((timer) => ({ type: 'timer', timer }) as const),
    ];
    events.push(...this.possibleOn('client'));
    if (this.early === undefined) events.push(...this.possibleOn('server'));
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
        event.type === 'hello' ||
        event.type === 'secured' ||
        event.type === 'unsecured' ||
        event.type === 'connected' ||
        (event.type === 'selected' && event.selection.server !== undefined),
    );
  }

  private possibleOn(side: Side): IoEvent[] {
    const it = this[side];
    if (!it.up || it.closed) return [];
    if (it.gone) return [{ type: 'closed', side }];
    const ends: IoEvent[] = [
      { type: 'closed', side },
      { type: 'closed', side, error: 'ECONNRESET' },
    ];
    const ended = [false, true].map((truncated) => ({ type: 'ended', side, truncated }) as const);
    const data = { type: 'data', side, bytes: new Uint8Array(0) } as const;
    const refused = { type: 'tlsRefused', side, error: 'no hello' } as const;
    switch (it.tls) {
      case 'hello':
        if (it.said) return ends;
        return [...ends, { type: 'hello' }, ...ended, refused];
      case 'handshake':
        return [
          ...ends,
          { type: 'secured', side, certificate: side === 'client' && this.fired.size % 2 === 1 },
          ...ended,
          refused,
        ];
      case 'closing':
        return [...ends, { type: 'unsecured', side }, ...ended, data];
      default: {
        const readable = !it.peerEnded && (it.reading || it.inFlight) && !this.spliced;
        return readable ? [...ends, ...ended, data] : ends;
      }
    }
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
        this[event.side].returned = false;
        return;
      case 'ended':
        this[event.side].peerEnded = true;
        return;
      case 'closed':
        this[event.side].closed = true;
        if (!this.suspended) this.settle();
        return;
      case 'hello':
        this.client.said = true;
        return;
      case 'secured':
        this[event.side].tls = 'steady';
        this[event.side].layers += 1;
        return;
      case 'unsecured':
        this[event.side].tls = 'steady';
        this[event.side].layers -= 1;
        // Only the layer had ended.
        this[event.side].peerEnded = false;
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
        this.onSide(effect, line);
        return;
      case 'startTls':
        this.startTls(effect, line);
        return;
      case 'acceptTls':
        expect(this.client.tls === 'hello' && this.client.said, line).toBe(true);
        this.client.tls = 'handshake';
        return;
      case 'stopTls':
        this.stopTls(effect.side, line);
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
        expect(this.wantsServer && this.client.tls === 'steady', line).toBe(true);
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
        for (const it of [this.client, this.server]) {
          expect(it.usable && it.tls === 'steady', line).toBe(true);
        }
        expect(this.spliced, line).toBe(false);
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

  private onSide(
    effect: Extract<Effect, { readonly type: 'write' | 'end' | 'read' }>,
    line: string,
  ): void {
    const it = this[effect.side];
    expect(it.usable, `${line}: the side is open`).toBe(true);
    const changing = it.tls !== 'steady';
    switch (effect.type) {
      case 'write':
        expect(it.endSent, `${line}: FIN was sent`).toBe(false);
        expect(changing, `${line}: TLS is being changed`).toBe(false);
        return;
      case 'end':
        expect(it.endSent, `${line}: FIN was sent`).toBe(false);
        expect(it.tls === 'closing', `${line}: TLS is being taken off`).toBe(false);
        it.endSent = true;
        return;
      case 'read':
        expect(this.spliced, `${line}: spliced`).toBe(false);
        // Behind FIN it is read to find the end, whatever TLS does.
        if (!it.endSent && changing) expect(effect.reading, line).toBe('off');
        it.inFlight = it.reading && effect.reading === 'off';
        it.reading = effect.reading !== 'off';
        return;
      default:
    }
  }

  private startTls(effect: Extract<Effect, { type: 'startTls' }>, line: string): void {
    const it = this.changes(effect.side, line);
    if (effect.side === 'server') {
      expect(effect.leftover.length, `${line}: leftover of a server`).toBe(0);
      expect(effect.asks, `${line}: asks for a server's hello`).toBe(false);
    }
    it.tls = effect.asks ? 'hello' : 'handshake';
    it.said = false;
  }

  private stopTls(side: Side, line: string): void {
    const it = this[side];
    if (it.tls === 'hello') {
      it.tls = 'steady';
      it.returned = true;
      return;
    }
    this.changes(side, line).tls = 'closing';
    expect(it.layers, `${line}: there is TLS`).toBeGreaterThan(0);
  }

  /** A side whose TLS begins to change; the shell reads what it needs by itself. */
  private changes(side: Side, line: string): Connection {
    const it = this[side];
    expect(it.usable, `${line}: the side is open`).toBe(true);
    expect(it.endSent, `${line}: FIN was sent`).toBe(false);
    expect(this.spliced, line).toBe(false);
    expect(it.tls, line).toBe('steady');
    const other = this[otherSide(side)];
    expect(other.usable && other.tls !== 'steady', `${line}: one side at a time`).toBe(false);
    it.reading = false;
    it.inFlight = false;
    return it;
  }

  private drop(side: Side, line: string): void {
    if (side === 'server' && (this.connecting || this.early === 'failed')) {
      this.connecting = false;
      this.early = undefined;
      return;
    }
    expect(this[side].usable, `${line}: the side is open`).toBe(true);
    this[side].gone = true;
    this[side].returned = false;
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
    this.checkTlsOf(event);
    this.fired.add(event);
  }

  /** Events of data and of handshakes: of which side, and at which depth. */
  private checkTlsOf(event: RuleEventName): void {
    const [, name, secure, what] = /^(CLIENT|SERVER)(SSL)?_(DATA|HANDSHAKE)$/.exec(event) ?? [];
    if (name === undefined) return;
    const it = name === 'CLIENT' ? this.client : this.server;
    expect(it.usable, `${event} of a closed side`).toBe(true);
    if (what === 'DATA') {
      expect(it.tls, `${event} while TLS is being changed`).toBe('steady');
      if (!this.suspended) expect(it.layers > 0, event).toBe(secure !== undefined);
    } else {
      expect(it.layers, event).toBeGreaterThan(0);
    }
  }
}
