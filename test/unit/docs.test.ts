import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { commandTable } from '../../src/commands/index.ts';
import { configSchema } from '../../src/config/index.ts';
import { ruleEventNames } from '../../src/core/rule-events.ts';
import * as kit from '../../src/testing/index.ts';
import { anchors, links } from './markdown.ts';

const root = resolve(import.meta.dirname, '../..');
const LEFT_OUT = /(^|\/)(node_modules|dist|coverage|\.git)(\/|$)/;

/** Every Markdown file, by its path in the project. */
const documents = new Map(
  markdownFiles(root).map((file) => [relative(root, file), readFileSync(file, 'utf8')]),
);

function markdownFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (LEFT_OUT.test(relative(root, path))) return [];
    if (entry.isDirectory()) return markdownFiles(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

function textOf(path: string): string {
  return documents.get(path) ?? '';
}

/** The keys of a schema's objects, with their defaults as far as they have one. */
function keysOf(node: unknown): [string, unknown][] {
  if (typeof node !== 'object' || node === null) return [];
  const properties = 'properties' in node ? Object.entries(node.properties as object) : [];
  return [
    ...properties.map(([key, value]): [string, unknown] => [key, value.default]),
    ...Object.values(node).flatMap(keysOf),
  ];
}

describe('documents', () => {
  test('are seen', () => {
    expect([...documents.keys()]).toEqual(
      expect.arrayContaining(['README.md', 'ARCHITECTURE.md', 'docs/rules.md']),
    );
  });

  test.each([...documents])('%s has links that lead somewhere', (path, text) => {
    const broken = links(text).filter((link) => {
      if (/^https?:/.test(link)) return false;
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? path : relative(root, resolve(root, dirname(path), file));
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && !anchors(textOf(target)).has(anchor);
    });
    expect(broken).toEqual([]);
  });

  test.each([...documents])('%s names files that exist', (path, text) => {
    const named = [...text.matchAll(/`((?:src|test|rules|docs|bin|\.ci)\/[\w./-]*)`/g)];
    const missing = named
      .map(([, name = '']) => name)
      .filter((name) => !existsSync(join(root, name)));
    expect(missing).toEqual([]);
    if (path === 'ARCHITECTURE.md') expect(named.length).toBeGreaterThan(40);
  });

  test('the main ones lead to all the others', () => {
    const reached = new Set(['README.md']);
    for (const path of reached) {
      for (const link of links(textOf(path))) {
        const target = relative(root, resolve(root, dirname(path), link.split('#')[0] ?? ''));
        if (documents.has(target)) reached.add(target);
      }
    }
    expect([...documents.keys()].filter((path) => !reached.has(path))).toEqual([]);
  });
});

describe('docs/reference/commands.md', () => {
  const text = textOf('docs/reference/commands.md');

  test.each(commandTable.map((spec) => [spec.name, spec.doc]))('has %s', (name, doc) => {
    expect(text).toContain(`\n#### \`${name}\`\n\n\`\`\`ts\n${name}`);
    expect(text).toContain(`\n\n${doc}\n`);
  });

  test.each(ruleEventNames)('has %s', (name) => {
    expect(text).toContain(`\n| \`${name}\` | `);
  });
});

describe('docs/rules.md and README.md', () => {
  test.each(['docs/rules.md', 'README.md', 'ARCHITECTURE.md'])(
    '%s names only what exists',
    (path) => {
      const commands = new Set(commandTable.map(({ name }) => name));
      const named = [...textOf(path).matchAll(/`((?:TCP|SSL|IP|LB|event)\.[\w.]+)/g)];
      expect(named.length).toBeGreaterThan(0);
      expect(named.map(([, name = '']) => name).filter((name) => !commands.has(name))).toEqual([]);
      const events = [...textOf(path).matchAll(/\b(?:RULE|CLIENT|CLIENTSSL|LB|SERVER)_[A-Z]+\b/g)];
      expect(
        events.map(String).filter((name) => !(ruleEventNames as readonly string[]).includes(name)),
      ).toEqual([]);
    },
  );

  test('README.md has every event', () => {
    expect(ruleEventNames.filter((name) => !textOf('README.md').includes(`\`${name}\``))).toEqual(
      [],
    );
  });
});

describe('docs/configuration.md', () => {
  const rows = textOf('docs/configuration.md').match(/^\|.*\|$/gm) ?? [];
  const keys = keysOf(configSchema()).filter(
    ([key]) => !['rule', 'options', 'clientSsl'].includes(key),
  );

  test('has text for keys', () => {
    expect(keys.length).toBeGreaterThan(30);
  });

  test.each(keys)('has %s and its default', (key, value) => {
    const row = rows.find((text) => text.startsWith(`| \`${key}\` |`));
    expect(row, `no row for ${key}`).toBeDefined();
    if (value !== undefined) expect(row).toContain(`| \`${String(value)}\` |`);
  });

  test.each(['rule', 'options', 'clientSsl'])('mentions %s', (key) => {
    expect(textOf('docs/configuration.md')).toContain(`\`${key}\``);
  });
});

describe('docs/testing-rules.md', () => {
  test('has all that the kit exports', () => {
    const text = textOf('docs/testing-rules.md');
    expect(Object.keys(kit).filter((name) => !text.includes(`\`${name}`))).toEqual([]);
  });
});
