import { expect, it } from 'vitest';
import { formatProblem } from '../../../src/cli/problems.ts';

it('names the place as far as it is known', () => {
  const file = '/etc/portreeve.json';
  expect(formatProblem({ message: 'wrong', file, line: 3, column: 7 })).toBe(
    `${file}:3:7: wrong\n`,
  );
  expect(formatProblem({ message: 'wrong', file, line: 3 })).toBe(`${file}:3: wrong\n`);
  expect(formatProblem({ message: 'wrong', file, column: 7 })).toBe(`${file}: wrong\n`);
});

it('shows excerpt and hint below', () => {
  const text = formatProblem({
    message: 'TCP.colect is not a command',
    file: 'rule.js',
    line: 1,
    column: 5,
    excerpt: 'TCP.colect();\n    ^',
    hint: "did you mean 'TCP.collect'?",
  });
  expect(text).toBe(
    [
      'rule.js:1:5: TCP.colect is not a command',
      '    TCP.colect();',
      '        ^',
      "    hint: did you mean 'TCP.collect'?",
      '',
    ].join('\n'),
  );
});

it('does not let a file act on the terminal', () => {
  const text = formatProblem({ message: 'a\x1b[2J', file: 'b\n', excerpt: '\x1b]0;x\x07' });
  expect(text).toBe('b\\n: a\\x1b[2J\n    \\x1b]0;x\\x07\n');
});
