import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FileWatcher, watchFiles } from '../../../src/config/index.ts';
import { Folder } from './folder.ts';

let folder: Folder;
let watcher: FileWatcher;
let calls: number;
let wake: () => void;
let errors: Error[];

beforeEach(() => {
  folder = new Folder();
  calls = 0;
  wake = () => undefined;
  errors = [];
  watcher = watchFiles(
    () => {
      calls++;
      wake();
    },
    (error) => errors.push(error),
  );
});

afterEach(async () => {
  await watcher.close();
  folder.remove();
  expect(errors).toEqual([]);
});

/** Makes changes, waits until they are reported, and proves that it was once and soon. */
async function reported(change: () => void): Promise<void> {
  const before = calls;
  const called = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const start = performance.now();
  change();
  await called;
  expect(performance.now() - start).toBeLessThan(900);
  await settled();
  expect(calls).toBe(before + 1);
}

/** A change to another file is reported: so everything before it was, too, if it was going to be. */
async function settled(): Promise<void> {
  const probe = new Folder();
  const file = probe.write('probe', '');
  const second = await new Promise<FileWatcher>((resolve) => {
    const w = watchFiles(() => resolve(w));
    void w.set([file]).then(() => writeFileSync(file, 'x'));
  });
  await second.close();
  probe.remove();
}

/** Makes changes that nobody wants to hear of. */
async function unreported(change: () => void): Promise<void> {
  const before = calls;
  change();
  await settled();
  expect(calls).toBe(before);
}

function replace(path: string, content: string): void {
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

test('written in place, again and again', async () => {
  const file = folder.write('a.json', '1');
  await watcher.set([file]);
  for (const content of ['2', '3']) await reported(() => writeFileSync(file, content));
  await reported(() => appendFileSync(file, '5'));
});

test('written in two steps: one call', async () => {
  const file = folder.write('a.json', '1');
  await watcher.set([file]);
  await reported(() => {
    const fd = openSync(file, 'w');
    writeSync(fd, 'first');
    writeSync(fd, 'second');
    closeSync(fd);
  });
});

test('replaced by a rename, again and again', async () => {
  const file = folder.write('a.json', '1');
  await watcher.set([file]);
  for (const content of ['2', '3']) await reported(() => replace(file, content));
  await reported(() => writeFileSync(file, '5'));
});

test('moved away and written anew, as editors with backups do', async () => {
  const file = folder.write('a.json', '1');
  await watcher.set([file]);
  for (const content of ['2', '3']) {
    await reported(() => {
      renameSync(file, `${file}~`);
      writeFileSync(file, content);
    });
  }
});

test('several files at once: one call', async () => {
  const files = ['a.json', 'tls/cert.pem', 'tls/key.pem'].map((name) => folder.write(name, '1'));
  await watcher.set(files);
  for (const content of ['2', '3']) {
    await reported(() => {
      for (const file of files) replace(file, content);
    });
  }
});

test('missing for a while', async () => {
  const file = folder.write('a.json', '1');
  await watcher.set([file]);
  await reported(() => unlinkSync(file));
  await reported(() => writeFileSync(file, '1'));
  await reported(() => writeFileSync(file, '2'));
});

test('missing from the start, with its folders', async () => {
  const file = folder.at('some/where/a.json');
  await watcher.set([file]);
  await unreported(() => mkdirSync(folder.at('some')));
  await reported(() => folder.write('some/where/a.json', '1'));
  await reported(() => replace(file, '2'));
});

test('its folder is removed and made anew', async () => {
  const file = folder.write('sub/a.json', '1');
  await watcher.set([file]);
  await reported(() => rmSync(folder.at('sub'), { recursive: true }));
  await reported(() => folder.write('sub/a.json', '2'));
  await reported(() => folder.write('sub/a.json', '3'));
});

test('its folder is replaced by another', async () => {
  const file = folder.write('sub/a.json', '1');
  folder.write('next/a.json', '2');
  await watcher.set([file]);
  await reported(() => {
    renameSync(folder.at('sub'), folder.at('old'));
    renameSync(folder.at('next'), folder.at('sub'));
  });
  await reported(() => writeFileSync(file, '3'));
});

test('a symbolic link is swapped, and what it points to is written', async () => {
  folder.write('archive/cert1.pem', '1');
  folder.write('archive/cert2.pem', '2');
  mkdirSync(folder.at('live'));
  const link = folder.at('live/cert.pem');
  symlinkSync('../archive/cert1.pem', link);
  await watcher.set([link]);
  await reported(() => writeFileSync(folder.at('archive/cert1.pem'), '1a'));
  await reported(() => {
    unlinkSync(link);
    symlinkSync('../archive/cert2.pem', link);
  });
  await unreported(() => writeFileSync(folder.at('archive/cert1.pem'), '1b'));
  await reported(() => replace(folder.at('archive/cert2.pem'), '2a'));
});

test('a mounted volume whose folder link is swapped', async () => {
  const names = ['a.json', 'cert.pem'];
  function deploy(version: string): void {
    for (const name of names) folder.write(`..${version}/${name}`, version);
    symlinkSync(`..${version}`, folder.at('..data_tmp'));
    renameSync(folder.at('..data_tmp'), folder.at('..data'));
  }
  deploy('1');
  for (const name of names) symlinkSync(`..data/${name}`, folder.at(name));
  const alias = new Folder();
  symlinkSync(folder.at('a.json'), alias.at('a.json'));
  await watcher.set([alias.at('a.json'), folder.at('cert.pem')]);
  for (const version of ['2', '3']) {
    await reported(() => {
      const old = readlinkSync(folder.at('..data'));
      deploy(version);
      rmSync(folder.at(old), { recursive: true });
    });
  }
  alias.remove();
});

test('permissions', async () => {
  const file = folder.write('key.pem', '1');
  await watcher.set([file]);
  await reported(() => chmodSync(file, 0o600));
});

test('links that lead nowhere or in circles are missing files', async () => {
  symlinkSync('nowhere', folder.at('dangling'));
  symlinkSync('circle', folder.at('circle'));
  await watcher.set([folder.at('dangling'), folder.at('circle')]);
  await reported(() => folder.write('nowhere', '1'));
});

test('other files in the folder, and reading, are not reported', async () => {
  const file = folder.write('a.json', '1');
  const other = folder.write('b.json', '1');
  await watcher.set([file]);
  await unreported(() => {
    writeFileSync(other, '2');
    replace(other, '3');
    unlinkSync(other);
    folder.write('sub/a.json', '');
    closeSync(openSync(file, 'r'));
  });
  await reported(() => writeFileSync(file, '2'));
});

test('the set of files can change', async () => {
  const [a, b] = ['a.json', 'sub/b.json'].map((name) => folder.write(name, '1'));
  if (a === undefined || b === undefined) throw new Error('no files');
  await watcher.set([a]);
  await unreported(() => writeFileSync(b, '2'));
  await watcher.set([a, b]);
  await reported(() => writeFileSync(b, '3'));
  await watcher.set([b]);
  await unreported(() => writeFileSync(a, '2'));
  await watcher.set([]);
  await unreported(() => writeFileSync(b, '4'));
});

test('a change just before a set is not lost', async () => {
  const file = folder.write('a.json', '1');
  const other = folder.write('sub/b.json', '1');
  await watcher.set([file]);
  await reported(() => {
    writeFileSync(file, '2');
    void watcher.set([file, other]);
  });
});

test('nothing is reported after close, however soon it comes', async () => {
  const file = folder.write('a.json', '1');
  const setting = watcher.set([file]);
  await Promise.all([setting, watcher.close(), watcher.close()]);
  await unreported(() => writeFileSync(file, '2'));
});
