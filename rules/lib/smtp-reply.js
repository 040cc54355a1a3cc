// Replies of an SMTP or LMTP server (RFC 5321, section 4.2), each line with its end.

const REPLY_LINE = /^[2-5][0-9]{2}(?:[ -]|\r?\n)/;
const KEYWORD = /[ \t]*([A-Za-z0-9-]*)/y;

/** Whether a line is one of a reply: a code, then `-`, a blank, or nothing more. */
export function isReplyLine(line) {
  return REPLY_LINE.test(line);
}

/** Whether a line of a reply is its last one. */
export function isLastLine(line) {
  return line[3] !== '-';
}

/**
 * The keyword in a line of the answer to EHLO or LHLO, in capitals (RFC 5321, section 4.1.1.1). Old
 * servers also offer `AUTH=LOGIN`, which is AUTH, too.
 */
export function keywordOf(line) {
  KEYWORD.lastIndex = 4;
  return KEYWORD.exec(line)?.[1].toUpperCase();
}

/** A line such that another one of its reply follows it. */
export function notLast(line) {
  return `${line.slice(0, 3)}-${line.slice(line[3] === ' ' ? 4 : 3)}`;
}

/** Some lines of a reply, of which the one at `start` becomes the last one. */
export function endingAt(lines, start) {
  return `${lines.slice(0, start + 3)} ${lines.slice(start + 4)}`;
}
