import { freePort, startServer } from '../process.ts';
import { ServerFolder } from './server-folder.ts';

/** The server's name for itself. */
export const IRC_SERVER = 'irc.example.com';

export interface Ngircd {
  readonly port: number;
  stop(): Promise<unknown>;
}

/** Starts ngircd without TLS; whoever sends NICK and USER is in. */
export async function startNgircd(): Promise<Ngircd> {
  const folder = await ServerFolder.make();
  const port = await freePort();
  const config = folder.file(
    'ngircd.conf',
    `[Global]
Name = ${IRC_SERVER}
Info = Test
Listen = 127.0.0.1
Ports = ${port}
MotdPhrase = hello
[Options]
DNS = no
Ident = no
PAM = no
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
`,
  );
  const server = await startServer('ngircd', ['-n', '-f', config], port, folder.processOptions);
  return { port, stop: () => server.stop() };
}
