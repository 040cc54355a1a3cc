import { eventCommands } from './event.ts';
import { flowCommands } from './flow.ts';
import { ipCommands } from './ip.ts';
import { lbCommands } from './lb.ts';
import { logCommands } from './log.ts';
import type { CommandSpec } from './spec.ts';
import { sslCommands } from './ssl.ts';
import { stringCommands } from './strings.ts';
import { tcpCommands } from './tcp.ts';
import { x509Commands } from './x509.ts';

/** Every command of the rules API. The sandbox, the reference and the checks are made from it. */
export const commandTable: readonly CommandSpec[] = [
  ...eventCommands,
  ...tcpCommands,
  ...sslCommands,
  ...x509Commands,
  ...ipCommands,
  ...lbCommands,
  ...flowCommands,
  ...logCommands,
  ...stringCommands,
];
