const CLEAR = /^CLEAR\r?\n$/i;

when('SERVER_CONNECTED', () => clientside(() => SSL.collect(1)));

when('CLIENTSSL_DATA', () => {
  const end = SSL.payload.indexOf('\n') + 1;
  if (end === 0) return;
  if (!CLEAR.test(SSL.payload(end))) {
    SSL.release(end);
    SSL.collect(1);
    return;
  }
  SSL.payload.replace(0, end, '');
  SSL.respond('OK\r\n'); // the last that goes inside TLS
  SSL.disable(); // what is still held, and what still comes inside TLS, resets the connection
  TCP.collect(1); // for CLIENT_DATA, with what comes outside
});

when('CLIENT_DATA', () => TCP.release());
