import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { generatedFiles } from '../../../src/cli/generated.ts';

const root = new URL('../../../', import.meta.url);

test.each([...generatedFiles()])('%s is up to date', (path, text) => {
  const committed = readFileSync(new URL(path, root), 'utf8');
  expect(committed === text, `${path} is not what the sources say: run npm run generate`).toBe(
    true,
  );
});

test('the schema is JSON', () => {
  const text = generatedFiles().get('docs/reference/portreeve.schema.json') ?? '';
  expect(JSON.parse(text)).toHaveProperty('properties.virtualServers');
});
