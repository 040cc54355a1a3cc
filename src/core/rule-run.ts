import { Payload } from './payload.ts';
import type { ReleaseAction, ReplaceAction, RuleAction } from './rule-actions.ts';
import { type RuleEventName, ruleEvents } from './rule-events.ts';
import type { Addresses, Endpoint, LogLevel, Side } from './types.ts';

/**
 * Where the topmost layer of a side stands. `pending`: TLS will begin when nothing is collected any
 * more. `hello`: the client's ClientHello is awaited, or rules look at it. `closing`: TLS is being
 * taken off.
 */
export type TlsState = 'none' | 'pending' | 'hello' | 'handshake' | 'secured' | 'closing';

/** What is known of a TLS session. */
export interface TlsInfo {
  /** Such as `TLSv1.3`. */
  readonly protocol: string;
  /** In OpenSSL's notation. */
  readonly cipher: string;
  /** The protocol agreed on (RFC 7301); empty: none. */
  readonly alpn: string;
  /** The session goes on from an earlier connection. */
  readonly resumed: boolean;
  /** Empty where there is none. */
  readonly sessionId: Uint8Array;
  /** The peer's, then its issuers as far as they are known; DER. */
  readonly certificates: readonly Uint8Array[];
  /** OpenSSL's name of what is wrong with the peer's certificate; undefined: nothing. */
  readonly verifyError: string | undefined;
}

/** What a client asks for in its first TLS message. */
export interface HelloInfo {
  /** In lower case. */
  readonly serverName: string | undefined;
  /** The body of the extension of that type. */
  extension(type: number): Uint8Array | undefined;
}

/** Whether clients have to show a certificate. */
export type CertificateMode = 'none' | 'request' | 'require';

/** What rules may know of one side. */
export interface SideView {
  /** The connection exists and was not closed from here. */
  readonly open: boolean;
  readonly tls: TlsState;
  /** TLS layers that are up, one inside the other. */
  readonly depth: number;
  readonly payload: Payload;
}

/** The outcome of load balancing. `pool` is absent after `node`, `server` before a member was chosen. */
export interface Selection {
  readonly pool?: string;
  readonly server?: Endpoint;
}

/** What rules may know of a flow. */
export interface FlowView {
  readonly client: SideView;
  readonly server: SideView;
  readonly selection: Selection;
}

/** What commands need of the world outside the core. */
export interface RuleServices {
  readonly virtualServer: string;
  /** Undefined while the side is not connected. */
  addresses(side: Side): Addresses | undefined;
  /** The name of the TLS profile of this side. */
  tlsProfile(side: Side): { readonly name: string; readonly detachable: boolean } | undefined;
  /** The topmost TLS layer of this side; undefined while there is none. */
  tls(side: Side): TlsInfo | undefined;
  /** The client's last ClientHello, until the handlers of CLIENTSSL_HANDSHAKE are done. */
  clientHello(): HelloInfo | undefined;
  /** The name that the client asked for, or that the server was asked for; undefined: none. */
  serverName(side: Side): string | undefined;
  hasPool(name: string): boolean;
  log(level: LogLevel, rule: string, message: string): void;
  /** Calls back once after `ms` milliseconds, unless the returned function is called first. */
  after(ms: number, callback: () => void): () => void;
}

/** At most this many actions, and this many bytes in them, from one event. */
export const MAX_ACTIONS = 1024;
export const MAX_ACTION_BYTES = 16 * 1024 * 1024;

/** One firing of an event: what its handlers see, and the actions that they record. */
export class RuleRun {
  readonly actions: RuleAction[] = [];
  /** The current side; `clientside()` and `serverside()` change it for a while. */
  side: Side;
  /** The rule whose handler runs; kept by the sandbox. */
  rule = '';
  /** A handler disabled this event: the handlers behind it do not run. */
  skipsRest = false;

  private actionBytes = 0;
  private client: Draft | undefined;
  private server: Draft | undefined;

  constructor(
    readonly event: RuleEventName,
    /** Absent in RULE_INIT. */
    readonly flow: FlowView | undefined,
    readonly services: RuleServices,
  ) {
    this.side = ruleEvents[event].side ?? 'client';
  }

  /** Records an action. @throws RangeError when the event has recorded too much. */
  emit(action: RuleAction): void {
    if ('data' in action) this.actionBytes += action.data.length;
    if (this.actions.length >= MAX_ACTIONS || this.actionBytes > MAX_ACTION_BYTES) {
      throw new RangeError(`more than ${MAX_ACTIONS} actions or 16 MiB of data in one event`);
    }
    this.actions.push(action);
    if (action.type === 'replace' || action.type === 'release') {
      this.draft(action.side).add(action);
    } else if (action.type === 'event' && (action.event === 'all' || action.event === this.event)) {
      this.skipsRest ||= !action.enabled;
    }
  }

  /** Whether this run has ordered that TLS of a side stops or does not start. */
  stopsTls(side: Side): boolean {
    const last = this.actions.findLast((action) => action.type === 'tls' && action.side === side);
    return last?.type === 'tls' && !last.enabled;
  }

  /** Bytes held on a side, with this run's own edits. */
  payloadLength(side: Side): number {
    return this.draft(side).length;
  }

  /** The bytes held on a side, with this run's own edits. Valid until the next edit. */
  payload(side: Side): Uint8Array {
    return this.draft(side).bytes();
  }

  private draft(side: Side): Draft {
    if (side === 'client') {
      this.client ??= new Draft(this.flow?.client.payload ?? new Payload());
      return this.client;
    }
    this.server ??= new Draft(this.flow?.server.payload ?? new Payload());
    return this.server;
  }
}

/**
 * A side's payload as the running handler has edited it. The real one changes only when the flow
 * applies the actions; the edits are replayed on a copy when a handler reads after writing, which
 * few do.
 */
class Draft {
  length: number;
  /** Not yet made on `copy`. */
  private edits: (ReplaceAction | ReleaseAction)[] | undefined;
  private copy: Payload | undefined;

  constructor(private readonly original: Payload) {
    this.length = original.length;
  }

  add(edit: ReplaceAction | ReleaseAction): void {
    if (this.edits === undefined) this.edits = [edit];
    else this.edits.push(edit);
    if (edit.type === 'release') {
      this.length -= Math.min(edit.length, this.length);
    } else {
      const offset = Math.min(edit.offset, this.length);
      this.length += edit.data.length - Math.min(edit.length, this.length - offset);
    }
  }

  bytes(): Uint8Array {
    if (this.copy === undefined && this.edits === undefined) return this.original.bytes();
    this.copy ??= this.original.clone();
    for (const edit of this.edits ?? []) {
      if (edit.type === 'release') this.copy.take(edit.length);
      else this.copy.replace(edit);
    }
    this.edits = undefined;
    return this.copy.bytes();
  }
}

/** Why a handler failed, with the place in the rule's source as far as it is known. */
export interface RuleError {
  readonly reason: 'exception' | 'timeout' | 'memory' | 'stack' | 'sandbox';
  readonly rule: string;
  readonly event: RuleEventName;
  readonly message: string;
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
  /** From 1. */
  readonly column?: number;
  /** The source line with a mark under the column. */
  readonly excerpt?: string;
}

export type RunOutcome =
  | { readonly type: 'done' }
  | { readonly type: 'suspended' }
  | { readonly type: 'failed'; readonly error: RuleError };

/** One connection's place in the sandbox: its variables, and its suspended handlers. */
export interface RuleSession {
  /**
   * Runs the handlers of `run.event` in order of priority. When it answers `suspended`, a handler
   * awaits something, and `settled` is called once, later, with another outcome than `suspended`.
   * Not called again before that.
   */
  run(run: RuleRun, settled: (outcome: RunOutcome) => void): RunOutcome;
  /** Forgets the connection's variables; a suspended handler is never resumed. Idempotent. */
  close(): void;
}
