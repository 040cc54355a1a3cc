// What can be done with a line of the client, for `judge` of a `StarttlsSession`.

/** @typedef {{ kind: string, text: string | undefined, owes: unknown }} Verdict */

export const PASS = 'pass';
export const ANSWER = 'answer';
export const REFUSE = 'refuse';
export const START_TLS = 'start TLS';
export const CLOSE = 'close';
export const RESET = 'reset';
export const LET_GO = 'let go';

/**
 * The line goes to the server, as it is or as `text`, and the server owes an answer to it.
 *
 * @param {unknown} owes - in the session's words; undefined: the server does not answer
 * @param {string} [text]
 * @returns {Verdict}
 */
export function passes(owes, text) {
  return { kind: PASS, text, owes };
}

/** The server gets the line as it is, and does not answer it. */
export const PASSES = passes(undefined);

/** The server does not see the line: the rule answers, once nothing is outstanding. */
export function answers(reply) {
  return { kind: ANSWER, text: reply, owes: undefined };
}

/** The same, and it counts among the refusals. */
export function refuses(reply) {
  return { kind: REFUSE, text: reply, owes: undefined };
}

/** The rule answers, and TLS starts behind the answer. */
export function startsTls(reply) {
  return { kind: START_TLS, text: reply, owes: undefined };
}

/** The rule answers, and closes the connection. */
export function closes(reply) {
  return { kind: CLOSE, text: reply, owes: undefined };
}

/** Nothing from this line on is of interest: once nothing is outstanding the rule is over. */
export const LETS_GO = { kind: LET_GO, text: '', owes: undefined };
