import { createHash } from 'node:crypto';

/** SHA-256 in hexadecimal; text is taken as one byte a character. */
export function sha256(text: string | Buffer): string {
  const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
  return createHash('sha256').update(bytes).digest('hex');
}

const ALPHABET = Array.from({ length: 94 }, (_, index) => String.fromCharCode(index + 33)).join('');

/**
 * A mail message of at least `size` bytes, the same on every run, with CRLF line ends: lines up to
 * 998 characters (the limit of RFC 5322), empty ones, and ones that begin with dots, which POP3
 * doubles on the wire (RFC 1939 section 3).
 */
export function makeMessage(subject: string, size: number): string {
  const random = generator(size + subject.length);
  const lines = [
    'From: Porter <porter@example.com>',
    'To: Alice <alice@example.com>',
    `Subject: ${subject}`,
    `Message-ID: <${subject}@example.com>`,
    'Date: Mon, 02 Jan 2023 03:04:05 +0000',
    '',
    ...['.', '..', '.leading dot', '...three', '', '. space after', 'x'.repeat(998)],
  ];
  let length = lines.reduce((sum, line) => sum + line.length + 2, 0);
  while (length < size) {
    const line = makeLine(random);
    lines.push(line);
    length += line.length + 2;
  }
  return `${lines.join('\r\n')}\r\n`;
}

function makeLine(random: (limit: number) => number): string {
  const kind = random(50);
  const length = kind === 0 ? random(998) : random(78);
  const begin = random(ALPHABET.length);
  const text = ALPHABET.slice(begin) + ALPHABET.slice(0, begin);
  const line = text.repeat(Math.ceil(length / text.length)).slice(0, length);
  return kind < 5 ? `.${line}`.slice(0, 998) : line;
}

/** Xorshift: whole numbers below a limit, always the same ones. */
function generator(seed: number): (limit: number) => number {
  let state = seed | 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}
