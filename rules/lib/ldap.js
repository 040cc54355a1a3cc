// LDAP messages (RFC 4511) as far as StartTLS needs them: who asks for what, and own answers.

/** Tags of requests (RFC 4511, section 4), each with that of its answer; undefined: there is none. */
export const ANSWERS = new Map([
  [0x60, 0x61], // bind
  [0x42, undefined], // unbind
  [0x63, 0x65], // search; the last of its answers
  [0x66, 0x67], // modify
  [0x68, 0x69], // add
  [0x4a, 0x6b], // delete
  [0x6c, 0x6d], // modify DN
  [0x6e, 0x6f], // compare
  [0x50, undefined], // abandon
  [0x77, 0x78], // extended
]);
export const BIND = 0x60;
export const UNBIND = 0x42;
export const BIND_ANSWER = 0x61;
/** What ends an operation. Entries, references and intermediate answers do not. */
export const LAST_ANSWERS = new Set([...ANSWERS.values()].filter((tag) => tag !== undefined));

export const SUCCESS = 0;
export const OPERATIONS_ERROR = 1;
export const PROTOCOL_ERROR = 2;
export const CONFIDENTIALITY_REQUIRED = 13;
export const SASL_BIND_IN_PROGRESS = 14;

/** What a message has at least: a message ID of one byte, and an operation without content. */
const SHORTEST = 5;

const START_TLS = '1.3.6.1.4.1.1466.20037';
const EXTENDED = 0x77;
const INTEGER = 0x02;
const OCTET_STRING = 0x04;
const ENUMERATED = 0x0a;
const SEQUENCE = 0x30;
const EXTENDED_NAME = 0x80;
const SASL = 0xa3;
const ANSWER_NAME = 0x8a;

/**
 * The message that comes next in `packets`. Only its beginning has to be there.
 *
 * @returns `id`, `idBytes`, the tag `tag` of the operation, where its content begins and ends, and
 *   the length of the whole; undefined when more bytes are needed; null when it is no message
 */
export function messageAt(packets) {
  const message = elementAt(packets, 0);
  if (!isElement(message, SEQUENCE)) return missing(message);
  if (message.length < SHORTEST) return null;
  const id = elementAt(packets, message.content);
  if (!isElement(id, INTEGER)) return missing(id);
  if (id.length < 1 || id.length > 4) return null;
  const operation = elementAt(packets, id.end);
  if (!operation) return operation;
  if (operation.end > message.end) return null;
  const number = numberAt(packets, id.content, id.length);
  if (number > 0x7fffffff) return null;
  return {
    id: number,
    idBytes: packets.text(id.content, id.length),
    tag: operation.tag,
    content: operation.content,
    end: operation.end,
    length: message.end,
  };
}

/**
 * A tag and a definite length (X.690, section 8.1, as RFC 4511, section 5.1 limits it). Lengths may
 * have up to four bytes, more than they need: some clients always write them so.
 */
function elementAt(packets, at) {
  const tag = packets.byte(at);
  // Messages can be told from other things by their first byte.
  if (at === 0 && tag !== SEQUENCE && packets.available > 0) return null;
  const first = packets.byte(at + 1);
  if (Number.isNaN(first)) return undefined;
  if (first < 0x80) return { tag, content: at + 2, length: first, end: at + 2 + first };
  const count = first - 0x80;
  if (count === 0 || count > 4) return null;
  const length = numberAt(packets, at + 2, count);
  if (Number.isNaN(length)) return undefined;
  return { tag, content: at + 2 + count, length, end: at + 2 + count + length };
}

function isElement(element, tag) {
  return element?.tag === tag;
}

/** In the place of an element that is not the expected one: undefined if it has not arrived. */
function missing(element) {
  return element === undefined ? undefined : null;
}

/** NaN when not all of it has arrived. */
function numberAt(packets, at, length) {
  let number = 0;
  for (let i = 0; i < length; i++) number = number * 0x100 + packets.byte(at + i);
  return number;
}

/** Whether a request, which is held as a whole, has the name of StartTLS. */
export function asksForTls(packets, message) {
  if (message.tag !== EXTENDED) return false;
  const name = elementAt(packets, message.content);
  const isName = isElement(name, EXTENDED_NAME) && name.end <= message.end;
  return isName && packets.text(name.content, name.length) === START_TLS;
}

/** Whether a StartTLS request has nothing but its name: neither a value nor controls. */
export function isBare(packets, message) {
  const name = elementAt(packets, message.content);
  return name.end === message.end && message.end === message.length;
}

/**
 * Whether a bind request, which is held as a whole, is by somebody: not anonymous (RFC 4513, section
 * 5.1.1). One that is not well formed counts as such.
 */
export function bindsSomebody(packets, message) {
  const version = elementAt(packets, message.content);
  if (!isElement(version, INTEGER)) return true;
  const name = elementAt(packets, version.end);
  if (!isElement(name, OCTET_STRING) || name.length > 0) return true;
  return packets.byte(name.end) === SASL;
}

/** The result code of an answer; undefined when more bytes are needed, null when it has none. */
export function resultCode(packets, message) {
  const code = elementAt(packets, message.content);
  if (!isElement(code, ENUMERATED)) return missing(code);
  if (code.length !== 1 || code.end > message.end) return null;
  const value = packets.byte(code.content);
  return Number.isNaN(value) ? undefined : value;
}

/** The answer to a StartTLS request. `text`, of up to 50 characters, tells people about it. */
export function tlsAnswer(message, code, text) {
  return answer(message, code, text, element(ANSWER_NAME, START_TLS));
}

/** The answer to any request that has one. */
export function answer(message, code, text, more = '') {
  const result = [
    element(ENUMERATED, String.fromCharCode(code)),
    element(OCTET_STRING, ''), // matchedDN
    element(OCTET_STRING, text),
  ];
  const operation = element(ANSWERS.get(message.tag), `${result.join('')}${more}`);
  return element(SEQUENCE, `${element(INTEGER, message.idBytes)}${operation}`);
}

/** @param content - of less than 128 bytes */
function element(tag, content) {
  return `${String.fromCharCode(tag, content.length)}${content}`;
}
