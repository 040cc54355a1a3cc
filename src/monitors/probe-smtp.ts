import type { Endpoint } from '../core/types.ts';
import { type Connection, withConnection } from './connection.ts';
import { base64, sayGoodBye, takeLogin } from './login.ts';
import { type Reply, readReply } from './reply.ts';
import type { Login, LoginMonitor } from './types.ts';

/** Whether an SMTP server (RFC 5321) takes a log-in by AUTH PLAIN or AUTH LOGIN (RFC 4954). */
export function probeSmtp(
  server: Endpoint,
  settings: LoginMonitor,
  signal: AbortSignal,
): Promise<void> {
  const { tls, login } = settings;
  return withConnection(server, signal, async (connection) => {
    if (tls === 'implicit') await connection.startTls(settings);
    await readReply(connection, 'greeting', ['220']);
    let offers = await hello(connection);
    if (tls === 'starttls') {
      if (!offers.has('STARTTLS')) throw new Error('the server does not offer STARTTLS');
      await command(connection, 'STARTTLS', ['220']);
      await connection.startTls(settings);
      // RFC 3207, section 4.2: what was offered before does not count.
      offers = await hello(connection);
    }
    if (login !== undefined) {
      const mechanisms = offers.get('AUTH') ?? [];
      await authenticate(connection, mechanisms, takeLogin(connection, login));
    }
    await sayGoodBye(connection, 'QUIT');
  });
}

/** Sends EHLO. Answers what the server offers: parameters by keyword, all in capitals. */
async function hello(connection: Connection): Promise<ReadonlyMap<string, readonly string[]>> {
  const address = connection.localAddress;
  const name = address.includes(':') ? `[IPv6:${address}]` : `[${address}]`;
  connection.send(`EHLO ${name}\r\n`);
  const { lines } = await readReply(connection, 'answer to EHLO', ['250']);
  return new Map(
    lines.slice(1).map((line) => {
      const [keyword = '', ...parameters] = line
        .slice(4)
        .trim()
        .toUpperCase()
        .split(/[ \t]+/);
      return [keyword, parameters];
    }),
  );
}

async function authenticate(
  connection: Connection,
  mechanisms: readonly string[],
  { user, password }: Login,
): Promise<void> {
  const hidden = (text: string) => {
    const sent = base64(text);
    connection.hide(sent);
    return sent;
  };
  if (mechanisms.includes('PLAIN')) {
    const response = hidden(`\0${user}\0${password}`);
    await command(connection, 'AUTH PLAIN', ['235'], response);
  } else if (mechanisms.includes('LOGIN')) {
    await command(connection, 'AUTH LOGIN', ['334']);
    connection.send(`${base64(user)}\r\n`);
    await readReply(connection, 'answer to the user name', ['334']);
    connection.send(`${hidden(password)}\r\n`);
    await readReply(connection, 'answer to the password', ['235']);
  } else {
    throw new Error('the server offers neither AUTH PLAIN nor AUTH LOGIN');
  }
}

function command(
  connection: Connection,
  words: string,
  codes: readonly string[],
  argument?: string,
): Promise<Reply> {
  connection.send(argument === undefined ? `${words}\r\n` : `${words} ${argument}\r\n`);
  return readReply(connection, `answer to ${words}`, codes);
}
