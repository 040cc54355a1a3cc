import type { Endpoint } from '../core/types.ts';
import { withConnection } from './connection.ts';
import type { TlsMonitor } from './types.ts';

/** Whether a TLS handshake succeeds, with a certificate as it is required. */
export function probeTls(
  server: Endpoint,
  settings: TlsMonitor,
  signal: AbortSignal,
): Promise<void> {
  return withConnection(server, signal, (connection) => connection.startTls(settings));
}
