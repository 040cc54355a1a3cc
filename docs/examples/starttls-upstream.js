// TLS of the profile starts when nothing of the server is collected any more.
when('SERVER_CONNECTED', () => TCP.collect(1));

when('SERVER_DATA', (c) => {
  const end = TCP.payload.indexOf('\n') + 1;
  if (end === 0) return;
  const line = TCP.payload(end);
  TCP.payload.replace(0, end, ''); // inside TLS it would be something else
  if (!line.startsWith('OK')) {
    reject();
  } else if (c.greeting === undefined) {
    c.greeting = line;
    TCP.respond('STARTTLS\r\n');
  } else {
    TCP.release(); // now; what is held behind the answer resets the connection
  }
});

// The certificate has been verified: now the client may know.
when('SERVERSSL_HANDSHAKE', (c) => clientside(() => TCP.respond(c.greeting)));
