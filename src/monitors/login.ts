import type { Connection } from './connection.ts';
import { utf8 } from './expect.ts';
import type { Login } from './types.ts';

/**
 * A log-in as it is sent, one character a byte; its password is hidden from then on.
 *
 * @throws Error when a part of it would not stay in its line
 */
export function takeLogin(connection: Connection, { user, password }: Login): Login {
  for (const [name, value] of Object.entries({ 'user name': user, password })) {
    if (/[\r\n\0]/.test(value)) throw new Error(`the ${name} holds CR, LF or NUL`);
  }
  const login = { user: utf8(user), password: utf8(password) };
  connection.hide(login.password);
  return login;
}

/** Text, one character a byte, in Base64. */
export function base64(text: string): string {
  return Buffer.from(text, 'latin1').toString('base64');
}

/**
 * Takes leave. The log-in has succeeded: what the server answers does not matter, nor whether it
 * just closes. That it does either does matter.
 */
export async function sayGoodBye(connection: Connection, command: string): Promise<void> {
  connection.send(`${command}\r\n`);
  await connection.lineOrEnd('good-bye');
}
