import type { Endpoint } from '../core/types.ts';
import { withConnection } from './connection.ts';

/** Whether the port accepts a connection. */
export function probeTcp(server: Endpoint, signal: AbortSignal): Promise<void> {
  return withConnection(server, signal, () => {});
}

/** The same, but the connection ends with RST; see `TcpHalfOpenMonitor`. */
export function probeTcpHalfOpen(server: Endpoint, signal: AbortSignal): Promise<void> {
  return withConnection(server, signal, (connection) => connection.reset());
}
