import type { RuleEventName } from './rule-events.ts';
import type { CertificateMode } from './rule-run.ts';
import type { Endpoint, Side } from './types.ts';

/** `TCP.collect` and its TLS twin. Without `length` every segment fires the data event. */
export interface CollectAction {
  readonly type: 'collect';
  readonly side: Side;
  readonly length?: number;
  readonly skip?: number;
}

/** Lets up to `length` collected bytes go on, and ends the collecting. */
export interface ReleaseAction {
  readonly type: 'release';
  readonly side: Side;
  readonly length: number;
}

/** Replaces `length` collected bytes from `offset` on by `data`. */
export interface ReplaceAction {
  readonly type: 'replace';
  readonly side: Side;
  readonly offset: number;
  readonly length: number;
  readonly data: Uint8Array;
}

/** What a rule may order. Recorded while its handlers run, applied by the flow when they are done. */
export type RuleAction =
  | CollectAction
  | ReleaseAction
  | ReplaceAction
  | { readonly type: 'respond'; readonly side: Side; readonly data: Uint8Array }
  | { readonly type: 'close'; readonly side: Side }
  | { readonly type: 'tls'; readonly side: Side; readonly enabled: boolean }
  | { readonly type: 'clientCertificate'; readonly mode: CertificateMode }
  | { readonly type: 'pool'; readonly pool: string; readonly member?: Endpoint }
  | { readonly type: 'node'; readonly server: Endpoint }
  | { readonly type: 'reselect' }
  | { readonly type: 'reject' }
  | { readonly type: 'drop' }
  | {
      readonly type: 'event';
      readonly event: RuleEventName | 'all';
      readonly enabled: boolean;
    };
