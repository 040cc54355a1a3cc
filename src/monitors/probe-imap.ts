import type { Endpoint } from '../core/types.ts';
import { type Connection, withConnection } from './connection.ts';
import { sayGoodBye, takeLogin } from './login.ts';
import type { LoginMonitor } from './types.ts';

/**
 * Whether an IMAP server (RFC 9051, RFC 3501) takes a log-in by LOGIN. A server that greets with
 * PREAUTH fails: there is nothing to log in to, and no STARTTLS.
 */
export function probeImap(
  server: Endpoint,
  settings: LoginMonitor,
  signal: AbortSignal,
): Promise<void> {
  const { tls, login } = settings;
  return withConnection(server, signal, async (connection) => {
    if (tls === 'implicit') await connection.startTls(settings);
    const greeting = await connection.line('greeting');
    if (!/^\* OK(?: |$)/i.test(greeting)) {
      throw new Error(`the greeting was ${connection.shown(greeting)}, not * OK`);
    }
    if (tls === 'starttls') {
      await command(connection, 'STARTTLS');
      await connection.startTls(settings);
    }
    if (login !== undefined) {
      const { user, password } = takeLogin(connection, login);
      connection.hide(quoted(password));
      await command(connection, 'LOGIN', `${quoted(user)} ${quoted(password)}`);
    }
    await sayGoodBye(connection, 'a LOGOUT');
  });
}

/** Only one command is under way at a time: they all have the same tag. */
async function command(connection: Connection, word: string, argument?: string): Promise<void> {
  connection.send(argument === undefined ? `a ${word}\r\n` : `a ${word} ${argument}\r\n`);
  const what = `answer to ${word}`;
  let line = await connection.line(what);
  while (/^\* (?!BYE\b)/i.test(line)) line = await connection.line(what);
  if (/^a OK(?: |$)/i.test(line)) return;
  throw new Error(`the ${what} was ${connection.shown(line)}, not OK`);
}

/** RFC 9051, section 4.3. Octets above 127 are UTF-8, which IMAP4rev1 servers take as well. */
function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
