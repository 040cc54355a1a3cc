import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';

/**
 * The IP addresses of a host, as the system resolves it.
 *
 * @param host - an address, which is its own answer, or a name
 * @throws Error with the resolver's code, such as ENOTFOUND
 */
export async function resolveHost(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  const found = await lookup(host, { all: true });
  return [...new Set(found.map(({ address }) => address))];
}
