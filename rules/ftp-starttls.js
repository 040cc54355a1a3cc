// TLS for the control connection of an FTP server that has none: the client gets AUTH TLS (RFC 4217),
// or TLS from the first byte on, and the server hears plain FTP (RFC 959). Names and passwords are
// protected so, and what is done; files are not.
//
// Data connections are out of scope: they go from the client to the server, in plaintext and past
// this rule. PROT C is accepted and PROT P refused, so a client that insists on protected files ends.
// The addresses in PASV and PORT go through unchanged: the client must be able to reach the server's
// own. EPSV names only a port, which the client looks for where it found this virtual server.
//
// The virtual server needs a client-ssl profile. With a server-ssl profile as well, the server hears
// all of it inside TLS, which starts with the connection. Options:
//   tls         "starttls" (AUTH TLS) or "implicit"; without it, implicit where the client came to
//               port 990
//   requireTls  true: no login before TLS; default false
//
// AUTH SSL, which once meant protected data connections as well, counts as AUTH TLS: clients that
// still send it follow it up by PROT. AUTH TLS-P, which means it, is refused.
//
// RFC 4217 lets AUTH follow a login, and has it forgotten. A server that knows nothing of TLS would
// not forget, and somebody between it and the client could have the client work in the session of
// another user. So a login in plaintext ends the rule: it lets go of the connection, and AUTH is
// the server's to refuse. In TLS the rule stays until the end, because PBSZ, PROT and FEAT come
// after the login, too. TLS cannot be taken off, so CCC and REIN are refused there.
//
// A command must begin with a letter, behind nothing but blanks and the Telnet codes that go with
// ABOR, and must not hold CR or NUL; a server might read something else in it.
import { withoutEnd } from './lib/lines.js';
import { addStarttls, StarttlsSession } from './lib/starttls-session.js';
import { answers, closes, passes, refuses, startsTls } from './lib/verdicts.js';

/** What the server owes: the answer to something that can be a login, to FEAT, to all others. */
const LOGIN = 'login';
const FEATURES = 'features';
const OTHER = 'other';

/**
 * Telnet's Interrupt Process and Data Mark (RFC 959, section 4.1.3: ABOR; a stack that takes the
 * urgent byte out leaves a mark alone), the command's word and its argument. What follows the word
 * is printable, and no Telnet code: some servers take those out, which could make another word. A
 * CR is nowhere.
 */
const COMMAND = /^(?:\xff?[\xf2\xf4])*[\t ]*([A-Za-z]+)(?=[\t -@[-`{-~\x80-\xfe]|$)[\t ]*(.*)$/;

/** RFC 4217, section 6: they are named before and in TLS. */
const OWN_FEATURES = ' AUTH TLS\r\n PBSZ\r\n PROT\r\n';
/** Features of the server that are none towards the client (RFC 2228). */
const HIDDEN = new Set(['AUTH', 'ADAT', 'PBSZ', 'PROT', 'CCC', 'MIC', 'CONF', 'ENC']);

const MECHANISMS = new Set(['TLS', 'TLS-C', 'SSL']);

class FtpSession extends StarttlsSession {
  /** The code of the answer of several lines in which the server is. */
  answering = '';
  /** PBSZ has come, which PROT needs. */
  sized = false;

  judge(line) {
    const text = withoutEnd(line);
    const found = COMMAND.exec(text);
    if (found === null || text.includes('\0')) return refuses('500 That is no command\r\n');
    const word = found[1].toUpperCase();
    const argument = found[2].trimEnd().toUpperCase();
    switch (word) {
      case 'AUTH':
        return this.judgeAuth(argument);
      case 'PBSZ':
        return this.judgeSize(argument);
      case 'PROT':
        return this.judgeProtection(argument);
      case 'CCC':
        return this.tls ? refuses('534 TLS cannot be taken off\r\n') : passes(OTHER);
      case 'REIN':
        return this.tls ? refuses('502 REIN would take TLS off\r\n') : passes(OTHER);
      case 'USER':
      case 'PASS':
      case 'ACCT':
        return this.lacksTls ? refuses('530 Use AUTH TLS first\r\n') : passes(LOGIN);
      case 'FEAT':
        return passes(FEATURES);
      default:
        return passes(OTHER);
    }
  }

  judgeAuth(mechanism) {
    if (this.tls) return refuses('534 TLS is active already\r\n');
    if (mechanism === '') return refuses('501 AUTH needs a mechanism\r\n');
    if (!MECHANISMS.has(mechanism)) return refuses('504 Use AUTH TLS\r\n');
    return startsTls('234 Begin TLS negotiation\r\n');
  }

  /** TLS has no need of a size: it is always 0 (RFC 4217). */
  judgeSize(size) {
    if (!this.tls) return refuses('503 Use AUTH TLS first\r\n');
    if (!/^\d{1,10}$/.test(size) || Number(size) > 0xffffffff) {
      return refuses('501 PBSZ needs a 32-bit number\r\n');
    }
    this.sized = true;
    return answers('200 PBSZ=0\r\n');
  }

  /** RFC 2228, section 3. */
  judgeProtection(level) {
    if (!this.sized) return refuses('503 Use PBSZ first\r\n');
    switch (level) {
      case 'C':
        return answers('200 Data connections are not protected\r\n');
      case 'P':
      case 'S':
      case 'E':
        return refuses('536 Data connections cannot be protected\r\n');
      default:
        return refuses('504 There is no such protection level\r\n');
    }
  }

  decides(owed) {
    return owed === LOGIN;
  }

  /** RFC 959, section 4.2: `123-` begins an answer of several lines, `123 ` ends it. */
  takeAnswer(line) {
    const code = line.slice(0, 3);
    const within = this.answering;
    if (within !== '') {
      if (line[3] === ' ' && code === within) return this.endAnswer(code, line, true);
      const isList = within === '211' && this.outstanding[0] === FEATURES;
      return isList && HIDDEN.has(featureOf(line)) ? '' : undefined;
    }
    if (/^\d{3}-/.test(line)) {
      this.answering = code;
      return undefined;
    }
    return /^\d{3} /.test(line) ? this.endAnswer(code, line, false) : undefined;
  }

  endAnswer(code, line, isList) {
    this.answering = '';
    // A preliminary answer: another one follows.
    if (code[0] === '1') return undefined;
    const owed = this.outstanding.shift();
    // 232 needs no password (RFC 2228, section 5.1).
    this.done = owed === LOGIN && !this.tls && (code === '230' || code === '232');
    if (owed !== FEATURES) return undefined;
    if (isList) return code === '211' ? OWN_FEATURES + line : undefined;
    // The server has no features, or does not know the command (RFC 2389, section 3.2).
    const isNone = code === '211' || code === '500' || code === '502';
    return isNone ? `211-Features:\r\n${OWN_FEATURES}211 End\r\n` : undefined;
  }
}

/** The name in a line of features, in capitals: the line begins with one blank. */
function featureOf(line) {
  return /^ ([!-~]+)/.exec(line)?.[1].toUpperCase();
}

addStarttls(options, {
  Session: FtpSession,
  implicitPort: 990,
  greeting: OTHER,
  // Paths of 4096 bytes, and their quoting.
  longestCommand: 8192,
  longestAnswer: 8192,
  tooLong: closes('500 The line is too long\r\n'),
});
