import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { RuleRun } from '../core/rule-run.ts';
import type { Addresses, Side } from '../core/types.ts';
import { type CommandSpec, command } from './spec.ts';
import { namedSide, sideParam } from './tcp.ts';

function addressOf(run: RuleRun, side: Side, end: keyof Addresses): string {
  return run.services.addresses(side)?.[end].address ?? '';
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** @throws TypeError when the text is not an address */
function parseAddress(text: string): Address {
  // The library takes more for an address than the system does, such as octal numbers.
  if (isIP(text) === 0) throw new TypeError(`IP.addr: '${text}' is not an IP address`);
  return ipaddr.parse(text);
}

/** IPv4 in IPv6 form (RFC 4291, section 2.5.5.2) counts as IPv4. */
function unmap(address: Address): Address {
  const mapped = address.kind() === 'ipv6' && (address as ipaddr.IPv6).isIPv4MappedAddress();
  return mapped ? (address as ipaddr.IPv6).toIPv4Address() : address;
}

/** Whether an address lies in a network written as `address`, `address/bits` or `address/netmask`. */
function matches(text: string, network: string): boolean {
  const slash = network.indexOf('/');
  const written = parseAddress(slash < 0 ? network : network.slice(0, slash));
  const width = written.toByteArray().length * 8;
  const bits = slash < 0 ? width : prefixLength(network.slice(slash + 1), written);
  const address = unmap(parseAddress(text));
  const base = bits >= 96 ? unmap(written) : written;
  if (base.kind() !== address.kind()) return false;
  const ownBits = base === written ? bits : bits - 96;
  return base.kind() === 'ipv4'
    ? (address as ipaddr.IPv4).match(base as ipaddr.IPv4, ownBits)
    : (address as ipaddr.IPv6).match(base as ipaddr.IPv6, ownBits);
}

/** @throws TypeError when it is neither a number of bits nor a netmask of the address's family */
function prefixLength(mask: string, base: Address): number {
  const width = base.toByteArray().length * 8;
  const bits = /^\d{1,3}$/.test(mask) ? Number(mask) : netmaskLength(mask, base);
  if (bits === null || bits > width) {
    throw new TypeError(`IP.addr: '/${mask}' is not a network mask`);
  }
  return bits;
}

function netmaskLength(mask: string, base: Address): number | null {
  if (isIP(mask) === 0) return null;
  const parsed = ipaddr.parse(mask);
  return parsed.kind() === base.kind() ? parsed.prefixLengthFromSubnetMask() : null;
}

function addressCommand(name: string, side: Side, end: keyof Addresses, doc: string): CommandSpec {
  return command(
    `IP.${name}`,
    {
      tcl: `IP::${name}`,
      params: [],
      returns: 'string',
      validIn: 'connection',
      doc: `${doc} Empty while there is no such connection.`,
    },
    (run) => addressOf(run, side, end),
  );
}

function sideAddressCommand(end: keyof Addresses, doc: string): CommandSpec {
  return command(
    `IP.${end}_addr`,
    {
      tcl: `IP::${end}_addr`,
      params: [sideParam],
      returns: 'string',
      validIn: 'connection',
      doc: `${doc} Empty while that side is not connected.`,
    },
    (run, side) => addressOf(run, namedSide(run, side), end),
  );
}

export const ipCommands: readonly CommandSpec[] = [
  addressCommand('client_addr', 'client', 'remote', "The client's IP address."),
  addressCommand('server_addr', 'server', 'remote', "The server's IP address."),
  sideAddressCommand('local', 'The IP address at this end of the current (or the named) side.'),
  sideAddressCommand('remote', "The peer's IP address on the current (or the named) side."),
  command(
    'IP.addr',
    {
      tcl: 'IP::addr',
      params: [
        { name: 'address', type: 'string' },
        { name: 'network', type: 'string' },
      ],
      returns: 'boolean',
      validIn: 'any',
      doc: "Whether `address` is in `network`: an address, `10.0.0.0/8`, `10.0.0.0/255.0.0.0` or `2001:db8::/32`. IPv4 addresses in IPv6 form count as IPv4. Throws TypeError for text that is neither. (iRules' `IP::addr A equals B`.)",
    },
    (_run, address, network) => matches(address, network),
  ),
];
