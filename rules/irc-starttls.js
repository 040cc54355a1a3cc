// TLS for an IRC server that has none: the client gets STARTTLS (IRCv3's `tls` extension, which is
// deprecated, and still what some clients speak), or TLS from the first byte on, and the server
// hears plain IRC (RFC 1459, RFC 2812). Once the client is registered (001), the rule lets go of the
// connection; it never sees a message.
//
// The virtual server needs a client-ssl profile. With a server-ssl profile as well, the server hears
// all of it inside TLS, which starts with the connection. Options:
//   tls         "starttls" or "implicit"; without it, implicit where the client came to port 6697
//   requireTls  true: before TLS the client can do no more than ask for capabilities; anything else
//               is answered ERROR, and the connection closed; default false
//
// An IRC client speaks first. The server is connected to when a line of the client goes to it, so
// that a client which begins with STARTTLS hears nothing before.
//
// The server may say something at any time: STARTTLS does not wait for it, and what comes later comes
// inside TLS, in whole lines. Nothing but CAP LS and CAP LIST may have been sent before STARTTLS,
// which is refused (691) otherwise: the server does not forget a nickname, a password or a capability
// from before TLS, whoever sent it. STARTTLS waits for the answers to those two.
import { withoutEnd } from './lib/lines.js';
import { addStarttls, StarttlsSession } from './lib/starttls-session.js';
import { answers, closes, PASSES, passes, refuses, startsTls } from './lib/verdicts.js';

/** Tags and source, which a client need not send, the command, and its parameters. */
const COMMAND = /^ *(?:@[^ ]* +)?(?::[^ ]* +)?([^ ]*)(?: +(.*))?$/;
/** What the server says that matters: capabilities with the target behind CAP, and the welcome. */
const ANSWER = /^((?:@[^ ]* +)?(?::[^ ]* +)?(?:(001) |CAP +[^ ]+ +LS +(\* +)?)):?(.*)$/i;
/** The last line of an answer to CAP LS or LIST: without a `*`, or from a server without CAP. */
const LIST_END = /^(?:@[^ ]* +)?(?::[^ ]* +)?(?:CAP +[^ ]+ +(?:LS|LIST) +(?!\* )|(?:421|451) )/i;
/** What the server owes to CAP LS and LIST. */
const LIST = 'list';

class IrcSession extends StarttlsSession {
  /** The client has sent something that the server will remember. */
  registering = false;

  judge(line) {
    const text = withoutEnd(line);
    // To some servers a CR ends the line as well.
    if (text.includes('\r') || text.includes('\0')) return closes(error('That is no command'));
    const [, word, parameters = ''] = COMMAND.exec(text);
    const command = word.toUpperCase();
    if (command === 'STARTTLS') return this.judgeStarttls();
    if (command === 'CAP' && !this.tls) return this.judgeCap(parameters);
    if (text === '') return PASSES;
    if (this.lacksTls) return closes(error('Use STARTTLS first'));
    this.registering = true;
    return PASSES;
  }

  judgeStarttls() {
    if (this.tls) return refuses(':portreeve 691 * :STARTTLS failed (TLS is active already)\r\n');
    if (this.registering) return refuses(':portreeve 691 * :STARTTLS failed (too late)\r\n');
    return startsTls(':portreeve 670 * :STARTTLS successful, proceed with TLS handshake\r\n');
  }

  /** Before TLS. The capability `tls` may be requested, which means nothing. */
  judgeCap(parameters) {
    const [, subcommand = '', list = ''] = /^([A-Za-z]*)(?: +:?(.*))?/.exec(parameters);
    const isRequest = subcommand.toUpperCase() === 'REQ';
    const others = isRequest ? withoutTls(list) : '';
    if (isRequest && others.trim() === '' && list.trim() !== '') {
      return answers(':portreeve CAP * ACK :tls\r\n');
    }
    if (this.lacksTls) {
      const isList = subcommand.toUpperCase() === 'LS';
      return isList ? answers(':portreeve CAP * LS :tls\r\n') : closes(error('Use STARTTLS first'));
    }
    if (/^(LS|LIST)$/i.test(subcommand)) return passes(LIST);
    this.registering = true;
    const isChanged = isRequest && others !== list;
    return isChanged ? passes(undefined, `CAP REQ :${others}\r\n`) : PASSES;
  }

  takeAnswer(line) {
    if (this.outstanding.length > 0 && LIST_END.test(line)) this.outstanding.shift();
    const found = ANSWER.exec(withoutEnd(line));
    if (found === null) return undefined;
    const [, beginning, welcome, more, list] = found;
    this.done = welcome !== undefined;
    if (this.done) return undefined;
    const others = withoutTls(list);
    const offered = this.tls || more !== undefined ? others : `tls ${others}`.trimEnd();
    if (offered === list) return undefined;
    return `${beginning}:${offered}\r\n`;
  }
}

/** A list of capabilities without `tls`. */
function withoutTls(list) {
  const others = list.split(' ').filter((name) => name !== 'tls' && !name.startsWith('tls='));
  return others.join(' ');
}

function error(text) {
  return `ERROR :Closing link: ${text}\r\n`;
}

addStarttls(options, {
  Session: IrcSession,
  implicitPort: 6697,
  clientSpeaksFirst: true,
  // 512 bytes, and tags: 4096 of the client, 8191 of the server (IRCv3 message tags).
  longestCommand: 4608,
  longestAnswer: 8703,
  tooLong: closes('ERROR :Closing link: The line is too long\r\n'),
});
