import type { StubScript } from './tls-stub.ts';

/** What is sent, and the whole answer. */
export interface Exchange {
  readonly send: string;
  readonly answer: string;
}

/** How a client gets TLS in a protocol, through its bundled rule, from a stub without TLS. */
export interface StarttlsProtocol {
  readonly rule: string;
  readonly stub: StubScript;
  /** What is said before; an empty `send` only waits. */
  readonly opening: readonly Exchange[];
  /** What of it reaches the server. */
  readonly heard: string;
  readonly command: string;
  /** What lets the client begin TLS. */
  readonly goAhead: string;
  /** What somebody in between would like the server to hear: it has the word INJECTED. */
  readonly injected: string;
  /** What can be asked in plaintext, where STARTTLS behind it has to wait for the answer. */
  readonly asked?: Exchange;
  /** What is asked inside TLS. */
  readonly inside: Exchange;
}

/** BER, for content of less than 128 bytes. */
function ber(tag: number, ...content: readonly string[]): string {
  const value = content.join('');
  return `${String.fromCharCode(tag, value.length)}${value}`;
}

function ldapMessage(id: number, operation: string): string {
  return ber(0x30, ber(0x02, String.fromCharCode(id)), operation);
}

export function ldapBind(id: number, name: string): string {
  return ldapMessage(id, ber(0x60, ber(0x02, '\x03'), ber(0x04, name), ber(0x80, 'x')));
}

/** @param result - a result code */
export function ldapBindAnswer(id: number, result: number): string {
  return ldapMessage(id, ber(0x61, `\x0a\x01${String.fromCharCode(result)}\x04\0\x04\0`));
}

const START_TLS = '1.3.6.1.4.1.1466.20037';

export function ldapStartTls(id: number): string {
  return ldapMessage(id, ber(0x77, ber(0x80, START_TLS)));
}

export function ldapStartTlsAnswer(id: number, result: number, text: string): string {
  const code = ber(0x0a, String.fromCharCode(result));
  return ldapMessage(id, ber(0x78, code, ber(0x04), ber(0x04, text), ber(0x8a, START_TLS)));
}

/** A length of 4 bytes that counts itself, and the rest of the message. */
function postgresMessage(body: string): string {
  return `\0\0\0${String.fromCharCode(body.length + 4)}${body}`;
}

function postgresStartup(user: string): string {
  return postgresMessage(`\0\x03\0\0user\0${user}\0\0`);
}

function mysqlPacket(number: number, body: string): string {
  return `${String.fromCharCode(body.length)}\0\0${String.fromCharCode(number)}${body}`;
}

/** Protocol 4.1, TLS, secure connection; 16 MiB, UTF-8. */
const mysqlFlags = `\x05\xaa\0\0\0\0\0\x01\x21${'\0'.repeat(23)}`;
const mysqlGreeting = `\x0a5.5.5\0${'\x01\0\0\0'}scramble\0\x01\xa2\x21\x02\0\0\0\0${'\0'.repeat(11)}of 12 bytes.\0`;
const mysqlOk = '\0\0\0\x02\0\0\0';

function mysqlLogin(user: string): string {
  return mysqlPacket(2, `${mysqlFlags}${user}\0\0`);
}

/** A greeting with the flag for TLS, as the rule makes it. */
const mysqlOffer = mysqlPacket(0, mysqlGreeting.replace('\x01\xa2', '\x01\xaa'));

/** TLS as the server sees it: not at all, so its packets are numbered one lower. */
const mysqlInside = { send: mysqlLogin('porter'), answer: mysqlPacket(3, mysqlOk) };

const TLS_NAMESPACE = 'urn:ietf:params:xml:ns:xmpp-tls';

function stream(namespace: string, to: string): string {
  const streams = 'http://etherx.jabber.org/streams';
  return `<stream:stream xmlns='${namespace}' xmlns:stream='${streams}' to='${to}' version='1.0'>`;
}

function xmppProtocol(rule: string, namespace: string): StarttlsProtocol {
  return {
    rule,
    stub: { greeting: '', answers: [[/<stream:stream [^>]*>/, '<stream:features/>']] },
    opening: [{ send: stream(namespace, 'example.com'), answer: '</stream:features>' }],
    heard: '',
    command: `<starttls xmlns='${TLS_NAMESPACE}'/>`,
    goAhead: `<proceed xmlns='${TLS_NAMESPACE}'/>`,
    injected: stream(namespace, 'INJECTED'),
    inside: { send: stream(namespace, 'example.com'), answer: '<stream:features/>' },
  };
}

function smtpProtocol(hello: string): StarttlsProtocol {
  const greeted = '250-stub\r\n250-8BITMIME\r\n250 STARTTLS\r\n';
  return {
    rule: 'smtp-starttls',
    stub: {
      greeting: '220 stub\r\n',
      answers: [
        [/(?:EHLO|LHLO) .*\r\n/, '250-stub\r\n250 8BITMIME\r\n'],
        [/NOOP\r\n/, '250 noop\r\n'],
        [/.*\r\n/, '250 something\r\n'],
      ],
    },
    opening: [
      { send: '', answer: '220 stub\r\n' },
      { send: `${hello} client.example\r\n`, answer: greeted },
    ],
    heard: `${hello} client.example\r\n`,
    command: 'STARTTLS\r\n',
    goAhead: '220 2.0.0 Ready to start TLS\r\n',
    injected: 'MAIL FROM:<INJECTED@example.com>\r\n',
    asked: { send: 'NOOP\r\n', answer: '250 noop\r\n' },
    inside: { send: `${hello} client.example\r\n`, answer: '250-stub\r\n250 8BITMIME\r\n' },
  };
}

/** By OpenSSL's names for the protocols. */
export const starttlsProtocols = {
  pop3: {
    rule: 'pop3-starttls',
    stub: { greeting: '+OK stub\r\n', answers: [[/.*\r\n/, '+OK yes\r\n']] },
    opening: [{ send: '', answer: '+OK stub\r\n' }],
    heard: '',
    command: 'STLS\r\n',
    goAhead: '+OK Begin TLS negotiation\r\n',
    injected: 'USER INJECTED\r\n',
    asked: { send: 'NOOP\r\n', answer: '+OK yes\r\n' },
    inside: { send: 'USER alice\r\n', answer: '+OK yes\r\n' },
  },
  imap: {
    rule: 'imap-starttls',
    stub: {
      greeting: '* OK stub\r\n',
      answers: [
        [/a NOOP\r\n/, 'a OK plain\r\n'],
        [/c NOOP\r\n/, 'c OK inside\r\n'],
        [/.*\r\n/, '* BAD unexpected\r\n'],
      ],
    },
    opening: [{ send: '', answer: '* OK stub\r\n' }],
    heard: '',
    command: 'b STARTTLS\r\n',
    goAhead: 'b OK Begin TLS negotiation now\r\n',
    injected: 'd LOGIN INJECTED x\r\n',
    asked: { send: 'a NOOP\r\n', answer: 'a OK plain\r\n' },
    inside: { send: 'c NOOP\r\n', answer: 'c OK inside\r\n' },
  },
  smtp: smtpProtocol('EHLO'),
  lmtp: smtpProtocol('LHLO'),
  ftp: {
    rule: 'ftp-starttls',
    stub: {
      greeting: '220 stub\r\n',
      answers: [
        [/NOOP\r\n/, '200 noop\r\n'],
        [/.*\r\n/, '257 "/"\r\n'],
      ],
    },
    opening: [{ send: '', answer: '220 stub\r\n' }],
    heard: '',
    command: 'AUTH TLS\r\n',
    goAhead: '234 Begin TLS negotiation\r\n',
    injected: 'USER INJECTED\r\n',
    asked: { send: 'NOOP\r\n', answer: '200 noop\r\n' },
    inside: { send: 'PWD\r\n', answer: '257 "/"\r\n' },
  },
  nntp: {
    rule: 'nntp-starttls',
    stub: {
      greeting: '200 stub\r\n',
      answers: [
        [/DATE\r\n/, '111 20300101000000\r\n'],
        [/.*\r\n/, '211 1 1 1 local.test\r\n'],
      ],
    },
    opening: [{ send: '', answer: '200 stub\r\n' }],
    heard: '',
    command: 'STARTTLS\r\n',
    goAhead: '382 Begin TLS negotiation\r\n',
    injected: 'GROUP INJECTED\r\n',
    asked: { send: 'DATE\r\n', answer: '111 20300101000000\r\n' },
    inside: { send: 'GROUP local.test\r\n', answer: '211 1 1 1 local.test\r\n' },
  },
  sieve: {
    rule: 'sieve-starttls',
    stub: {
      greeting: '"SASL" "PLAIN"\r\nOK\r\n',
      answers: [
        [/CAPABILITY\r\n/, '"SASL" "PLAIN"\r\nOK\r\n'],
        [/.*\r\n/, 'OK "yes"\r\n'],
      ],
    },
    opening: [{ send: '', answer: '"SASL" "PLAIN"\r\n"STARTTLS"\r\nOK\r\n' }],
    heard: '',
    command: 'STARTTLS\r\n',
    goAhead: 'OK "Begin TLS negotiation"\r\n',
    injected: 'PUTSCRIPT "INJECTED" "keep;"\r\n',
    asked: { send: 'NOOP\r\n', answer: 'OK "yes"\r\n' },
    // The server shows its capabilities again first (RFC 5804, section 2.2).
    inside: { send: 'NOOP\r\n', answer: '"SASL" "PLAIN"\r\nOK\r\nOK "yes"\r\n' },
  },
  irc: {
    rule: 'irc-starttls',
    stub: {
      greeting: '',
      answers: [
        [/CAP LS\r\n/, ':stub CAP * LS :sasl\r\n'],
        [/NICK .*\r\n/, ':stub 001 porter :Welcome\r\n'],
      ],
    },
    opening: [],
    heard: '',
    command: 'STARTTLS\r\n',
    goAhead: ':portreeve 670 * :STARTTLS successful, proceed with TLS handshake\r\n',
    injected: 'NICK INJECTED\r\n',
    inside: { send: 'NICK porter\r\n', answer: ':stub 001 porter :Welcome\r\n' },
  },
  ldap: {
    rule: 'ldap-starttls',
    stub: { greeting: '', answers: [[/0.{4}`.+x$/s, ldapBindAnswer(5, 0)]] },
    opening: [],
    heard: '',
    command: ldapStartTls(1),
    goAhead: ldapStartTlsAnswer(1, 0, 'Begin TLS negotiation'),
    injected: ldapBind(2, 'cn=INJECTED'),
    inside: { send: ldapBind(5, 'cn=porter'), answer: ldapBindAnswer(5, 0) },
  },
  xmpp: xmppProtocol('xmpp-starttls', 'jabber:client'),
  'xmpp-server': xmppProtocol('xmpp-server-starttls', 'jabber:server'),
  postgres: {
    rule: 'postgres-starttls',
    stub: { greeting: '', answers: [[/.{8}user.+$/s, 'R\0\0\0\x08\0\0\0\0']] },
    opening: [],
    heard: '',
    command: postgresMessage('\x04\xd2\x16\x2f'),
    goAhead: 'S',
    injected: postgresStartup('INJECTED'),
    inside: { send: postgresStartup('porter'), answer: 'R\0\0\0\x08\0\0\0\0' },
  },
  mysql: {
    rule: 'mysql-starttls',
    stub: {
      greeting: mysqlPacket(0, mysqlGreeting),
      answers: [[/.{36}[a-zA-Z]+..$/s, mysqlPacket(2, mysqlOk)]],
    },
    opening: [{ send: '', answer: mysqlOffer }],
    heard: '',
    command: mysqlPacket(1, mysqlFlags),
    goAhead: '',
    injected: mysqlLogin('INJECTED'),
    inside: mysqlInside,
  },
  telnet: {
    rule: 'telnet-starttls',
    stub: { greeting: 'login: ', answers: [[/.*\r\n/, 'Password: ']] },
    opening: [{ send: '', answer: '\xff\xfd\x2e' }],
    heard: '',
    command: '\xff\xfb\x2e\xff\xfa\x2e\x01\xff\xf0',
    goAhead: '\xff\xfa\x2e\x01\xff\xf0',
    injected: 'INJECTED\r\n',
    inside: { send: 'porter\r\n', answer: 'login: Password: ' },
  },
} satisfies Readonly<Record<string, StarttlsProtocol>>;
