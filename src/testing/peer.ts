import type { Side } from '../core/types.ts';
import type { Ending } from './steps.ts';

/** Either end of a flow, as seen from out there. */
export class Peer {
  connected = false;
  /** The flow wants bytes from here. */
  reading = false;
  tls: 'none' | 'handshake' | 'secured' = 'none';
  /** Bytes that TLS was given before the handshake was complete. */
  hello: Uint8Array = new Uint8Array(0);
  /** Sent, and not read yet. */
  readonly inbound: (Uint8Array | 'end')[] = [];
  /** The peer's FIN was read. */
  ended = false;
  /** The connection is gone on both ways. */
  closed = false;
  ending: Ending | undefined;
  /** A step has demanded that ending. */
  endingSeen = false;

  /** What the peer got, an entry for each epoch: in plaintext, then inside TLS. */
  readonly received: string[] = [''];
  private demanded = 0;

  constructor(readonly side: Side) {}

  receive(text: string): void {
    this.received.push((this.received.pop() ?? '') + text);
  }

  beginTls(hello: Uint8Array): void {
    this.tls = 'handshake';
    this.hello = hello;
    this.reading = false;
  }

  /** From here on everything is inside TLS. */
  completeTls(): void {
    this.tls = 'secured';
    this.received.push('');
    this.demanded = 0;
  }

  /** What the peer got in this epoch and no step has demanded. */
  unread(): string {
    return this.received.at(-1)?.slice(this.demanded) ?? '';
  }

  demand(length: number): void {
    this.demanded += length;
  }

  endWith(ending: Ending): void {
    this.ending = ending;
    this.endingSeen = false;
  }

  /** What the next bytes or FIN would go to is able to take them. */
  get readable(): boolean {
    const heard = this.reading || this.tls === 'handshake';
    return this.connected && !this.closed && heard && this.inbound.length > 0;
  }
}
