import type { Effect } from './effects.ts';
import type { IoEvent } from './io-events.ts';
import type { RuleGate } from './rule-gate.ts';
import { looksLikeTls, type SideState } from './side-state.ts';

/** What TLS needs of its flow. */
interface TlsFlow {
  readonly rules: RuleGate;
  emit(effect: Effect): void;
  fail(reason: string, level: 'info' | 'warn'): void;
  /** Takes what the side has sent, and what waits for the rules, as plaintext. */
  takeWaitingData(side: SideState): void;
}

/**
 * Starts TLS on the sides of a flow and takes it off, in any order and depth. At most one side is
 * changing at a time, and meanwhile no rule sees data of either.
 *
 * The epoch barrier is here: bytes belong to the layer in which they came. What a client has sent
 * before TLS and nobody has taken goes into the handshake if it looks like one, and what a server
 * has sent does not fit at all. When TLS is taken off, nothing may be left that came inside it.
 */
export class TlsSteps {
  constructor(private readonly flow: TlsFlow) {}

  /** Takes the next step of the side's TLS. False: there is none now. */
  step(side: SideState): boolean {
    if (!side.open || side.endSent) return false;
    switch (side.tls) {
      case 'pending':
        // A server that has ended will not begin: the client must not wait for it.
        if (side.collect !== undefined && !(side.side === 'server' && side.peerEnded)) return false;
        this.start(side);
        return true;
      case 'hello':
        if (!side.helloSeen) return false;
        side.tls = 'handshake';
        this.flow.emit({ type: 'acceptTls' });
        return true;
      case 'closing':
        if (side.closingOrdered) return false;
        this.stop(side);
        return true;
      default:
        return false;
    }
  }

  private start(side: SideState): void {
    const { flow } = this;
    flow.takeWaitingData(side);
    const leftover = side.takeLeftover();
    const isHello = side.side === 'client' && looksLikeTls(leftover);
    if (leftover.length > 0 && !isHello) {
      const what = side.side === 'client' ? 'command that starts' : 'answer that lets begin';
      flow.fail(`the ${side.side} sent plaintext behind the ${what} TLS`, 'warn');
      return;
    }
    if (side.peerEnded) {
      flow.fail(`the ${side.side} ended the connection before the TLS handshake`, 'info');
      return;
    }
    const asks = side.side === 'client' && flow.rules.isHandled('CLIENTSSL_CLIENTHELLO');
    side.tls = asks ? 'hello' : 'handshake';
    side.helloSeen = false;
    side.reading = 'off';
    flow.emit({ type: 'startTls', side: side.side, leftover, asks });
    flow.emit({ type: 'setTimer', timer: 'handshake' });
  }

  private stop(side: SideState): void {
    if (side.payload.length > 0) {
      this.refuseData(side);
      return;
    }
    if (side.truncated) {
      this.fail(side, 'the connection was ended');
      return;
    }
    // If the peer has ended something, then the layer that comes off.
    side.peerEnded = false;
    side.closingOrdered = true;
    side.reading = 'off';
    this.flow.emit({ type: 'stopTls', side: side.side });
    this.flow.emit({ type: 'setTimer', timer: 'handshake' });
  }

  /** Bytes that come inside TLS while it is taken off would count as plaintext. */
  refuseData(side: SideState): void {
    const reason = `the ${side.side} sent data inside TLS behind the command that ends it`;
    this.flow.fail(reason, 'warn');
  }

  hello(side: SideState): void {
    if (side.tls !== 'hello') return;
    side.helloSeen = true;
    this.flow.rules.push('CLIENTSSL_CLIENTHELLO');
  }

  secured(side: SideState, event: Extract<IoEvent, { type: 'secured' }>): void {
    // While it waited for rules, they may have ended the flow.
    if (side.tls !== 'handshake') return;
    side.tls = 'secured';
    side.depth += 1;
    this.flow.emit({ type: 'clearTimer', timer: 'handshake' });
    if (event.certificate) this.flow.rules.push('CLIENTSSL_CLIENTCERT');
    this.flow.rules.push(side.side === 'client' ? 'CLIENTSSL_HANDSHAKE' : 'SERVERSSL_HANDSHAKE');
  }

  unsecured(side: SideState): void {
    if (side.tls !== 'closing') return;
    side.depth -= 1;
    side.tls = side.depth > 0 ? 'secured' : 'none';
    side.closingOrdered = false;
    this.flow.emit({ type: 'clearTimer', timer: 'handshake' });
    if (side.endSent) this.flow.emit({ type: 'end', side: side.side, truncated: false });
  }

  /** A rule wants TLS, another layer of it where there is one, or none. */
  switch(side: SideState, enabled: boolean): void {
    const begins = enabled ? !side.isChanging : side.tls === 'secured';
    if (begins && side.open && side.endSent) {
      this.flow.fail(`TLS on the ${side.side} side was changed behind its end`, 'warn');
      return;
    }
    if (enabled) {
      if (side.tls === 'closing' && !side.closingOrdered) side.tls = 'secured';
      else if (!side.isChanging) {
        side.tls = 'pending';
        side.collect = undefined;
      }
      return;
    }
    if (side.tls === 'pending') {
      side.cancelTls();
    } else if (side.tls === 'hello') {
      side.tls = side.depth > 0 ? 'secured' : 'none';
      this.flow.emit({ type: 'clearTimer', timer: 'handshake' });
      this.flow.emit({ type: 'stopTls', side: side.side });
    } else if (side.tls === 'secured') {
      side.tls = 'closing';
      side.collect = undefined;
    }
  }

  /** TLS of the side cannot be changed. Without effect where it is not being changed. */
  fail(side: SideState, error: string): void {
    if (side.isChanging) this.flow.fail(failure(side, error), failureLevel(side));
  }

  /** The side's connection is gone; tells what that spoils. */
  closed(side: SideState, error: string | undefined): void {
    if (side.isChanging) {
      const message = failure(side, error ?? 'the connection was closed');
      this.flow.emit({ type: 'log', level: failureLevel(side), message });
      this.giveUp(side);
    } else if (error !== undefined) {
      const message = `the connection with the ${side.side} failed: ${error}`;
      this.flow.emit({ type: 'log', level: 'debug', message });
    }
  }

  giveUp(side: SideState): void {
    if (!side.isChanging) return;
    side.tls = 'none';
    side.closingOrdered = false;
    this.flow.emit({ type: 'clearTimer', timer: 'handshake' });
  }
}

function failure(side: SideState, error: string): string {
  return side.tls === 'closing'
    ? `taking TLS off the ${side.side} side failed: ${error}`
    : `the TLS handshake with the ${side.side} failed: ${error}`;
}

/** Clients fail at handshakes all day long, servers do not. */
function failureLevel(side: SideState): 'info' | 'warn' {
  return side.side === 'client' ? 'info' : 'warn';
}
