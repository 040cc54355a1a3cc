import { isIP } from 'node:net';
import type { RuleRun } from '../core/rule-run.ts';
import { flowOf } from './payload.ts';
import { type CommandSpec, command } from './spec.ts';

/** The events in which the choice of a server is still open. */
const BEFORE_CONNECT = [
  'CLIENT_ACCEPTED',
  'CLIENT_DATA',
  'CLIENTSSL_CLIENTHELLO',
  'CLIENTSSL_CLIENTCERT',
  'CLIENTSSL_HANDSHAKE',
  'CLIENTSSL_DATA',
  'LB_SELECTED',
  'LB_FAILED',
] as const;

const addressParam = { name: 'address', type: 'string' } as const;
const portParam = { name: 'port', type: 'integer' } as const;

/** @throws TypeError, RangeError when it is not an IP address and a port from 1 to 65535. */
function endpoint(command: string, address: string, port: number) {
  if (isIP(address) === 0) throw new TypeError(`${command}: '${address}' is not an IP address`);
  if (port < 1 || port > 65_535) throw new RangeError(`${command}: port must be from 1 to 65535`);
  return { address, port };
}

function selectPool(run: RuleRun, pool: string, address?: string, port?: number): void {
  if (!run.services.hasPool(pool)) throw new Error(`pool: there is no pool '${pool}'`);
  if (address === undefined) {
    run.emit({ type: 'pool', pool });
    return;
  }
  if (port === undefined) throw new TypeError('pool: a member needs an address and a port');
  run.emit({ type: 'pool', pool, member: endpoint('pool', address, port) });
}

function selected(run: RuleRun, part: string | undefined): string {
  const { pool = '', server } = flowOf(run).selection;
  const address = server?.address ?? '';
  const port = server === undefined ? '' : String(server.port);
  if (part === 'pool') return pool;
  if (part === 'addr') return address;
  if (part === 'port') return port;
  return [pool, address, port].filter((text) => text !== '').join(' ');
}

export const lbCommands: readonly CommandSpec[] = [
  command(
    'pool',
    {
      tcl: 'pool',
      params: [
        { name: 'name', type: 'string' },
        { ...addressParam, optional: true },
        { ...portParam, optional: true },
      ],
      returns: 'void',
      validIn: BEFORE_CONNECT,
      doc: 'Sends this connection to the pool `name`, or to the member of it at `address` and `port`. The last `pool` or `node` before the server is chosen wins. In LB_FAILED follow it by `LB.reselect()`.',
    },
    selectPool,
  ),
  command(
    'node',
    {
      tcl: 'node',
      params: [addressParam, portParam],
      returns: 'void',
      validIn: BEFORE_CONNECT,
      doc: 'Sends this connection to the server at the IP address `address` and `port`, whatever the pools say.',
    },
    (run, address, port) => run.emit({ type: 'node', server: endpoint('node', address, port) }),
  ),
  command(
    'LB.server',
    {
      tcl: 'LB::server',
      params: [{ name: 'part', type: 'string', optional: true, values: ['pool', 'addr', 'port'] }],
      returns: 'string',
      validIn: 'connection',
      doc: 'The chosen server as `pool address port`, or one part of it. Before a member was chosen only the pool; after `node` no pool.',
    },
    selected,
  ),
  command(
    'LB.reselect',
    {
      tcl: 'LB::reselect',
      params: [],
      returns: 'void',
      validIn: ['LB_SELECTED', 'LB_FAILED'],
      doc: 'Chooses a server again when the event ends; members that failed on this connection come last. At most 8 times on a connection.',
    },
    (run) => run.emit({ type: 'reselect' }),
  ),
];
