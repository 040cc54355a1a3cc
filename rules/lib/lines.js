/** What is read of a payload at once, in bytes: more than the longest line of any protocol here. */
const MOST_READ = 32_768;

/**
 * The bytes that a side holds, taken line by line and let go together: the payload is read once,
 * and changed and released at most once, however many lines an event brings. A great many bytes
 * are read in parts, each in an event of its own, so that what they cost grows no faster than they do.
 *
 * ```js
 * const LINES = new Lines(); // events do not overlap: one serves all connections
 *
 * const lines = LINES.read(TCP);
 * for (let line = lines.next(); line !== undefined; line = lines.next()) lines.pass();
 * lines.letGo(); // what is left is the beginning of a line: it stays held
 * ```
 */
export class Lines {
  /**
   * Begins with what the current side holds.
   *
   * @param io - `TCP` or `SSL`; works on the side that is the current one in each call
   */
  read(io, held = io.payload(MOST_READ)) {
    this.io = io;
    this.held = held;
    /** Where the next line begins, and where the line that `next` found ends. */
    this.start = 0;
    this.end = 0;
    /** What the lines up to `copied` have become; later ones are as they came. */
    this.changed = '';
    this.copied = 0;
    return this;
  }

  /** The next line with its LF or CRLF, not taken yet; undefined when no whole one is held. */
  next() {
    const feed = this.held.indexOf('\n', this.start);
    if (feed < 0) return undefined;
    this.end = feed + 1;
    return this.held.slice(this.start, this.end);
  }

  /** Takes the line that `next` found, as it is. */
  pass() {
    this.start = this.end;
  }

  /** Takes the line that `next` found and puts `text` in its place. */
  replace(text) {
    this.changed += this.held.slice(this.copied, this.start) + text;
    this.start = this.end;
    this.copied = this.end;
  }

  /** How many bytes were read and are not taken yet. */
  get available() {
    return this.held.length - this.start;
  }

  /** What is behind the lines taken: the beginning of a line, or all that waits. */
  rest() {
    return this.start === 0 ? this.held : this.held.slice(this.start);
  }

  /** Throws away what is behind the lines taken. */
  dropRest() {
    this.end = this.held.length;
    this.replace('');
  }

  /**
   * Lets the lines taken go on; the rest stays held, and more is collected. Without anything to let
   * go there is no release: the choice of a server may have to wait for the first one.
   *
   * @param hasMore - whole lines are left, for which the event shall fire again at once
   */
  letGo(hasMore = false) {
    const length = this.applyChanges();
    const firesAgain = hasMore || this.held.length === MOST_READ;
    if (length > 0) this.io.release(length);
    if (length > 0 || firesAgain) this.io.collect(firesAgain ? 1 : undefined);
  }

  /** Lets everything go on, taken or not, and ends the collecting. */
  letAllGo() {
    this.applyChanges();
    this.io.release();
  }

  /** Puts the changes into the payload, and answers how long the lines taken are now. */
  applyChanges() {
    if (this.copied === 0) return this.start;
    const taken = this.changed + this.held.slice(this.copied, this.start);
    this.io.payload.replace(0, this.start, taken);
    return taken.length;
  }
}

/** The LF or CRLF of a line. */
export function endOf(line) {
  return line.endsWith('\r\n') ? '\r\n' : '\n';
}

/** A line without its LF or CRLF. */
export function withoutEnd(line) {
  return line.slice(0, line.endsWith('\r\n') ? -2 : -1);
}

/**
 * Whether a line has no control characters but tabs. What clients of these protocols send has none (for
 * POP3: RFC 1939, section 3), and a server might take a CR or NUL for the end of the line, or leave it
 * out.
 */
export function isText(line) {
  return /^[\t -~\x80-\xff]*$/.test(line);
}

const COMMAND = /^[ \t]*([A-Za-z]*)[ \t]*([\t -~\x80-\xff]*)/;

/**
 * A command: the word that it begins with, in capitals, and its argument, which is all that follows
 * the blanks behind it. Only ASCII letters make a word, so it is found whatever a lenient server
 * takes for the end of it. `isText`: see there; the argument ends before what is no text.
 */
export function splitCommand(text) {
  const found = COMMAND.exec(text);
  return {
    word: found[1].toUpperCase(),
    argument: found[2],
    isText: found[0].length === text.length,
  };
}

const LITERAL = /\{(\d+)(\+?)\}$/;

/**
 * The literal that a line of IMAP or ManageSieve announces, in octets. `waits`: its sender waits for a continuation before
 * it sends them (RFC 7888, section 3). Whether it stands where it may is for the server to say.
 */
export function literalAtEnd(text) {
  if (text[text.length - 1] !== '}') return undefined;
  const found = LITERAL.exec(text);
  return found === null ? undefined : { size: Number(found[1]), waits: found[2] === '' };
}

/** Whether the arguments of LOGIN are a name whose literal is announced. */
export function isNameLiteral(argument) {
  return argument[0] === '{' && /^\{\d+\+?\}$/.test(argument);
}
