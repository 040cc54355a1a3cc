import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { configSchema } from '../../../src/config/index.ts';

test('the schema that is shipped is the one that is checked', () => {
  const shipped = new URL('../../../docs/reference/portreeve.schema.json', import.meta.url);
  expect(JSON.parse(readFileSync(shipped, 'utf8'))).toEqual(configSchema());
});

test('every key of the schema says what it is for', () => {
  const silent: string[] = [];
  const visit = (node: unknown, path: string): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (path.endsWith('/properties') && !('description' in value)) silent.push(`${path}/${key}`);
      visit(value, `${path}/${key}`);
    }
  };
  visit(configSchema(), '');
  expect(silent).toEqual([]);
});
