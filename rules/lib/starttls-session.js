import { Lines } from './lines.js';
import { aBoolean, aTlsMode, checkOptions, isImplicit } from './options.js';
import { onServerSide } from './server-side.js';
import { ANSWER, CLOSE, LET_GO, PASS, PASSES, REFUSE, RESET, START_TLS } from './verdicts.js';

/** @typedef {import('./verdicts.js').Verdict} Verdict */

/** Events do not overlap: all connections read with this. */
const LINES = new Lines();

/** Behind these the next line is taken. */
const GOES_ON = new Set([PASS, ANSWER, REFUSE]);
/** More commands wait until the server has answered these. */
const MOST_OUTSTANDING = 1000;
/** A client that is refused more often has nothing good in mind. */
export const MOST_REFUSALS = 100;
/** A handler has its time: more lines than these are taken in another event. */
export const MOST_AT_ONCE = 200;

/**
 * What a protocol is, for `addStarttls`. Lengths are in bytes and with the line's end.
 *
 * @typedef {object} Protocol
 * @property {typeof StarttlsSession} Session
 * @property {number} [implicitPort] - clients that come to this port begin with TLS
 * @property {boolean} [clientSpeaksFirst] - the server is connected to when a line goes to it
 * @property {unknown} [greeting] - what the server owes from the beginning, in the session's words
 * @property {object} [known] - tests for options that only this protocol has (`checkOptions`)
 * @property {Lines} [lines] - how lines are found
 * @property {number} [longestCommand] - this and what follows is for sessions that do not take
 *   commands and answers in their own way
 * @property {Verdict} [tooLong] - on a longer line: `refuses`, which throws it away, or `closes`
 * @property {Verdict} [tooMany] - on a refusal too many; without it, that resets the connection
 * @property {number} [longestAnswer] - a longer line of the server resets the connection
 * @property {string} [answerTooLong] - what is logged then, if not the usual
 */

/**
 * Makes a rule that gives a protocol of lines STARTTLS, or TLS from the first byte on. Checks the
 * options, of which all these rules have `tls` and `requireTls`. The server may speak TLS as well.
 *
 * @param {Options} options - the rule's
 * @param {Protocol} protocol
 */
export function addStarttls(options, protocol) {
  const { Session, implicitPort, clientSpeaksFirst = false } = protocol;

  when('RULE_INIT', () => {
    checkOptions(options, { tls: aTlsMode, ...protocol.known, requireTls: aBoolean });
  });

  when('CLIENT_ACCEPTED', (c) => {
    const implicit = isImplicit(options, implicitPort);
    c.starttls = new Session(options, protocol, implicit);
    if (implicit) return;
    SSL.disable();
    if (clientSpeaksFirst) TCP.collect();
  });

  // Collecting on the client side delays the connection to a server, whose greeting may come first.
  onServerSide(
    ({ starttls, greeted = false }, io) => {
      starttls.begin(io, greeted);
      io.collect();
      if (!clientSpeaksFirst) clientside(() => starttls.io.collect());
    },
    ({ starttls }) => starttls.takeAnswers(),
  );

  when('CLIENTSSL_HANDSHAKE', ({ starttls }) => {
    const asked = !starttls.tls;
    if (asked || clientSpeaksFirst) SSL.collect();
    if (asked) starttls.secured();
  });

  when('CLIENT_DATA', ({ starttls }) => starttls.takeCommands());
  when('CLIENTSSL_DATA', ({ starttls }) => starttls.takeCommands());
}

/**
 * One connection of such a rule. Both sides are collected from the start and read line by line,
 * wherever the network has cut them. `outstanding` says what the server still has to answer, so
 * that each answer is known by its command and not by its text. What the rule answers itself waits
 * until nothing is outstanding: pipelined commands get their answers in order, and no answer to
 * something said in plaintext comes inside TLS.
 *
 * A subclass has the protocol: `judge` and `takeAnswer`.
 */
export class StarttlsSession {
  /**
   * @param {Options} options
   * @param {Protocol} protocol
   * @param {boolean} tls - the client begins with TLS
   */
  constructor(options, protocol, tls) {
    this.options = options;
    this.protocol = protocol;
    /** The client side speaks TLS. */
    this.tls = tls;
    /** What needs TLS is to be refused. */
    this.lacksTls = options.requireTls === true && !tls;
    /** What works on the client's side. */
    this.io = tls ? SSL : TCP;
    /** What the server has to answer, oldest first, in the subclass's words. */
    this.outstanding = [];
    /** The server has sent a SASL challenge: the client's next line is a response. */
    this.challenged = false;
    this.refusals = 0;
  }

  /**
   * The server can be heard.
   *
   * @param {typeof TCP | typeof SSL} io - what works on its side
   * @param {boolean} greeted - the client has been greeted, and the server will not greet
   */
  begin(io, greeted) {
    const { greeting } = this.protocol;
    this.server = io;
    if (greeting !== undefined && !greeted) this.outstanding.push(greeting);
  }

  // ---- what a subclass knows ----------------------------------------------------------------------

  /**
   * What to do with a line of the client, with its end. It is asked again about the same line when
   * a reply of the rule had to wait.
   *
   * @abstract
   * @param {string} _line
   * @returns {Verdict}
   */
  judge(_line) {
    return PASSES;
  }

  /**
   * Notes a line of the server, with its end, and answers what the client gets in its place;
   * undefined: the line. If it makes the session `done`, the line stays as it is.
   *
   * @abstract
   * @param {string} _line
   * @returns {string | undefined}
   */
  takeAnswer(_line) {
    return undefined;
  }

  /** Whether what is owed tells how the client's next lines are to be read: they wait for it. */
  decides(_owed) {
    return false;
  }

  /**
   * Whether a line of the client is too long.
   *
   * @param {string} _line - or what there is of it
   * @param {number} length - that of the line, at least
   */
  isTooLong(_line, length) {
    return length > this.protocol.longestCommand;
  }

  /** Like `judge`, about a line that was too long; `_end` is what is left of it. */
  judgeTooLong(_end) {
    return this.protocol.tooLong;
  }

  /** TLS has begun on the client's request. The client is the current side. */
  secured() {
    this.tls = true;
    this.lacksTls = false;
    this.io = SSL;
  }

  /**
   * For `takeAnswer`: the line resets the connection.
   *
   * @returns {undefined}
   */
  fail(fault) {
    this.fault = fault;
    this.done = true;
    return undefined;
  }

  // ---- what the client sends ----------------------------------------------------------------------

  /** Takes the client's lines, up to one that has to wait. The client is the current side. */
  takeCommands() {
    if (this.waits) return;
    const { io } = this;
    const lines = (this.protocol.lines ?? LINES).read(io);
    let replies = '';
    let kind = PASS;
    let left = MOST_AT_ONCE;
    for (; left > 0 && GOES_ON.has(kind); left--) {
      const verdict = this.takeCommand(lines);
      if (verdict === undefined) break;
      kind = this.done ? LET_GO : verdict.kind;
      if (verdict.kind !== PASS) replies += verdict.text;
    }
    if (kind === LET_GO) {
      lines.letAllGo();
      serverside(() => this.server.release());
    } else {
      lines.letGo(left === 0);
    }
    if (replies !== '') io.respond(replies);
    // What follows the command stays held: only the beginning of a TLS handshake may.
    if (kind === START_TLS) SSL.enable();
    else if (kind === CLOSE) TCP.close();
    else if (kind === RESET) reject();
  }

  /** Takes the next line. Answers what was done with it; undefined: no line can be taken. */
  takeCommand(lines) {
    const { outstanding } = this;
    const due = outstanding.length;
    this.waits =
      due > 0 &&
      !this.challenged &&
      (due >= MOST_OUTSTANDING || this.decides(outstanding[due - 1]));
    if (this.waits) return undefined;
    const line = lines.next();
    if (line === undefined) return lines.available > 0 ? this.takeBeginning(lines) : undefined;
    const tooLong = this.skips || this.isTooLong(line, line.length);
    const verdict = tooLong ? this.judgeTooLong(line) : this.judge(line);
    const { kind, text, owes } = verdict;
    if (kind === PASS) {
      if (owes !== undefined) outstanding.push(owes);
      if (text === undefined) lines.pass();
      else lines.replace(text);
    } else {
      if (this.mustWait()) return undefined;
      if (kind !== LET_GO) lines.replace('');
    }
    if (this.skips) this.skips = false;
    return kind === REFUSE ? this.refuse(verdict) : verdict;
  }

  /** What the rule does itself waits for the answers that are due, but not amid a login. */
  mustWait() {
    this.waits = this.outstanding.length > 0 && !this.challenged;
    return this.waits;
  }

  /** Throws away the beginning of a line that will be too long, so that it takes no room. */
  takeBeginning(lines) {
    const rest = lines.rest();
    if (!this.skips && !this.isTooLong(rest, rest.length + 1)) return undefined;
    const { tooLong } = this.protocol;
    if (tooLong.kind === CLOSE) return this.mustWait() ? undefined : tooLong;
    this.skips = true;
    lines.dropRest();
    return undefined;
  }

  refuse(verdict) {
    this.refusals += 1;
    if (this.refusals <= MOST_REFUSALS) return verdict;
    log('info', `more than ${MOST_REFUSALS} commands were refused`);
    return this.protocol.tooMany ?? { ...verdict, kind: RESET };
  }

  // ---- what the server sends ----------------------------------------------------------------------

  /** Takes the server's lines, and then what has waited for them. The server is the current side. */
  takeAnswers() {
    if (this.server === undefined) return;
    const { longestAnswer } = this.protocol;
    const lines = (this.protocol.lines ?? LINES).read(this.server);
    let left = MOST_AT_ONCE;
    for (let line = lines.next(); left > 0 && line !== undefined; line = lines.next(), left--) {
      if (line.length > longestAnswer) break;
      const changed = this.takeAnswer(line);
      if (this.done) break;
      if (changed === undefined) lines.pass();
      else lines.replace(changed);
    }
    if (!this.done && left > 0 && lines.available >= longestAnswer) this.failLength();
    if (this.done) {
      this.endWith(lines);
      return;
    }
    lines.letGo(left === 0);
    if (this.waits && (this.outstanding.length === 0 || this.challenged)) {
      this.waits = false;
      clientside(() => this.takeCommands());
    }
  }

  /** Ends with lines of the server. */
  endWith(lines) {
    if (this.fault === '') {
      lines.letAllGo();
      clientside(() => this.io.release());
    } else {
      lines.letGo();
      log('warn', this.fault);
      reject();
    }
  }

  failLength() {
    const { longestAnswer, answerTooLong } = this.protocol;
    this.fail(answerTooLong ?? `the server sent a line of more than ${longestAnswer} bytes`);
  }
}

/** How a connection begins, too. It inherits what it has not changed: most is never touched. */
Object.assign(StarttlsSession.prototype, {
  /** What works on the server's side; undefined: the server is not to be heard yet. */
  server: undefined,
  /** The SASL mechanism whose next response names the user. */
  mechanism: '',
  /** The client's lines wait for the server's answers. */
  waits: false,
  /** The beginning of the client's line was thrown away, because it is too long. */
  skips: false,
  /** Nothing that follows is of interest. */
  done: false,
  /** Why the connection is reset. */
  fault: '',
});
