import type { TimerName } from './io-events.ts';
import type { RuleEventName } from './rule-events.ts';
import type { CertificateMode, RuleError } from './rule-run.ts';
import type { Endpoint, LogLevel, Side } from './types.ts';

/**
 * How a side is read; a new one is `off`. `direct`: nobody looks at what comes, so it goes straight
 * to the other side, and the flow hears only of its end.
 */
export type Reading = 'off' | 'on' | 'direct';

/** What the flow orders the shell to do. Carried out in order. */
export type Effect =
  /** Answer with ruleDone, ruleSuspended or ruleFailed. Always the last effect of a batch. */
  | { readonly type: 'runRules'; readonly event: RuleEventName }
  /** Answer with selected. `failed` members were tried in vain. */
  | { readonly type: 'select'; readonly pool: string; readonly failed: readonly Endpoint[] }
  /** Answer with connected or connectFailed. */
  | { readonly type: 'connect'; readonly server: Endpoint }
  | { readonly type: 'write'; readonly side: Side; readonly bytes: Uint8Array }
  /** FIN, behind everything written; `truncated`: without the close_notify that TLS ends with. */
  | { readonly type: 'end'; readonly side: Side; readonly truncated: boolean }
  /** RST at once; what was not sent is lost. */
  | { readonly type: 'reset'; readonly side: Side }
  /** Close at once, without RST where the system allows. */
  | { readonly type: 'destroy'; readonly side: Side }
  | { readonly type: 'read'; readonly side: Side; readonly reading: Reading }
  /**
   * Put TLS on the side, behind everything written. `leftover` is the beginning of the client's
   * first record. `asks`: answer with hello and wait for acceptTls or stopTls. Answer with secured,
   * tlsRefused or closed.
   */
  | {
      readonly type: 'startTls';
      readonly side: Side;
      readonly leftover: Uint8Array;
      readonly asks: boolean;
    }
  /** The rules have seen the hello: go on with the handshake. */
  | { readonly type: 'acceptTls' }
  /**
   * Take the topmost TLS layer off, behind everything written, and answer with unsecured. Before
   * acceptTls: there shall be none, and the hello is data.
   */
  | { readonly type: 'stopTls'; readonly side: Side }
  /** Whether the client has to show a certificate, for handshakes from now on. */
  | { readonly type: 'clientCertificate'; readonly mode: CertificateMode }
  | { readonly type: 'setTimer'; readonly timer: TimerName }
  | { readonly type: 'clearTimer'; readonly timer: TimerName }
  /** Drop a suspended handler. */
  | { readonly type: 'abandonRules' }
  /** No handler can look at bytes any more: move them by the cheapest way; report only closed. */
  | { readonly type: 'splice' }
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string }
  | { readonly type: 'ruleError'; readonly error: RuleError }
  /** Both sides are closed and the last event was handled: the flow is over. */
  | { readonly type: 'done' };
