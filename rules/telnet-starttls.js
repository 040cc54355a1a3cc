// TLS for a Telnet server that has none: the client gets the option START_TLS (number 46, an Internet
// Draft of Altman and others), or TLS from the first byte on, and the server hears plain Telnet
// (RFC 854).
//
// The virtual server needs a client-ssl profile. With a server-ssl profile as well, the server hears
// all of it inside TLS, which starts with the connection. Options:
//   tls         "starttls" or "implicit"; without it, implicit where the client came to port 992
//   requireTls  true: the connection ends if the client does not want TLS; default false
//
// The rule begins with DO START_TLS and waits for the client's answer. After WILL START_TLS both sides
// say FOLLOWS, and TLS begins. What the client negotiated before does not reach the server, which is
// connected to when TLS is complete: there both begin anew. Data before TLS ends the connection then.
//
// After WONT START_TLS, or data without any answer, the client stays in plaintext, and all that it has
// said goes to the server. One that says nothing at all, because it is no Telnet client, is not
// connected to the server. When TLS is there or refused, the rule looks at nothing more.
import { aBoolean, aTlsMode, checkOptions, isImplicit } from './lib/options.js';

/** The most that a client may send before it answers. */
const LONGEST_NEGOTIATION = 4096;

/** Commands (RFC 854); those from WILL to DONT have an option behind them. */
const IAC = 255;
const SE = 240;
const SB = 250;
const WILL = 251;
const DONT = 254;

const DO_START_TLS = '\xff\xfd\x2e';
const WILL_START_TLS = '\xff\xfb\x2e';
const WONT_START_TLS = '\xff\xfc\x2e';
/** IAC SB START_TLS FOLLOWS IAC SE: the next byte from here is one of TLS. */
const FOLLOWS = '\xff\xfa\x2e\x01\xff\xf0';
const TLS_FIRST = 'TLS is required\r\n';

when('RULE_INIT', () => {
  checkOptions(options, { tls: aTlsMode, requireTls: aBoolean });
});

when('CLIENT_ACCEPTED', (c) => {
  if (isImplicit(options, 992)) return;
  c.telnet = {
    /** Up to here the client's bytes were read. */
    at: 0,
    /** The client has said WILL. */
    isWilling: false,
    /** The rule has answered that. */
    hasFollowed: false,
  };
  SSL.disable();
  TCP.respond(DO_START_TLS);
  // Delays the connection to the server.
  TCP.collect();
});

// All is held until it is known whom it is for.
when('CLIENT_DATA', ({ telnet }) => {
  const held = TCP.payload(LONGEST_NEGOTIATION);
  for (;;) {
    const { at, isWilling } = telnet;
    const end = endOfUnit(held, at);
    if (end === undefined) break;
    const unit = held.slice(at, end);
    if (isWilling && unit === FOLLOWS) {
      follow(telnet);
      TCP.payload.replace(0, end, '');
      // What follows stays held: only the beginning of a TLS handshake may.
      SSL.enable();
      return;
    }
    if (unit === FOLLOWS || (isWilling && isRefusal(unit))) {
      fail('the client broke off the negotiation of START_TLS');
      return;
    }
    if (isRefusal(unit)) {
      stayInPlaintext(unit, at);
      return;
    }
    telnet.isWilling ||= unit === WILL_START_TLS;
    telnet.at = end;
  }
  if (held.length === LONGEST_NEGOTIATION) fail('the client negotiated too long');
  else if (telnet.isWilling) follow(telnet);
});

/** Sends FOLLOWS, once: some clients wait for it, and others begin. */
function follow(telnet) {
  if (!telnet.hasFollowed) TCP.respond(FOLLOWS);
  telnet.hasFollowed = true;
}

function stayInPlaintext(unit, at) {
  if (options.requireTls) {
    TCP.respond(TLS_FIRST);
    TCP.close();
    return;
  }
  // The server has not asked, so the answer is not for it.
  if (unit === WONT_START_TLS) TCP.payload.replace(at, unit.length, '');
  TCP.release();
}

function fail(fault) {
  log('info', fault);
  reject();
}

/** Whether the client does not want TLS: it says so, or sends a byte of data. */
function isRefusal(unit) {
  return unit === WONT_START_TLS || unit.charCodeAt(0) !== IAC || unit.charCodeAt(1) === IAC;
}

/** Where the byte of data or the command ends that begins at `at`; undefined: not yet here. */
function endOfUnit(held, at) {
  if (at === held.length) return undefined;
  if (held.charCodeAt(at) !== IAC) return at + 1;
  const command = held.charCodeAt(at + 1);
  if (command === SB) return endOfSubnegotiation(held, at + 2);
  const end = at + (command >= WILL && command <= DONT ? 3 : 2);
  return end <= held.length ? end : undefined;
}

/** Behind IAC SE. IAC IAC is a byte 255 within. */
function endOfSubnegotiation(held, start) {
  for (let at = held.indexOf('\xff', start); at >= 0; at = held.indexOf('\xff', at + 2)) {
    if (held.charCodeAt(at + 1) === SE) return at + 2;
  }
  return undefined;
}
