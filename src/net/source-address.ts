import { isIPv6 } from 'node:net';
import type { TcpHandle } from './internals.ts';

/** Where a connection is to come from: an address of this machine. */
export interface SourceAddress {
  /** An IP address of the destination's family. */
  readonly address: string;
  /**
   * 1 to 65535. Without one the system chooses, which lasts for as many connections as it has
   * ephemeral ports: it chooses before it knows the destination.
   */
  readonly port?: number;
}

/**
 * Binds a handle that is to connect to an address. Answers 0, or a negative error number; some
 * errors only come from connecting.
 */
export function bindSource(tcp: TcpHandle, from: SourceAddress, to: string): number {
  const { address, port = 0 } = from;
  return isIPv6(to) ? tcp.bind6(address, port, 0) : tcp.bind(address, port);
}
