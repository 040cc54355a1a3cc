// TLS for an SMTP or LMTP server that has none: the client gets STARTTLS (RFC 3207), or TLS from
// the first byte on (RFC 8314), and the server hears plain SMTP (RFC 5321) or LMTP (RFC 2033). User
// names can be given a realm on the way. The rule never sees a message. Where the virtual server has
// a server-ssl profile, the server hears all of it inside TLS, which starts with the connection or,
// with starttls-upstream, by STARTTLS.
//
// The virtual server needs a client-ssl profile. Options:
//   tls         "starttls" or "implicit"; without it, implicit where the client came to port 465
//   realm       added to user names that have none: alice becomes alice@example.com (in AUTH PLAIN
//               and AUTH LOGIN)
//   requireTls  true: before TLS only EHLO, HELO, LHLO, NOOP, RSET, QUIT and STARTTLS; default false
//
// Both sides are collected from the start and read line by line. Answers are known by their command
// and not by their text, and pipelined commands (RFC 2920) get theirs in order. Before TLS the answer to EHLO or LHLO
// offers STARTTLS; where the server offers it by itself, that is hidden. A server that says anything
// but replies is cut off.
//
// The rule lets go of the connection as soon as the server has accepted a MAIL, a login, or a
// command that is not known here, and with the first BDAT (RFC 3030): what follows may be no
// commands any more. From then on the server itself answers a STARTTLS, which comes too late then:
// a login cannot be taken back, and what else the server has learnt in plaintext is not known. So
// at STARTTLS it knows nothing but the client's name, and that is forgotten too: after TLS the
// client must greet anew (RFC 3207, section 4.2), which makes the server begin anew (RFC 5321,
// section 4.1.4). STARTTLS is taken without a greeting before it: nothing of one would count.
//
// Limits. A client that sends MAIL before TLS cannot have TLS any more. One that sends MAIL before
// AUTH gets no realm. A BDAT that is refused, before TLS or a greeting, ends the connection. While a
// client has sent more behind EHLO, AUTH or DATA, the server must answer within the collectTimeout.
// The server sees the proxy's address: it must not relay mail, or take XCLIENT, for that alone.
import { splitCommand, withoutEnd } from './lib/lines.js';
import { aRealm } from './lib/options.js';
import { SaslSession } from './lib/sasl-session.js';
import { endingAt, isLastLine, isReplyLine, keywordOf, notLast } from './lib/smtp-reply.js';
import { addStarttls } from './lib/starttls-session.js';
import { closes, passes, refuses, startsTls } from './lib/verdicts.js';

/** For a line of the server, and for an answer to EHLO as a whole. */
const LONGEST_ANSWER = 16384;
const ANSWER_TOO_LONG = `the server's answer has more than ${LONGEST_ANSWER} bytes`;

/** What the server's answer to a command means. Its greeting is SIMPLE as well. */
const SIMPLE = 'simple';
/** 250: the session has begun anew. */
const HELO = 'helo';
/** The same, with keywords that the rule edits. */
const EHLO = 'ehlo';
/** 2xx: logged in; 3xx: a challenge. */
const AUTH = 'auth';
/** 2xx: a mail transaction has begun. */
const MAIL = 'mail';
/** What follows is no command: the rule does not wait for the answer. */
const BDAT = 'bdat';
/** DATA, and what is not known here. 2xx or 3xx: what follows may be no commands. */
const OTHER = 'other';

const PASSES_SIMPLE = passes(SIMPLE);
const PASSES_EHLO = passes(EHLO);
const PASSES_OTHER = passes(OTHER);

/** What is done with commands; AUTH may change on the way. */
const COMMANDS = new Map([
  ['EHLO', PASSES_EHLO],
  ['LHLO', PASSES_EHLO],
  ['HELO', passes(HELO)],
  ['MAIL', passes(MAIL)],
  ['BDAT', passes(BDAT)],
  ['RCPT', PASSES_SIMPLE],
  ['RSET', PASSES_SIMPLE],
  ['NOOP', PASSES_SIMPLE],
  ['QUIT', PASSES_SIMPLE],
  ['HELP', PASSES_SIMPLE],
  ['VRFY', PASSES_SIMPLE],
  ['EXPN', PASSES_SIMPLE],
]);

/** RFC 3207, section 4; HELO, LHLO and RSET tell and begin nothing either. */
const BEFORE_TLS = new Set(['EHLO', 'HELO', 'LHLO', 'NOOP', 'RSET', 'QUIT']);
/** RFC 5321, section 4.1.4. */
const BEFORE_HELLO = new Set([...BEFORE_TLS, 'HELP', 'VRFY', 'EXPN']);

const BEGIN_TLS = startsTls('220 2.0.0 Ready to start TLS\r\n');
const TLS_ALREADY = refuses('503 5.5.1 TLS is active already\r\n');
const NO_ARGUMENT = refuses('501 5.5.4 STARTTLS has no argument\r\n');
const TLS_FIRST = refuses('530 5.7.0 Must issue a STARTTLS command first\r\n');
const HELLO_FIRST = refuses('503 5.5.1 Send EHLO first\r\n');
const NO_TEXT = refuses('500 5.5.2 The line has a control character\r\n');
const BYE = closes('421 4.7.0 The command is refused, and the connection closed\r\n');

class SmtpSession extends SaslSession {
  /** After STARTTLS the client has not greeted yet. */
  helloDue = false;
  /** The lines of an answer to EHLO so far, but for hidden ones, and where the last of them begins. */
  ehlo = '';
  ehloEnd = 0;

  judge(line) {
    if (this.challenged) return this.judgeResponse(line);
    const { word, argument, isText } = splitCommand(withoutEnd(line));
    const refusal = isText ? this.refusalOf(word, argument) : NO_TEXT;
    // What follows a BDAT may be a message, which must not be read as commands.
    if (refusal !== undefined) return word === 'BDAT' ? BYE : refusal;
    if (word === 'AUTH') return this.judgeAuth(line, argument, AUTH);
    this.done = word === 'BDAT';
    const verdict = COMMANDS.get(word) ?? PASSES_OTHER;
    return line.endsWith('\r\n') ? verdict : passes(verdict.owes, withCrlf(line));
  }

  /** What is done with a command that the server must not see; undefined: it may. */
  refusalOf(word, argument) {
    if (word === 'STARTTLS') {
      if (this.tls) return TLS_ALREADY;
      return argument === '' ? BEGIN_TLS : NO_ARGUMENT;
    }
    if (this.lacksTls && !BEFORE_TLS.has(word)) return TLS_FIRST;
    return this.helloDue && !BEFORE_HELLO.has(word) ? HELLO_FIRST : undefined;
  }

  withArgument(line, argument, changed) {
    const sent = super.withArgument(line, argument, changed);
    return line.endsWith('\r\n') ? sent : withCrlf(sent ?? line);
  }

  /** What is sent behind one of these is looked at when it has been answered. */
  decides(owed) {
    return owed === EHLO || owed === AUTH || owed === OTHER;
  }

  secured() {
    super.secured();
    this.helloDue = true;
  }

  /** A line of the answer to the oldest command. One that nobody asked for just passes. */
  takeAnswer(line) {
    if (!isReplyLine(line)) return this.fail('the server sent a line that is no SMTP reply');
    const owed = this.outstanding[0];
    if (owed === EHLO && this.ehlo.length + line.length > LONGEST_ANSWER) {
      return this.fail(ANSWER_TOO_LONG);
    }
    if (!isLastLine(line)) return owed === EHLO ? this.holdEhlo(line) : undefined;
    this.challenged = owed === AUTH && line[0] === '3';
    if (this.challenged) return undefined;
    this.outstanding.shift();
    const isPositive = line[0] === '2' || line[0] === '3';
    this.done = isPositive && (owed === MAIL || owed === AUTH || owed === OTHER);
    if ((owed === EHLO || owed === HELO) && line.startsWith('250')) this.helloDue = false;
    return owed === EHLO ? this.endEhlo(line) : undefined;
  }

  /** Keeps a line of the answer to EHLO back until that is whole: the last one may be hidden. */
  holdEhlo(line) {
    if (!this.hides(line)) {
      this.ehloEnd = this.ehlo.length;
      this.ehlo += line;
    }
    return '';
  }

  /** The answer to EHLO as the client gets it. */
  endEhlo(lastLine) {
    const { ehlo, ehloEnd } = this;
    const isHidden = this.hides(lastLine);
    this.ehlo = '';
    if (this.tls || !lastLine.startsWith('250')) {
      return isHidden ? endingAt(ehlo, ehloEnd) : ehlo + lastLine;
    }
    return `${ehlo}${isHidden ? '' : notLast(lastLine)}250 STARTTLS\r\n`;
  }

  /** Whether a line of an answer to EHLO is none towards the client. The first one is a greeting. */
  hides(line) {
    // An expression takes its time to find that out.
    if (this.ehlo === '' || !'SsAa \t'.includes(line[4]) || !line.startsWith('250')) return false;
    const keyword = keywordOf(line);
    return keyword === 'STARTTLS' || (this.lacksTls && keyword === 'AUTH');
  }
}

/**
 * A line that ends in a bare LF with CRLF, so that the server sees the same lines as the rule,
 * whatever it takes for the end of one.
 */
function withCrlf(line) {
  return `${withoutEnd(line)}\r\n`;
}

addStarttls(options, {
  Session: SmtpSession,
  implicitPort: 465,
  greeting: SIMPLE,
  known: { realm: aRealm },
  // RFC 5321, section 4.5.3.1.4, has 512; extensions add to it.
  longestCommand: 2048,
  tooLong: refuses('500 5.5.2 The line is too long\r\n'),
  tooMany: BYE,
  longestAnswer: LONGEST_ANSWER,
  answerTooLong: ANSWER_TOO_LONG,
});
