import { Buffer } from 'node:buffer';
import { isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { Endpoint } from '../core/types.ts';

/*
 * The PROXY protocol, versions 1 and 2, as HAProxy's proxy-protocol.txt has it: what a proxy sends
 * before the first byte of a connection to tell for whom it is.
 */

/** The longest line of version 1, with its CRLF. */
const LONGEST_LINE = 107;
/** Of version 2; the format would allow 64 KiB. */
const LONGEST_HEADER = 4096;

const LINE_START = Buffer.from('PROXY ');
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** Signature, version and command, family and transport, length. */
const FIXED = 16;
const VERSION_2 = 0x20;
const LOCAL = 0;
const PROXY = 1;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;

/** Bytes of an address, and of the two addresses with their ports, for each family and transport. */
const FAMILIES: ReadonlyMap<number, { readonly address: number; readonly block: number }> = new Map(
  [
    [TCP_OVER_IPV4, { address: 4, block: 12 }],
    [0x12, { address: 4, block: 12 }],
    [TCP_OVER_IPV6, { address: 16, block: 36 }],
    [0x22, { address: 16, block: 36 }],
    // Paths of UNIX sockets are no endpoints.
    [0x31, { address: 0, block: 216 }],
    [0x32, { address: 0, block: 216 }],
  ],
);
const UNSPECIFIED = 0;

const CRC32C_TLV = 3;

/** Something more that version 2 tells. */
export interface ProxyTlv {
  /** 0 to 255. */
  readonly type: number;
  readonly value: Uint8Array;
}

export interface ProxyHeader {
  readonly type: 'header';
  /** How many bytes it takes: the connection's own begin behind them. */
  readonly length: number;
  /** The proxy speaks for itself, as in a health check. */
  readonly local: boolean;
  /** Who connected to the proxy; undefined: the header does not tell, the connection's own ends count. */
  readonly source: Endpoint | undefined;
  /** What it connected to. */
  readonly destination: Endpoint | undefined;
  /** In the order of the header; they share its memory. */
  readonly tlvs: readonly ProxyTlv[];
}

export type ProxyHeaderResult =
  | ProxyHeader
  | { readonly type: 'incomplete' }
  | { readonly type: 'invalid'; readonly reason: string };

const INCOMPLETE: ProxyHeaderResult = { type: 'incomplete' };

function invalid(reason: string): ProxyHeaderResult {
  return { type: 'invalid', reason };
}

/**
 * Reads a header of either version. What it has once said of a beginning, other than `incomplete`,
 * it says of all that continues it.
 *
 * @param bytes - all that the connection has brought so far
 */
export function readProxyHeader(bytes: Uint8Array): ProxyHeaderResult {
  const [first] = bytes;
  if (first === undefined) return INCOMPLETE;
  return first === LINE_START[0] ? readLine(bytes) : readBinary(bytes);
}

// ---- version 1 -----------------------------------------------------------------------------------

const LINE = /^PROXY (TCP4|TCP6) ([^ ]+) ([^ ]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})$/;

function readLine(bytes: Uint8Array): ProxyHeaderResult {
  if (!startsLike(bytes, LINE_START)) return invalid('it does not begin like a PROXY header');
  const start = bytes.subarray(0, LONGEST_LINE);
  const end = start.findIndex((byte) => byte < 0x20 || byte > 0x7e);
  if (end < 0 || (end === start.length - 1 && start[end] === 0x0d)) {
    return bytes.length < LONGEST_LINE ? INCOMPLETE : invalid('its line is too long');
  }
  if (start[end] !== 0x0d || start[end + 1] !== 0x0a) {
    return invalid('its line holds a byte that it must not');
  }
  const text = Buffer.from(start.subarray(0, end)).toString('latin1');
  const length = end + 2;
  const unknown = { type: 'header', length, local: false, tlvs: [] } as const;
  // What stands behind it counts for nothing.
  if (/^PROXY UNKNOWN( |$)/.test(text)) {
    return { ...unknown, source: undefined, destination: undefined };
  }
  const [, family = '', source = '', destination = '', from = '', to = ''] = LINE.exec(text) ?? [];
  const isAddress = family === 'TCP4' ? isIPv4 : isPlainIpv6;
  const isRight = isAddress(source) && isAddress(destination);
  if (!isRight || Number(from) > 65_535 || Number(to) > 65_535) return invalid('its line is wrong');
  return {
    ...unknown,
    source: { address: canonical(source), port: Number(from) },
    destination: { address: canonical(destination), port: Number(to) },
  };
}

/** Without a zone, which means something on one machine only. */
function isPlainIpv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

// ---- version 2 -----------------------------------------------------------------------------------

function readBinary(bytes: Uint8Array): ProxyHeaderResult {
  if (!startsLike(bytes, SIGNATURE)) return invalid('it does not begin like a PROXY header');
  const [versionAndCommand, family, high, low] = bytes.subarray(SIGNATURE.length, FIXED);
  if (versionAndCommand === undefined) return INCOMPLETE;
  const command = versionAndCommand - VERSION_2;
  if (command !== LOCAL && command !== PROXY) return invalid('unknown version or command');
  if (family === undefined) return INCOMPLETE;
  // All behind them counts for nothing, nor does the family of LOCAL.
  const tellsNothing = command === LOCAL || family === UNSPECIFIED;
  const sizes = tellsNothing ? undefined : FAMILIES.get(family);
  if (!tellsNothing && sizes === undefined) return invalid('unknown address family or transport');
  if (high === undefined || low === undefined) return INCOMPLETE;
  const length = FIXED + high * 256 + low;
  if (length > LONGEST_HEADER) return invalid(`it is longer than ${LONGEST_HEADER} bytes`);
  if (sizes !== undefined && length < FIXED + sizes.block) {
    return invalid('it is too short for its addresses');
  }
  if (bytes.length < length) return INCOMPLETE;
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, length);
  const nothing = { source: undefined, destination: undefined, tlvs: [] };
  const common = { type: 'header', length, local: command === LOCAL, ...nothing } as const;
  if (sizes === undefined) return common;
  const tlvs = readTlvs(header.subarray(FIXED + sizes.block));
  if (tlvs === undefined) return invalid('its TLVs do not fit into it');
  if (!checksumFits(header, tlvs)) return invalid('its checksum is wrong');
  return { ...common, ...endpoints(header.subarray(FIXED), sizes.address), tlvs };
}

function endpoints(
  block: Buffer,
  size: number,
): { readonly source: Endpoint | undefined; readonly destination: Endpoint | undefined } {
  if (size === 0) return { source: undefined, destination: undefined };
  const endpoint = (index: number): Endpoint => {
    const bytes = block.subarray(index * size, (index + 1) * size);
    const address = canonical(ipaddr.fromByteArray([...bytes]).toString());
    return { address, port: block.readUInt16BE(2 * size + 2 * index) };
  };
  return { source: endpoint(0), destination: endpoint(1) };
}

/** Undefined unless they fill `bytes` exactly. */
function readTlvs(bytes: Buffer): ProxyTlv[] | undefined {
  const tlvs: ProxyTlv[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + 3 > bytes.length) return undefined;
    const end = at + 3 + bytes.readUInt16BE(at + 1);
    if (end > bytes.length) return undefined;
    tlvs.push({ type: bytes.readUInt8(at), value: bytes.subarray(at + 3, end) });
    at = end;
  }
  return tlvs;
}

/** A header need not have one. */
function checksumFits(header: Buffer, tlvs: readonly ProxyTlv[]): boolean {
  const sums = tlvs.filter(({ type }) => type === CRC32C_TLV);
  const [sum] = sums;
  if (sum === undefined) return true;
  if (sums.length > 1 || sum.value.length !== 4) return false;
  // It is reckoned with zeros in its own place.
  const at = sum.value.byteOffset - header.byteOffset;
  const zeroed = Buffer.from(header).fill(0, at, at + 4);
  return crc32c(zeroed) === header.readUInt32BE(at);
}

/** Castagnoli's polynomial, its bits reversed (RFC 9260, appendix A). */
const CASTAGNOLI = 0x82f63b78;
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) {
    remainder = (remainder >>> 1) ^ (remainder & 1 ? CASTAGNOLI : 0);
  }
  return remainder;
});

function crc32c(bytes: Uint8Array): number {
  let remainder = 0xffffffff;
  for (const byte of bytes) {
    remainder = (remainder >>> 8) ^ (CRC_TABLE[(remainder ^ byte) & 255] ?? 0);
  }
  return (remainder ^ 0xffffffff) >>> 0;
}

// ---- writing -------------------------------------------------------------------------------------

/** For a connection that is nobody's but the proxy's own. */
export const UNKNOWN_PROXY_HEADER_V1: Buffer = Buffer.from('PROXY UNKNOWN\r\n');
/** The same in version 2. */
export const LOCAL_PROXY_HEADER_V2: Buffer = Buffer.concat([
  SIGNATURE,
  Buffer.of(VERSION_2 + LOCAL, UNSPECIFIED, 0, 0),
]);

/**
 * The line of version 1. If only one end has an IPv4 address, it is sent mapped into IPv6.
 *
 * @throws Error when an address is none
 */
export function proxyHeaderV1(source: Endpoint, destination: Endpoint): Buffer {
  const ends = addressBytes(source, destination);
  const [from, to] = ends.map((bytes) => ipaddr.fromByteArray([...bytes]).toString());
  const family = ends[0].length === 4 ? 'TCP4' : 'TCP6';
  return Buffer.from(`PROXY ${family} ${from} ${to} ${source.port} ${destination.port}\r\n`);
}

/** The same in version 2, without TLVs. */
export function proxyHeaderV2(source: Endpoint, destination: Endpoint): Buffer {
  const ends = addressBytes(source, destination);
  const size = ends[0].length;
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  const family = size === 4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6;
  const fixed = Buffer.of(VERSION_2 + PROXY, family, 0, 2 * size + 4);
  return Buffer.concat([SIGNATURE, fixed, ...ends, ports]);
}

/** Both addresses in network byte order, of one family; a zone is left out. */
function addressBytes(a: Endpoint, b: Endpoint): [Uint8Array, Uint8Array] {
  const [first, second] = [ipaddr.process(a.address), ipaddr.process(b.address)];
  const oneFamily = first.kind() === second.kind();
  const bytesOf = (address: ipaddr.IPv4 | ipaddr.IPv6) => {
    const whole = oneFamily || address instanceof ipaddr.IPv6;
    return Uint8Array.from((whole ? address : address.toIPv4MappedAddress()).toByteArray());
  };
  return [bytesOf(first), bytesOf(second)];
}

// ---- both ----------------------------------------------------------------------------------------

/** One text for each address; IPv4 in its own form. */
function canonical(address: string): string {
  return ipaddr.process(address).toString();
}

/** Whether `bytes` begin with `start`, as far as they go. */
function startsLike(bytes: Uint8Array, start: Uint8Array): boolean {
  const length = Math.min(bytes.length, start.length);
  return start.subarray(0, length).every((byte, i) => bytes[i] === byte);
}
