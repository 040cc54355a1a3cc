import type { Connection } from './connection.ts';

/** A reply of an SMTP (RFC 5321, section 4.2) or FTP server (RFC 959, section 4.2). */
export interface Reply {
  readonly code: string;
  /** Its lines, the first and the last one included. */
  readonly lines: readonly string[];
}

/**
 * Reads a reply and demands its code. `123-` begins one of several lines; `123 `, or `123` alone,
 * ends it.
 *
 * @param what - it is, for messages
 * @param codes - of which it must have one
 * @throws Error when it has another, or is no reply
 */
export async function readReply(
  connection: Connection,
  what: string,
  codes: readonly string[],
): Promise<Reply> {
  const first = await connection.line(what);
  const [, code, mark] = /^([1-5][0-9]{2})([ -]|$)/.exec(first) ?? [];
  if (code === undefined || !codes.includes(code)) {
    throw new Error(`the ${what} was ${connection.shown(first)}, not ${codes.join(' or ')}`);
  }
  const lines = [first];
  let last = first;
  while (mark === '-' && !(last.startsWith(code) && (last[3] ?? ' ') === ' ')) {
    last = await connection.line(what);
    lines.push(last);
  }
  return { code, lines };
}
