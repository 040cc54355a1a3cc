import type { LogLevel } from '../core/types.ts';
import { type CommandSpec, command } from './spec.ts';

/** Longer messages are cut: a rule must not fill the log's disk by one line. */
const LONGEST_MESSAGE = 8192;

const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];

function isLevel(text: string): text is LogLevel {
  return (LEVELS as readonly string[]).includes(text);
}

export const logCommands: readonly CommandSpec[] = [
  command(
    'log',
    {
      tcl: 'log',
      params: [
        { name: 'levelOrMessage', type: 'string' },
        { name: 'message', type: 'string', optional: true },
      ],
      returns: 'void',
      validIn: 'any',
      doc: "Logs a message at once, with the name of the rule and of the virtual server: `log('text')` at level info, or `log(level, 'text')` with `error`, `warn`, `info` or `debug`. Cut at 8192 characters.",
    },
    (run, first, second) => {
      const message = second ?? first;
      const level = second === undefined ? 'info' : first;
      if (!isLevel(level)) {
        throw new TypeError(`log: '${level}' is not a level; use ${LEVELS.join(', ')}`);
      }
      run.services.log(level, run.rule, message.slice(0, LONGEST_MESSAGE));
    },
  ),
];
