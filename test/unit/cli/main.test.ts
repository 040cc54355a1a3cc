import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { main } from '../../../src/cli/main.ts';

let stdout = '';
let stderr = '';
beforeEach(() => {
  stdout = '';
  stderr = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text;
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe('help and version', () => {
  it('shows the commands with examples', async () => {
    expect(await main(['--help'])).toBe(0);
    for (const text of [
      'run [options] <file>',
      'check <files...>',
      'demo [options]',
      'Examples:',
    ]) {
      expect(stdout).toContain(text);
    }
  });

  it.each(['run', 'check', 'demo'])('explains %s', async (command) => {
    expect(await main([command, '--help'])).toBe(0);
    expect(stdout).toContain(`Usage: portreeve ${command}`);
    expect(await main(['help', command])).toBe(0);
  });

  it('shows the version of the package', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8'));
    expect(await main(['--version'])).toBe(0);
    expect(stdout).toBe(`${version}\n`);
  });
});

describe('bad usage', () => {
  it.each([
    [[], 'Usage: portreeve'],
    [['serve'], "unknown command 'serve'"],
    [['rum', 'portreeve.json'], 'Did you mean run?'],
    [['run'], "missing required argument 'file'"],
    [['run', 'a.json', 'b.json'], 'too many arguments'],
    [['run', 'a.json', '--watch'], "unknown option '--watch'"],
    [['run', 'a.json', '--log-level', 'loud'], 'Allowed choices are error, warn, info, debug'],
    [['run', 'a.json', '--log-format', 'xml'], 'Allowed choices are text, json, auto'],
    [['check'], "missing required argument 'files'"],
    [['demo', '--port', '0'], 'It must be 1 to 65535'],
    [['demo', '--tls-port', '65536'], 'It must be 1 to 65535'],
    [['demo', '--port', '1e3'], 'It must be 1 to 65535'],
  ])('%j ends with 2 and says why', async (args, why) => {
    expect(await main(args)).toBe(2);
    expect(stderr).toContain(why);
    expect(stdout).toBe('');
  });
});

it('check cannot be made to act on the terminal by the name of a file', async () => {
  expect(await main(['check', 'no\u001b[31m.json'])).toBe(2);
  expect(stdout).toMatch(/^no\\x1b\[31m\.json: 1 problem$/m);
  expect(stdout).not.toContain('\u001b');
});

it('the command says so when nothing is built', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'portreeve-bin-'));
  try {
    await cp('bin', join(folder, 'bin'), { recursive: true });
    await cp('package.json', join(folder, 'package.json'));
    const command = promisify(execFile)(process.execPath, [join(folder, 'bin/portreeve.js')]);
    await expect(command).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('npm run build'),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
