import { freePort, startServer } from '../process.ts';
import { ServerFolder } from './server-folder.ts';

/** What a file server holds in `hello.txt`. */
export const FTP_FILE = 'hello from the file server\n';

export interface Vsftpd {
  readonly port: number;
  stop(): Promise<unknown>;
}

/** Starts vsftpd without TLS: anybody may log in as anonymous and read `hello.txt`. */
export async function startVsftpd(): Promise<Vsftpd> {
  const folder = await ServerFolder.make();
  const port = await freePort();
  const files = folder.folder('files');
  folder.file('files/hello.txt', FTP_FILE, 0o644);
  const config = folder.file(
    'vsftpd.conf',
    `listen=YES
listen_address=127.0.0.1
listen_port=${port}
background=NO
run_as_launching_user=YES
seccomp_sandbox=NO
secure_chroot_dir=${folder.folder('empty')}
anonymous_enable=YES
allow_writeable_chroot=YES
no_anon_password=YES
anon_root=${files}
`,
  );
  const server = await startServer('vsftpd', [config], port, folder.processOptions);
  return { port, stop: () => server.stop() };
}
