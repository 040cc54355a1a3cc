import type { TimerName } from '../core/io-events.ts';
import type { Side } from '../core/types.ts';
import { type Data, quote, toBytes, toText } from './text.ts';

/** How the connection to a peer ended, as that peer sees it. */
export type Ending = 'end' | 'close' | 'reset';

/** One thing that happens in a conversation, or one that is demanded there. */
export type Step =
  /** `parts`: the segments in which the bytes arrive. */
  | { readonly type: 'send'; readonly side: Side; readonly parts: readonly Uint8Array[] }
  | { readonly type: 'peerEnds' | 'peerResets'; readonly side: Side }
  | { readonly type: 'receives'; readonly side: Side; readonly text: string }
  | { readonly type: 'receivesNothing'; readonly side: Side }
  | { readonly type: 'sees'; readonly side: Side; readonly ending: Ending }
  | {
      readonly type: 'startsTls';
      readonly side: Side;
      readonly hello: string;
      readonly tls: PlayedTls;
    }
  | { readonly type: 'failsTls'; readonly side: Side }
  | { readonly type: 'stopsTls'; readonly side: Side; readonly rest: string }
  | { readonly type: 'says'; readonly hello: PlayedHello }
  | { readonly type: 'accepts'; readonly at: string | undefined }
  | { readonly type: 'refuses'; readonly error: string }
  | { readonly type: 'spliced' }
  | { readonly type: 'expires'; readonly timer: TimerName }
  | { readonly type: 'passes'; readonly milliseconds: number }
  | { readonly type: 'logs' | 'fails'; readonly pattern: string | RegExp };

/** What a rule learns of a TLS session; what is left out is of no interest. */
export interface PlayedTls {
  /** What a client has asked for, or a server was asked for. */
  readonly serverName?: string;
  /** Default `TLSv1.3`. */
  readonly protocol?: string;
  /** Default `TLS_AES_128_GCM_SHA256`. */
  readonly cipher?: string;
  readonly alpn?: string;
  readonly resumed?: boolean;
  readonly sessionId?: Uint8Array;
  /** The peer's, in DER. If they are given, also as an empty list, a client was asked for them. */
  readonly certificates?: readonly Uint8Array[];
  /** OpenSSL's name, such as `CERT_HAS_EXPIRED`. */
  readonly verifyError?: string;
}

/** What a rule learns of a ClientHello. */
export interface PlayedHello {
  readonly serverName?: string;
  /** The bodies of its extensions. */
  readonly extensions?: Readonly<Record<number, Data>>;
}

/** Steps of one side; called with bytes, it is the step in which that side sends them. */
interface Party {
  /** The peer sends `data` in one segment. */
  (data: Data): Step;
  /** The peer got exactly `data` next, in the current epoch: in plaintext, or inside TLS. */
  receives(data: Data): Step;
  /** The peer got nothing that was not demanded yet. */
  receivesNothing(): Step;
  /** The peer sends FIN. */
  ends(): Step;
  /** The peer's connection is reset. */
  resets(): Step;
  /** FIN was sent to the peer, behind everything that it got. */
  seesEnd(): Step;
  /** The peer's connection was closed without more ado (`drop`). */
  seesClose(): Step;
  /** The peer's connection was reset. */
  seesReset(): Step;
  /**
   * TLS was started, and the handshake succeeds. What the peer sends from here on, and gets, is
   * inside TLS.
   *
   * @param hello - the part of the handshake that steps of the conversation sent; default: none
   */
  startsTls(hello?: Data, tls?: PlayedTls): Step;
  /** TLS was started, and the handshake fails. */
  failsTls(): Step;
  /**
   * The topmost layer of TLS is being taken off, and the peer ends it as well.
   *
   * @param rest - what the peer sends in the same segment behind it; default: nothing
   */
  stopsTls(rest?: Data): Step;
}

/** The client's steps. */
export interface Client extends Party {
  /** TLS was started, a rule handles CLIENTSSL_CLIENTHELLO, and the ClientHello comes. */
  says(hello: PlayedHello): Step;
}

/** The server's steps. */
export interface Server extends Party {
  /**
   * The connection to the server succeeds. In a conversation with such a step, or with `refuses`,
   * connections wait for it; in all others they succeed at once.
   *
   * @param at - `address:port` to which the connection must go
   */
  accepts(at?: string): Step;
  /** The connection to the server fails. */
  refuses(error?: string): Step;
}

export const client: Client = Object.assign(send('client'), {
  ...party('client'),
  says: (hello: PlayedHello): Step => ({ type: 'says', hello }),
});

export const server: Server = Object.assign(send('server'), {
  ...party('server'),
  accepts: (at?: string): Step => ({ type: 'accepts', at }),
  refuses: (error = 'connection refused'): Step => ({ type: 'refuses', error }),
});

/** No rule looks at the bytes any more. */
export function spliced(): Step {
  return { type: 'spliced' };
}

/** A timer of the connection, which must be running, expires. */
export function expires(timer: TimerName): Step {
  return { type: 'expires', timer };
}

/** Time passes, for `after()` in rules. */
export function passes(milliseconds: number): Step {
  return { type: 'passes', milliseconds };
}

/** A line that contains or matches `pattern` was logged, one that no earlier step asked for. */
export function logs(pattern: string | RegExp): Step {
  return { type: 'logs', pattern };
}

/** A handler failed with a message that contains or matches `pattern`. */
export function fails(pattern: string | RegExp): Step {
  return { type: 'fails', pattern };
}

/** The step as its author wrote it. */
export function describeStep(step: Step): string {
  switch (step.type) {
    case 'send':
      return `${step.side}(${quote(toText(Buffer.concat(step.parts)))})`;
    case 'peerEnds':
      return `${step.side}.ends()`;
    case 'peerResets':
      return `${step.side}.resets()`;
    case 'receives':
      return `${step.side}.receives(${quote(step.text)})`;
    case 'receivesNothing':
      return `${step.side}.receivesNothing()`;
    case 'sees':
      return `${step.side}.sees${step.ending.charAt(0).toUpperCase()}${step.ending.slice(1)}()`;
    case 'startsTls':
      return `${step.side}.startsTls(${step.hello === '' ? '' : quote(step.hello)})`;
    case 'failsTls':
      return `${step.side}.failsTls()`;
    case 'stopsTls':
      return `${step.side}.stopsTls(${step.rest === '' ? '' : quote(step.rest)})`;
    case 'says':
      return `client.says(${JSON.stringify(step.hello)})`;
    case 'accepts':
      return `server.accepts(${step.at === undefined ? '' : quote(step.at)})`;
    case 'refuses':
      return `server.refuses(${quote(step.error)})`;
    case 'passes':
      return `passes(${step.milliseconds})`;
    case 'expires':
      return `expires('${step.timer}')`;
    case 'spliced':
      return 'spliced()';
    case 'logs':
    case 'fails':
      return `${step.type}(${String(step.pattern)})`;
  }
}

function send(side: Side) {
  return (data: Data): Step => ({ type: 'send', side, parts: [toBytes(data)] });
}

function party(side: Side) {
  return {
    receives: (data: Data): Step => ({ type: 'receives', side, text: toText(data) }),
    receivesNothing: (): Step => ({ type: 'receivesNothing', side }),
    ends: (): Step => ({ type: 'peerEnds', side }),
    resets: (): Step => ({ type: 'peerResets', side }),
    seesEnd: (): Step => ({ type: 'sees', side, ending: 'end' }),
    seesClose: (): Step => ({ type: 'sees', side, ending: 'close' }),
    seesReset: (): Step => ({ type: 'sees', side, ending: 'reset' }),
    startsTls: (hello: Data = '', tls: PlayedTls = {}): Step => ({
      type: 'startsTls',
      side,
      hello: toText(hello),
      tls,
    }),
    failsTls: (): Step => ({ type: 'failsTls', side }),
    stopsTls: (rest: Data = ''): Step => ({ type: 'stopsTls', side, rest: toText(rest) }),
  };
}
