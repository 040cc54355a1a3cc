import { type CommandSpec, command } from './spec.ts';

const data = { name: 'data', type: 'binary' } as const;

/** Base64 of RFC 4648 with its padding and nothing else, if the length is a multiple of four. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Conversions that would be slow, or are missing, in the sandbox. */
export const stringCommands: readonly CommandSpec[] = [
  command(
    'b64encode',
    {
      tcl: 'b64encode',
      params: [data],
      returns: 'string',
      validIn: 'any',
      doc: 'Base64 of the bytes (RFC 4648, with padding).',
    },
    (_run, data) => Buffer.from(data).toString('base64'),
  ),
  command(
    'b64decode',
    {
      tcl: 'b64decode',
      params: [{ name: 'text', type: 'string' }],
      returns: 'binary',
      validIn: 'any',
      doc: 'The bytes that Base64 text stands for (RFC 4648, padding required). Throws TypeError when it is not Base64.',
    },
    (_run, text) => {
      if (text.length % 4 !== 0 || !BASE64.test(text))
        throw new TypeError('b64decode: text is not Base64');
      return Buffer.from(text, 'base64');
    },
  ),
  command(
    'utf8',
    {
      params: [{ name: 'text', type: 'string' }],
      returns: 'binary',
      validIn: 'any',
      doc: 'The UTF-8 bytes of a text, for commands that take bytes.',
    },
    (_run, text) => Buffer.from(text, 'utf8'),
  ),
  command(
    'fromUtf8',
    {
      params: [data],
      returns: 'string',
      validIn: 'any',
      doc: 'The text that UTF-8 bytes stand for; invalid bytes become U+FFFD.',
    },
    (_run, data) => Buffer.from(data).toString('utf8'),
  ),
];
