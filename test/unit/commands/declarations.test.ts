import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import ts from 'typescript';
import { afterAll, describe, expect, test } from 'vitest';
import { signatureTexts, validInText } from '../../../src/commands/declarations.ts';
import { commandTable } from '../../../src/commands/index.ts';
import { codeBlocks } from '../markdown.ts';

const root = resolve(import.meta.dirname, '../../..');
const folder = mkdtempSync(join(tmpdir(), 'declarations-'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What TypeScript says about the files of a project, as `file:line: message`. */
function check(configFile: string): string[] {
  const { config } = ts.readConfigFile(configFile, ts.sys.readFile);
  const parsed = ts.parseJsonConfigFileContent(
    config,
    ts.sys,
    dirname(configFile),
    undefined,
    configFile,
  );
  // The declarations, and something that uses them.
  expect(parsed.fileNames.length).toBeGreaterThan(1);
  const program = ts.createProgram(parsed.fileNames, parsed.options);
  const found = [...parsed.errors, ...ts.getPreEmitDiagnostics(program)];
  return found.map(({ file, start = 0, messageText }) => {
    const message = ts.flattenDiagnosticMessageText(messageText, ' ');
    if (file === undefined) return message;
    const { line } = file.getLineAndCharacterOfPosition(start);
    return `${basename(file.fileName)}:${line + 1}: ${message}`;
  });
}

const rule = `
when('RULE_INIT', () => {
  statics.names = new Map([['a', 1]]);
  log('debug', options.realm ?? 'none');
});
when('CLIENT_ACCEPTED', (c) => {
  c.lines = 0;
  if (IP.addr(IP.client_addr(), '10.0.0.0/8')) pool('inner', '10.0.0.1', 110);
  SSL.disable('clientside');
}, { priority: 100 });
when('SERVER_CONNECTED', () => clientside(() => TCP.collect(1, 0)));
when('CLIENT_DATA', async (c) => {
  const io = c.tls ? SSL : TCP;
  const end = io.payload.indexOf('\\n', 3);
  const first = io.payload().slice(0, end) + io.payload(0, 4).charAt(0);
  io.payload.replace(0, io.payload.length(), io.payload.bytes(1));
  await after(10);
  c.lines += serverside(() => TCP.release());
  if (!clientside()) TCP.respond(utf8(first.toUpperCase()));
  event.disable('CLIENT_DATA');
  event.enable('all');
});
when('LB_FAILED', () => LB.reselect());
for (const name of /** @type {const} */ (['SERVER_CLOSED', 'CLIENT_CLOSED'])) {
  when(name, (c) => log(LB.server('addr') + c.lines));
}
`;

const typed = `
interface Connection { count: number }
const twice = (n: number): number => n * 2;
when('CLIENT_ACCEPTED', (c) => { c.count = twice(1); });
export {};
`;

/** Each line is a mistake. */
const mistakes = [
  ["when('CLIENT_EXCEPTED', () => {});", 'not assignable to parameter'],
  ["when('RULE_INIT', (c) => c.x);", 'No overload matches'],
  ["when('CLIENT_DATA', () => {}, { priorty: 1 });", "'priorty' does not exist"],
  ['TCP.respond(1);', 'not assignable'],
  ['TCP.payload.replace(0, 1);', 'Expected 3 arguments'],
  ['TCP.respondd("x");', "Did you mean 'respond'?"],
  ["SSL.enable('client');", 'not assignable'],
  ['const n: number = TCP.payload();', 'not assignable'],
  ['after(1).length;', "'length' does not exist"],
  ["options.tls = 'x';", 'only permits reading'],
  ["console.log('x');", "Cannot find name 'console'"],
] as const;

/** Milliseconds: a compiler reads all rules here, on machines that do other things as well. */
const COMPILING = 30_000;

describe('the declarations', { timeout: COMPILING }, () => {
  test('fit the bundled rules', () => {
    expect(check(join(root, 'rules/jsconfig.json'))).toEqual([]);
  });

  test('accept rules in JavaScript and TypeScript, and refuse mistakes', () => {
    // As docs/rules.md has it, for a project in which Portreeve is a dependency.
    const [config = ''] = codeBlocks(readFileSync(join(root, 'docs/rules.md'), 'utf8'), 'json');
    writeFileSync(join(folder, 'jsconfig.json'), config);
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(root, join(folder, 'node_modules/portreeve'));
    writeFileSync(join(folder, 'good.js'), rule);
    writeFileSync(join(folder, 'typed.ts'), typed);
    writeFileSync(join(folder, 'bad.ts'), mistakes.map(([line]) => line).join('\n'));
    const found = check(join(folder, 'jsconfig.json'));
    expect(found.filter((line) => !line.startsWith('bad.ts:'))).toEqual([]);
    for (const [index, [line, message]] of mistakes.entries()) {
      const told = found.filter((text) => text.startsWith(`bad.ts:${index + 1}: `));
      expect(told.join('\n'), line).toContain(message);
    }
    expect(found).toHaveLength(mistakes.length);
  });

  test.each(commandTable.map((spec) => [spec.name, spec] as const))(
    'give %s as many parameters as the table',
    (name, spec) => {
      // `when` has its options besides; a callback is missing in one of two signatures.
      const expected = spec.params.length + (name === 'when' ? 1 : 0);
      const most = signatureTexts(spec).map((text) => {
        const source = ts.createSourceFile('x.ts', `function f${text} {}`, ts.ScriptTarget.Latest);
        const [declared] = source.statements;
        return declared !== undefined && ts.isFunctionDeclaration(declared)
          ? declared.parameters.length
          : -1;
      });
      expect(Math.max(...most)).toBe(expected);
    },
  );
});

test('where commands are valid is said in words', () => {
  expect(validInText('any')).toBe('every event');
  expect(validInText('connection')).toBe('every event but RULE_INIT');
  expect(validInText(['LB_SELECTED', 'LB_FAILED'])).toBe('LB_SELECTED, LB_FAILED');
});
