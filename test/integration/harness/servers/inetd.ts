import { freePort, startServer } from '../process.ts';
import type { ServerFolder } from './server-folder.ts';

export interface Inetd {
  readonly port: number;
  stop(): Promise<unknown>;
}

/**
 * Starts inetd for a server that wants its connection as standard input and output.
 * @param folder - of the account that the server is to run as
 * @param program - absolute path
 * @param args - without blanks in them
 */
export async function startInetd(
  folder: ServerFolder,
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Inetd> {
  const port = await freePort();
  const name = program.slice(program.lastIndexOf('/') + 1);
  const config = folder.file(
    `inetd-${port}.conf`,
    `127.0.0.1:${port} stream tcp nowait ${folder.account.name} ${program} ${[name, ...args].join(' ')}\n`,
  );
  // Debugging keeps inetd in the foreground.
  const server = await startServer(
    'inetutils-inetd',
    ['--debug', `--pidfile=${folder.path}/inetd-${port}.pid`, config],
    port,
    { ...folder.processOptions, env },
  );
  return { port, stop: () => server.stop() };
}
