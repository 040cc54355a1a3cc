// TLS for a POP3 server that has none: the client gets STLS (RFC 2595), or TLS from the first byte
// on, and the server hears plain POP3 (RFC 1939). User names can be given a realm on the way. Once
// the user has logged in, the rule lets go of the connection; it never sees a mail. Where the virtual
// server has a server-ssl profile, the server hears POP3 inside TLS, which starts with the connection
// or, with starttls-upstream, by STLS.
//
// The virtual server needs a client-ssl profile. Options:
//   tls         "starttls" or "implicit"; without it, implicit where the client came to port 995
//   realm       added to user names that have none: alice becomes alice@example.com (in USER, AUTH
//               PLAIN and AUTH LOGIN; not in APOP, whose digest would have to change)
//   requireTls  true: no login before TLS; default false
//
// Both sides are collected from the start and read line by line. Answers are known by their command
// and not by their text, and pipelined commands (RFC 2449, section 6.6) get theirs in order. An answer
// of several lines to a command that is not known here is taken for one line, and the others for
// unasked ones. What follows a login waits for its answer. A command with a control character, or of
// more than 255 octets, is refused; one of the server's lines of more than 8192 before the login ends
// the connection.
//
// Nothing of the plaintext counts inside TLS (RFC 2595, section 4), and nothing is left of it here:
// STLS waits until all is answered. The server still knows a USER from before. That is harmless,
// since only a PASS makes it count, and before that the client sends a USER of its own again.
import { splitCommand, withoutEnd } from './lib/lines.js';
import { aRealm } from './lib/options.js';
import { withRealm } from './lib/sasl.js';
import { SaslSession } from './lib/sasl-session.js';
import { addStarttls } from './lib/starttls-session.js';
import { passes, refuses, startsTls } from './lib/verdicts.js';

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

const PASSES_ONE_LINE = passes(ONE_LINE);
const PASSES_LIST = passes(LIST);
const PASSES_CAPABILITIES = passes(CAPABILITIES);
const PASSES_LOGIN = passes(LOGIN);
const BEGIN_TLS = startsTls('+OK Begin TLS negotiation\r\n');
const TLS_ALREADY = refuses('-ERR TLS is active already\r\n');
const TLS_FIRST = refuses('-ERR Use STLS first\r\n');
const NO_TEXT = refuses('-ERR The line has a control character\r\n');

const OWN_CAPABILITIES = '+OK\r\nSTLS\r\n.\r\n';
const NEEDS_TLS = new Set(['USER', 'PASS', 'APOP', 'AUTH']);
const OFFERS_LOGIN = new Set(['USER', 'SASL']);

class Pop3Session extends SaslSession {
  /** The server is within a list. */
  inList = false;

  judge(line) {
    if (this.challenged) return this.judgeResponse(line);
    const { word, argument, isText } = splitCommand(withoutEnd(line));
    if (!isText) return NO_TEXT;
    if (word === 'STLS') return this.tls ? TLS_ALREADY : BEGIN_TLS;
    if (this.lacksTls && NEEDS_TLS.has(word)) return TLS_FIRST;
    switch (word) {
      case 'CAPA':
        return PASSES_CAPABILITIES;
      case 'USER':
        return passes(ONE_LINE, this.withArgument(line, argument, this.nameWithRealm(argument)));
      case 'PASS':
      case 'APOP':
        return PASSES_LOGIN;
      case 'AUTH':
        return argument === '' ? PASSES_LIST : this.judgeAuth(line, argument, SASL_LOGIN);
      case 'LANG': // RFC 6856, section 3
        return argument === '' ? PASSES_LIST : PASSES_ONE_LINE;
      default:
        return PASSES_ONE_LINE;
    }
  }

  /** The argument of USER. Blanks at its end are no part of the name. */
  nameWithRealm(argument) {
    const hasBlank = argument.endsWith(' ') || argument.endsWith('\t');
    const name = hasBlank ? argument.replace(/[ \t]+$/, '') : argument;
    return withRealm(name, this.options.realm) + argument.slice(name.length);
  }

  /** What comes behind a login may be a SASL response, or not for the rule at all. */
  decides(owed) {
    return owed === LOGIN || owed === SASL_LOGIN;
  }

  /** A line of the answer to the oldest command. One that nobody asked for just passes. */
  takeAnswer(line) {
    const owed = this.outstanding[0];
    if (this.inList) return this.takeListLine(line, owed === CAPABILITIES);
    const isOk = line.slice(0, 3).toUpperCase() === '+OK';
    if (isOk && (owed === CAPABILITIES || owed === LIST)) {
      this.inList = true;
      return undefined;
    }
    this.challenged = owed === SASL_LOGIN && !isOk && line[0] === '+';
    if (this.challenged) return undefined;
    this.outstanding.shift();
    this.done = isOk && this.decides(owed);
    return owed === CAPABILITIES && !this.tls ? OWN_CAPABILITIES : undefined;
  }

  takeListLine(line, isCapability) {
    if (line[0] === '.' && withoutEnd(line) === '.') {
      this.inList = false;
      this.outstanding.shift();
      return isCapability && !this.tls ? `STLS\r\n${line}` : undefined;
    }
    return isCapability && this.hides(line) ? '' : undefined;
  }

  /** Whether a capability of the server is none towards the client. */
  hides(line) {
    // All of them have four letters.
    const tag = line.slice(0, 4).toUpperCase();
    const isOne = tag === 'STLS' || (this.lacksTls && OFFERS_LOGIN.has(tag));
    return isOne && ' \r\n'.includes(line[4]);
  }
}

addStarttls(options, {
  Session: Pop3Session,
  implicitPort: 995,
  greeting: ONE_LINE,
  known: { realm: aRealm },
  // RFC 2449, section 4.
  longestCommand: 255,
  tooLong: refuses('-ERR The line is too long\r\n'),
  longestAnswer: 8192,
});
