import { awaitedCommand, type CommandSpec, command, preludeCommand } from './spec.ts';

const callback = { name: 'callback', type: 'callback', optional: true } as const;

/** The longest `after()`, in milliseconds. The virtual server's handlerTimeout ends it sooner. */
const LONGEST_AFTER = 3_600_000;

export const flowCommands: readonly CommandSpec[] = [
  preludeCommand('clientside', {
    tcl: 'clientside',
    params: [callback],
    returns: 'boolean',
    validIn: 'connection',
    doc: 'Runs `callback` with the client as the current side and returns what it returns. Without an argument: whether the client is the current side.',
  }),
  preludeCommand('serverside', {
    tcl: 'serverside',
    params: [callback],
    returns: 'boolean',
    validIn: 'connection',
    doc: 'Runs `callback` with the server as the current side and returns what it returns. Without an argument: whether the server is the current side.',
  }),
  command(
    'reject',
    {
      tcl: 'reject',
      params: [],
      returns: 'void',
      validIn: 'connection',
      doc: 'Resets both sides when the event ends. The rest of the handler, and the other handlers of the event, still run.',
    },
    (run) => run.emit({ type: 'reject' }),
  ),
  command(
    'drop',
    {
      tcl: 'drop',
      params: [],
      returns: 'void',
      validIn: 'connection',
      doc: 'Ends the connection without a reset when the event ends; what was not sent yet is discarded. An accepted TCP connection cannot vanish: the peer sees FIN.',
    },
    (run) => run.emit({ type: 'drop' }),
  ),
  awaitedCommand(
    'after',
    {
      tcl: 'after',
      params: [{ name: 'milliseconds', type: 'integer' }],
      returns: 'void',
      validIn: 'connection',
      doc: "`await after(ms)` suspends the handler for `ms` milliseconds, up to an hour. Meanwhile the connection's other events wait, and other connections go on. What the handler ordered before takes effect when it returns. The virtual server's `handlerTimeout` bounds the whole suspension.",
    },
    (run, settle, milliseconds) => {
      if (milliseconds > LONGEST_AFTER) {
        throw new RangeError(`after: milliseconds must be at most ${LONGEST_AFTER}`);
      }
      return run.services.after(milliseconds, () => settle({ ok: true }));
    },
  ),
];
