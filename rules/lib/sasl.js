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
 * @param response - Base64. In place of what is not comes `*`, which no server takes for a response:
 *   a lenient one might find a name in it
 */
export function responseWithRealm(mechanism, response, realm) {
  const addRealm = MECHANISMS.get(mechanism);
  if (realm === undefined || addRealm === undefined) return response;
  let message;
  try {
    message = b64decode(response);
  } catch {
    return '*';
  }
  const changed = addRealm(message, realm);
  return changed === message ? response : b64encode(changed);
}

/** Which part of a mechanism's message is a name. */
const MECHANISMS = new Map([
  ['PLAIN', plainWithRealm],
  ['LOGIN', loginWithRealm],
]);

/** To a lenient server a name ends at a NUL. */
function loginWithRealm(message, realm) {
  const [name] = message.split('\0', 1);
  return withRealm(name, realm);
}

/**
 * `authorization identity NUL user name NUL password` (RFC 4616, section 2). A lenient server passes
 * over what follows another NUL.
 */
function plainWithRealm(message, realm) {
  const [authorization, name, ...others] = message.split('\0');
  if (name === undefined) return message;
  return [withRealm(authorization, realm), withRealm(name, realm), ...others].join('\0');
}

/** A mechanism, and the blanks behind it: to some servers there may be several. */
const MECHANISM = /^([^\t ]*)[\t ]*/;

/**
 * The argument of a command that begins a SASL login: a mechanism, and perhaps the client's first
 * response, `=` being an empty one (RFC 4959, section 3; RFC 5034, section 4).
 *
 * @returns the argument with the realm added to the names in the response, and the mechanism, in
 *   capitals, whose next response names the user; '' when this one has
 */
export function authWithRealm(argument, realm) {
  const [beginning, name] = MECHANISM.exec(argument);
  const mechanism = name.toUpperCase();
  const response = argument.slice(beginning.length);
  if (response === '' || response === '=') return { argument, mechanism };
  const changed = responseWithRealm(mechanism, response, realm);
  return { argument: beginning + changed, mechanism: '' };
}
