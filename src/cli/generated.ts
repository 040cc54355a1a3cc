import { declarationsText } from '../commands/declarations.ts';
import { commandTable } from '../commands/index.ts';
import { referenceText } from '../commands/reference.ts';
import { configSchema } from '../config/index.ts';

/** As wide as Biome makes lines. */
const WIDTH = 100;

/** The files that are made from the sources: their paths in the package, and their texts. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ['docs/reference/commands.md', referenceText(commandTable)],
    ['docs/reference/portreeve.schema.json', `${jsonText(configSchema())}\n`],
    ['rules/portreeve.d.ts', declarationsText(commandTable)],
  ]);
}

/** JSON as Biome formats it: lists stay in one line where they fit. */
function jsonText(value: unknown, indent = '', used = 0): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = `${indent}  `;
  const isList = Array.isArray(value);
  const parts = isList
    ? value.map((item) => jsonText(item, inner))
    : Object.entries(value).map(([key, item]) => {
        const name = `${JSON.stringify(key)}: `;
        return name + jsonText(item, inner, name.length);
      });
  const line = `[${parts.join(', ')}]`;
  if (isList && !line.includes('\n') && indent.length + used + line.length < WIDTH) return line;
  const [open, close] = isList ? ['[', ']'] : ['{', '}'];
  return `${open}\n${parts.map((part) => inner + part).join(',\n')}\n${indent}${close}`;
}
