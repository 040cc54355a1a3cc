const STARTTLS = /^STARTTLS\r?\n$/i;

when('CLIENT_ACCEPTED', () => SSL.disable()); // plaintext first, in spite of the profile

when('SERVER_CONNECTED', () => clientside(() => TCP.collect(1)));

when('CLIENT_DATA', () => {
  const end = TCP.payload.indexOf('\n') + 1;
  if (end === 0) return; // half a line: wait for the rest
  if (!STARTTLS.test(TCP.payload(end))) {
    TCP.release(end); // this line goes on,
    TCP.collect(1); // and the event fires again for what is held behind it
    return;
  }
  TCP.payload.replace(0, end, ''); // the server must not see the command
  TCP.respond('OK begin TLS\r\n');
  SSL.enable(); // after the answer; what is still held must be the beginning of a handshake
});
