import type { RuleAction } from './rule-actions.ts';
import type { RuleError, Selection } from './rule-run.ts';
import type { Side } from './types.ts';

/** The timers of a flow. All are one-shot; `idle` is measured by the shell from the last byte. */
export type TimerName = 'connect' | 'handshake' | 'collect' | 'idle' | 'linger' | 'handler';

/** What the shell tells the flow. */
export type IoEvent =
  | { readonly type: 'accepted' }
  | { readonly type: 'data'; readonly side: Side; readonly bytes: Uint8Array }
  /** The peer sent FIN: no more bytes come, ours may still go. `truncated`: TLS was not ended before. */
  | { readonly type: 'ended'; readonly side: Side; readonly truncated: boolean }
  /** The connection is gone. */
  | { readonly type: 'closed'; readonly side: Side; readonly error?: string }
  /** The ClientHello that startTls asked for is complete. */
  | { readonly type: 'hello' }
  /** The handshake is complete. `certificate`: the client was asked for one. */
  | { readonly type: 'secured'; readonly side: Side; readonly certificate: boolean }
  /** TLS cannot start on the side. */
  | { readonly type: 'tlsRefused'; readonly side: Side; readonly error: string }
  /** The topmost TLS layer is off: what comes now was sent outside of it. */
  | { readonly type: 'unsecured'; readonly side: Side }
  /** Without a server: nothing could be chosen. */
  | { readonly type: 'selected'; readonly selection: Selection; readonly error?: string }
  | { readonly type: 'connected' }
  | { readonly type: 'connectFailed'; readonly error: string }
  | { readonly type: 'timer'; readonly timer: TimerName }
  | { readonly type: 'ruleDone'; readonly actions: readonly RuleAction[] }
  | { readonly type: 'ruleSuspended' }
  | { readonly type: 'ruleFailed'; readonly error: RuleError }
  /** The operator ends the flow (reload with `close`, shutdown). */
  | { readonly type: 'abort'; readonly reason: string };
