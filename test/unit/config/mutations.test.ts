import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { ConfigSource } from '../../../src/config/source.ts';
import { validate } from '../../../src/config/validate.ts';
import { Folder } from './folder.ts';

const folder = new Folder();
afterAll(() => folder.remove());

const good = `{ // comment
  "virtualServers": { "v": { "listen": "127.0.0.1:25", "pool": "p", "rules": [], "connectionLimit": 5 } },
  "pools": { "p": { "members": ["a:1", "[::1]:2"] } },
  "profiles": { "tcp": { "t": { "idleTimeout": "5m", "collectLimit": 5 } } },
  "log": { "level": "info" }, "drainTimeout": "\${T}",
}`;

/** Cuts a piece out of the text and puts another in. */
const mutation = fc.tuple(
  fc.nat(good.length),
  fc.nat(20),
  fc.oneof(
    fc.constantFrom(
      '"',
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '/*',
      '//',
      '\n',
      '${',
      '\\',
      '1e999',
      'null',
    ),
    fc.string({ unit: 'binary', maxLength: 5 }),
  ),
);

test('whatever is done to a configuration, it loads or has problems with places in it', async () => {
  const texts = fc
    .array(mutation, { minLength: 1, maxLength: 3 })
    .map((mutations) =>
      mutations.reduce(
        (text, [at, cut, put]) => text.slice(0, at) + put + text.slice(at + cut),
        good,
      ),
    );
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      const { config, problems } = await folder.load(text, { T: '1s' });
      expect(config === undefined).toBe(problems.length > 0);
      const lines = text.split('\n').map((line) => line.length);
      for (const { line, column } of problems) {
        expect(column).toBeLessThanOrEqual((lines[line - 1] ?? -1) + 1);
      }
    }),
    { numRuns: 300 },
  );
});

test('each value of a wrong type is one problem, whatever the type', () => {
  const schemaPaths = ['"127.0.0.1:25"', '"p"', '[]', '5', '"a:1"', '"5m"', '"info"'];
  for (const path of schemaPaths) {
    for (const wrong of ['true', 'null', '[[]]', '{ "x": 1 }', '-0.5']) {
      const source = new ConfigSource(
        '/c.json',
        good.replace(`: ${path}`, `: ${wrong}`).replace(`[${path}`, `[${wrong}`),
      );
      source.substitute({ T: '1s' });
      if (validate(source) === undefined)
        expect(source.problems, `${path} as ${wrong}`).toHaveLength(1);
    }
  }
});

test('no more than 100 problems are listed', async () => {
  const keys = Array.from({ length: 5000 }, (_, i) => `"k${i}": 1`).join(',\n');
  const { problems } = await folder.load(`{ ${keys} }`);
  expect(problems).toHaveLength(100);
});

test('a pool of ten thousand members loads', async () => {
  const members = Array.from({ length: 10_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}:25`);
  const { config } = await folder.load({
    virtualServers: { v: { listen: ':0', pool: 'p' } },
    pools: { p: { members } },
  });
  expect(config?.pools.get('p')?.members).toHaveLength(10_000);
});
