import { ruleEventNames, ruleEvents } from '../core/rule-events.ts';
import { signatureTexts, validInText } from './declarations.ts';
import type { CommandSpec } from './spec.ts';

const INTRODUCTION = `<!-- Made by \`npm run generate\` from the table of commands; changes here are lost. -->

# Events and commands

What rules can handle and call. How they work together: [rules](../rules.md).

## Events

The *current side* is the one that commands mean in a handler of the event, unless it is changed by
[\`clientside\`](#clientside) or [\`serverside\`](#serverside).

| Event | Current side | When it fires |
| --- | --- | --- |`;

const ABOUT_COMMANDS = `## Commands

Signatures are TypeScript's. Arguments are checked and never converted:

- \`number\` is a whole number from 0 to 2147483647.
- \`Bytes\` is a string of characters up to 0xFF, one a byte, or a \`Uint8Array\`. Text with other
  characters goes through [\`utf8\`](#utf8).
- \`Promise\` marks a command that must be awaited.
- \`Connection\` is the object of the connection's variables; a rule puts in it what it likes.

A wrong argument, or a command in an event in which it is not valid, throws.`;

const GLOBAL = 'Without a namespace';

/** The reference of events and commands for rule authors, as Markdown. */
export function referenceText(commands: readonly CommandSpec[]): string {
  const groups = byNamespace(commands);
  const events = ruleEventNames.map((name) => {
    const { side, doc } = ruleEvents[name];
    return `| \`${name}\` | ${side ?? 'none'} | ${doc} |`;
  });
  return `${[
    [INTRODUCTION, ...events].join('\n'),
    ABOUT_COMMANDS,
    [...groups].map(([name, specs]) => `- ${name}: ${specs.map(link).join(', ')}`).join('\n'),
    ...[...groups].flatMap(([name, specs]) => [`### ${name}`, ...specs.map(section)]),
  ].join('\n\n')}\n`;
}

/** Commands without a namespace come last. */
function byNamespace(commands: readonly CommandSpec[]): Map<string, CommandSpec[]> {
  const groups = new Map<string, CommandSpec[]>();
  const add = (name: string, spec: CommandSpec) => {
    groups.set(name, [...(groups.get(name) ?? []), spec]);
  };
  for (const spec of commands) {
    const [namespace, ...rest] = spec.name.split('.');
    if (namespace !== undefined && rest.length > 0) add(namespace, spec);
  }
  for (const spec of commands) if (!spec.name.includes('.')) add(GLOBAL, spec);
  return groups;
}

function link({ name }: CommandSpec): string {
  return `[\`${name}\`](#${name.toLowerCase().replaceAll('.', '')})`;
}

function section(spec: CommandSpec): string {
  const irules = spec.tcl === undefined ? 'no iRules command' : `iRules \`${spec.tcl}\``;
  const signatures = signatureTexts(spec).map((text) => `${spec.name}${text}`);
  return `#### \`${spec.name}\`

\`\`\`ts
${signatures.join('\n')}
\`\`\`

Valid in ${validInText(spec.validIn)}; ${irules}.

${spec.doc}`;
}
