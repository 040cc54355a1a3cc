// STARTTLS towards the server: for a POP3 (RFC 2595), IMAP (RFC 9051, section 6.2.1), SMTP (RFC 3207)
// or LMTP (RFC 2033) server that begins in plaintext and wants TLS started by a command. The client
// speaks plaintext, or TLS from the first byte on where the virtual server has a client-ssl profile.
//
// The virtual server needs a server-ssl profile, which says how the server's certificate is verified.
// Options:
//   protocol  "pop3", "imap", "smtp" or "lmtp"; without it, what the server's port is for (110, 143,
//             25 and 587, 24), else what its greeting looks like, which is never taken for LMTP
//   ehlo      the name given to an SMTP or LMTP server before TLS; without it, the address at this
//             end of the connection, as in [192.0.2.1] (RFC 5321, section 4.1.4)
//
// The rule keeps the server's greeting, speaks with the server until TLS can start, and lets go: the
// client gets the greeting once TLS is up and the certificate verified. Until then nothing is read
// from the client, however early it speaks.
//
// There is no way back to plaintext. If the server's greeting is no good one, or it has no STARTTLS,
// refuses it, or says anything else, the client is told in the protocol's words to come back later,
// and the connection is closed. That is a temporary failure whatever the server has said: it may
// have been somebody on the way. For the same reason an IMAP server that greets with PREAUTH is
// refused, and plaintext behind the server's go-ahead resets the connection. Nothing that was said
// before TLS reaches the client but the text of the greeting: IMAP's response codes are taken out of
// it, as capabilities from before TLS do not count, and alerts and referrals must not.
//
// The other rules of the virtual server begin when TLS is up. SERVER_CONNECTED and SERVER_DATA do
// not reach their handlers, unless these have a priority before this rule's, which is 100. From
// SERVERSSL_HANDSHAKE on `c.greeted` is true: the client has its greeting. So pop3-starttls,
// imap-starttls or smtp-starttls on the same virtual server make it STARTTLS on both sides.
import { isText, Lines, withoutEnd } from './lib/lines.js';
import { checkOptions, oneOf } from './lib/options.js';
import { isLastLine, isReplyLine } from './lib/smtp-reply.js';

/** Events do not overlap: all connections read with this. */
const LINES = new Lines();

const FIRST = { priority: 100 };

/** The most that the server may say before TLS, in bytes. */
const LONGEST_DIALOGUE = 16384;

/** What the client is told when TLS with the server does not start. */
const LATER = 'There is no secure connection to the server now';

/**
 * `form`: of its greetings. `speak`: see below. `isLine`: whether a line may be one of a reply.
 * `isLast`: whether it is the last one.
 */
const POP3 = {
  form: /^(?:\+OK|-ERR)/,
  speak: speakPop3,
  isLine: () => true,
  isLast: () => true,
  failure: `-ERR [SYS/TEMP] ${LATER}\r\n`,
};
const IMAP = {
  ...POP3,
  form: /^\* /,
  speak: speakImap,
  failure: `* BYE [UNAVAILABLE] ${LATER}\r\n`,
};
const SMTP = {
  form: /^[2-5][0-9]{2}/,
  speak: (upstream) => speakSmtp(upstream, 'EHLO'),
  isLine: isReplyLine,
  isLast: isLastLine,
  failure: `421 4.7.0 ${LATER}\r\n`,
};
const LMTP = { ...SMTP, speak: (upstream) => speakSmtp(upstream, 'LHLO') };

const BY_NAME = { pop3: POP3, imap: IMAP, smtp: SMTP, lmtp: LMTP };
const BY_PORT = { 24: LMTP, 25: SMTP, 110: POP3, 143: IMAP, 587: SMTP };

const aHost = {
  test: (value) =>
    typeof value === 'string' &&
    /^(?:[A-Za-z0-9][A-Za-z0-9.-]{0,254}|\[[0-9A-Za-z.:-]{1,253}\])$/.test(value),
  expected: 'a domain such as "mx.example.com", or an address such as "[192.0.2.1]"',
};

when('RULE_INIT', () => {
  checkOptions(options, { protocol: oneOf(...Object.keys(BY_NAME)), ehlo: aHost });
});

when(
  'SERVER_CONNECTED',
  (c) => {
    event.disable();
    // TLS starts when nothing is collected any more; until then the engine does not read the client.
    SSL.enable();
    TCP.collect();
    c.upstream = {
      protocol: BY_NAME[options.protocol] ?? BY_PORT[TCP.server_port()],
      dialogue: undefined,
      /** The lines of a reply so far. */
      reply: '',
      /** Bytes of the server that were taken. */
      taken: 0,
      /** What the client gets once TLS is up. */
      greeting: '',
    };
  },
  FIRST,
);

when(
  'SERVER_DATA',
  ({ upstream }) => {
    // The handlers behind this one do not run now; the next time this one is to run again.
    event.disable();
    event.enable();
    takeReplies(upstream);
  },
  FIRST,
);

when(
  'SERVERSSL_HANDSHAKE',
  (c) => {
    c.greeted = true;
    clientside(() => clientIo().respond(c.upstream.greeting));
  },
  FIRST,
);

function clientIo() {
  return SSL.mode() ? SSL : TCP;
}

/** Takes the server's lines, up to the one that lets TLS start. The server is the current side. */
function takeReplies(upstream) {
  const lines = LINES.read(TCP);
  let step = { done: false, value: '' };
  for (let line = lines.next(); line !== undefined && !step.done; line = lines.next()) {
    lines.replace('');
    step = takeLine(upstream, line);
    if (!step.done && step.value !== '') TCP.respond(step.value);
  }
  if (!step.done && upstream.taken + lines.rest().length > LONGEST_DIALOGUE) step = TOO_LONG;
  if (!step.done) {
    lines.letGo();
  } else if (step.value === undefined) {
    lines.applyChanges();
    // If anything is held behind the go-ahead, this resets the connection.
    SSL.enable();
  } else {
    giveUp(upstream, step.value);
  }
}

const TOO_LONG = failed(`it says more than ${LONGEST_DIALOGUE} bytes`);

function failed(problem) {
  return { done: true, value: problem };
}

/** Takes a line. Answers what to send, or, if it is done, why TLS cannot start. */
function takeLine(upstream, line) {
  upstream.taken += line.length;
  if (upstream.taken > LONGEST_DIALOGUE) return TOO_LONG;
  upstream.protocol ??= [POP3, IMAP, SMTP].find(({ form }) => form.test(line));
  const { protocol } = upstream;
  if (!protocol?.isLine(line) || !isText(withoutEnd(line))) {
    return failed(`it sends ${shown(line)}`);
  }
  upstream.reply += line;
  if (!protocol.isLast(line)) return { done: false, value: '' };
  const { reply } = upstream;
  upstream.reply = '';
  if (upstream.dialogue === undefined) {
    upstream.dialogue = protocol.speak(upstream);
    upstream.dialogue.next();
  }
  return upstream.dialogue.next(reply);
}

function giveUp({ protocol }, problem) {
  log('warn', `TLS with the server cannot start: ${problem}`);
  if (protocol === undefined) {
    reject();
    return;
  }
  clientside(() => {
    clientIo().respond(protocol.failure);
    TCP.close();
  });
}

// ---- the protocols ------------------------------------------------------------------------------

// What is said with a server is a generator: it yields what to send, gets the whole reply to it, and
// returns why TLS cannot start, or undefined if it can. The greeting is the reply to an empty text.

function* speakPop3(upstream) {
  upstream.greeting = yield '';
  if (!isPop3Ok(upstream.greeting)) return refuses('a connection', upstream.greeting);
  const answer = yield 'STLS\r\n';
  return isPop3Ok(answer) ? undefined : refuses('STLS', answer);
}

function isPop3Ok(reply) {
  return /^\+OK(?: |\r?\n)/.test(reply);
}

function* speakImap(upstream) {
  const greeting = yield '';
  const text = imapText(withoutEnd(greeting));
  if (text === undefined) return refuses('a connection', greeting);
  upstream.greeting = `* OK ${text}\r\n`;
  let answer = yield 'a STARTTLS\r\n';
  while (/^\* (?!BYE\b)/i.test(answer)) answer = yield '';
  return /^a OK(?: |\r?\n)/i.test(answer) ? undefined : refuses('STARTTLS', answer);
}

/** The text of a good greeting, without response codes; undefined: it is none. */
function imapText(greeting) {
  const found = /^\* OK(?: (?: |\[[^\]]*\])*([^ [].*)?)?$/i.exec(greeting);
  return found === null ? undefined : (found[1] ?? 'Ready');
}

function* speakSmtp(upstream, hello) {
  upstream.greeting = yield '';
  if (!upstream.greeting.startsWith('220')) return refuses('a connection', upstream.greeting);
  const offers = yield `${hello} ${options.ehlo ?? ownAddress()}\r\n`;
  if (!offers.startsWith('250')) return refuses(hello, offers);
  if (!/\n250[- ]STARTTLS[ \t]*\r?\n/i.test(offers)) return 'it does not offer STARTTLS';
  const answer = yield 'STARTTLS\r\n';
  return answer.startsWith('220') ? undefined : refuses('STARTTLS', answer);
}

/** RFC 5321, section 4.1.3. The server is the current side. */
function ownAddress() {
  const address = IP.local_addr();
  return address.includes(':') ? `[IPv6:${address}]` : `[${address}]`;
}

function refuses(what, reply) {
  return `it answers ${what} with ${shown(reply)}`;
}

function shown(reply) {
  return JSON.stringify(reply.slice(0, 200));
}
