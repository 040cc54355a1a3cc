import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { formatProblem, loadConfig } from '../../src/config/index.ts';
import { createAuthority, issueCertificate } from '../../src/net/certificate.ts';
import { loadRule } from '../../src/testing/index.ts';
import { codeBlocks } from './markdown.ts';
// They run here: the tests that the guides show.
import '../../docs/examples/hide-banner.test.ts';
import '../../docs/examples/starttls.test.ts';
import '../../docs/examples/tls.test.ts';

const root = new URL('../../', import.meta.url);
const folder = mkdtempSync(join(tmpdir(), 'readme-'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function read(path: string): string {
  return readFileSync(new URL(path, root), 'utf8');
}

/** An example as authors write it who use the package. */
function example(name: string): string {
  return read(`docs/examples/${name}`).replace('../../src/testing/index.ts', 'portreeve/testing');
}

const readme = read('README.md');
const scripts = Object.keys((JSON.parse(read('package.json')) as { scripts: object }).scripts);

describe('README.md', () => {
  test('has a configuration that is right', async () => {
    const configurations = codeBlocks(readme, 'json');
    expect(configurations).toHaveLength(1);
    const authority = createAuthority('readme');
    const { certPem, keyPem } = issueCertificate({ authority, names: ['localhost'] });
    writeFileSync(join(folder, 'cert.pem'), certPem);
    writeFileSync(join(folder, 'key.pem'), keyPem);
    const file = join(folder, 'portreeve.json');
    writeFileSync(file, configurations[0] ?? '');
    const { config, problems, warnings } = await loadConfig(file, {});
    expect([...problems, ...warnings].map(formatProblem)).toEqual([]);
    const [pop3] = config?.virtualServers ?? [];
    const [rule] = pop3?.rules ?? [];
    expect(rule?.name).toBe('pop3-starttls');
    await loadRule(rule?.path ?? '', { options: rule?.options ?? {} });
  });

  test('shows the rule and the test that run here', () => {
    expect(codeBlocks(readme, 'js')).toEqual([
      example('hide-banner.js'),
      example('hide-banner.test.ts'),
    ]);
  });

  test('names commands that exist', () => {
    const shell = codeBlocks(readme, 'sh');
    expect(shell.slice(0, 2)).toEqual([
      'npm install && npm run demo\n',
      'npm install && npm test\n',
    ]);
    const called = [...readme.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name);
    expect(called.length).toBeGreaterThan(2);
    expect(called.filter((name) => name === undefined || !scripts.includes(name))).toEqual([]);
    const subcommands = [...shell.join('').matchAll(/portreeve\.js (\w+)/g)].map(
      ([, name]) => name,
    );
    expect(subcommands).toEqual(['check', 'run']);
    for (const name of subcommands)
      expect(read('src/cli/main.ts')).toContain(`.command('${name}')`);
  });

  test('has code of no other kind', () => {
    const kinds = [...readme.matchAll(/^```(\w+)$/gm)].map(([, kind]) => kind);
    expect(new Set(kinds)).toEqual(new Set(['js', 'json', 'sh']));
  });
});

describe('the guides', () => {
  test('for rules shows rules that load, and one that is tested here', async () => {
    const rules = codeBlocks(read('docs/rules.md'), 'js');
    const tested = ['starttls.js', 'starttls-upstream.js', 'sni.js', 'clear-command.js'];
    expect(rules).toEqual(expect.arrayContaining(tested.map(example)));
    for (const [index, text] of rules.entries()) {
      const file = join(folder, `rule-${index}.js`);
      writeFileSync(file, text);
      const { instance } = await loadRule(file);
      expect(instance.events.size).toBeGreaterThan(0);
    }
  });

  test('for tests shows the test that runs here', () => {
    const tests = codeBlocks(read('docs/testing-rules.md'), 'js');
    expect(tests).toEqual([example('hide-banner.test.ts')]);
  });
});
