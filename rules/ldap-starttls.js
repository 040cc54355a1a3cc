// TLS for an LDAP server that has none: the client gets StartTLS (RFC 4511, section 4.14, RFC 4513,
// section 3), or TLS from the first byte on, and the server hears plain LDAP.
//
// The virtual server needs a client-ssl profile. With a server-ssl profile as well, the server hears
// all of it inside TLS, which starts with the connection. Options:
//   tls         "starttls" or "implicit"; without it, implicit where the client came to port 636
//   requireTls  true: before TLS, every other operation is refused with confidentialityRequired;
//               default false
//
// A client may ask for TLS at any time, but not while answers are due or a SASL bind is under way.
// So in plaintext both sides are collected, and message IDs tell which answers are due. The server's
// messages are not held: their beginnings say enough. Which server it is, is decided when the first
// operation, or TLS, is there.
//
// The rule lets go of the connection as soon as TLS has begun; a second StartTLS is refused by the
// server then. In plaintext it does so after a bind by somebody has succeeded (an anonymous one is
// what some clients begin with, JNDI for example), or after 100 operations: a later StartTLS goes to
// the server, too. What is no LDAP before that ends the connection. An abandoned operation counts as
// one that is due. The root DSE stays as it is: StartTLS is not among its supportedExtension unless
// the server says so.
import {
  ANSWERS,
  answer,
  asksForTls,
  BIND,
  BIND_ANSWER,
  bindsSomebody,
  CONFIDENTIALITY_REQUIRED,
  isBare,
  LAST_ANSWERS,
  messageAt,
  OPERATIONS_ERROR,
  PROTOCOL_ERROR,
  resultCode,
  SASL_BIND_IN_PROGRESS,
  SUCCESS,
  tlsAnswer,
  UNBIND,
} from './lib/ldap.js';
import { aBoolean, aTlsMode, checkOptions, isImplicit } from './lib/options.js';
import { Packets } from './lib/packets.js';
import { onServerSide } from './lib/server-side.js';

/** Events do not overlap: all connections read with this. */
const PACKETS = new Packets();

/** The longest request in plaintext. OpenLDAP allows as much before a bind. */
const LONGEST_REQUEST = 262_144;

/** A client that has sent so many operations in plaintext stays there. */
const MOST_OPERATIONS = 100;
/** A handler has its time, and a search may have any number of results. */
const MOST_AT_ONCE = 1000;
/** A client that is refused more often has nothing good in mind. */
const MOST_REFUSALS = 100;

when('RULE_INIT', () => {
  checkOptions(options, { tls: aTlsMode, requireTls: aBoolean });
});

/** Both sides are looked at. */
const WATCHED = 'watched';
/** TLS is there, or begins. */
const TLS = 'tls';
/** The client stays in plaintext. */
const PLAINTEXT = 'plaintext';
/** The client has said goodbye, or something that is no LDAP was sent. */
const OVER = 'over';

when('CLIENT_ACCEPTED', (c) => {
  const implicit = isImplicit(options, 636);
  c.ldap = {
    stage: implicit ? TLS : WATCHED,
    /** What works on the server's side; undefined: the server is not to be heard yet. */
    server: undefined,
    operations: 0,
    /** The IDs of the requests that the server has to answer; true: a bind by somebody. */
    outstanding: new Map(),
    /** The server waits for the next step of a SASL bind. */
    inSaslBind: false,
    refusals: 0,
  };
  if (implicit) return;
  SSL.disable();
  TCP.collect();
});

when('CLIENT_DATA', ({ ldap }) => {
  if (ldap.stage === WATCHED) takeRequests(ldap);
});

onServerSide(
  ({ ldap }, io) => {
    ldap.server = io;
    if (ldap.stage === WATCHED) io.collect();
  },
  ({ ldap }) => {
    if (ldap.stage === WATCHED && ldap.server !== undefined) takeAnswers(ldap);
  },
);

// ---- what the client sends ----------------------------------------------------------------------

/** Takes the client's requests. The client is the current side. */
function takeRequests(ldap) {
  const packets = PACKETS.read(TCP);
  let replies = '';
  while (ldap.stage === WATCHED) {
    const request = messageAt(packets);
    if (request === undefined) break;
    const fault = faultOf(ldap, request);
    if (fault !== undefined) {
      end(ldap, fault);
      return;
    }
    if (request.length > packets.available) break;
    replies += takeRequest(ldap, packets, request);
  }
  if (replies !== '') TCP.respond(replies);
  if (ldap.stage === PLAINTEXT) packets.letAllGo();
  else packets.letGo();
  // What follows StartTLS stays held: only the beginning of a TLS handshake may.
  if (ldap.stage === TLS) SSL.enable();
  if (ldap.stage === OVER) TCP.close();
  else if (ldap.stage !== WATCHED) letServerGo(ldap);
}

function letServerGo({ server }) {
  if (server !== undefined) serverside(() => server.release());
}

/** Why the connection must not go on; undefined: it may. */
function faultOf(ldap, request) {
  if (request === null || request.id === 0 || !ANSWERS.has(request.tag)) {
    return 'the client sent something that is no LDAP request';
  }
  if (request.length > LONGEST_REQUEST) {
    return `the client sent a request of more than ${LONGEST_REQUEST} bytes in plaintext`;
  }
  // It would not be known any more which answers are due.
  if (ldap.outstanding.has(request.id)) return 'the client used the ID of an outstanding request';
  if (ldap.refusals > MOST_REFUSALS) return `more than ${MOST_REFUSALS} requests were refused`;
  return undefined;
}

function end(ldap, fault) {
  ldap.stage = OVER;
  log('info', fault);
  reject();
}

/** Takes a request, which is held as a whole. Answers the rule's own reply to it. */
function takeRequest(ldap, packets, request) {
  if (!asksForTls(packets, request) && !options.requireTls) {
    forward(ldap, packets, request);
    return '';
  }
  const reply = ownReply(ldap, packets, request);
  if (ldap.stage === WATCHED) ldap.refusals += 1;
  packets.replaceBytes(request.length, '');
  return reply;
}

function forward(ldap, packets, request) {
  if (ANSWERS.get(request.tag) !== undefined) {
    ldap.outstanding.set(request.id, request.tag === BIND && bindsSomebody(packets, request));
  }
  ldap.operations += 1;
  if (request.tag === UNBIND || ldap.operations === MOST_OPERATIONS) ldap.stage = PLAINTEXT;
  packets.passBytes(request.length);
}

/** What the rule answers to a request that the server must not see. */
function ownReply(ldap, packets, request) {
  if (asksForTls(packets, request)) {
    const [code, text] = tlsResult(ldap, packets, request);
    if (code === SUCCESS) ldap.stage = TLS;
    return tlsAnswer(request, code, text);
  }
  if (request.tag === UNBIND) ldap.stage = OVER;
  const hasAnswer = ANSWERS.get(request.tag) !== undefined;
  return hasAnswer ? answer(request, CONFIDENTIALITY_REQUIRED, 'Use StartTLS first') : '';
}

function tlsResult({ outstanding, inSaslBind }, packets, request) {
  if (!isBare(packets, request)) return [PROTOCOL_ERROR, 'StartTLS takes no value and no controls'];
  if (outstanding.size > 0) return [OPERATIONS_ERROR, 'Operations are outstanding'];
  if (inSaslBind) return [OPERATIONS_ERROR, 'A SASL bind is in progress'];
  return [SUCCESS, 'Begin TLS negotiation'];
}

// ---- what the server sends ----------------------------------------------------------------------

/** Takes the server's answers, whose beginnings have arrived. The server is the current side. */
function takeAnswers(ldap) {
  const packets = PACKETS.read(ldap.server);
  let taken = 0;
  while (ldap.stage === WATCHED && taken < MOST_AT_ONCE) {
    const message = messageAt(packets);
    const code = message?.tag === BIND_ANSWER ? resultCode(packets, message) : SUCCESS;
    if (message === undefined || code === undefined) break;
    if (message === null || code === null) {
      log('warn', 'the server sent something that is no LDAP answer');
      ldap.stage = OVER;
      reject();
      return;
    }
    takeAnswer(ldap, message, code);
    packets.passBytes(message.length);
    taken += 1;
  }
  if (ldap.stage === WATCHED) {
    packets.letGo(taken === MOST_AT_ONCE);
  } else {
    packets.letAllGo();
    clientside(() => TCP.release());
  }
}

/** Keeps account of an answer. Entries, references and notices end no operation. */
function takeAnswer(ldap, { id, tag }, code) {
  if (!LAST_ANSWERS.has(tag)) return;
  const bindsSomebodyNow = ldap.outstanding.get(id) === true;
  ldap.outstanding.delete(id);
  if (tag !== BIND_ANSWER) return;
  ldap.inSaslBind = code === SASL_BIND_IN_PROGRESS;
  if (bindsSomebodyNow && code === SUCCESS) ldap.stage = PLAINTEXT;
}
