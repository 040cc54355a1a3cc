// TLS for a MySQL or MariaDB server that has none: the client gets it in the way of the protocol's
// connection phase (MySQL's and MariaDB's documentation of the client/server protocol), and the server
// hears the plain protocol. There is no TLS from the first byte on.
//
// The virtual server needs a client-ssl profile. With a server-ssl profile as well, the server hears
// all of it inside TLS, which starts with the connection. Option:
//   requireTls  true: no login before TLS; default false
//
// The server's greeting gets the flag that says that it knows TLS. A client that wants it sends an
// SSLRequest, which is a packet of its own, and then logs in inside TLS. The server must not see that
// packet: so until the login has succeeded or failed, the client's packets are counted one lower and
// the server's one higher. Only their first bytes are held. Then, or from a login in plaintext on,
// the rule looks at nothing.
//
// The server takes the connection for a plain one. Accounts with REQUIRE SSL cannot log in. Inside TLS
// clients send passwords as they are for some kinds of authentication; caching_sha2_password and
// sha256_password of a server without TLS cannot take them, unless the account is in the cache of the
// first. mysql_native_password, ed25519, PAM and the like work. Clients of MariaDB 11.4 and later need
// the authority of the certificate, as the server cannot vouch for it by the password.
//
// What does not begin as the protocol does ends the connection.
import { aBoolean, checkOptions } from './lib/options.js';
import { Packets } from './lib/packets.js';
import { onServerSide } from './lib/server-side.js';

/** Events do not overlap: all connections read with this. */
const PACKETS = new Packets();

/** A length of 3 bytes, the lowest first, and a number, which counts packets modulo 256. */
const HEADER = 4;
const LONGEST_GREETING = 4096;
const SSL_REQUEST_LENGTH = 32;
/** What a client may send until it is logged in or refused: each way to log in takes a few. */
const MOST_PACKETS = 100;
/** A handler has its time: what more the server has sent is taken in another event. */
const MOST_AT_ONCE = 200;

const PROTOCOL_10 = 10;
/** First bytes of packets that end the login. */
const OK = 0x00;
const ERROR = 0xff;

/** In a greeting: connection ID, the first part of the scramble, and a filler of 1 byte. */
const BEFORE_FLAGS = 13;
/** Flags in the second byte of the capabilities: CLIENT_PROTOCOL_41 and CLIENT_SSL. */
const PROTOCOL_41 = 0x02;
const SSL_FLAG = 0x08;

/** Error 3159, ER_SECURE_TRANSPORT_REQUIRED. */
const TLS_FIRST = '\xff\x57\x0c#HY000TLS is required';

when('RULE_INIT', () => {
  checkOptions(options, { requireTls: aBoolean });
});

/** The server's greeting is due. */
const GREETING = 'greeting';
/** The client's first packet is due. */
const ANSWER = 'answer';
/** TLS is there, or begins, and a login inside it. */
const LOGIN = 'login';
/** Nothing is looked at any more. */
const FREE = 'free';
/** The connection ends. */
const OVER = 'over';

when('CLIENT_ACCEPTED', (c) => {
  SSL.disable();
  c.mysql = {
    stage: GREETING,
    /** What works on the client's side, and on the server's; undefined: that is not heard yet. */
    io: TCP,
    server: undefined,
    /** How many packets of the login inside TLS were taken. The first has the flags. */
    packets: 0,
  };
});

// Collecting on the client side delays the connection to the server, whose greeting comes first.
onServerSide(
  ({ mysql }, io) => {
    mysql.server = io;
    io.collect();
    clientside(() => TCP.collect());
  },
  ({ mysql }) => {
    if (mysql.stage !== FREE && mysql.server !== undefined) takeAnswers(mysql);
  },
);

when('CLIENTSSL_HANDSHAKE', ({ mysql }) => {
  mysql.io = SSL;
  SSL.collect();
});

when('CLIENT_DATA', ({ mysql }) => {
  if (mysql.stage === ANSWER) takeFirst(mysql);
});
when('CLIENTSSL_DATA', ({ mysql }) => {
  if (mysql.stage === LOGIN) takeLogin(mysql);
});

// ---- what the client sends ----------------------------------------------------------------------

/** Takes the client's first packet. The client is the current side. */
function takeFirst(mysql) {
  const packets = PACKETS.read(TCP);
  if (packets.available < HEADER + 2) return;
  const flags = packets.byte(HEADER + 1);
  if ((flags & SSL_FLAG) === 0) {
    takePlaintext(mysql, packets);
  } else if (
    packets.byte(3) !== 1 ||
    lengthOf(packets) !== SSL_REQUEST_LENGTH ||
    (flags & PROTOCOL_41) === 0
  ) {
    end(mysql, 'the client asked for TLS with something that is no SSLRequest');
  } else if (packets.available >= HEADER + SSL_REQUEST_LENGTH) {
    packets.replaceBytes(HEADER + SSL_REQUEST_LENGTH, '');
    packets.letGo();
    mysql.stage = LOGIN;
    // What follows stays held: only the beginning of a TLS handshake may.
    SSL.enable();
  }
}

/** The client begins to log in in plaintext. */
function takePlaintext(mysql, packets) {
  if (options.requireTls) {
    mysql.stage = OVER;
    TCP.respond(`${header(TLS_FIRST.length, packets.byte(3) + 1)}${TLS_FIRST}`);
    TCP.close();
  } else {
    mysql.stage = FREE;
    packets.letAllGo();
    serverside(() => mysql.server.release());
  }
}

/** Takes the packets of a login inside TLS. The client is the current side. */
function takeLogin(mysql) {
  const packets = PACKETS.read(SSL);
  while (packets.available >= (mysql.packets > 0 ? HEADER : HEADER + 2)) {
    mysql.packets += 1;
    if (mysql.packets > MOST_PACKETS) {
      end(mysql, `the client sent more than ${MOST_PACKETS} packets to log in`);
      return;
    }
    if (mysql.packets > 1) {
      const length = lengthOf(packets);
      packets.replaceBytes(HEADER, header(length, packets.byte(3) - 1));
      packets.passBytes(length);
    } else if (!takeFlags(packets)) {
      end(mysql, 'the client sent something that begins no login inside TLS');
      return;
    }
  }
  packets.letGo();
}

/** Takes the first packet of a login, and the flag of TLS off it. Answers whether it is one. */
function takeFlags(packets) {
  const length = lengthOf(packets);
  const [first, second] = [packets.byte(HEADER), packets.byte(HEADER + 1)];
  // An SSLRequest is as long as what belongs to the flags, and may not come again.
  if (packets.byte(3) !== 2 || length <= SSL_REQUEST_LENGTH || (second & SSL_FLAG) === 0) {
    return false;
  }
  const flags = String.fromCharCode(first, second & ~SSL_FLAG);
  packets.replaceBytes(HEADER + 2, header(length, 1) + flags);
  packets.passBytes(length - 2);
  return true;
}

// ---- what the server sends ----------------------------------------------------------------------

/** Takes the server's packets. The server is the current side. */
function takeAnswers(mysql) {
  const packets = PACKETS.read(mysql.server);
  const before = mysql.stage;
  let goesOn = true;
  for (let left = MOST_AT_ONCE; goesOn && left > 0; left--) {
    goesOn = mysql.stage === GREETING ? takeGreeting(mysql, packets) : takeAnswer(mysql, packets);
  }
  if (mysql.stage === OVER) return;
  if (mysql.stage === FREE) {
    packets.letAllGo();
    clientside(() => mysql.io.release());
    return;
  }
  packets.letGo(goesOn);
  if (mysql.stage !== before) clientside(() => takeFirst(mysql));
}

/** Takes the greeting. Answers whether more can be taken. */
function takeGreeting(mysql, packets) {
  if (packets.available <= HEADER) return false;
  // A server that has no room for the client says so in its first packet.
  if (packets.byte(HEADER) === ERROR) return letFree(mysql);
  const length = lengthOf(packets);
  const isKnown = packets.byte(HEADER) === PROTOCOL_10 && length <= LONGEST_GREETING;
  if (!isKnown) return end(mysql, 'the server sent something that is no MySQL greeting', 'warn');
  if (packets.available < HEADER + length) return false;
  const greeting = packets.text(0, HEADER + length);
  const flagsAt = greeting.indexOf('\0', HEADER) + 1 + BEFORE_FLAGS;
  if (flagsAt === BEFORE_FLAGS || flagsAt + 2 > greeting.length) {
    return end(mysql, 'the server sent a MySQL greeting without flags', 'warn');
  }
  const flags = String.fromCharCode(greeting.charCodeAt(flagsAt + 1) | SSL_FLAG);
  packets.replaceBytes(
    greeting.length,
    greeting.slice(0, flagsAt + 1) + flags + greeting.slice(flagsAt + 2),
  );
  mysql.stage = ANSWER;
  return true;
}

/** Takes a packet behind the greeting. Answers whether more can be taken. */
function takeAnswer(mysql, packets) {
  if (packets.available < HEADER) return false;
  const length = lengthOf(packets);
  if (length > 0 && packets.available === HEADER) return false;
  const kind = length > 0 ? packets.byte(HEADER) : undefined;
  if (mysql.stage === ANSWER) {
    // It may have become tired of waiting.
    return kind === ERROR
      ? letFree(mysql)
      : end(mysql, 'the server did not wait for the client', 'warn');
  }
  packets.replaceBytes(HEADER, header(length, packets.byte(3) + 1));
  packets.passBytes(length);
  return kind === OK || kind === ERROR ? letFree(mysql) : true;
}

// ---- both ---------------------------------------------------------------------------------------

/** The length of the packet that comes next, whose header is held. */
function lengthOf(packets) {
  return packets.byte(0) + packets.byte(1) * 0x100 + packets.byte(2) * 0x10000;
}

/** @param number - taken modulo 256 */
function header(length, number) {
  return String.fromCharCode(
    length & 0xff,
    (length >> 8) & 0xff,
    (length >> 16) & 0xff,
    number & 0xff,
  );
}

function letFree(mysql) {
  mysql.stage = FREE;
  return false;
}

function end(mysql, fault, level = 'info') {
  mysql.stage = OVER;
  log(level, fault);
  reject();
  return false;
}
