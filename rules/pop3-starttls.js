// TLS for a POP3 server that has none: the client gets STLS (RFC 2595), or TLS from the first byte
// on, and the server hears plain POP3 (RFC 1939). User names can be given a realm on the way. Once
// the user has logged in, the rule lets go of the connection; it never sees a mail.
//
// The virtual server needs a client-ssl profile. Options:
//   tls         "starttls" or "implicit"; without it, implicit where the client came to port 995
//   realm       added to user names that have none: alice becomes alice@example.com (in USER, AUTH
//               PLAIN and AUTH LOGIN; not in APOP, whose digest would have to change)
//   requireTls  true: no login before TLS; default false
//
// Both sides are collected from the start and read line by line, wherever the network has cut them.
// `outstanding` says what the server still has to answer, so that each answer is known by its
// command and not by its text. What the rule answers itself waits until nothing is outstanding:
// pipelined commands (RFC 2449, section 6.6) get their answers in order. An answer of several lines
// to a command that is not known here is taken for one line, and the others for unasked ones.
import { isText, Lines, splitCommand, withoutEnd } from './lib/lines.js';
import { aBoolean, aRealm, checkOptions, oneOf } from './lib/options.js';
import { responseWithRealm, withRealm } from './lib/sasl.js';

/** The longest lines with their ends: RFC 2449, section 4, RFC 5034, section 4, and our own. */
const LONGEST_COMMAND = 255;
const LONGEST_RESPONSE = 12288;
const LONGEST_ANSWER = 8192;

/** More commands wait until the server has answered these. */
const MOST_OUTSTANDING = 1000;
/** A client that is refused more often has nothing good in mind. */
const MOST_REFUSALS = 100;

/** How the answer to a command looks. */
const ONE_LINE = 'one line';
/** Lines up to a single dot, if the first one is +OK. */
const LIST = 'list';
/** A list as well, and one that the rule edits. */
const CAPABILITIES = 'capabilities';
/** One line; +OK means that the user is logged in. */
const LOGIN = 'login';
/** The same, after any number of challenges. */
const SASL_LOGIN = 'sasl login';

const OWN_CAPABILITIES = '+OK\r\nSTLS\r\n.\r\n';
const NEEDS_TLS = new Set(['USER', 'PASS', 'APOP', 'AUTH']);
const OFFERS_LOGIN = new Set(['USER', 'SASL']);

when('RULE_INIT', () => {
  checkOptions(options, {
    tls: oneOf('starttls', 'implicit'),
    realm: aRealm,
    requireTls: aBoolean,
  });
});

when('CLIENT_ACCEPTED', (c) => {
  const implicit =
    (options.tls ?? (TCP.local_port() === 995 ? 'implicit' : 'starttls')) === 'implicit';
  if (!implicit) SSL.disable();
  c.pop3 = {
    /** The client side speaks TLS. */
    tls: implicit,
    /** What the server has to answer, oldest first. Its greeting comes unasked. */
    outstanding: [ONE_LINE],
    /** The server is within a list. */
    inList: false,
    /** The server has sent a SASL challenge: the client's next line is a response. */
    challenged: false,
    /** The SASL mechanism whose next response names the user. */
    mechanism: '',
    loggedIn: false,
    /** The client's lines wait for the server's answers. */
    waits: false,
    /** The rest of the client's line is thrown away, because it is too long. */
    skips: false,
    refusals: 0,
  };
});

// Collecting on the client side delays the connection to the server, whose greeting comes first.
when('SERVER_CONNECTED', ({ pop3 }) => {
  TCP.collect();
  clientside(() => layerOf(pop3).collect());
});

// Nothing of the plaintext counts any more (RFC 2595, section 4), and nothing is left of it here:
// STLS waits until all is answered. The server still knows a USER from before. That is harmless,
// since only a PASS makes it count, and before that the client sends a USER of its own again.
when('CLIENTSSL_HANDSHAKE', ({ pop3 }) => {
  if (pop3.tls) return;
  pop3.tls = true;
  SSL.collect();
});

when('CLIENT_DATA', ({ pop3 }) => takeCommands(pop3));
when('CLIENTSSL_DATA', ({ pop3 }) => takeCommands(pop3));
when('SERVER_DATA', ({ pop3 }) => takeAnswers(pop3));

function layerOf(pop3) {
  return pop3.tls ? SSL : TCP;
}

// ---- what the client sends ----------------------------------------------------------------------

const BEGIN_TLS = '+OK Begin TLS negotiation\r\n';
const TLS_ALREADY = '-ERR TLS is active already\r\n';
const TLS_FIRST = '-ERR Use STLS first\r\n';
const TOO_LONG = '-ERR The line is too long\r\n';
const NO_TEXT = '-ERR The line has a control character\r\n';

/** Takes the client's lines, up to one that has to wait. The client is the current side. */
function takeCommands(pop3) {
  if (pop3.waits) return;
  const io = layerOf(pop3);
  const lines = new Lines(io);
  let replies = '';
  let reply = '';
  while (reply !== undefined && reply !== BEGIN_TLS && pop3.refusals <= MOST_REFUSALS) {
    reply = takeLine(pop3, lines);
    replies += reply ?? '';
  }
  if (reply === undefined && !pop3.waits) skipLongLine(pop3, lines);
  lines.letGo();
  if (replies !== '') io.respond(replies);
  // What follows STLS stays held: only the beginning of a TLS handshake may.
  if (reply === BEGIN_TLS) SSL.enable();
  if (pop3.refusals > MOST_REFUSALS) {
    log('info', `more than ${MOST_REFUSALS} commands were refused`);
    reject();
  }
}

/** Takes the next line. Answers the rule's own reply to it; undefined: no line can be taken. */
function takeLine(pop3, lines) {
  // What comes behind a login may be a SASL response, or not for the rule at all.
  pop3.waits = !pop3.challenged && isLogin(pop3.outstanding.at(-1));
  const line = pop3.waits ? undefined : lines.next();
  if (line === undefined) return undefined;
  if (pop3.challenged) {
    takeResponse(pop3, lines, line);
    return '';
  }
  const tooLong = pop3.skips || isTooLong(pop3, line, line.length);
  const text = withoutEnd(line);
  const command = tooLong ? undefined : splitCommand(text);
  const reply = tooLong ? TOO_LONG : ownReply(pop3, text, command.word);
  pop3.waits = pop3.outstanding.length >= (reply === undefined ? MOST_OUTSTANDING : 1);
  if (pop3.waits) return undefined;
  if (reply === undefined) {
    forward(pop3, lines, line, command);
    return '';
  }
  pop3.skips = false;
  if (reply !== BEGIN_TLS) pop3.refusals += 1;
  lines.replace('');
  return reply;
}

/** What the rule answers to a command that the server must not see. */
function ownReply(pop3, text, word) {
  if (!isText(text)) return NO_TEXT;
  if (word === 'STLS') return pop3.tls ? TLS_ALREADY : BEGIN_TLS;
  return options.requireTls && !pop3.tls && NEEDS_TLS.has(word) ? TLS_FIRST : undefined;
}

function forward(pop3, lines, line, { word, argument }) {
  pop3.outstanding.push(answerTo(word, argument));
  let changed = argument;
  if (word === 'USER') changed = nameWithRealm(argument);
  if (word === 'AUTH') changed = authWithRealm(pop3, argument);
  if (changed === argument) {
    lines.pass();
  } else {
    const text = withoutEnd(line);
    lines.replace(text.slice(0, text.length - argument.length) + changed + line.slice(text.length));
  }
}

function answerTo(word, argument) {
  switch (word) {
    case 'CAPA':
      return CAPABILITIES;
    case 'PASS':
    case 'APOP':
      return LOGIN;
    case 'AUTH':
      return argument === '' ? LIST : SASL_LOGIN;
    case 'LANG': // RFC 6856, section 3
      return argument === '' ? LIST : ONE_LINE;
    default:
      return ONE_LINE;
  }
}

/** The argument of USER. Blanks at its end are no part of the name. */
function nameWithRealm(argument) {
  const name = argument.replace(/[ \t]+$/, '');
  return withRealm(name, options.realm) + argument.slice(name.length);
}

/** The argument of AUTH: a mechanism, and perhaps the first response; `=` is an empty one. */
function authWithRealm(pop3, argument) {
  const [mechanism] = argument.split(' ', 1);
  const response = argument.slice(mechanism.length + 1);
  pop3.mechanism = mechanism.toUpperCase();
  if (response === '' || response === '=') return argument;
  const changed = responseWithRealm(pop3.mechanism, response, options.realm);
  pop3.mechanism = '';
  return argument.slice(0, argument.length - response.length) + changed;
}

/** Takes the answer to a challenge. `*` makes the server end the login (RFC 5034, section 4). */
function takeResponse(pop3, lines, line) {
  const text = withoutEnd(line);
  const isBad = pop3.skips || isTooLong(pop3, line, line.length) || !isText(text);
  const changed = isBad ? '*' : responseWithRealm(pop3.mechanism, text, options.realm);
  pop3.challenged = false;
  pop3.skips = false;
  pop3.mechanism = '';
  if (changed === text) lines.pass();
  else lines.replace(changed + line.slice(text.length));
}

/** Throws the beginning of a line away if the line will be too long, so that it takes no room. */
function skipLongLine(pop3, lines) {
  const rest = lines.rest();
  pop3.skips ||= isTooLong(pop3, rest, rest.length + 1);
  if (pop3.skips && rest !== '') lines.dropRest();
}

/** Whether a line of this length is too long. `line` may be only its beginning. */
function isTooLong(pop3, line, length) {
  if (length <= LONGEST_COMMAND) return false;
  const mayBeLong = pop3.challenged || splitCommand(line.slice(0, LONGEST_COMMAND)).word === 'AUTH';
  return length > (mayBeLong ? LONGEST_RESPONSE : LONGEST_COMMAND);
}

// ---- what the server sends ----------------------------------------------------------------------

/** Takes the server's lines, and then what has waited for them. The server is the current side. */
function takeAnswers(pop3) {
  const lines = new Lines(TCP);
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    if (line.length > LONGEST_ANSWER) break;
    takeAnswer(pop3, lines, line);
    if (pop3.loggedIn) {
      lines.letAllGo();
      clientside(() => layerOf(pop3).release());
      return;
    }
  }
  lines.letGo();
  if (lines.rest().length >= LONGEST_ANSWER) {
    log('warn', `the server sent a line of more than ${LONGEST_ANSWER} bytes before the login`);
    reject();
    return;
  }
  if (pop3.waits && (pop3.outstanding.length === 0 || pop3.challenged)) {
    pop3.waits = false;
    clientside(() => takeCommands(pop3));
  }
}

/** Takes a line of the answer to the oldest command. One that nobody asked for just passes. */
function takeAnswer(pop3, lines, line) {
  const kind = pop3.outstanding[0];
  if (pop3.inList) {
    takeListLine(pop3, lines, line, kind === CAPABILITIES);
    return;
  }
  const isOk = line.slice(0, 3).toUpperCase() === '+OK';
  if (isOk && (kind === CAPABILITIES || kind === LIST)) {
    pop3.inList = true;
    lines.pass();
    return;
  }
  if (kind === SASL_LOGIN && !isOk && line[0] === '+') {
    pop3.challenged = true;
    lines.pass();
    return;
  }
  pop3.outstanding.shift();
  pop3.challenged = false;
  pop3.loggedIn = isOk && isLogin(kind);
  if (kind === CAPABILITIES && !pop3.tls) lines.replace(OWN_CAPABILITIES);
  else lines.pass();
}

function takeListLine(pop3, lines, line, isCapability) {
  if (line[0] === '.' && withoutEnd(line) === '.') {
    pop3.inList = false;
    pop3.outstanding.shift();
    if (isCapability && !pop3.tls) lines.replace(`STLS\r\n${line}`);
    else lines.pass();
  } else if (isCapability && isHidden(pop3, line)) {
    lines.replace('');
  } else {
    lines.pass();
  }
}

/** Whether a capability of the server is none towards the client. */
function isHidden(pop3, line) {
  // All of them have four letters.
  const tag = line.slice(0, 4).toUpperCase();
  const isOne = tag === 'STLS' || (options.requireTls && !pop3.tls && OFFERS_LOGIN.has(tag));
  return isOne && ' \r\n'.includes(line[4]);
}

function isLogin(kind) {
  return kind === LOGIN || kind === SASL_LOGIN;
}
