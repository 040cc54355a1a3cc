// TLS for a ManageSieve server that has none: the client gets STARTTLS, and the server hears plain
// ManageSieve (RFC 5804). User names can be given a realm on the way. Once the user has logged in,
// the rule lets go of the connection; it never sees a script.
//
// The virtual server needs a client-ssl profile. With a server-ssl profile as well, the server hears
// all of it inside TLS, which starts with the connection. Options:
//   tls         "starttls" or "implicit"; default "starttls": no port means implicit TLS
//   realm       added to user names that have none: alice becomes alice@example.com (in
//               AUTHENTICATE PLAIN and LOGIN)
//   requireTls  true: no login before TLS; default false
//
// Both sides may send strings as literals, `{5}` and five bytes behind the line's end, so a line
// goes on behind those. A command that does not follow the grammar is answered BYE, and the
// connection closed: another server might see the end of it elsewhere.
//
// After the handshake the server has to list its capabilities again, unasked (section 2.2). This one
// does not know that TLS has started, so the rule asks for them, and the client gets the answer.
import { Lines, literalAtEnd, withoutEnd } from './lib/lines.js';
import { aRealm } from './lib/options.js';
import { responseWithRealm } from './lib/sasl.js';
import { addStarttls, StarttlsSession } from './lib/starttls-session.js';
import { closes, PASSES, passes, refuses, startsTls } from './lib/verdicts.js';

/** What the server owes: lines of capabilities and OK, a login, or any lines and OK. */
const CAPABILITIES = 'capabilities';
const LOGIN = 'login';
const OTHER = 'other';

const BAD_SYNTAX = 'BYE "That is no command"\r\n';
/** RFC 5804, section 4: a quoted string has at most 1024 octets. */
const LONGEST_QUOTED = 1024;

/** An argument: a quoted string, a number, or the head of a literal. The client waits for none. */
const ARGUMENT = / (?:"((?:[^"\\\r\n\0]|\\["\\])*)"|(\d{1,10})|\{(\d{1,10})\+\}\r?\n)/y;

/** Lines that go on behind literals. */
class SieveLines extends Lines {
  next() {
    let from = this.start;
    for (;;) {
      const feed = this.held.indexOf('\n', from);
      if (feed < 0) return undefined;
      const literal = literalAtEnd(withoutEnd(this.held.slice(from, feed + 1)));
      if (literal === undefined) {
        this.end = feed + 1;
        return this.held.slice(this.start, this.end);
      }
      from = feed + 1 + literal.size;
    }
  }
}

class SieveSession extends StarttlsSession {
  judge(line) {
    if (this.challenged) return this.judgeResponse(line);
    const word = /^[A-Za-z]*/.exec(line)[0];
    const strings = parseArguments(line, word.length);
    if (word === '' || strings === undefined) return closes(BAD_SYNTAX);
    switch (word.toUpperCase()) {
      case 'STARTTLS':
        if (this.tls) return refuses('NO "TLS is active already"\r\n');
        if (strings.length > 0) return refuses('NO "STARTTLS has no argument"\r\n');
        return startsTls('OK "Begin TLS negotiation"\r\n');
      case 'AUTHENTICATE':
        // What follows a response would keep the realm away from it.
        if (strings.length > 2) return closes(BAD_SYNTAX);
        if (this.lacksTls) return refuses('NO (ENCRYPT-NEEDED) "Use STARTTLS first"\r\n');
        return passes(LOGIN, this.loginWithRealm(strings));
      case 'CAPABILITY':
        return passes(CAPABILITIES);
      default:
        return passes(OTHER);
    }
  }

  /** AUTHENTICATE with the realm added to the initial response; undefined: it stays as it is. */
  loginWithRealm(strings) {
    const name = strings[0]?.toUpperCase() ?? '';
    const response = strings[1];
    this.mechanism = response === undefined ? name : '';
    if (strings.length !== 2) return undefined;
    const changed = responseWithRealm(name, response, this.options.realm);
    return changed === response ? undefined : `AUTHENTICATE "${name}" ${sieveString(changed)}\r\n`;
  }

  /** The answer to a challenge is a string. `"*"` makes the server end the login. */
  judgeResponse(line) {
    const strings = parseArguments(` ${line}`, 0);
    if (strings?.length !== 1) return closes(BAD_SYNTAX);
    const changed = responseWithRealm(this.mechanism, strings[0], this.options.realm);
    this.challenged = false;
    this.mechanism = '';
    return changed === strings[0] ? PASSES : passes(undefined, `${sieveString(changed)}\r\n`);
  }

  /** What comes behind a login may be a SASL response, or not for the rule at all. */
  decides(owed) {
    return owed === LOGIN;
  }

  secured() {
    super.secured();
    this.outstanding.push(CAPABILITIES);
    serverside(() => this.server.respond('CAPABILITY\r\n'));
  }

  takeAnswer(line) {
    const owed = this.outstanding[0];
    const word = /^(?:OK|NO|BYE)(?=[ \r\n])/i.exec(line)?.[0].toUpperCase();
    if (word === undefined) {
      this.challenged = owed === LOGIN;
      return owed === CAPABILITIES ? this.capability(line) : undefined;
    }
    this.outstanding.shift();
    this.challenged = false;
    this.done = owed === LOGIN && word === 'OK';
    const isOffered = owed === CAPABILITIES && word === 'OK' && !this.tls;
    return isOffered ? `"STARTTLS"\r\n${line}` : undefined;
  }

  /** What a capability of the server is towards the client. */
  capability(line) {
    const name = /^"([!-~]*?)"/.exec(line)?.[1].toUpperCase();
    if (name === 'STARTTLS') return '';
    return name === 'SASL' && this.lacksTls ? '"SASL" ""\r\n' : undefined;
  }
}

/** The arguments of a command from `at` on; undefined if they do not follow the grammar. */
function parseArguments(line, at) {
  const found = [];
  ARGUMENT.lastIndex = at;
  for (let match = ARGUMENT.exec(line); match !== null; match = ARGUMENT.exec(line)) {
    let [{ length }, quoted, number, literal] = match;
    at += length;
    if (literal === undefined) {
      found.push(number ?? quoted.replace(/\\(.)/g, '$1'));
    } else {
      length = Number(literal);
      found.push(line.slice(at, at + length));
      at += length;
    }
    ARGUMENT.lastIndex = at;
  }
  const end = line.slice(at);
  return end === '\r\n' || end === '\n' ? found : undefined;
}

/** Base64 as a string. */
function sieveString(base64) {
  const isShort = base64.length <= LONGEST_QUOTED;
  return isShort ? `"${base64}"` : `{${base64.length}+}\r\n${base64}`;
}

addStarttls(options, {
  Session: SieveSession,
  greeting: CAPABILITIES,
  lines: new SieveLines(),
  known: { realm: aRealm },
  // Enough for a Kerberos ticket, as in other protocols with SASL.
  longestCommand: 16384,
  longestAnswer: 16384,
  tooLong: closes('BYE "The command is too long"\r\n'),
});
