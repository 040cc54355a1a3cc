import {
  LONGEST_LINE,
  loginWithRealm,
  nextBehind,
  nextLine,
  nextOctets,
  parseCommand,
  quoted,
  tagOf,
  withWaiting,
} from './imap-syntax.js';
import { isText, Lines, literalAtEnd, withoutEnd } from './lines.js';
import { authWithRealm, responseWithRealm } from './sasl.js';
import { MOST_REFUSALS, StarttlsSession } from './starttls-session.js';

/** Events do not overlap: all connections read with this. */
const LINES = new Lines();

/** The longest literal, and the longest one that is a name and kept here, in octets. */
const LONGEST_LITERAL = 16384;
const LONGEST_NAME = 1024;

/** Commands whose success is a login. */
export const LOGINS = new Set(['LOGIN', 'AUTHENTICATE']);
const NOT_BEFORE_LOGIN = new Set(['IDLE', 'COMPRESS']);

/**
 * The client's half of an IMAP connection: which commands there are, where their literals begin and
 * end, and what the server gets of them. It gets one at a time.
 */
export class ImapCommands extends StarttlsSession {
  // Nothing of the plaintext counts any more, and nothing is left of it here: no command waits for
  // the server or for its own rest when STARTTLS is taken.
  secured() {
    super.secured();
    this.startsTls = false;
  }

  /** Has the connection ended when all that the event brought before is taken. */
  end(level, reason, bye) {
    log(level, `before the login ${reason}`);
    this.bye = `* BYE ${bye}\r\n`;
  }

  sayBye() {
    this.io.respond(this.bye);
    TCP.close();
  }

  takeCommands() {
    this.queued = this.waits;
    if (this.waits) return;
    const { io } = this;
    const lines = LINES.read(io);
    let taken = true;
    while (taken && !this.waits && !this.startsTls && this.bye === '') taken = this.take(lines);
    const left = lines.available;
    this.queued = this.waits && left > 0;
    if (!taken && left >= LONGEST_LINE + (this.take === this.takeName ? this.left : 0)) {
      this.end(
        'info',
        `the client sent a line of more than ${LONGEST_LINE} bytes`,
        'Line too long',
      );
    }
    lines.letGo();
    if (this.replies !== '') {
      io.respond(this.replies);
      this.replies = '';
    }
    // What follows STARTTLS stays held: only the beginning of a TLS handshake may.
    if (this.startsTls) SSL.enable();
    if (this.bye !== '') this.sayBye();
  }

  /** Takes a command; false, here and below: more bytes are needed. */
  takeCommand(lines) {
    const line = nextLine(lines);
    if (line === undefined) return false;
    const text = withoutEnd(line);
    this.takeText(lines, text, text);
    return true;
  }

  /** Takes the name that LOGIN gives as a literal, and the line behind it. */
  takeName(lines) {
    const held = nextBehind(lines, this.left);
    if (held === undefined) return false;
    const name = quoted(held.slice(0, this.left));
    const rest = withoutEnd(held.slice(this.left));
    this.takeText(lines, `${this.tag} LOGIN ${name}${rest}`, undefined);
    return true;
  }

  /** Takes a command up to its first literal; `held` is the line as the client has sent it. */
  takeText(lines, text, held) {
    this.take = this.takeCommand;
    const literal = literalAtEnd(text);
    const command = parseCommand(text);
    if (command === undefined) {
      this.refuse(lines, `${tagOf(text)} BAD This is no command\r\n`, literal);
      return;
    }
    const { tag, word, argument } = command;
    const refusal = this.refusalOf(word, argument, literal);
    if (refusal !== undefined) {
      this.refuse(lines, `${tag} ${refusal}\r\n`, literal);
    } else if (word === 'STARTTLS') {
      lines.replace('');
      this.replies += `${tag} OK Begin TLS negotiation now\r\n`;
      this.startsTls = true;
    } else if (this.isNameLiteral(word, argument)) {
      this.askForName(lines, tag, literal);
    } else {
      this.forward(lines, text, held, command, literal);
    }
  }

  /** Why a command must not reach the server, with the status for it. */
  refusalOf(word, argument, literal) {
    if (word === 'STARTTLS') {
      if (this.tls) return 'BAD TLS is active already';
      return argument === '' ? undefined : 'BAD STARTTLS has no argument';
    }
    if (NOT_BEFORE_LOGIN.has(word)) return 'BAD Log in first';
    if (LOGINS.has(word)) {
      if (this.lacksTls) return 'NO [PRIVACYREQUIRED] Use STARTTLS first';
      if (argument === '' || argument[0] === ' ') return `BAD ${word} has no argument`;
      if (literal !== undefined && word === 'AUTHENTICATE') return 'BAD There may be no literal';
    }
    if (literal === undefined) return undefined;
    const longest = this.isNameLiteral(word, argument) ? LONGEST_NAME : LONGEST_LITERAL;
    return literal.size > longest ? 'NO [LIMIT] The literal is too long' : undefined;
  }

  /** Whether a command is LOGIN up to a literal name that may have to be changed. */
  isNameLiteral(word, argument) {
    const mayBe = argument[0] === '{' && word === 'LOGIN' && this.options.realm !== undefined;
    return mayBe && /^\{\d+\+?\}$/.test(argument);
  }

  /** A realm changes the length, which the server must hear first: so the name is asked for here. */
  askForName(lines, tag, literal) {
    lines.replace('');
    this.tag = tag;
    if (literal.waits) this.replies += '+ Go ahead\r\n';
    this.left = literal.size;
    this.take = this.takeName;
  }

  forward(lines, text, held, { tag, word, argument }, literal) {
    const changed = this.argumentWithRealm(word, argument);
    if (changed === undefined) {
      this.refuse(lines, `${tag} BAD LOGIN needs a name and a password\r\n`, literal);
      return;
    }
    this.tag = tag;
    this.word = word;
    const isSame = changed === argument;
    const sent = isSame ? text : text.slice(0, text.length - argument.length) + changed;
    this.send(lines, sent, held, literal);
  }

  /** A command's argument; undefined where no name to add the realm to is found. */
  argumentWithRealm(word, argument) {
    const { realm } = this.options;
    if (word === 'LOGIN' && realm !== undefined) return loginWithRealm(argument, realm);
    if (word !== 'AUTHENTICATE') return argument;
    const changed = authWithRealm(argument, realm);
    this.mechanism = changed.mechanism;
    return changed.argument;
  }

  /** Lets a line of a command go to the server, and waits for what it says. */
  send(lines, text, held, literal) {
    const changed = literal === undefined ? text : withWaiting(text);
    if (changed === held) lines.pass();
    else lines.replace(`${changed}\r\n`);
    this.literal = literal;
    this.waits = true;
  }

  /** Answers a line that the server must not see. */
  refuse(lines, reply, literal) {
    lines.replace('');
    this.replies += reply;
    this.dropCommand(literal);
  }

  /** Throws away what still comes of a refused command: a literal for which nobody has to ask. */
  dropCommand(literal) {
    const comes = literal !== undefined && !literal.waits;
    this.tag = '';
    this.left = comes ? literal.size : 0;
    this.take = comes ? this.dropLiteral : this.takeCommand;
    this.refusals += 1;
    if (this.left > LONGEST_LITERAL) {
      const reason = `the client sent a literal of more than ${LONGEST_LITERAL} bytes`;
      this.end('info', reason, 'Literal too long');
    } else if (this.refusals > MOST_REFUSALS) {
      const reason = `more than ${MOST_REFUSALS} commands were refused`;
      this.end('info', reason, 'Too many commands were refused');
    }
  }

  dropLiteral(lines) {
    this.left -= nextOctets(lines, this.left);
    lines.replace('');
    if (this.left > 0) return false;
    this.take = this.dropRest;
    return true;
  }

  dropRest(lines) {
    const line = nextLine(lines);
    if (line === undefined) return false;
    lines.replace('');
    this.dropCommand(literalAtEnd(withoutEnd(line)));
    return true;
  }

  /** Takes a literal that the server has asked for. */
  takeLiteral(lines) {
    this.left -= nextOctets(lines, this.left);
    lines.pass();
    if (this.left > 0) return false;
    this.take = this.takeRest;
    return true;
  }

  /** Takes the line behind a literal: the rest of the command, or what comes up to the next one. */
  takeRest(lines) {
    const line = nextLine(lines);
    if (line === undefined) return false;
    const text = withoutEnd(line);
    const literal = literalAtEnd(text);
    if (!isText(text) || literal?.size > LONGEST_LITERAL) {
      this.end('info', 'the client sent a command that cannot be passed on', 'No such command');
    } else {
      this.send(lines, text, text, literal);
    }
    return true;
  }

  /** Takes the answer to a SASL challenge. `*` makes the server end the login. */
  takeResponse(lines) {
    const line = nextLine(lines);
    if (line === undefined) return false;
    const text = withoutEnd(line);
    const { realm } = this.options;
    const changed = isText(text) ? responseWithRealm(this.mechanism, text, realm) : '*';
    this.mechanism = '';
    this.send(lines, changed, text, undefined);
    return true;
  }
}

/** How a connection begins, beyond what it inherits. */
Object.assign(ImapCommands.prototype, {
  /** What takes the client's next bytes. */
  take: ImapCommands.prototype.takeCommand,
  /** There are bytes that wait for the server: for its greeting, or for what it says to `tag`. */
  queued: false,
  /** The command that the server has not answered yet, and its word in capitals. */
  tag: '',
  word: '',
  /** The literal that was announced to the server; undefined: none that it has to ask for. */
  literal: undefined,
  /** Octets to come of the client's literal. */
  left: 0,
  startsTls: false,
  /** What the rule answers itself in this event. */
  replies: '',
  /** Why the connection is ended. */
  bye: '',
});
