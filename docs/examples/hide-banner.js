// Replaces the server's first line, which tells its name and version.
when('SERVER_CONNECTED', () => TCP.collect());

when('SERVER_DATA', () => {
  const end = TCP.payload.indexOf('\r\n');
  if (end < 0) return; // half a line: the event fires again when more of it has come
  TCP.payload.replace(0, end, options.banner ?? '+OK ready');
  TCP.release(); // lets go of everything, and collects no more
});
