/** The two halves of a flow: the client's connection and the server's. */
export type Side = 'client' | 'server';

/** One end of a TCP connection. `address` is an IP address in text form, never a name. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
  /** The name that the address was found by. */
  readonly host?: string;
}

/** Local and remote end of one side, as the operating system reports them. */
export interface Addresses {
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

export function otherSide(side: Side): Side {
  return side === 'client' ? 'server' : 'client';
}

/** `address:port`, with brackets around IPv6. */
export function formatEndpoint({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** For the default branch of a switch over a union: fails to compile when a case is missing. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`);
}
