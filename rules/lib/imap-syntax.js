// How IMAP writes things (RFC 9051, section 9; RFC 3501, section 9; RFC 7888). Text has one character
// an octet.
import { withRealm } from './sasl.js';

/** A longer line, its end included, is not taken: it is all that a side may hold of one. */
export const LONGEST_LINE = 16384;

/** Like `lines.next`, but never a line that is too long. */
export function nextLine(lines) {
  const line = lines.next();
  return line === undefined || line.length > LONGEST_LINE ? undefined : line;
}

/**
 * The next `count` octets that `lines` has, whatever they are, and the line behind them with its
 * end, not taken yet; undefined while that line is not whole, or if it is too long.
 */
export function nextBehind(lines, count) {
  const from = lines.start + count;
  const feed = lines.held.indexOf('\n', from);
  if (feed < 0 || feed - from >= LONGEST_LINE) return undefined;
  lines.end = feed + 1;
  return lines.held.slice(lines.start, lines.end);
}

/** Finds, for `pass` or `replace`, the next octets up to `count`; answers how many there are. */
export function nextOctets(lines, count) {
  lines.end = Math.min(lines.start + count, lines.held.length);
  return lines.end - lines.start;
}

/** `tag SP command [SP argument]` of text. What is written any other way is left to no server. */
const COMMAND = /^([!#$&',-[\]-z|}~]+) ([A-Za-z0-9_.-]+)(?: ([\t -~\x80-\xff]*))?$/;
const TAG = /^[!#$&',-[\]-z|}~]+(?= |$)/;

/** The parts of a command, its word in capitals; undefined: it is none. */
export function parseCommand(text) {
  const found = COMMAND.exec(text);
  if (found === null) return undefined;
  return { tag: found[1], word: found[2].toUpperCase(), argument: found[3] ?? '' };
}

/** The tag to which the answer to a text that is no command goes: `*` without one. */
export function tagOf(text) {
  return TAG.exec(text)?.[0] ?? '*';
}

/** The end of a line that announces a literal, such that its sender waits. */
export function withWaiting(text) {
  return text.endsWith('+}') ? `${text.slice(0, -2)}}` : text;
}

/** What begins with a quoted string, and goes on behind it with another argument. */
const QUOTED = /^"([^"\\]*(?:\\.[^"\\]*)*)"(?= .)/s;
/** What a string without quotes must not have; it may have octets of UTF-8. */
const NOT_IN_ATOM = /["%()*\\{]/;

/**
 * The arguments of LOGIN with the realm added to the name.
 *
 * @returns undefined when they do not begin with a string and a blank
 */
export function loginWithRealm(argument, realm) {
  if (argument[0] === '"') {
    const found = QUOTED.exec(argument);
    if (found === null) return undefined;
    const name = found[1].replace(/\\(.)/gs, '$1');
    const changed = withRealm(name, realm);
    return changed === name ? argument : quoted(changed) + argument.slice(found[0].length);
  }
  const end = argument.indexOf(' ');
  if (end <= 0 || end === argument.length - 1 || '({'.includes(argument[0])) return undefined;
  const name = argument.slice(0, end);
  const changed = withRealm(name, realm);
  if (changed === name) return argument;
  return (NOT_IN_ATOM.test(changed) ? quoted(changed) : changed) + argument.slice(end);
}

/** A text as a quoted string; it must have no CR, LF and NUL. */
export function quoted(text) {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/**
 * The second word of a server's line, in capitals: behind a tag or `*` the status, or what the data
 * is.
 */
export function secondWord(text) {
  const start = text.indexOf(' ') + 1;
  const end = text.indexOf(' ', start);
  return text.slice(start, end < 0 ? text.length : end).toUpperCase();
}

/** What is before a list of capabilities: an untagged response, or the code of a status. */
const CAPABILITIES = /^(?:\* |[^ ]+ (?:OK|NO|BAD|BYE|PREAUTH) \[)CAPABILITY(?= )/i;
/** What the server has to offer, and is none to the client: at all, and while TLS is required. */
const HIDDEN = / STARTTLS(?= |$)/gi;
const HIDDEN_BEFORE_TLS = / (?:STARTTLS|LOGINDISABLED|AUTH=[^ ]*)(?= |$)/gi;

/**
 * A line of the server with its list of capabilities changed, if it has one: STARTTLS is left away.
 *
 * @param lacksTls - the ways to log in are left away, too
 * @param offered - the names that are added, each with a blank before it
 */
export function editCapabilities(text, lacksTls, offered) {
  // Most lines have nothing to change, and expressions take their time to find that out.
  const upper = text.toUpperCase();
  const isHidden = lacksTls || upper.includes(' STARTTLS');
  if ((!isHidden && offered === '') || !upper.includes('CAPABILITY ')) return text;
  const found = CAPABILITIES.exec(text);
  if (found === null) return text;
  const start = found[0].length;
  const bracket = text.indexOf(']', start);
  const end = bracket < 0 ? text.length : bracket;
  const names = text.slice(start, end);
  const kept = isHidden ? names.replace(lacksTls ? HIDDEN_BEFORE_TLS : HIDDEN, '') : names;
  return text.slice(0, start) + kept + offered + text.slice(end);
}
