import { isIP, isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { ListenAddress, PoolMember } from './types.ts';

type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

/** `host:port`, where the host may be empty or `*` for all addresses, and the port 0 for any free one. */
export function parseListen(text: string): Parsed<ListenAddress> {
  return parseAddress(text, { anyHost: true, lowestPort: 0 });
}

/** `host:port` of a server. */
export function parseMember(text: string): Parsed<PoolMember> {
  return parseAddress(text, { anyHost: false, lowestPort: 1 });
}

function parseAddress(
  text: string,
  allowed: { anyHost: boolean; lowestPort: number },
): Parsed<{ host: string; port: number }> {
  const colon = text.lastIndexOf(':');
  if (isIPv6(text)) return refused('an IPv6 address goes into brackets, as in "[::1]:110"');
  if (colon < 0) return refused('it must end in a port, as in "127.0.0.1:110"');
  const digits = text.slice(colon + 1);
  const port = /^[0-9]{1,5}$/.test(digits) ? Number(digits) : -1;
  if (port < allowed.lowestPort || port > 65535) {
    return refused(`the port must be a number from ${allowed.lowestPort} to 65535`);
  }
  const written = text.slice(0, colon);
  if (written === '' || written === '*') {
    return allowed.anyHost ? { ok: true, value: { host: '', port } } : refused('it has no host');
  }
  const bracketed = /^\[(.*)\]$/.exec(written)?.[1];
  const host = bracketed ?? written;
  if (bracketed === undefined && host.includes(':')) {
    return refused('an IPv6 address goes into brackets, as in "[::1]:110"');
  }
  const good = bracketed === undefined ? isIPv4(host) || isHostName(host) : isIPv6(host);
  return good
    ? { ok: true, value: { host, port } }
    : refused('the host is neither an IP address nor a name');
}

function refused(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}

/** RFC 1123 names, and underscores, which container networks use. All digits: a mistyped IP address. */
export function isHostName(host: string): boolean {
  const label = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;
  const labels = host.replace(/\.$/, '').split('.');
  if (host.length > 253 || !labels.every((part) => label.test(part))) return false;
  return !/^[0-9]+$/.test(labels.at(-1) ?? '');
}

/** One text for all ways to write an address; names stay names. */
export function canonicalHost(host: string): string {
  return isIP(host) === 0 ? host.toLowerCase() : ipaddr.process(host).toString();
}

/** Equal for members that are the same, however they are written. */
export function memberKey({ host, port }: PoolMember): string {
  return `${canonicalHost(host)} ${port}`;
}

/**
 * Whether the system would refuse the second of two listeners. An address for all others overlaps
 * with each of them; `::` takes IPv4 as well. Names are not looked up.
 */
export function listenersCollide(a: ListenAddress, b: ListenAddress): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  const [hostA, hostB] = [canonicalHost(a.host), canonicalHost(b.host)];
  return hostA === hostB || covers(hostA, hostB) || covers(hostB, hostA);
}

function covers(wide: string, host: string): boolean {
  if (wide === '' || wide === '::') return true;
  return wide === '0.0.0.0' && (host === '' || host === '::' || isIPv4(host));
}
