/**
 * Checks a rule's options; for RULE_INIT, where an error keeps the rule from being loaded.
 *
 * @param options - what the configuration gives
 * @param known - for each option a test for its values, and the words that say what they must be
 * @throws TypeError when an option is unknown or has a wrong value
 */
export function checkOptions(options, known) {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name)) {
      throw new TypeError(`unknown option '${name}'; there are ${Object.keys(known).join(', ')}`);
    }
    const { test, expected } = known[name];
    if (!test(value)) {
      throw new TypeError(`option '${name}' must be ${expected}, not ${JSON.stringify(value)}`);
    }
  }
}

/** One of some texts. */
export function oneOf(...values) {
  return {
    test: (value) => values.includes(value),
    expected: values.map((value) => JSON.stringify(value)).join(' or '),
  };
}

export const aBoolean = {
  test: (value) => typeof value === 'boolean',
  expected: 'true or false',
};

/** What stands behind the `@` of a user name. */
export const aRealm = {
  test: (value) => typeof value === 'string' && /^[!-?A-~]{1,255}$/.test(value),
  expected: 'a domain such as "example.com", without the @',
};

/** When TLS with the client begins; see `isImplicit`. */
export const aTlsMode = oneOf('starttls', 'implicit');

/**
 * For CLIENT_ACCEPTED: whether the client begins with TLS, and does not start it by a command.
 *
 * @param options - with the option `tls`; without it, the port decides
 * @param port - the one to which clients come that begin with TLS; undefined: there is none
 */
export function isImplicit(options, port) {
  if (options.tls === undefined) return TCP.local_port() === port;
  return options.tls === 'implicit';
}
