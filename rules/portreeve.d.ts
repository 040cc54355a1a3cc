// What rules can call and handle. Made by `npm run generate` from the table of commands; changes
// here are lost. How rules work: docs/rules.md.

// biome-ignore lint/suspicious/noExplicitAny: rules keep there what they like
type RuleValue = any;

/**
 * The variables of a connection, shared by all rules of its virtual server. In TypeScript, declare
 * yours: `interface Connection { loggedIn?: boolean }`.
 */
interface Connection {
  [name: string]: RuleValue;
}

/** What the configuration gives the rule; frozen. */
interface Options {
  readonly [name: string]: RuleValue;
}

/** What all connections and rules of a virtual server share, until the rules are loaded anew. */
interface Statics {
  [name: string]: RuleValue;
}

/** Bytes: a string of characters up to 0xFF, one a byte, or a Uint8Array. */
type Bytes = string | Uint8Array;

interface HandlerOptions {
  /** 0 to 1000, default 500. The handlers of an event run in this order, lower ones first. */
  priority?: number;
}

type EventName =
  | 'RULE_INIT'
  | 'CLIENT_ACCEPTED'
  | 'CLIENT_DATA'
  | 'CLIENTSSL_HANDSHAKE'
  | 'CLIENTSSL_DATA'
  | 'LB_SELECTED'
  | 'LB_FAILED'
  | 'SERVER_CONNECTED'
  | 'SERVER_DATA'
  | 'SERVER_CLOSED'
  | 'CLIENT_CLOSED';

type ConnectionEvent = Exclude<EventName, 'RULE_INIT'>;

/** The options of this rule in the configuration; an empty object where it gives none. */
declare const options: Options;

/** Kept as long as the rules stay loaded: for what is made once, in RULE_INIT. */
declare const statics: Statics;

/** The rules were loaded. There is no connection yet. */
declare function when(event: 'RULE_INIT', handler: () => unknown, options?: HandlerOptions): void;

/**
 * A client has connected. TLS with it, if the virtual server has a client-ssl profile, begins
 * afterwards. The current side is the client.
 */
declare function when(
  event: 'CLIENT_ACCEPTED',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/**
 * Bytes that TCP.collect() asked for have arrived from the client. The current side is the client.
 */
declare function when(
  event: 'CLIENT_DATA',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/** The TLS handshake with the client is complete. The current side is the client. */
declare function when(
  event: 'CLIENTSSL_HANDSHAKE',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/**
 * Decrypted bytes that SSL.collect() asked for have arrived from the client. The current side is
 * the client.
 */
declare function when(
  event: 'CLIENTSSL_DATA',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/**
 * A pool member was chosen; the connection to it has not been opened yet. The current side is the
 * client.
 */
declare function when(
  event: 'LB_SELECTED',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/**
 * No member could be chosen, or the connection to the chosen one failed. The current side is the
 * client.
 */
declare function when(
  event: 'LB_FAILED',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/** The connection to the server is open. The current side is the server. */
declare function when(
  event: 'SERVER_CONNECTED',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/**
 * Bytes that TCP.collect() asked for have arrived from the server. The current side is the server.
 */
declare function when(
  event: 'SERVER_DATA',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/** The connection to the server is closed. The current side is the server. */
declare function when(
  event: 'SERVER_CLOSED',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/**
 * The connection to the client is closed. The last event of a flow. The current side is the client.
 */
declare function when(
  event: 'CLIENT_CLOSED',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/**
 * Registers `handler` for an event while the rule is loaded. The handler gets one argument: the
 * connection's variables, an object shared by all rules of the virtual server. A third argument
 * `{ priority: n }` (0 to 1000, default 500) orders the handlers of an event; lower runs first.
 */
declare function when(
  event: ConnectionEvent,
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

declare namespace event {
  /**
   * Disables an event (default: the current one; `all`: every event) for this connection, for all
   * rules. The running handler continues; handlers behind it do not run.
   *
   * Valid in every event but RULE_INIT. iRules: `event disable`.
   */
  function disable(name?: EventName | 'all'): void;

  /**
   * Enables an event again (default: the current one; `all`: every event) for this connection.
   *
   * Valid in every event but RULE_INIT. iRules: `event enable`.
   */
  function enable(name?: EventName | 'all'): void;
}

declare namespace TCP {
  /**
   * Holds back the bytes that arrive on the current side, and fires CLIENT_DATA or SERVER_DATA for
   * them. Without `length` the event fires for every segment; with it, when at least `length` bytes
   * (1 or more) are held. `skip` lets that many bytes pass first; the event then also fires when
   * they have. The last call wins. On the client side it delays the connection to the server until
   * `TCP.release()`. Collecting ends with `TCP.release()`: call `collect` again for more. More than
   * the virtual server's `collectLimit` resets the connection.
   *
   * Valid in every event but RULE_INIT. iRules: `TCP::collect`.
   */
  function collect(length?: number, skip?: number): void;

  /**
   * Lets up to `length` held bytes of the current side (default: all) go on, ends the collecting,
   * and returns how many bytes it released. Bytes beyond `length` stay held only if `collect` is
   * called in the same event.
   *
   * Valid in every event but RULE_INIT. iRules: `TCP::release`.
   */
  function release(length?: number): number;

  /**
   * The held bytes of the current side, one character a byte: all of them, the first `n` with
   * `TCP.payload(n)`, or `length` bytes from `offset` on with `TCP.payload(offset, length)`. Edits
   * of the same event are seen.
   *
   * Valid in every event but RULE_INIT. iRules: `TCP::payload`.
   */
  function payload(offsetOrLength?: number, length?: number): string;

  namespace payload {
    /**
     * Like `payload`, as a new Uint8Array: from `offset` (default 0) on, `length` bytes (default:
     * the rest).
     *
     * Valid in every event but RULE_INIT.
     */
    function bytes(offset?: number, length?: number): Uint8Array;

    /**
     * How many bytes are held on the current side.
     *
     * Valid in every event but RULE_INIT. iRules: `TCP::payload length`.
     */
    function length(): number;

    /**
     * The offset of the first occurrence of `needle` in the held bytes, from `from` (default 0) on,
     * or -1. `needle` has at most 250 bytes. Cheaper than `payload().indexOf()`: the bytes are not
     * handed to the rule.
     *
     * Valid in every event but RULE_INIT.
     */
    function indexOf(needle: Bytes, from?: number): number;

    /**
     * Replaces `length` held bytes of the current side from `offset` on by `data`. Offsets beyond
     * the end mean the end. The bytes still have to be released.
     *
     * Valid in every event but RULE_INIT. iRules: `TCP::payload replace`.
     */
    function replace(offset: number, length: number, data: Bytes): void;
  }

  /**
   * Sends `data` to the peer of the current side, behind what was sent to it before.
   *
   * Valid in every event but RULE_INIT. iRules: `TCP::respond`.
   */
  function respond(data: Bytes): void;

  /**
   * Closes the connection of the current side with FIN, behind everything sent to it. What its peer
   * still sends is discarded, and the other side is closed likewise.
   *
   * Valid in every event but RULE_INIT. iRules: `TCP::close`.
   */
  function close(): void;

  /**
   * The client's port. 0 while there is no such connection.
   *
   * Valid in every event but RULE_INIT. iRules: `TCP::client_port`.
   */
  function client_port(): number;

  /**
   * The server's port. 0 while there is no such connection.
   *
   * Valid in every event but RULE_INIT. iRules: `TCP::server_port`.
   */
  function server_port(): number;

  /**
   * The port at this end of the current (or the named) side. 0 while that side is not connected.
   *
   * Valid in every event but RULE_INIT. iRules: `TCP::local_port`.
   */
  function local_port(side?: 'clientside' | 'serverside'): number;

  /**
   * The peer's port on the current (or the named) side. 0 while that side is not connected.
   *
   * Valid in every event but RULE_INIT. iRules: `TCP::remote_port`.
   */
  function remote_port(side?: 'clientside' | 'serverside'): number;
}

declare namespace SSL {
  /**
   * Holds back the bytes that arrive on the current side, and fires CLIENTSSL_DATA or SERVER_DATA
   * for them. Without `length` the event fires for every segment; with it, when at least `length`
   * bytes (1 or more) are held. `skip` lets that many bytes pass first; the event then also fires
   * when they have. The last call wins. On the client side it delays the connection to the server
   * until `SSL.release()`. Collecting ends with `SSL.release()`: call `collect` again for more.
   * More than the virtual server's `collectLimit` resets the connection.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::collect`.
   */
  function collect(length?: number, skip?: number): void;

  /**
   * Lets up to `length` held bytes of the current side (default: all) go on, ends the collecting,
   * and returns how many bytes it released. Bytes beyond `length` stay held only if `collect` is
   * called in the same event.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::release`.
   */
  function release(length?: number): number;

  /**
   * The held bytes of the current side, one character a byte: all of them, the first `n` with
   * `SSL.payload(n)`, or `length` bytes from `offset` on with `SSL.payload(offset, length)`. Edits
   * of the same event are seen.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::payload`.
   */
  function payload(offsetOrLength?: number, length?: number): string;

  namespace payload {
    /**
     * Like `payload`, as a new Uint8Array: from `offset` (default 0) on, `length` bytes (default:
     * the rest).
     *
     * Valid in every event but RULE_INIT.
     */
    function bytes(offset?: number, length?: number): Uint8Array;

    /**
     * How many bytes are held on the current side.
     *
     * Valid in every event but RULE_INIT. iRules: `SSL::payload length`.
     */
    function length(): number;

    /**
     * The offset of the first occurrence of `needle` in the held bytes, from `from` (default 0) on,
     * or -1. `needle` has at most 250 bytes. Cheaper than `payload().indexOf()`: the bytes are not
     * handed to the rule.
     *
     * Valid in every event but RULE_INIT.
     */
    function indexOf(needle: Bytes, from?: number): number;

    /**
     * Replaces `length` held bytes of the current side from `offset` on by `data`. Offsets beyond
     * the end mean the end. The bytes still have to be released.
     *
     * Valid in every event but RULE_INIT. iRules: `SSL::payload replace`.
     */
    function replace(offset: number, length: number, data: Bytes): void;
  }

  /**
   * Sends `data` to the peer of the current side, behind what was sent to it before.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::respond`.
   */
  function respond(data: Bytes): void;

  /**
   * Starts TLS on the current (or the named) side, behind everything sent to it. Needs a TLS
   * profile for that side. Bytes of the peer that were received in plaintext and not released are
   * taken as the beginning of its handshake if they look like one; otherwise the connection is
   * reset, because nothing received in plaintext may be read inside TLS.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::enable`.
   */
  function enable(side?: 'clientside' | 'serverside'): void;

  /**
   * Keeps TLS from starting on the current (or the named) side, until `SSL.enable()`. Usually
   * called in CLIENT_ACCEPTED. TLS that has begun cannot be taken off.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::disable`.
   */
  function disable(side?: 'clientside' | 'serverside'): void;
}

declare namespace IP {
  /**
   * The client's IP address. Empty while there is no such connection.
   *
   * Valid in every event but RULE_INIT. iRules: `IP::client_addr`.
   */
  function client_addr(): string;

  /**
   * The server's IP address. Empty while there is no such connection.
   *
   * Valid in every event but RULE_INIT. iRules: `IP::server_addr`.
   */
  function server_addr(): string;

  /**
   * The IP address at this end of the current (or the named) side. Empty while that side is not
   * connected.
   *
   * Valid in every event but RULE_INIT. iRules: `IP::local_addr`.
   */
  function local_addr(side?: 'clientside' | 'serverside'): string;

  /**
   * The peer's IP address on the current (or the named) side. Empty while that side is not
   * connected.
   *
   * Valid in every event but RULE_INIT. iRules: `IP::remote_addr`.
   */
  function remote_addr(side?: 'clientside' | 'serverside'): string;

  /**
   * Whether `address` is in `network`: an address, `10.0.0.0/8`, `10.0.0.0/255.0.0.0` or
   * `2001:db8::/32`. IPv4 addresses in IPv6 form count as IPv4. Throws TypeError for text that is
   * neither. (iRules' `IP::addr A equals B`.)
   *
   * Valid in every event. iRules: `IP::addr`.
   */
  function addr(address: string, network: string): boolean;
}

/**
 * Sends this connection to the pool `name`, or to the member of it at `address` and `port`. The
 * last `pool` or `node` before the server is chosen wins. In LB_FAILED follow it by
 * `LB.reselect()`.
 *
 * Valid in CLIENT_ACCEPTED, CLIENT_DATA, CLIENTSSL_HANDSHAKE, CLIENTSSL_DATA, LB_SELECTED,
 * LB_FAILED. iRules: `pool`.
 */
declare function pool(name: string, address?: string, port?: number): void;

/**
 * Sends this connection to the server at the IP address `address` and `port`, whatever the pools
 * say.
 *
 * Valid in CLIENT_ACCEPTED, CLIENT_DATA, CLIENTSSL_HANDSHAKE, CLIENTSSL_DATA, LB_SELECTED,
 * LB_FAILED. iRules: `node`.
 */
declare function node(address: string, port: number): void;

declare namespace LB {
  /**
   * The chosen server as `pool address port`, or one part of it. Before a member was chosen only
   * the pool; after `node` no pool.
   *
   * Valid in every event but RULE_INIT. iRules: `LB::server`.
   */
  function server(part?: 'pool' | 'addr' | 'port'): string;

  /**
   * Chooses a server again when the event ends; members that failed on this connection come last.
   * At most 8 times on a connection.
   *
   * Valid in LB_SELECTED, LB_FAILED. iRules: `LB::reselect`.
   */
  function reselect(): void;
}

/**
 * Runs `callback` with the client as the current side and returns what it returns. Without an
 * argument: whether the client is the current side.
 *
 * Valid in every event but RULE_INIT. iRules: `clientside`.
 */
declare function clientside(): boolean;

/**
 * Runs `callback` with the client as the current side and returns what it returns. Without an
 * argument: whether the client is the current side.
 *
 * Valid in every event but RULE_INIT. iRules: `clientside`.
 */
declare function clientside<T>(callback: () => T): T;

/**
 * Runs `callback` with the server as the current side and returns what it returns. Without an
 * argument: whether the server is the current side.
 *
 * Valid in every event but RULE_INIT. iRules: `serverside`.
 */
declare function serverside(): boolean;

/**
 * Runs `callback` with the server as the current side and returns what it returns. Without an
 * argument: whether the server is the current side.
 *
 * Valid in every event but RULE_INIT. iRules: `serverside`.
 */
declare function serverside<T>(callback: () => T): T;

/**
 * Resets both sides when the event ends. The rest of the handler, and the other handlers of the
 * event, still run.
 *
 * Valid in every event but RULE_INIT. iRules: `reject`.
 */
declare function reject(): void;

/**
 * Ends the connection without a reset when the event ends; what was not sent yet is discarded. An
 * accepted TCP connection cannot vanish: the peer sees FIN.
 *
 * Valid in every event but RULE_INIT. iRules: `drop`.
 */
declare function drop(): void;

/**
 * `await after(ms)` suspends the handler for `ms` milliseconds, up to an hour. Meanwhile the
 * connection's other events wait, and other connections go on. What the handler ordered before
 * takes effect when it returns. The virtual server's `handlerTimeout` bounds the whole suspension.
 *
 * Valid in every event but RULE_INIT. iRules: `after`.
 */
declare function after(milliseconds: number): Promise<void>;

/**
 * Logs a message at once, with the name of the rule and of the virtual server: `log('text')` at
 * level info, or `log(level, 'text')` with `error`, `warn`, `info` or `debug`. Cut at 8192
 * characters.
 *
 * Valid in every event. iRules: `log`.
 */
declare function log(levelOrMessage: string, message?: string): void;

/**
 * Base64 of the bytes (RFC 4648, with padding).
 *
 * Valid in every event. iRules: `b64encode`.
 */
declare function b64encode(data: Bytes): string;

/**
 * The bytes that Base64 text stands for (RFC 4648, padding required). Throws TypeError when it is
 * not Base64.
 *
 * Valid in every event. iRules: `b64decode`.
 */
declare function b64decode(text: string): string;

/**
 * The UTF-8 bytes of a text, for commands that take bytes.
 *
 * Valid in every event.
 */
declare function utf8(text: string): string;

/**
 * The text that UTF-8 bytes stand for; invalid bytes become U+FFFD.
 *
 * Valid in every event.
 */
declare function fromUtf8(data: Bytes): string;
