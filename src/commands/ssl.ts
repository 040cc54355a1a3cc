import type { RuleRun } from '../core/rule-run.ts';
import { flowOf, payloadCommands } from './payload.ts';
import { type CommandSpec, command } from './spec.ts';
import { namedSide, sideParam } from './tcp.ts';

function setTls(run: RuleRun, name: string, sideName: string | undefined, enabled: boolean): void {
  const side = namedSide(run, sideName);
  const { tls } = flowOf(run)[side];
  if (!run.services.hasTlsProfile(side)) {
    throw new Error(`${name}: the virtual server has no ${side}-ssl profile`);
  }
  if (!enabled && (tls === 'handshake' || tls === 'secured')) {
    throw new Error(`${name}: TLS on the ${side} side has begun and cannot be taken off`);
  }
  if (enabled && tls === 'secured') {
    throw new Error(`${name}: the ${side} side speaks TLS already`);
  }
  run.emit({ type: 'tls', side, enabled });
}

export const sslCommands: readonly CommandSpec[] = [
  ...payloadCommands('SSL'),
  command(
    'SSL.enable',
    {
      tcl: 'SSL::enable',
      params: [sideParam],
      returns: 'void',
      validIn: 'connection',
      doc: 'Starts TLS on the current (or the named) side, behind everything sent to it. Needs a TLS profile for that side. Bytes of the peer that were received in plaintext and not released are taken as the beginning of its handshake if they look like one; otherwise the connection is reset, because nothing received in plaintext may be read inside TLS.',
    },
    (run, side) => setTls(run, 'SSL.enable', side, true),
  ),
  command(
    'SSL.disable',
    {
      tcl: 'SSL::disable',
      params: [sideParam],
      returns: 'void',
      validIn: 'connection',
      doc: 'Keeps TLS from starting on the current (or the named) side, until `SSL.enable()`. Usually called in CLIENT_ACCEPTED. TLS that has begun cannot be taken off.',
    },
    (run, side) => setTls(run, 'SSL.disable', side, false),
  ),
];
