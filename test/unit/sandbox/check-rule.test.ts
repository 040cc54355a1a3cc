import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commandTable } from '../../../src/commands/index.ts';
import { checkRule } from '../../../src/sandbox/index.ts';
import { folderWith, World } from './harness.ts';

const { commands } = new World();

function check(source: string, files: Record<string, string> = {}, name = 'rule.js') {
  const folder = folderWith({ ...files, [name]: source });
  return checkRule({ name: 'checked', path: join(folder, name), options: {} }, commands).map(
    ({ message, file, line, column }) =>
      `${file.replace(`${folder}/`, '')}:${line}:${column} ${message}`,
  );
}

describe('checkRule', () => {
  it('finds nothing wrong with a good rule', () => {
    expect(
      check(
        `import { helper } from './m.js';
        const { n } = statics;
        when('CLIENT_ACCEPTED', async (c) => {
          TCP.collect(); TCP.payload().startsWith('x'); TCP.payload.length().toFixed();
          TCP.respond.call(null, 'x'); clientside(() => TCP.collect());
          c.TCP.nothing(); helper.TCP.nothing(); await fetch('x');
        }, { priority: 1 });
        when(options.event, () => TCP.collect());`,
        { 'm.js': 'export const helper = {};' },
      ),
    ).toEqual([]);
  });

  it('finds pools that there are not, where it knows which there are', () => {
    const source = `when('CLIENT_ACCEPTED', () => { pool('web'); pool('wbe'); pool(options.pool); });`;
    const path = join(folderWith({ 'rule.js': source }), 'rule.js');
    const rule = { name: 'checked', path, options: {} };
    expect(checkRule(rule, commandTable)).toEqual([]);
    expect(checkRule(rule, commandTable, new Set(['web', 'mail']))).toMatchObject([
      { line: 1, column: 51, message: "there is no pool 'wbe'; did you mean 'web'?" },
    ]);
  });

  it('finds unknown events, with the one that was meant', () => {
    expect(
      check(`\n  when('CLIENT_ACCEPT', () => {});\nwhen("NOTHING_LIKE_IT_AT_ALL", () => {});`),
    ).toEqual([
      `rule.js:2:8 there is no event 'CLIENT_ACCEPT'; did you mean 'CLIENT_ACCEPTED'?`,
      `rule.js:3:6 there is no event 'NOTHING_LIKE_IT_AT_ALL'`,
    ]);
  });

  it('finds commands that are not valid in the event', () => {
    expect(
      check(`when('CLIENT_CLOSED', () => {
  if (true) { [1].forEach(() => TCP.collect()); }
});
when('RULE_INIT', function () { TCP.respond('x'); log('fine'); clientside(); });`),
    ).toEqual([
      'rule.js:2:33 TCP.collect is not valid in CLIENT_CLOSED; it is valid in CLIENT_ACCEPTED, CLIENT_DATA',
      'rule.js:4:33 TCP.respond is not valid in RULE_INIT: there is no connection',
      'rule.js:4:64 clientside is not valid in RULE_INIT: there is no connection',
    ]);
  });

  it('finds unknown commands of known namespaces', () => {
    expect(
      check(
        `TCP.respnd('x');\nTCP.payload.lenght();\nTCP.xyzzy.foo();\nconst f = echo.Text;\nHTTP.uri();`,
      ),
    ).toEqual([
      `rule.js:1:1 there is no command TCP.respnd; did you mean 'TCP.respond'?`,
      `rule.js:2:1 there is no command TCP.payload.lenght; did you mean 'TCP.payload.length'?`,
      'rule.js:3:1 there is no command TCP.xyzzy.foo',
      `rule.js:4:11 there is no command echo.Text; did you mean 'echo.text'?`,
    ]);
  });

  it('leaves names alone that the rule declares itself', () => {
    expect(
      check(
        `import { when as on } from './m.js';
        const TCP = {}; TCP.nothing(); function f({ echo }, [event]) { echo.nothing(); event.nothing(); }`,
        {
          'm.js': `import TCP2, * as all from './n.js'; class echo {} echo.nothing(); export const when = (TCP) => TCP.nothing(); when('NO');`,
          'n.js': 'export default 1; try {} catch (TCP) { TCP.nothing(); }',
        },
      ),
    ).toEqual([]);
  });

  it('finds syntax errors', () => {
    expect(check('let x = 1;\n\tlet y = ;')).toEqual([
      'rule.js:2:10 SyntaxError: Unexpected token',
    ]);
    expect(check('enum A { b }', {}, 'rule.ts')).toEqual([
      'rule.ts:1:1 TypeScript enum is not supported in strip-only mode',
    ]);
  });

  it('finds imports that leave the folder, and looks into those that do not', () => {
    expect(
      check(`import '../x.js';\nimport './m.js';`, { 'm.js': `import 'fs';\nTCP.respnd();` }),
    ).toEqual([
      'rule.js:1:8 a rule can import only from its own folder and below',
      `m.js:1:8 a rule can import only files beside it, such as './fs'`,
      `m.js:2:1 there is no command TCP.respnd; did you mean 'TCP.respond'?`,
    ]);
  });

  it('works on TypeScript, with positions of the source', () => {
    expect(
      check(
        `when('CLIENT_CLOSED', (c: { n: number }): void => { TCP.collect(c.n as number); });`,
        {},
        'rule.ts',
      ),
    ).toEqual([
      'rule.ts:1:53 TCP.collect is not valid in CLIENT_CLOSED; it is valid in CLIENT_ACCEPTED, CLIENT_DATA',
    ]);
  });

  it('tells of a file that is not there', () => {
    const [problem] = checkRule({ name: 'x', path: '/nonexistent/rule.js', options: {} }, commands);
    expect(problem).toMatchObject({ rule: 'x', file: '/nonexistent/rule.js' });
    expect(problem?.message).toContain('cannot be read');
  });

  it('survives nesting that is too deep to walk', () => {
    for (const source of [
      `TCP${'.a'.repeat(20_000)}`,
      `1${'+1'.repeat(20_000)}`,
      '['.repeat(100_000),
    ]) {
      expect(check(source).length).toBeLessThan(2);
    }
  });
});
