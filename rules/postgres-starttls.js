// TLS for a PostgreSQL server that has none: the client gets it after an SSLRequest (PostgreSQL's
// documentation, "Frontend/Backend Protocol", sections "Message Flow" and "Message Formats"), or from
// the first byte on, and the server hears the plain protocol 3.
//
// The virtual server needs a client-ssl profile. With a server-ssl profile as well, the server hears
// all of it inside TLS, which starts with the connection. Options:
//   tls         "starttls" (default), or "implicit" for clients with sslnegotiation=direct, for
//               which the profile needs "postgresql" in its alpn
//   requireTls  true: no session and no CancelRequest before TLS; default false
//
// Only the request that a connection begins with is looked at; the server is connected to when it is
// known whether TLS comes first. GSSAPI encryption is declined, once. From the startup message on the
// rule looks at nothing. The server has no part in TLS: it cannot offer SCRAM with channel binding, and
// pg_hba.conf sees connections of the kind `hostnossl`, all from this host.
import { aBoolean, aTlsMode, checkOptions, isImplicit } from './lib/options.js';

/** What each request begins with: its length, and a code, of 4 bytes each. */
const HEAD = 8;
const SSL_REQUEST = 80877103;
const GSSENC_REQUEST = 80877104;

const YES = 'S';
const NO = 'N';
/** SQLSTATE 28000: invalid_authorization_specification. */
const TLS_FIRST = errorResponse('28000', 'TLS is required');

when('RULE_INIT', () => {
  checkOptions(options, { tls: aTlsMode, requireTls: aBoolean });
});

// Collecting delays the connection to the server.
when('CLIENT_ACCEPTED', (c) => {
  c.postgres = { hasDeclinedGss: false };
  if (isImplicit(options, undefined)) return;
  SSL.disable();
  TCP.collect(HEAD);
});

when('CLIENT_DATA', ({ postgres }) => {
  const { length, code } = nextRequest(TCP);
  if (code !== SSL_REQUEST && code !== GSSENC_REQUEST) {
    takeSession();
  } else if (length !== HEAD || (code === GSSENC_REQUEST && postgres.hasDeclinedGss)) {
    log('info', 'the client asked for encryption with a wrong length, or too often');
    reject();
  } else {
    TCP.payload.replace(0, HEAD, '');
    TCP.respond(code === SSL_REQUEST ? YES : NO);
    postgres.hasDeclinedGss = true;
    // What follows an SSLRequest stays held: only the beginning of a TLS handshake may.
    if (code === SSL_REQUEST) SSL.enable();
    else TCP.collect(HEAD);
  }
});

when('CLIENTSSL_HANDSHAKE', () => SSL.collect(HEAD));

// A server that took such a request inside TLS would speak about another layer than the client.
when('CLIENTSSL_DATA', () => {
  const { code } = nextRequest(SSL);
  if (code === SSL_REQUEST || code === GSSENC_REQUEST) {
    log('info', 'the client asked for encryption inside TLS');
    reject();
  } else {
    SSL.release();
  }
});

/** Takes a plaintext request that is none for encryption: a session, or a CancelRequest. */
function takeSession() {
  if (options.requireTls) {
    TCP.respond(TLS_FIRST);
    TCP.close();
  } else {
    TCP.release();
  }
}

function nextRequest(io) {
  const head = io.payload(HEAD);
  return { length: numberAt(head, 0), code: numberAt(head, 4) };
}

/** 4 bytes, the highest first. */
function numberAt(text, at) {
  let number = 0;
  for (let i = at; i < at + 4; i++) number = number * 0x100 + text.charCodeAt(i);
  return number;
}

/** An ErrorResponse after which the server closes the connection. */
function errorResponse(code, message) {
  const fields = `SFATAL\0VFATAL\0C${code}\0M${message}\0\0`;
  return `E\0\0\0${String.fromCharCode(fields.length + 4)}${fields}`;
}
