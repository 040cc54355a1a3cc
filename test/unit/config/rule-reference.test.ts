import { afterAll, beforeAll, expect, test } from 'vitest';
import { locateRule } from '../../../src/config/rule-reference.ts';
import { Folder } from './folder.ts';

const folder = new Folder();
const bundled = folder.at('bundled');
afterAll(() => folder.remove());
beforeAll(() => {
  for (const name of ['pop3-starttls.js', 'imap-starttls.js', 'pop3-starttls.test.ts']) {
    folder.write(`bundled/${name}`, '');
  }
  folder.write('site/pop3-starttls', '');
  folder.write('site/mine.ts', '');
});

const locate = (reference: string) => locateRule(reference, folder.at('site'), bundled);

test('a bare name is a bundled rule', async () => {
  expect(await locate('pop3-starttls')).toEqual({ path: folder.at('bundled/pop3-starttls.js') });
});

test.each(['./pop3-starttls', 'mine.ts', '../site/mine.ts', folder.at('site/mine.ts')])(
  'a path: %s',
  async (reference) => {
    const name = reference.endsWith('.ts') ? 'mine.ts' : 'pop3-starttls';
    expect(await locate(reference)).toEqual({ path: folder.at(`site/${name}`) });
  },
);

test('the nearest bundled name', async () => {
  expect(await locate('pop3-startls')).toEqual({
    message: "there is no bundled rule 'pop3-startls'",
    hint: "did you mean 'pop3-starttls'?",
  });
});

test.each(['pop3-starttls.test', '../bundled', '..', ''])(
  'not a bundled rule: %j',
  async (reference) => {
    expect((await locate(reference)).message).toBeDefined();
  },
);

test('a package without its rules has none', async () => {
  const located = await locateRule('pop3-starttls', folder.path, folder.at('nowhere'));
  expect(located.message).toBe("there is no bundled rule 'pop3-starttls'");
});
