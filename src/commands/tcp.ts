import type { RuleRun } from '../core/rule-run.ts';
import type { Addresses, Side } from '../core/types.ts';
import { flowOf, payloadCommands } from './payload.ts';
import { type CommandSpec, command } from './spec.ts';

/** An optional argument that names a side; without it the current one is meant. */
export const sideParam = {
  name: 'side',
  type: 'string',
  optional: true,
  values: ['clientside', 'serverside'],
} as const;

/** The side that an optional `clientside` or `serverside` argument names. */
export function namedSide(run: RuleRun, name: string | undefined): Side {
  if (name === undefined) return run.side;
  return name === 'clientside' ? 'client' : 'server';
}

function portOf(run: RuleRun, side: Side, end: keyof Addresses): number {
  return run.services.addresses(side)?.[end].port ?? 0;
}

function portCommand(name: string, doc: string, read: (run: RuleRun) => number): CommandSpec {
  return command(
    `TCP.${name}`,
    {
      tcl: `TCP::${name}`,
      params: [],
      returns: 'integer',
      validIn: 'connection',
      doc: `${doc} 0 while there is no such connection.`,
    },
    read,
  );
}

function sidePortCommand(end: keyof Addresses, doc: string): CommandSpec {
  return command(
    `TCP.${end}_port`,
    {
      tcl: `TCP::${end}_port`,
      params: [sideParam],
      returns: 'integer',
      validIn: 'connection',
      doc: `${doc} 0 while that side is not connected.`,
    },
    (run, side) => portOf(run, namedSide(run, side), end),
  );
}

export const tcpCommands: readonly CommandSpec[] = [
  ...payloadCommands('TCP'),
  command(
    'TCP.close',
    {
      tcl: 'TCP::close',
      params: [],
      returns: 'void',
      validIn: 'connection',
      doc: 'Closes the connection of the current side with FIN, behind everything sent to it. What its peer still sends is discarded, and the other side is closed likewise.',
    },
    (run) => {
      flowOf(run);
      run.emit({ type: 'close', side: run.side });
    },
  ),
  portCommand('client_port', "The client's port.", (run) => portOf(run, 'client', 'remote')),
  portCommand('server_port', "The server's port.", (run) => portOf(run, 'server', 'remote')),
  sidePortCommand('local', 'The port at this end of the current (or the named) side.'),
  sidePortCommand('remote', "The peer's port on the current (or the named) side."),
];
