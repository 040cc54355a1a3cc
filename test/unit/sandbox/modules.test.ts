import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { folderWith, World } from './harness.ts';

async function load(files: Record<string, string | Uint8Array>, main = 'rules/rule.js') {
  const world = new World();
  const folder = folderWith(files);
  const loaded = await world.load([{ path: join(folder, main) }]);
  return { world, folder, ...loaded };
}

async function problemOf(files: Record<string, string | Uint8Array>, main = 'rules/rule.js') {
  const { problems, instance, folder } = await load(files, main);
  expect(instance).toBeUndefined();
  expect(problems).toHaveLength(1);
  const [problem] = problems;
  return { ...problem, file: problem?.file.replace(`${folder}/`, '') };
}

describe('imports', () => {
  it('of the main file lead to the rule itself, which is evaluated once', async () => {
    const { world, problems } = await load({
      'rules/rule.js': `import './rule.js'; import { name } from './lib.js';
        export const own = () => typeof options; log(name());`,
      'rules/lib.js': `import { own } from './rule.js'; export const name = () => 'lib ' + own();`,
    });
    expect(problems).toEqual([]);
    expect(world.logs).toEqual(['info rule: lib object']);
  });

  it('of the main file do not mix up two rules of one file', async () => {
    const world = new World();
    const folder = folderWith({
      'rule.js': `import * as self from './rule.js'; export const name = options.name; log(self.name);`,
    });
    const path = join(folder, 'rule.js');
    const { problems } = await world.load([
      { path, options: { name: 'a' } },
      { path, options: { name: 'b' } },
    ]);
    expect(problems).toEqual([]);
    expect(world.logs).toEqual(['info rule: a', 'info rule: b']);
  });

  it('reach files beside the rule and below, and are evaluated once for all rules', async () => {
    const world = new World();
    const folder = folderWith({
      'a.js': `import { next } from './lib/counter.js'; log('a' + next());`,
      'b.js': `import { next } from './lib/../lib/counter.js'; export * from './lib/more.js'; log('b' + next());`,
      'lib/counter.js': `import { one } from './more.js'; let n = 0; log('evaluated'); export const next = () => n += one;`,
      'lib/more.js': `import './counter.js'; export const one = 1;`,
    });
    const { problems, files } = await world.load([
      { path: join(folder, 'a.js') },
      { path: join(folder, 'b.js') },
    ]);
    expect(problems).toEqual([]);
    expect(world.logs).toEqual(['info rule: evaluated', 'info rule: a1', 'info rule: b2']);
    expect([...files].sort()).toEqual(
      ['a.js', 'b.js', 'lib/counter.js', 'lib/more.js'].map((name) => join(folder, name)),
    );
  });

  it.each([
    ['/etc/passwd', 'a rule can import only files beside it'],
    ['node:fs', 'a rule can import only files beside it'],
    ['lodash', `a rule can import only files beside it, such as './lodash'`],
    ['../outside.js', 'a rule can import only from its own folder and below'],
    ['./../outside.js', 'a rule can import only from its own folder and below'],
    ['./lib/../../outside.js', 'a rule can import only from its own folder and below'],
    ['./missing.js', 'there is no file'],
    ['./data.json', 'an imported file must end in .js, .mjs, .ts, .mts'],
    ['./lib', 'an imported file must end in'],
  ])('%s is refused', async (specifier, message) => {
    const problem = await problemOf({
      'outside.js': '',
      'rules/data.json': '{}',
      'rules/lib/x.js': '',
      'rules/rule.js': `\nimport x from '${specifier}';`,
    });
    expect(problem).toMatchObject({ file: 'rules/rule.js', line: 2, column: 15 });
    expect(problem.message).toContain(message);
  });

  it('do not follow symbolic links out of the folder', async () => {
    const world = new World();
    const folder = folderWith({
      'outside/secret.js': 'export default 1;',
      'rules/rule.js': `import './link.js';`,
      'rules/deep.js': `import './dir/secret.js';`,
    });
    symlinkSync(join(folder, 'outside/secret.js'), join(folder, 'rules/link.js'));
    symlinkSync(join(folder, 'outside'), join(folder, 'rules/dir'));
    for (const name of ['rule.js', 'deep.js']) {
      const { problems, files } = await world.load([{ path: join(folder, 'rules', name) }]);
      expect(problems).toMatchObject([
        { message: 'a rule can import only from its own folder and below', line: 1 },
      ]);
      expect(files).toHaveLength(2);
    }
  });

  it('check the root of each rule that leads to a module', async () => {
    const world = new World();
    const folder = folderWith({
      'a.js': `import './sub/lib.js';`,
      'top.js': '',
      'sub/b.js': `import './lib.js';`,
      'sub/lib.js': `import '../top.js';`,
    });
    const { problems } = await world.load([
      { path: join(folder, 'a.js') },
      { path: join(folder, 'sub/b.js') },
    ]);
    expect(problems).toMatchObject([{ file: join(folder, 'sub/lib.js'), line: 1, column: 8 }]);
  });

  it('through a folder that is a symbolic link work', async () => {
    const world = new World();
    const folder = folderWith({ 'real/rule.js': `import './m.js';`, 'real/m.js': `log('here');` });
    symlinkSync(join(folder, 'real'), join(folder, 'alias'));
    const { problems } = await world.load([{ path: join(folder, 'alias/rule.js') }]);
    expect(problems).toEqual([]);
    expect(world.logs).toEqual(['info rule: here']);
  });

  it('at run time are refused, also of a file that is known', async () => {
    const { world, instance } = await load({
      'rules/rule.js': `import './m.js';
        when('CLIENT_ACCEPTED', async () => { await import('./m.js'); });
        when('CLIENT_DATA', async () => { await import('node:fs').catch((e) => log(e.message)); });`,
      'rules/m.js': '',
    });
    const session = instance?.open();
    if (session === undefined) throw new Error('not loaded');
    expect(world.failure(session).message).toBe('TypeError: import() is not available in rules');
    expect(world.fire(session, 'CLIENT_DATA').outcome).toEqual({ type: 'done' });
    expect(world.logs).toEqual(['info rule: import() is not available in rules']);
  });

  it('of modules that fail tell where', async () => {
    expect(
      await problemOf({
        'rules/rule.js': `import { f } from './m.js';\nf();`,
        'rules/m.js': `export const f = () => {\n  throw new RangeError('from f');\n};`,
      }),
    ).toMatchObject({ file: 'rules/m.js', message: 'RangeError: from f', line: 2, column: 23 });
    expect(
      (await problemOf({ 'rules/rule.js': `import { g } from './m.js';`, 'rules/m.js': '' }))
        .message,
    ).toContain('g');
  });
});

describe('source files', () => {
  it.each([
    ['a missing file', {}, 'cannot be read'],
    ['a folder', { 'rules/rule.js/x': '' }, 'it is not a file'],
    ['binary', { 'rules/rule.js': new Uint8Array([0xff, 0xfe, 0]) }, 'is not UTF-8 text'],
    ['a NUL', { 'rules/rule.js': 'a\0b' }, 'has a NUL character'],
    ['a huge file', { 'rules/rule.js': ' '.repeat(1024 * 1024 + 1) }, 'larger than 1048576 bytes'],
  ])('%s is a problem', async (_name, files, message) => {
    expect((await problemOf({ 'rules/x.js': '', ...files })).message).toContain(message);
  });

  it('are bounded in number', async () => {
    const files: Record<string, string> = { 'rules/rule.js': '' };
    for (let i = 0; i < 70; i++) {
      files['rules/rule.js'] += `import './m${i}.js';\n`;
      files[`rules/m${i}.js`] = '';
    }
    const { problems } = await load(files);
    expect(problems[0]).toMatchObject({
      line: 64,
      message: 'the rules consist of more than 64 files',
    });
  });

  it('with syntax errors tell where, and name the files all the same', async () => {
    const { problems, files } = await load({
      'rules/rule.js': `import './m.js';\nlet x = ;`,
      'rules/m.js': 'ok(',
    });
    expect(problems).toMatchObject([
      { message: 'SyntaxError: Unexpected token', line: 2, column: 9 },
    ]);
    expect(problems[0]?.excerpt).toBe('2 | let x = ;\n  |         ^');
    expect(files).toHaveLength(1);
  });

  it('that nest too deeply are a problem and no crash', async () => {
    for (const source of [
      '('.repeat(200_000),
      '['.repeat(200_000),
      `x${'.a'.repeat(100_000)}`,
      `${'!'.repeat(3_000)}1`,
    ]) {
      const { problems } = await load({ 'rules/rule.js': source });
      expect(problems).toHaveLength(1);
    }
  });
});

describe('TypeScript', () => {
  it('is stripped of its types, with every position kept', async () => {
    const { world, instance, problems } = await load(
      {
        'rules/rule.ts': `import { type Name, name } from './m.ts';
interface State { n: number }
when('CLIENT_ACCEPTED', (c: State): void => {
  const text: Name = name as Name; log(text);   TCP.respond(c.n as unknown as string);
});`,
        'rules/m.ts': `export type Name = string;\nexport const name: Name = 'typed';`,
      },
      'rules/rule.ts',
    );
    expect(problems).toEqual([]);
    const session = instance?.open();
    if (session === undefined) throw new Error('not loaded');
    expect(world.failure(session)).toMatchObject({ line: 4, column: 60 });
    expect(world.logs).toEqual(['info rule: typed']);
  });

  it('that needs more than stripping is a problem with its place', async () => {
    expect(
      await problemOf({ 'rules/rule.ts': `let a = 1;\n  enum Color { red }` }, 'rules/rule.ts'),
    ).toMatchObject({
      file: 'rules/rule.ts',
      message: 'TypeScript enum is not supported in strip-only mode',
      line: 2,
      column: 3,
    });
  });
});

describe('TypeScript that nests too deeply', () => {
  it('is a problem, and none for the rules after it', async () => {
    const deep = await problemOf({ 'rule.ts': '['.repeat(100_000) }, 'rule.ts');
    expect(deep.message).toBe('the types cannot be stripped');
    const { problems } = await load(
      { 'rule.ts': 'const a: number = 1; log(String(a));' },
      'rule.ts',
    );
    expect(problems).toEqual([]);
  });
});
