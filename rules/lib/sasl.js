// User names in SASL exchanges. Text has one character an octet: names in UTF-8 stay whole.

/** A user name with its realm: `alice` becomes `alice@realm`. One with an `@`, or none, stays. */
export function withRealm(name, realm) {
  return realm === undefined || name === '' || name.includes('@') ? name : `${name}@${realm}`;
}

/**
 * A client's SASL response with the realm added to the user names in it.
 *
 * @param mechanism - in capitals. Only PLAIN (RFC 4616) and LOGIN, whose first response is the
 *   name, show names that can be changed
 * @param response - Base64. What is not comes back as it is: the server shall refuse it
 */
export function responseWithRealm(mechanism, response, realm) {
  const addRealm = MECHANISMS.get(mechanism);
  if (realm === undefined || addRealm === undefined) return response;
  let message;
  try {
    message = b64decode(response);
  } catch {
    return response;
  }
  const changed = addRealm(message, realm);
  return changed === message ? response : b64encode(changed);
}

/** Which part of a mechanism's message is a name. */
const MECHANISMS = new Map([
  ['PLAIN', plainWithRealm],
  ['LOGIN', withRealm],
]);

/** `authorization identity NUL user name NUL password` (RFC 4616, section 2). */
function plainWithRealm(message, realm) {
  const parts = message.split('\0');
  if (parts.length !== 3) return message;
  const [authorization, name, password] = parts;
  return [withRealm(authorization, realm), withRealm(name, realm), password].join('\0');
}
