import { type ListenAddress, listenersCollide, type VirtualServerConfig } from '../config/index.ts';
import { formatEndpoint } from '../core/types.ts';

/** Whether a listener for one serves for the other. */
export function isSameAddress(a: ListenAddress | undefined, b: ListenAddress | undefined): boolean {
  return a?.host === b?.host && a?.port === b?.port;
}

/**
 * Why a virtual server cannot listen, for people.
 *
 * @param error - the system's
 * @param running - what this process listens on already
 */
export function listenFailure(
  { name, listen }: VirtualServerConfig,
  error: unknown,
  running: readonly ListenAddress[],
): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const own = running.find((each) => listen !== undefined && listenersCollide(each, listen));
  const taken =
    own === undefined
      ? 'another process, or another virtual server, listens there already'
      : `Portreeve listens on ${show(own)}, which overlaps; changing one into the other takes a restart`;
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: taken,
    EADDRNOTAVAIL: 'this machine has no such address',
    EACCES: 'ports below 1024 need the right to bind them (CAP_NET_BIND_SERVICE)',
    ENOTFOUND: 'the name is not known',
  };
  return `virtual server '${name}' cannot listen on ${show(listen)}: ${why[code ?? ''] ?? message}`;
}

function show({ host, port }: ListenAddress = { host: '', port: 0 }): string {
  return formatEndpoint({ address: host === '' ? '*' : host, port });
}
