// TLS for an NNTP server that has none: the client gets STARTTLS (RFC 4642), or TLS from the first
// byte on, and the server hears plain NNTP (RFC 3977). The rule never sees an article: it lets go of
// the connection when the user has logged in (RFC 4643), or at the first command that has nothing
// to do with the beginning of a session.
//
// The virtual server needs a client-ssl profile. With a server-ssl profile as well, the server hears
// all of it inside TLS, which starts with the connection. Options:
//   tls         "starttls" or "implicit"; without it, implicit where the client came to port 563
//   requireTls  true: before TLS nothing but CAPABILITIES, MODE, DATE, HELP and QUIT reaches the
//               server, all else is answered 483; default false
//
// In plaintext, too, the first other command (GROUP, say) or a login ends the rule, and a STARTTLS
// behind it is the server's to refuse: RFC 4642 has the server forget all that was said before TLS,
// and this one would not.
//
// A server that does not know CAPABILITIES is not given any: a list without READER would tell the
// client that there is nothing to read. STARTTLS works all the same.
import { splitCommand, withoutEnd } from './lib/lines.js';
import { addStarttls, StarttlsSession } from './lib/starttls-session.js';
import { closes, LETS_GO, PASSES, passes, refuses, startsTls } from './lib/verdicts.js';

/** What the server owes: one line, lines up to a single dot, such a list to edit, or a login. */
const ONE_LINE = 'one line';
const HELP = 'help';
const CAPABILITIES = 'capabilities';
const LOGIN = 'login';

/** The codes behind which the lines of a list follow. */
const LISTS = new Map([
  [HELP, '100'],
  [CAPABILITIES, '101'],
]);

/** Capabilities that are none while TLS is missing and required. */
const OFFERS_LOGIN = new Set(['AUTHINFO', 'SASL']);

class NntpSession extends StarttlsSession {
  /** The server is within a list. */
  inList = false;

  judge(line) {
    const { word, argument, isText } = splitCommand(withoutEnd(line));
    if (!isText) return closes('501 The line has a control character\r\n');
    if (this.challenged) {
      this.challenged = false;
      return PASSES;
    }
    switch (word) {
      case 'STARTTLS':
        if (this.tls) return refuses('502 TLS is active already\r\n');
        if (argument !== '') return refuses('501 STARTTLS has no argument\r\n');
        return startsTls('382 Begin TLS negotiation\r\n');
      case 'CAPABILITIES':
        return passes(CAPABILITIES);
      case 'HELP':
        return passes(HELP);
      case 'MODE':
      case 'DATE':
      case 'QUIT':
        return passes(ONE_LINE);
      default:
        if (this.lacksTls) return refuses('483 Use STARTTLS first\r\n');
        return word === 'AUTHINFO' ? passes(LOGIN) : LETS_GO;
    }
  }

  /** What comes behind a login may be a SASL response, or not for the rule at all. */
  decides(owed) {
    return owed === LOGIN;
  }

  takeAnswer(line) {
    const owed = this.outstanding[0];
    if (this.inList) return this.takeListLine(line, owed === CAPABILITIES);
    const code = line.slice(0, 3);
    this.inList = LISTS.get(owed) === code;
    if (this.inList) return undefined;
    this.challenged = owed === LOGIN && code === '383';
    if (this.challenged) return undefined;
    this.outstanding.shift();
    this.done = owed === LOGIN && (code === '281' || code === '283');
    return undefined;
  }

  takeListLine(line, isCapability) {
    if (line[0] === '.' && withoutEnd(line) === '.') {
      this.inList = false;
      this.outstanding.shift();
      return isCapability && !this.tls ? `STARTTLS\r\n${line}` : undefined;
    }
    return isCapability && this.hides(line) ? '' : undefined;
  }

  /** Whether a capability of the server is none towards the client. */
  hides(line) {
    const label = /^[!-~]*/.exec(line)[0].toUpperCase();
    return label === 'STARTTLS' || (this.lacksTls && OFFERS_LOGIN.has(label));
  }
}

addStarttls(options, {
  Session: NntpSession,
  implicitPort: 563,
  greeting: ONE_LINE,
  // RFC 4643, section 2.4: a SASL response; other lines have 512 octets.
  longestCommand: 12288,
  longestAnswer: 12288,
  tooLong: closes('501 The line is too long\r\n'),
});
