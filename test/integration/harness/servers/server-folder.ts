import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Certificate } from '../certificate.ts';
import { run, temporaryFolder } from '../process.ts';

/** The number of nobody and of nogroup. */
const NOBODY = 65534;

/** What a server shows to clients that want TLS of it. */
export type ServerTls = Pick<Certificate, 'cert' | 'key'>;

/** Whom a server runs as. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly name: string;
  readonly group: string;
}

/**
 * A temporary folder of the account that servers run as: nobody where root runs the tests, since
 * several servers refuse to be root, else whoever runs them.
 */
export class ServerFolder {
  private constructor(
    readonly path: string,
    readonly account: Account,
  ) {}

  static async make(): Promise<ServerFolder> {
    const self = userInfo();
    const root = self.uid === 0;
    const name = root ? 'nobody' : self.username;
    const group = (await run('id', ['-gn', name])).stdout.trim();
    const ids = root ? { uid: NOBODY, gid: NOBODY } : { uid: self.uid, gid: self.gid };
    const folder = new ServerFolder(temporaryFolder(), { ...ids, name, group });
    folder.give(folder.path);
    return folder;
  }

  /** What {@link startServer} needs to run a server in this folder, as its account. */
  get processOptions(): { readonly folder: string; readonly uid: number; readonly gid: number } {
    return { folder: this.path, uid: this.account.uid, gid: this.account.gid };
  }

  /**
   * Writes a file.
   * @param name - path inside the folder
   * @param mode - permissions; by default what the umask leaves
   * @returns its path
   */
  file(name: string, content: string, mode?: number): string {
    const path = join(this.path, name);
    writeFileSync(path, content);
    if (mode !== undefined) chmodSync(path, mode);
    return this.give(path);
  }

  /** Makes a folder, and those on the way to it; returns its path. */
  folder(name: string): string {
    let path = this.path;
    for (const part of name.split('/')) {
      path = join(path, part);
      mkdirSync(path, { recursive: true });
      this.give(path);
    }
    return path;
  }

  private give(path: string): string {
    chownSync(path, this.account.uid, this.account.gid);
    return path;
  }
}
