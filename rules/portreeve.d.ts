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
  | 'CLIENTSSL_CLIENTHELLO'
  | 'CLIENTSSL_CLIENTCERT'
  | 'CLIENTSSL_HANDSHAKE'
  | 'CLIENTSSL_DATA'
  | 'LB_SELECTED'
  | 'LB_FAILED'
  | 'SERVER_CONNECTED'
  | 'SERVER_DATA'
  | 'SERVERSSL_HANDSHAKE'
  | 'SERVERSSL_DATA'
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

/**
 * The client has sent its ClientHello. Nothing was answered yet: `SSL.disable()` lets it go on to
 * the server as it came. The current side is the client.
 */
declare function when(
  event: 'CLIENTSSL_CLIENTHELLO',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/**
 * The client was asked for a certificate, and the handshake is complete. `SSL.cert.count()` is 0 if
 * it has shown none. The current side is the client.
 */
declare function when(
  event: 'CLIENTSSL_CLIENTCERT',
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

/**
 * The TLS handshake with the server is complete, and its certificate was verified as the server-ssl
 * profile demands. The current side is the server.
 */
declare function when(
  event: 'SERVERSSL_HANDSHAKE',
  handler: (c: Connection) => unknown,
  options?: HandlerOptions,
): void;

/**
 * Decrypted bytes that SSL.collect() asked for have arrived from the server. The current side is
 * the server.
 */
declare function when(
  event: 'SERVERSSL_DATA',
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
   * Holds back the bytes that arrive on the current side, and fires CLIENTSSL_DATA or
   * SERVERSSL_DATA for them. Without `length` the event fires for every segment; with it, when at
   * least `length` bytes (1 or more) are held. `skip` lets that many bytes pass first; the event
   * then also fires when they have. The last call wins. On the client side it delays the connection
   * to the server until `SSL.release()`. Collecting ends with `SSL.release()`: call `collect` again
   * for more. More than the virtual server's `collectLimit` resets the connection.
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
   * Starts TLS on the current (or the named) side, behind everything sent to it; inside the TLS
   * that is there already, if there is some. Needs a TLS profile for that side. Bytes of the client
   * that came before and were not released are taken as the beginning of its handshake if they look
   * like one; otherwise the connection is reset, because nothing received in plaintext may be read
   * inside TLS. The server must not have sent anything behind its last answer.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::enable`.
   */
  function enable(side?: 'clientside' | 'serverside'): void;

  /**
   * Keeps TLS from starting on the current (or the named) side, until `SSL.enable()`. Usually
   * called in CLIENT_ACCEPTED. In CLIENTSSL_CLIENTHELLO the ClientHello goes on to the server as it
   * came. After a handshake it takes the topmost layer of TLS off, behind everything sent, if the
   * profile has `"detachable": true`; the peer must not send anything inside TLS behind the command
   * that ends it. Call `TCP.collect()` right behind it (or `SSL.collect()` if there is TLS below)
   * to see what comes then.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::disable`.
   */
  function disable(side?: 'clientside' | 'serverside'): void;

  /**
   * Always an error: TLS 1.3 has no renegotiation, and RFC 9325 advises against it in TLS 1.2.
   * Choose the policy for client certificates before the handshake, with `SSL.cert.mode()`.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::renegotiate`.
   */
  function renegotiate(side?: 'clientside' | 'serverside'): void;

  /**
   * Whether the current side speaks TLS, or will as soon as it can.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::mode`.
   */
  function mode(): boolean;

  /**
   * The cipher of the current side: its `name` in OpenSSL's notation, the `bits` of its key, or the
   * `version` of TLS such as `TLSv1.3`. Empty without TLS.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::cipher`.
   */
  function cipher(part: 'name' | 'bits' | 'version'): string;

  /**
   * The current side's session id in hexadecimal digits. Empty where there is none: sessions live
   * in tickets.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::sessionid`.
   */
  function sessionid(): string;

  /**
   * The protocol that the current side agreed on (RFC 7301). Empty: none.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::alpn`.
   */
  function alpn(): string;

  namespace sni {
    /**
     * The name that the client asked for in its last ClientHello, in lower case; on the server side
     * the one that the server was asked for. Empty: none.
     *
     * Valid in every event but RULE_INIT. iRules: `SSL::sni name`.
     */
    function name(): string;
  }

  /**
   * The body of the extension of that type in the client's ClientHello, such as 0 for server_name.
   * Empty where it has none.
   *
   * Valid in CLIENTSSL_CLIENTHELLO, CLIENTSSL_CLIENTCERT, CLIENTSSL_HANDSHAKE. iRules:
   * `SSL::extensions -type`.
   */
  function extensions(type: number): string;

  namespace extensions {
    /**
     * Whether the client's ClientHello has an extension of that type.
     *
     * Valid in CLIENTSSL_CLIENTHELLO, CLIENTSSL_CLIENTCERT, CLIENTSSL_HANDSHAKE. iRules:
     * `SSL::extensions exists -type`.
     */
    function exists(type: number): boolean;
  }

  /**
   * A certificate of the current side's peer in DER, for the `X509` commands: 0 is its own, 1 the
   * issuer of that, as far as they are known. Empty where there is none.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::cert`.
   */
  function cert(index: number): string;

  namespace cert {
    /**
     * How many certificates are known of the current side's peer.
     *
     * Valid in every event but RULE_INIT. iRules: `SSL::cert count`.
     */
    function count(): number;

    /**
     * The certificate that issued the one with that index, in DER. A root is its own issuer. Empty
     * where it is not known.
     *
     * Valid in every event but RULE_INIT. iRules: `SSL::cert issuer`.
     */
    function issuer(index: number): string;

    /**
     * Whether the client is asked for a certificate in its next handshake, in place of what the
     * client-ssl profile says, which must have a `ca` unless the mode is `ignore`. With `require` a
     * client without a good one is refused.
     *
     * Valid in CLIENT_ACCEPTED, CLIENT_DATA, CLIENTSSL_CLIENTHELLO, CLIENTSSL_DATA. iRules:
     * `SSL::cert mode`.
     */
    function mode(mode: 'ignore' | 'request' | 'require'): void;
  }

  /**
   * What the verification of the peer's certificate has found, in OpenSSL's numbers: 0 is good, and
   * `X509.verify_cert_error_string()` tells the others in words. 0 as well where there is no
   * certificate: look at `SSL.cert.count()`.
   *
   * Valid in every event but RULE_INIT. iRules: `SSL::verify_result`.
   */
  function verify_result(): number;
}

declare namespace X509 {
  /**
   * The subject of a certificate (DER as `SSL.cert` gives it, or PEM) as RFC 2253 writes it:
   * `CN=www.example.com,O=Example\, Inc.,C=US`; empty if it has none. With `commonName` only the
   * text of its last `CN`, not escaped. Throws TypeError when it is not a certificate, or longer
   * than 64 KiB, as all of `X509` do. (Later versions of iRules put a space behind the comma and
   * quotes around some values.)
   *
   * Valid in every event. iRules: `X509::subject`.
   */
  function subject(certificate: Bytes, part?: 'commonName'): string;

  /**
   * The issuer of a certificate, written like `X509.subject`.
   *
   * Valid in every event. iRules: `X509::issuer`.
   */
  function issuer(certificate: Bytes): string;

  /**
   * The serial number of a certificate in pairs of lower case hexadecimal digits: `1a:03:c4`.
   *
   * Valid in every event. iRules: `X509::serial_number`.
   */
  function serial_number(certificate: Bytes): string;

  /**
   * From when on a certificate is valid, such as `Nov 20 10:00:00 2026 GMT`.
   *
   * Valid in every event. iRules: `X509::not_valid_before`.
   */
  function not_valid_before(certificate: Bytes): string;

  /**
   * Until when a certificate is valid, such as `Nov 20 10:00:00 2027 GMT`.
   *
   * Valid in every event. iRules: `X509::not_valid_after`.
   */
  function not_valid_after(certificate: Bytes): string;

  /**
   * The version of a certificate: 3 for nearly all of them.
   *
   * Valid in every event. iRules: `X509::version`.
   */
  function version(certificate: Bytes): number;

  /**
   * The fingerprint of a certificate in pairs of upper case hexadecimal digits: `0A:1B:…`. MD5 by
   * default, as in iRules. Two certificates with the same MD5 can be made: decide by `sha256` who
   * somebody is.
   *
   * Valid in every event. iRules: `X509::hash`.
   */
  function hash(certificate: Bytes, algorithm?: 'md5' | 'sha256'): string;

  /**
   * The algorithm with which a certificate was signed, by its OpenSSL name:
   * `sha256WithRSAEncryption`, `ecdsa-with-SHA256`; the object identifier of a rare one.
   *
   * Valid in every event. iRules: `X509::signature_algorithm`.
   */
  function signature_algorithm(certificate: Bytes): string;

  /**
   * The type of the public key in a certificate: `RSA`, `DSA`, `EC` or `unknown`.
   *
   * Valid in every event. iRules: `X509::subject_public_key_type`.
   */
  function subject_public_key_type(certificate: Bytes): string;

  /**
   * The length in bits of the RSA key in a certificate. Throws TypeError for another type of key.
   *
   * Valid in every event. iRules: `X509::subject_public_key_RSA_bits`.
   */
  function subject_public_key_RSA_bits(certificate: Bytes): number;

  /**
   * The public key in a certificate: its SubjectPublicKeyInfo (RFC 5280) as DER, in lower case
   * hexadecimal digits.
   *
   * Valid in every event. iRules: `X509::subject_public_key`.
   */
  function subject_public_key(certificate: Bytes): string;

  /**
   * The extensions of a certificate as OpenSSL prints them, each with a title such as
   * `X509v3 Subject Alternative Name: ` and its value in the lines below; `(no extensions)` without
   * any. A name in `Subject Alternative Name` with a comma in it is in quotes:
   * `DNS:"a\u002c DNS:b"`. Extensions that few certificates have are shown as hexadecimal digits.
   *
   * Valid in every event. iRules: `X509::extensions`.
   */
  function extensions(certificate: Bytes): string;

  /**
   * A certificate as PEM.
   *
   * Valid in every event. iRules: `X509::whole`.
   */
  function whole(certificate: Bytes): string;

  /**
   * The first certificate in a PEM text as DER.
   *
   * Valid in every event. iRules: `X509::pem2der`.
   */
  function pem2der(pem: Bytes): string;

  /**
   * What OpenSSL calls a result of `SSL.verify_result`: `ok` for 0, `certificate has expired` for
   * 10.
   *
   * Valid in every event. iRules: `X509::verify_cert_error_string`.
   */
  function verify_cert_error_string(code: number): string;
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
 * Valid in CLIENT_ACCEPTED, CLIENT_DATA, CLIENTSSL_CLIENTHELLO, CLIENTSSL_CLIENTCERT,
 * CLIENTSSL_HANDSHAKE, CLIENTSSL_DATA, LB_SELECTED, LB_FAILED. iRules: `pool`.
 */
declare function pool(name: string, address?: string, port?: number): void;

/**
 * Sends this connection to the server at the IP address `address` and `port`, whatever the pools
 * say.
 *
 * Valid in CLIENT_ACCEPTED, CLIENT_DATA, CLIENTSSL_CLIENTHELLO, CLIENTSSL_CLIENTCERT,
 * CLIENTSSL_HANDSHAKE, CLIENTSSL_DATA, LB_SELECTED, LB_FAILED. iRules: `node`.
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
