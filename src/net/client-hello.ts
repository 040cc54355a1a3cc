import { isIP } from 'node:net';

/** More than this and the client is refused. Bytes of TLS records, headers included. */
export const MOST_HELLO_BYTES = 16 * 1024;

/** What a client says first (RFC 8446, 4.1.2). Holds a copy of the bytes it was read from. */
export interface ClientHello {
  /** The host_name of server_name (RFC 6066, 3) in lower case, without a dot at its end. */
  readonly serverName: string | undefined;
  /** The protocol names offered (RFC 7301), one character a byte. */
  readonly alpn: readonly string[];
  /** supported_versions in the client's order, or the legacy_version alone: 0x0303 is TLS 1.2. */
  readonly versions: readonly number[];
  readonly cipherSuites: readonly number[];
  /** 0 to 32 bytes. */
  readonly sessionId: Uint8Array;
  /** In the client's order. Values that mean nothing (GREASE, RFC 8701) stay, here and above. */
  readonly extensionTypes: readonly number[];
  /**
   * What the client wants to resume by: the first identity of pre_shared_key (TLS 1.3), or the
   * session_ticket (TLS 1.2; RFC 5077). In a ticket of OpenSSL the first 16 bytes name its key.
   */
  readonly ticket: Uint8Array | undefined;
  /** The body of the extension of this type, undefined if absent. */
  extension(type: number): Uint8Array | undefined;
}

export type HelloResult =
  | { readonly type: 'hello'; readonly hello: ClientHello }
  | { readonly type: 'incomplete' }
  | { readonly type: 'invalid'; readonly reason: string };

/** Of RFC 8446, 4.2 and RFC 5077. */
const EXTENSION = {
  serverName: 0,
  alpn: 16,
  sessionTicket: 35,
  preSharedKey: 41,
  supportedVersions: 43,
} as const;

const HANDSHAKE_RECORD = 0x16;
const CLIENT_HELLO = 1;
const RECORD_HEADER = 5;
const MOST_FRAGMENT_BYTES = 2 ** 14;
/** Type and length in front of a handshake message. */
const MESSAGE_HEADER = 4;

class MalformedHello extends Error {}

/**
 * Reads the ClientHello at the beginning of a connection; what comes behind its last record is not
 * looked at. While it is `incomplete`, to be called again with everything so far. Never throws.
 */
export function readClientHello(bytes: Uint8Array): HelloResult {
  try {
    const message = readMessage(bytes);
    if (message === undefined) return { type: 'incomplete' };
    return { type: 'hello', hello: new ParsedHello(message) };
  } catch (error) {
    if (!(error instanceof MalformedHello)) throw error;
    return { type: 'invalid', reason: error.message };
  }
}

/**
 * The body of the handshake message, joined from its records; undefined while some of it is
 * missing. Refuses what is not a ClientHello at the first byte that shows it.
 */
function readMessage(bytes: Uint8Array): Uint8Array | undefined {
  let gathered = 0;
  let bodyLength = 0;
  for (let record = 0; ; ) {
    const length = fragmentLength(bytes, record);
    if (length === undefined) return undefined;
    const fragment = record + RECORD_HEADER;
    const end = fragment + length;
    must(end <= MOST_HELLO_BYTES, 'is too long');
    const header = Math.min(end, fragment + MESSAGE_HEADER - gathered);
    for (let at = fragment; at < header; at++) {
      const byte = bytes[at];
      if (byte === undefined) return undefined;
      if (gathered + at > fragment) bodyLength = bodyLength * 256 + byte;
      else must(byte === CLIENT_HELLO, 'is another handshake message');
    }
    gathered += length;
    if (gathered >= MESSAGE_HEADER) {
      const total = MESSAGE_HEADER + bodyLength;
      must(RECORD_HEADER + total <= MOST_HELLO_BYTES, 'is too long');
      must(gathered <= total, 'has something behind it in its record');
      if (gathered === total) return bytes.length < end ? undefined : joinedBody(bytes, total);
    }
    if (bytes.length < end) return undefined;
    record = end;
  }
}

/** The length of the fragment of the record at `record`; undefined while its header is cut off. */
function fragmentLength(bytes: Uint8Array, record: number): number | undefined {
  const type = bytes[record];
  if (type === undefined) return undefined;
  must(type === HANDSHAKE_RECORD, 'is not in a TLS handshake record');
  const major = bytes[record + 1];
  if (major === undefined) return undefined;
  must(major === 3, 'is in a record of an unknown version');
  const [high, low] = [bytes[record + 3], bytes[record + 4]];
  if (high === undefined) return undefined;
  const length = high * 256 + (low ?? 0);
  must(length <= MOST_FRAGMENT_BYTES, 'is in a record that is too long');
  if (low === undefined) return undefined;
  must(length > 0, 'is in an empty record');
  return length;
}

/** A copy of the message without its header. All of its records are there. */
function joinedBody(bytes: Uint8Array, total: number): Uint8Array {
  const message = new Uint8Array(total);
  let gathered = 0;
  for (let record = 0; gathered < total; ) {
    const start = record + RECORD_HEADER;
    record = start + (fragmentLength(bytes, record) ?? 0);
    message.set(bytes.subarray(start, record), gathered);
    gathered += record - start;
  }
  return message.subarray(MESSAGE_HEADER);
}

class ParsedHello implements ClientHello {
  readonly serverName: string | undefined;
  readonly alpn: readonly string[];
  readonly versions: readonly number[];
  readonly sessionId: Uint8Array;
  readonly ticket: Uint8Array | undefined;
  private readonly suites: Uint8Array;
  private readonly extensions: ReadonlyMap<number, Uint8Array>;

  /** @throws MalformedHello */
  constructor(body: Uint8Array) {
    const reader = new Reader(body, 'body');
    const legacyVersion = reader.number(2);
    must(legacyVersion >> 8 === 3, 'has an unknown version');
    reader.take(32);
    this.sessionId = reader.vector(1, 0, 32);
    this.suites = reader.vector(2, 2);
    must(this.suites.length % 2 === 0, 'has half a cipher suite');
    reader.vector(1, 1);
    this.extensions = readExtensions(reader);
    this.serverName = readServerName(this.extension(EXTENSION.serverName));
    this.alpn = readAlpn(this.extension(EXTENSION.alpn));
    this.versions = readVersions(this.extension(EXTENSION.supportedVersions)) ?? [legacyVersion];
    const ticket = this.extension(EXTENSION.sessionTicket);
    this.ticket =
      readIdentity(this.extension(EXTENSION.preSharedKey)) ??
      (ticket?.length === 0 ? undefined : ticket);
  }

  get cipherSuites(): readonly number[] {
    return numbers(this.suites);
  }

  get extensionTypes(): readonly number[] {
    return [...this.extensions.keys()];
  }

  extension(type: number): Uint8Array | undefined {
    return this.extensions.get(type);
  }
}

/** By type, in the client's order. Old clients leave the whole block out. */
function readExtensions(hello: Reader): Map<number, Uint8Array> {
  const extensions = new Map<number, Uint8Array>();
  if (hello.isAtEnd) return extensions;
  const list = new Reader(hello.vector(2, 0), 'extensions');
  hello.end();
  while (!list.isAtEnd) {
    const type = list.number(2);
    // The text is made only where it is needed.
    if (extensions.has(type)) must(false, `has extension ${type} twice`);
    extensions.set(type, list.vector(2, 0));
    // RFC 8446, 4.2.11: the binders cover all that is in front of them.
    if (type === EXTENSION.preSharedKey) must(list.isAtEnd, 'has pre_shared_key not at its end');
  }
  return extensions;
}

/** Labels of letters, digits, hyphens and underscores; hosts with odd hyphens are in use. */
const HOST_NAME = /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/;

/** Cheaper than `isIP`, which decides. */
const MAY_BE_ADDRESS = /:|\d$/;

function readServerName(body: Uint8Array | undefined): string | undefined {
  if (body === undefined) return undefined;
  const list = inner(body, 2, 'server_name');
  // No type but host_name was ever defined, and there is at most one name of a type.
  must(list.number(1) === 0, 'has a server_name of an unknown type');
  const text = latin1(list.vector(2, 1, 256)).toLowerCase();
  list.end();
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  // No name at all, though some clients send it (RFC 6066, section 3): not worth a refusal.
  if (MAY_BE_ADDRESS.test(name) && isIP(name) !== 0) return undefined;
  must(name.length <= 255 && HOST_NAME.test(name), 'has a server_name that is not a host name');
  return name;
}

function readAlpn(body: Uint8Array | undefined): readonly string[] {
  const names: string[] = [];
  if (body === undefined) return names;
  const list = inner(body, 2, 'application_layer_protocol_negotiation');
  while (!list.isAtEnd) names.push(latin1(list.vector(1, 1)));
  return names;
}

function readVersions(body: Uint8Array | undefined): readonly number[] | undefined {
  if (body === undefined) return undefined;
  const reader = new Reader(body, 'supported_versions');
  const versions = reader.vector(1, 2);
  reader.end();
  must(versions.length % 2 === 0, 'has half a version in supported_versions');
  return numbers(versions);
}

/** The first identity of pre_shared_key. */
function readIdentity(body: Uint8Array | undefined): Uint8Array | undefined {
  if (body === undefined) return undefined;
  const reader = new Reader(body, 'pre_shared_key');
  const identities = new Reader(reader.vector(2, 7), 'pre_shared_key');
  const binders = new Reader(reader.vector(2, 33), 'pre_shared_key');
  reader.end();
  let first: Uint8Array | undefined;
  while (!identities.isAtEnd) {
    const identity = identities.vector(2, 1);
    identities.take(4);
    first ??= identity;
    binders.vector(1, 32);
  }
  binders.end();
  return first;
}

/** The elements of an extension that is nothing but one vector that is not empty. */
function inner(body: Uint8Array, prefix: 1 | 2, name: string): Reader {
  const reader = new Reader(body, name);
  const list = reader.vector(prefix, 1);
  reader.end();
  return new Reader(list, name);
}

/** Reads fields one behind the other. Its methods throw MalformedHello when the bytes end first. */
class Reader {
  private at = 0;

  constructor(
    private readonly bytes: Uint8Array,
    /** For the reason when they do not fit. */
    private readonly name: string,
  ) {}

  get isAtEnd(): boolean {
    return this.at === this.bytes.length;
  }

  /** Nothing may follow. */
  end(): void {
    this.check(this.isAtEnd);
  }

  number(size: 1 | 2): number {
    const end = this.at + size;
    this.check(end <= this.bytes.length);
    let number = 0;
    for (; this.at < end; this.at++) number = number * 256 + (this.bytes[this.at] ?? 0);
    return number;
  }

  take(length: number): Uint8Array {
    const start = this.at;
    this.at += length;
    this.check(this.at <= this.bytes.length);
    return this.bytes.subarray(start, this.at);
  }

  /** The contents of a vector (RFC 8446, 3.4) whose length has `prefix` bytes. */
  vector(prefix: 1 | 2, least: number, most = 0xffff): Uint8Array {
    const length = this.number(prefix);
    this.check(length >= least && length <= most);
    return this.take(length);
  }

  private check(fits: boolean): void {
    if (!fits) throw new MalformedHello(`the ClientHello has wrong lengths in its ${this.name}`);
  }
}

function must(condition: boolean, reason: string): void {
  if (!condition) throw new MalformedHello(`the ClientHello ${reason}`);
}

/** Big endian numbers of two bytes. */
function numbers(bytes: Uint8Array): readonly number[] {
  const all: number[] = [];
  for (let at = 0; at < bytes.length; at += 2) {
    all.push((bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0));
  }
  return all;
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at++) text += String.fromCharCode(bytes[at] ?? 0);
  return text;
}
