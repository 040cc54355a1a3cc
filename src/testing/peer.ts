import type { TlsInfo } from '../core/rule-run.ts';
import type { Side } from '../core/types.ts';
import type { Ending } from './steps.ts';

/** Either end of a flow, as seen from out there. */
export class Peer {
  connected = false;
  /** The flow wants bytes from here. */
  reading = false;
  tls: 'none' | 'hello' | 'handshake' | 'closing' = 'none';
  /** The TLS layers that are up, the topmost last. */
  readonly layers: TlsInfo[] = [];
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

  /** What the peer got, an entry for each epoch: in plaintext, inside TLS, … */
  readonly received: string[] = [''];
  private demanded = 0;

  constructor(readonly side: Side) {}

  receive(text: string): void {
    this.received.push((this.received.pop() ?? '') + text);
  }

  /** @param asks - the rules want to see the hello before the handshake goes on */
  beginTls(hello: Uint8Array, asks: boolean): void {
    this.tls = asks ? 'hello' : 'handshake';
    this.hello = hello;
    this.reading = false;
  }

  /** From here on everything is inside another layer of TLS. */
  completeTls(info: TlsInfo): void {
    this.layers.push(info);
    this.beginEpoch();
  }

  /** From here on everything is outside of the topmost layer. */
  stopTls(): void {
    this.layers.pop();
    this.beginEpoch();
  }

  private beginEpoch(): void {
    this.tls = 'none';
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
    const heard = this.reading || this.tls !== 'none';
    return this.connected && !this.closed && heard && this.inbound.length > 0;
  }
}
