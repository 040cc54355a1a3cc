// TLS for an IMAP server that has none: the client gets STARTTLS (RFC 9051, section 6.2.1; RFC 3501;
// RFC 2595), or TLS from the first byte on, and the server hears plain IMAP. User names can be given
// a realm on the way. Once the user has logged in, the rule lets go of the connection; it never sees
// a mail. Where the virtual server has a server-ssl profile, the server hears IMAP inside TLS, which
// starts with the connection or, with starttls-upstream, by STARTTLS.
//
// The virtual server needs a client-ssl profile. Options:
//   tls         "starttls" or "implicit"; without it, implicit where the client came to port 993
//   realm       added to user names that have none: alice becomes alice@example.com (in LOGIN,
//               AUTHENTICATE PLAIN and LOGIN, with and without an initial response, RFC 4959)
//   requireTls  true: no login before TLS; default false
//
// Both sides are collected from the start and read line by line. The server gets one command at a
// time: the next one waits for the tagged answer, so that each answer is known by its tag and
// pipelined commands get theirs in order. Literals reach the server as synchronizing ones (RFC 9051,
// section 4.3), also where the client does not wait (RFC 7888): the server asks for the octets, or
// they are thrown away. So it is always the server that says whether octets are a literal or a
// command, and no command can hide in a literal. Only a literal user name to which a realm is added is
// asked for here, and becomes a quoted string.
//
// STARTTLS is not offered to a user who has logged in without it: it is not valid any more then, and
// nobody would be there to answer it. IDLE and COMPRESS (RFC 2177, RFC 4978) are refused before the
// login, as they change how the stream reads. A server that greets with PREAUTH is refused before
// TLS, for STARTTLS would never come. BYE also ends connections with lines or literals that are too
// long, with too many refused commands, and with servers that do not greet as IMAP does or answer in
// the middle of a command. A login after UNAUTHENTICATE (RFC 8437) is not seen: it gets no realm.
import { ImapCommands, LOGINS } from './lib/imap-commands.js';
import {
  editCapabilities,
  LONGEST_LINE,
  nextLine,
  nextOctets,
  secondWord,
} from './lib/imap-syntax.js';
import { Lines, literalAtEnd, withoutEnd } from './lib/lines.js';
import { aRealm } from './lib/options.js';
import { addStarttls, MOST_AT_ONCE } from './lib/starttls-session.js';

/** Events do not overlap: all connections read with this. */
const LINES = new Lines();

const GREETINGS = new Set(['OK', 'PREAUTH', 'BYE']);
const RESULTS = new Set(['OK', 'NO', 'BAD']);

class ImapSession extends ImapCommands {
  begin(io, greeted) {
    this.server = io;
    this.greeted = greeted;
    this.waits = !greeted;
  }

  takeAnswers() {
    if (this.server === undefined) return;
    const lines = LINES.read(this.server);
    let taken = true;
    let left = MOST_AT_ONCE;
    for (; taken && left > 0 && !this.done && this.bye === ''; left--) taken = this.takeNext(lines);
    if (this.done) {
      this.endWith(lines);
      return;
    }
    if (!taken && lines.available >= LONGEST_LINE) {
      this.end('warn', `the server sent a line of more than ${LONGEST_LINE} bytes`, 'Server error');
    }
    lines.letGo(left === 0);
    if (this.bye !== '') clientside(() => this.sayBye());
    else if (this.queued && !this.waits) clientside(() => this.takeCommands());
  }

  /** Takes a line, or octets of a literal; false: more bytes are needed. */
  takeNext(lines) {
    if (this.serverLeft > 0) {
      this.serverLeft -= nextOctets(lines, this.serverLeft);
      lines.pass();
      return this.serverLeft === 0;
    }
    const line = nextLine(lines);
    if (line === undefined) return false;
    const text = withoutEnd(line);
    if (this.inResponse) this.passData(lines, text);
    else if (!this.greeted) this.takeGreeting(lines, text);
    else if (text[0] === '+') this.takeContinuation(lines);
    else this.takeResult(lines, text);
    return true;
  }

  takeGreeting(lines, text) {
    const status = text.startsWith('* ') ? secondWord(text) : '';
    this.greeted = true;
    if (!GREETINGS.has(status)) {
      this.end('warn', 'the server sent no IMAP greeting', 'Server error');
    } else if (status === 'PREAUTH' && !this.tls) {
      this.end('warn', 'the server sent PREAUTH, so that TLS could not start', 'TLS is missing');
    } else {
      this.passStatus(lines, text);
      this.waits = status === 'BYE';
      this.done = status === 'PREAUTH';
    }
  }

  /** Takes `+`: the server asks for a literal or, in AUTHENTICATE, challenges the client. */
  takeContinuation(lines) {
    const { waits, literal } = this;
    if (waits && literal !== undefined) {
      if (literal.waits) lines.pass();
      else lines.replace('');
      this.left = literal.size;
      this.literal = undefined;
      this.take = this.takeLiteral;
      this.waits = false;
      return;
    }
    lines.pass();
    if (waits && this.word === 'AUTHENTICATE') {
      this.take = this.takeResponse;
      this.waits = false;
    }
  }

  /** Takes an untagged response, or the result of a command: one with its very tag. */
  takeResult(lines, text) {
    const word = secondWord(text);
    const isResult = RESULTS.has(word);
    if (text[0] === '*' && !isResult && word !== 'BYE') {
      this.passData(lines, text);
      return;
    }
    this.passStatus(lines, text);
    if (isResult && this.tag !== '' && text.startsWith(`${this.tag} `)) {
      this.finishCommand(word === 'OK');
    }
  }

  /** The server has answered the command. Octets that it has not asked for are no part of any. */
  finishCommand(isOk) {
    if (!this.waits && this.take !== this.takeResponse) {
      this.end('warn', 'the server answered in the middle of a command', 'Server error');
      return;
    }
    const { literal } = this;
    const isRefused = literal !== undefined && !literal.waits;
    this.done = isOk && !isRefused && LOGINS.has(this.word);
    this.tag = '';
    this.word = '';
    this.mechanism = '';
    this.literal = undefined;
    this.waits = false;
    this.take = this.takeCommand;
    if (isRefused) this.dropCommand(literal);
  }

  /** Passes a line of data. It may announce a literal, unlike the text of a status. */
  passData(lines, text) {
    const literal = literalAtEnd(text);
    if (this.inResponse) lines.pass();
    else this.passStatus(lines, text);
    this.inResponse = literal !== undefined;
    this.serverLeft = literal?.size ?? 0;
  }

  /** Passes a line that may have a list of capabilities. */
  passStatus(lines, text) {
    const changed = editCapabilities(text, this.lacksTls, this.offers());
    if (changed === text) lines.pass();
    else lines.replace(`${changed}\r\n`);
  }

  /** The capabilities of the rule. What comes during a login counts for those who have logged in. */
  offers() {
    if (this.tls || LOGINS.has(this.word)) return '';
    return this.lacksTls ? ' STARTTLS LOGINDISABLED' : ' STARTTLS';
  }
}

/** How a connection begins, beyond what it inherits. */
Object.assign(ImapSession.prototype, {
  /** Octets to come of the server's literal. */
  serverLeft: 0,
  /** The server's next line goes on with a response, behind a literal. */
  inResponse: false,
  greeted: false,
});

addStarttls(options, {
  Session: ImapSession,
  implicitPort: 993,
  known: { realm: aRealm },
});
