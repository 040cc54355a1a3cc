import { type Inetd, startInetd } from './inetd.ts';
import { ServerFolder } from './server-folder.ts';

/** Starts telnetd. In place of a login there is `cat`, in a terminal: it repeats lines. */
export async function startTelnetd(): Promise<Inetd> {
  const folder = await ServerFolder.make();
  return startInetd(folder, '/usr/sbin/telnetd', ['-h', '-E', '/bin/cat']);
}
