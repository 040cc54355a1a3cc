import type { Endpoint } from '../core/types.ts';
import { type Connection, withConnection } from './connection.ts';
import { sayGoodBye, takeLogin } from './login.ts';
import type { LoginMonitor } from './types.ts';

/** Whether a POP3 server (RFC 1939) takes a log-in; TLS by STLS (RFC 2595) or implicit. */
export function probePop3(
  server: Endpoint,
  settings: LoginMonitor,
  signal: AbortSignal,
): Promise<void> {
  const { tls, login } = settings;
  return withConnection(server, signal, async (connection) => {
    if (tls === 'implicit') await connection.startTls(settings);
    await expectOk(connection, 'greeting');
    if (tls === 'starttls') {
      await command(connection, 'STLS');
      await connection.startTls(settings);
    }
    if (login !== undefined) {
      const { user, password } = takeLogin(connection, login);
      await command(connection, 'USER', user);
      await command(connection, 'PASS', password);
    }
    await sayGoodBye(connection, 'QUIT');
  });
}

async function command(connection: Connection, word: string, argument?: string): Promise<void> {
  connection.send(argument === undefined ? `${word}\r\n` : `${word} ${argument}\r\n`);
  await expectOk(connection, `answer to ${word}`);
}

async function expectOk(connection: Connection, what: string): Promise<void> {
  const line = await connection.line(what);
  if (/^\+OK(?: |$)/.test(line)) return;
  throw new Error(`the ${what} was ${connection.shown(line)}, not +OK`);
}
