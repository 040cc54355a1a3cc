import { lstat, readlink, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, parse, sep } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';

/** Changes that follow each other this closely are one change. */
const QUIET_MS = 100;

/** As Linux does, before it calls it a loop. */
const MAX_LINKS = 40;

export interface FileWatcher {
  /**
   * Watches these files (absolute paths, existing or not) and no others. Once it is done no later
   * change is missed; of files that were watched before, none from before it either.
   */
  set(files: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * Watches files for changes: written in place, replaced by a rename, with their folder or alone,
 * reached over symbolic links that are swapped, missing for a while. One watcher for all files of a
 * process is best: two that watch the same folder share what the system tells.
 *
 * @param onChange called once for changes that happen together, about 100 ms after the last one
 * @param onError the system refuses to watch (such as too many watches): changes may be missed
 */
export function watchFiles(
  onChange: () => void,
  onError: (error: Error) => void = () => undefined,
): FileWatcher {
  return new FolderWatcher(onChange, onError);
}

/**
 * Watches the folders in which a file or a link on the way to it is an entry, because a watch on
 * the file itself ends when the file is replaced. Events only say when to look; whether something
 * has changed is read off the files.
 */
class FolderWatcher implements FileWatcher {
  /** With the state in which each was last seen; undefined: not looked at yet. */
  private files = new Map<string, string | undefined>();
  private watcher: FSWatcher | undefined;
  private watchedKey = '';
  private timer: NodeJS.Timeout | undefined;
  private closed = false;
  private work: Promise<void> = Promise.resolve();

  constructor(
    private readonly onChange: () => void,
    private readonly onError: (error: Error) => void,
  ) {}

  set(files: readonly string[]): Promise<void> {
    return this.inTurn(async () => {
      this.files = new Map(files.map((file) => [file, this.files.get(file)]));
      await this.look();
    });
  }

  close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    return this.inTurn(async () => this.watcher?.close());
  }

  /** One thing at a time: `set`, looks and `close` all wait for the file system. */
  private inTurn(job: () => Promise<void>): Promise<void> {
    this.work = this.work.then(job);
    return this.work;
  }

  private lookSoon(): void {
    clearTimeout(this.timer);
    if (!this.closed) this.timer = setTimeout(() => this.inTurn(() => this.look()), QUIET_MS);
  }

  private async look(): Promise<void> {
    if (this.closed) return;
    const layout = await layoutOf(this.files.keys());
    if (layout.key !== this.watchedKey) {
      await this.watchLayout(layout);
      // For what happened on the way to the files in the meantime.
      this.lookSoon();
    }
    let changed = false;
    for (const [file, before] of this.files) {
      const now = await stateOf(file);
      this.files.set(file, now);
      changed ||= before !== undefined && before !== now;
    }
    if (changed && !this.closed) this.onChange();
  }

  private async watchLayout({ key, folders, entries }: Layout): Promise<void> {
    // Before there is a new one: chokidar shares system watches by path, so the new one would be
    // given the old one's, which stays with a folder that was moved away.
    await this.watcher?.close();
    const watcher = watch([...folders], {
      depth: 0,
      followSymlinks: false,
      ignoreInitial: true,
      atomic: false,
      ignored: (path) => !entries.has(path) && !folders.has(path),
    });
    this.watcher = watcher;
    this.watchedKey = key;
    watcher.on('all', () => this.lookSoon());
    // What `all` leaves out: a folder was moved away, a file's permissions were changed.
    watcher.on('raw', (_event, name, details) => {
      if (isAboutItself(name, details)) this.lookSoon();
    });
    watcher.on('error', (error) => {
      this.onError(error instanceof Error ? error : new Error(String(error)));
    });
    // Without a folder, chokidar is never ready.
    if (folders.size > 0) await new Promise<void>((done) => watcher.once('ready', done));
  }
}

/** Whether a raw event is about what is watched, not about an entry in it. */
function isAboutItself(name: string, details: unknown): boolean {
  if (typeof details !== 'object' || details === null || !('watchedPath' in details)) return false;
  return basename(String(details.watchedPath)) === name;
}

/** What has to be watched for some files. */
interface Layout {
  readonly folders: ReadonlySet<string>;
  /** In these folders: the files, or what is missing of the way to them, and links on the way. */
  readonly entries: ReadonlySet<string>;
  /** Differs when any of it does, and when another folder has taken the name of one. */
  readonly key: string;
}

async function layoutOf(files: Iterable<string>): Promise<Layout> {
  const entries = new Set<string>();
  for (const file of files) for (const entry of await entriesOf(file)) entries.add(entry);
  const folders = new Set([...entries].map((entry) => dirname(entry)));
  const identities: string[] = [];
  for (const folder of folders) {
    const stats = await stat(folder).catch(() => undefined);
    identities.push(`${stats?.dev}:${stats?.ino}`);
  }
  return { folders, entries, key: JSON.stringify([...entries, ...identities]) };
}

/** The links on the way to a file, then the file, or the first of the way that is missing. */
async function entriesOf(file: string): Promise<string[]> {
  const entries: string[] = [];
  const { root } = parse(file);
  let folder = root;
  let steps = file.slice(root.length).split(sep);
  for (let links = 0; ; ) {
    const [step = '', ...later] = steps;
    const path = join(folder, step);
    const stats = await lstat(path).catch(() => undefined);
    const target = stats?.isSymbolicLink()
      ? await readlink(path).catch(() => undefined)
      : undefined;
    if (target !== undefined && links++ < MAX_LINKS) {
      entries.push(path);
      if (isAbsolute(target)) folder = parse(target).root;
      steps = [...target.split(sep).filter((part) => part !== ''), ...later];
    } else if (stats?.isDirectory() && later.length > 0) {
      folder = path;
      steps = later;
    } else {
      entries.push(path);
      return entries;
    }
  }
}

/** Differs when the file was written, replaced, made readable, removed. */
async function stateOf(file: string): Promise<string> {
  const stats = await stat(file, { bigint: true }).catch(() => undefined);
  if (stats === undefined) return 'missing';
  return [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(':');
}
