import type { Endpoint } from '../core/types.ts';
import { type Connection, withConnection } from './connection.ts';
import { sayGoodBye, takeLogin } from './login.ts';
import { type Reply, readReply } from './reply.ts';
import type { LoginMonitor } from './types.ts';

/**
 * Whether an FTP server (RFC 959) takes a log-in; TLS by AUTH TLS (RFC 4217) or implicit. No data
 * connection is opened.
 */
export function probeFtp(
  server: Endpoint,
  settings: LoginMonitor,
  signal: AbortSignal,
): Promise<void> {
  const { tls, login } = settings;
  return withConnection(server, signal, async (connection) => {
    if (tls === 'implicit') await connection.startTls(settings);
    let greeting = await readReply(connection, 'greeting', ['120', '220']);
    while (greeting.code === '120') {
      greeting = await readReply(connection, 'greeting', ['120', '220']);
    }
    if (tls === 'starttls') {
      await command(connection, 'AUTH', 'TLS', ['234']);
      await connection.startTls(settings);
    }
    if (login !== undefined) {
      const { user, password } = takeLogin(connection, login);
      // 230 and 232 need no password (RFC 2228, section 5.1).
      const { code } = await command(connection, 'USER', user, ['230', '232', '331']);
      if (code === '331') await command(connection, 'PASS', password, ['230', '202']);
    }
    await sayGoodBye(connection, 'QUIT');
  });
}

/** An octet 255 is doubled: on the control connection it begins a Telnet code. */
function command(
  connection: Connection,
  word: string,
  argument: string,
  codes: readonly string[],
): Promise<Reply> {
  connection.send(`${word} ${argument.replaceAll('\xff', '\xff\xff')}\r\n`);
  return readReply(connection, `answer to ${word}`, codes);
}
