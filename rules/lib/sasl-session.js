import { endOf, isText, splitCommand, withoutEnd } from './lines.js';
import { authWithRealm, responseWithRealm } from './sasl.js';
import { StarttlsSession } from './starttls-session.js';
import { passes } from './verdicts.js';

/** The longest line of AUTH and what belongs to it (RFC 4954, section 4; RFC 5034, section 4). */
const LONGEST_RESPONSE = 12288;

/** A connection of a protocol that has AUTH (RFC 4954, RFC 5034), and maybe a realm for it. */
export class SaslSession extends StarttlsSession {
  /**
   * What to do with AUTH.
   *
   * @param {string} argument - the end of the line: a mechanism, and maybe the first response
   * @param {unknown} owes
   */
  judgeAuth(line, argument, owes) {
    const changed = authWithRealm(argument, this.options.realm);
    this.mechanism = changed.mechanism;
    return passes(owes, this.withArgument(line, argument, changed.argument));
  }

  /** What to do with a response to a challenge. `*` makes the server end the login. */
  judgeResponse(line) {
    const text = withoutEnd(line);
    const { realm } = this.options;
    return this.respond(line, isText(text) ? responseWithRealm(this.mechanism, text, realm) : '*');
  }

  respond(line, response) {
    this.challenged = false;
    this.mechanism = '';
    return passes(undefined, this.withArgument(line, withoutEnd(line), response));
  }

  isTooLong(line, length) {
    const { longestCommand } = this.protocol;
    if (length <= longestCommand) return false;
    const mayBeLong =
      this.challenged || splitCommand(line.slice(0, longestCommand)).word === 'AUTH';
    return !mayBeLong || length > LONGEST_RESPONSE;
  }

  judgeTooLong(end) {
    return this.challenged ? this.respond(end, '*') : this.protocol.tooLong;
  }

  /** A line with what its text ends with in other words; undefined: it stays as it is. */
  withArgument(line, argument, changed) {
    if (changed === argument) return undefined;
    const end = endOf(line);
    return line.slice(0, line.length - end.length - argument.length) + changed + end;
  }
}
