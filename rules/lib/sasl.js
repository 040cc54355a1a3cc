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

/**
 * The argument of a command that begins a SASL login: a mechanism, and perhaps the client's first
 * response, `=` being an empty one (RFC 4959, section 3; RFC 5034, section 4).
 *
 * @returns the argument with the realm added to the names in the response, and the mechanism, in
 *   capitals, whose next response names the user; '' when this one has
 */
export function authWithRealm(argument, realm) {
  const blank = argument.indexOf(' ');
  const start = blank < 0 ? argument.length : blank + 1;
  const mechanism = (blank < 0 ? argument : argument.slice(0, blank)).toUpperCase();
  const response = argument.slice(start);
  if (response === '' || response === '=') return { argument, mechanism };
  const changed = responseWithRealm(mechanism, response, realm);
  return { argument: argument.slice(0, start) + changed, mechanism: '' };
}
