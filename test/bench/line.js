// Appends a realm to the user names in a line protocol, for as long as the connection lives:
// `USER x` becomes `USER x@realm`; names that have a realm, and all other lines, pass as they are.
// Option: realm.
const LONGEST_LINE = 1024;
const NAME_WITHOUT_REALM = /(?:^|\n)USER [^\s@]+(?=\r?\n)/gi;
const WITH_REALM = `$&@${options.realm.replaceAll('$', '$$$$')}`;

when('SERVER_CONNECTED', () => clientside(() => TCP.collect()));

when('CLIENT_DATA', () => {
  const held = TCP.payload();
  const end = held.lastIndexOf('\n') + 1;
  if (held.length - end > LONGEST_LINE) {
    reject();
    return;
  }
  if (end > 0) {
    const lines = held.slice(0, end);
    const rewritten = lines.replace(NAME_WITHOUT_REALM, WITH_REALM);
    if (rewritten !== lines) TCP.payload.replace(0, end, rewritten);
    TCP.release(rewritten.length);
  }
  TCP.collect();
});
