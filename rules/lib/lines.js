/**
 * The bytes that a side holds, taken line by line and let go together: the payload is read once,
 * and changed and released at most once, however many lines an event brings.
 *
 * ```js
 * const lines = new Lines(TCP);
 * for (let line = lines.next(); line !== undefined; line = lines.next()) lines.pass();
 * lines.letGo(); // what is left is the beginning of a line: it stays held
 * ```
 */
export class Lines {
  /** @param io - `TCP` or `SSL`; works on the side that is the current one in each call */
  constructor(io) {
    this.io = io;
    this.held = io.payload();
    /** Where the next line begins, and where the line that `next` found ends. */
    this.start = 0;
    this.end = 0;
    /** What the lines up to `copied` have become; later ones are as they came. */
    this.changed = '';
    this.copied = 0;
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

  /** What is behind the lines taken: the beginning of a line, or all that waits. */
  rest() {
    return this.start === 0 ? this.held : this.held.slice(this.start);
  }

  /** Throws away what is behind the lines taken. */
  dropRest() {
    this.end = this.held.length;
    this.replace('');
  }

  /** Lets the lines taken go on; the rest stays held, and more is collected. */
  letGo() {
    this.io.release(this.applyChanges());
    this.io.collect();
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

/** A line without its LF or CRLF. */
export function withoutEnd(line) {
  return line.slice(0, line.endsWith('\r\n') ? -2 : -1);
}

/**
 * Whether a line has no control characters but tabs. What a POP3 client sends has none (RFC 1939,
 * section 3), and a server might take a CR or NUL for the end of the line, or leave it out.
 */
export function isText(line) {
  return /^[\t -~\x80-\xff]*$/.test(line);
}

/**
 * The word that a command line begins with, in capitals, and its argument, which is all that
 * follows the blanks behind it. Only ASCII letters make a word, so it is found whatever a lenient
 * server takes for the end of it.
 */
export function splitCommand(text) {
  const found = /^[ \t]*([A-Za-z]*)[ \t]*/.exec(text);
  return { word: found[1].toUpperCase(), argument: text.slice(found[0].length) };
}
