import { isRuleEventName, type RuleEventName, ruleEventNames } from '../core/rule-events.ts';
import type { RuleRun } from '../core/rule-run.ts';
import { type CommandSpec, command, preludeCommand } from './spec.ts';

const nameParam = {
  name: 'name',
  type: 'string',
  optional: true,
  values: [...ruleEventNames, 'all'],
} as const;

function switchEvent(run: RuleRun, name: string | undefined, enabled: boolean): void {
  const event: RuleEventName | 'all' =
    name === undefined ? run.event : isRuleEventName(name) ? name : 'all';
  run.emit({ type: 'event', event, enabled });
}

export const eventCommands: readonly CommandSpec[] = [
  preludeCommand('when', {
    tcl: 'when',
    params: [
      { name: 'event', type: 'string', values: ruleEventNames },
      { name: 'handler', type: 'callback' },
    ],
    returns: 'void',
    validIn: 'any',
    doc: "Registers `handler` for an event while the rule is loaded. The handler gets one argument: the connection's variables, an object shared by all rules of the virtual server. A third argument `{ priority: n }` (0 to 1000, default 500) orders the handlers of an event; lower runs first.",
  }),
  command(
    'event.disable',
    {
      tcl: 'event disable',
      params: [nameParam],
      returns: 'void',
      validIn: 'connection',
      doc: 'Disables an event (default: the current one; `all`: every event) for this connection, for all rules. The running handler continues; handlers behind it do not run.',
    },
    (run, name) => switchEvent(run, name, false),
  ),
  command(
    'event.enable',
    {
      tcl: 'event enable',
      params: [nameParam],
      returns: 'void',
      validIn: 'connection',
      doc: 'Enables an event again (default: the current one; `all`: every event) for this connection.',
    },
    (run, name) => switchEvent(run, name, true),
  ),
];
