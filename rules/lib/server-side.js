/**
 * Has a rule begin with the server as soon as what comes from there is for the client: at once, or,
 * where TLS with the server is to come, when it is up. Before that the rule collects nothing, so
 * that TLS can start; the engine does not read the client then.
 *
 * Where another rule has greeted the client already (starttls-upstream), `c.greeted` is true: the
 * server will not greet again. Before `begin`, `take` may be called for what is that rule's.
 *
 * @param {(c: Connection, io: typeof TCP | typeof SSL) => void} begin - `io`: what the server's side
 *   is to be collected with, and read and written from then on
 * @param {(c: Connection) => void} take - bytes have arrived from the server
 */
export function onServerSide(begin, take) {
  when('SERVER_CONNECTED', (c) => {
    if (!SSL.mode()) begin(c, TCP);
  });
  when('SERVERSSL_HANDSHAKE', (c) => begin(c, SSL));
  when('SERVER_DATA', take);
  when('SERVERSSL_DATA', take);
}
