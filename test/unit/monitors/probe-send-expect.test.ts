import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { Expected, SendExpectMonitor } from '../../../src/monitors/index.ts';
import { outcome, SOON, speakLines, TestServer, timing } from './lab.ts';

function monitor(expected: Expected, send?: string): SendExpectMonitor {
  const sent = send === undefined ? {} : { send };
  return { ...timing, type: 'send-expect', expect: expected, ...sent };
}

const answersPing = speakLines('', (line) => (line === 'PING' ? '+PONG\r\n' : '-ERR\r\n'));

/** Sends one byte after the other, each when the last one is on its way. */
function drip(text: string): (socket: Socket) => void {
  return (socket) => {
    const next = (at: number) => {
      if (at < text.length && !socket.destroyed) socket.write(text.charAt(at), () => next(at + 1));
    };
    next(0);
  };
}

describe('send-expect', () => {
  test.each<[string, Expected]>([
    ['a text', '+PONG'],
    ['a text with escapes', '\\x2bPONG\\r\\n'],
    ['a regular expression', { pattern: '^\\+pong\\r$', flags: 'im' }],
  ])('finds %s in the answer', async (_, expected) => {
    const server = await TestServer.start(answersPing);
    expect(await outcome(server.endpoint, monitor(expected, 'PING\\r\\n'))).toBe('');
    await server.untilClosed();
  });

  test('sends any byte', async () => {
    const server = await TestServer.start((socket) => {
      socket.on('data', (chunk: Buffer) => socket.write(chunk.toString('hex')));
    });
    expect(await outcome(server.endpoint, monitor('00ffc3a40a5c', '\\0\\xffä\\n\\\\'))).toBe('');
  });

  test('finds a text that comes a byte at a time', async () => {
    const server = await TestServer.start(drip('one two three'));
    expect(await outcome(server.endpoint, monitor('two'))).toBe('');
    expect(await outcome(server.endpoint, monitor({ pattern: 'o t.*e$' }))).toBe('');
    await server.untilClosed();
  });

  test('says what came instead', async () => {
    const server = await TestServer.start((socket) => socket.end('busy\x1b[2J'));
    expect(await outcome(server.endpoint, monitor('ready'))).toBe(
      "no 'ready': the server closed the connection; 'busy\\x1b[2J' came",
    );
  });

  test('ends at its deadline when the server is silent, or drips without end', async () => {
    const silent = await TestServer.start(() => {});
    expect(await outcome(silent.endpoint, monitor('ready'), SOON)).toBe("no 'ready': timed out");
    const slow = await TestServer.start((socket) => {
      const timer = setInterval(() => socket.write('.'), 5);
      socket.on('close', () => clearInterval(timer));
    });
    const said = await outcome(slow.endpoint, monitor({ pattern: '^x' }), SOON);
    expect(said).toMatch(/^no '\/\^x\/': timed out; '\.+' came$/);
    await slow.untilClosed();
    await silent.untilClosed();
  });

  test('reads 64 KiB and no more', async () => {
    const flood = await TestServer.start((socket) => {
      const block = 'x'.repeat(16_384);
      const pour = () => {
        while (socket.writable && socket.write(block));
      };
      socket.on('drain', pour);
      pour();
    });
    expect(await outcome(flood.endpoint, monitor('y'))).toMatch(
      /^no 'y': more than 65536 bytes came; 'x{77}\.\.\.' came$/,
    );
    await flood.untilClosed();
    const exact = await TestServer.start((socket) => socket.end(`${'x'.repeat(65_535)}y`));
    expect(await outcome(exact.endpoint, monitor('xy'))).toBe('');
  });

  test('stops a regular expression that backtracks without end', async () => {
    const server = await TestServer.start((socket) => socket.write(`${'a'.repeat(60_000)}b`));
    const said = await outcome(server.endpoint, monitor({ pattern: '^(a+)+$' }));
    expect(said).toBe("'/^(a+)+$/' takes more than 100 ms to match");
    await server.untilClosed();
  });

  test('refuses escapes and patterns that are none, and opens nothing', async () => {
    const server = await TestServer.start(() => {});
    const wrong = (text: string) => outcome(server.endpoint, monitor('', text));
    const are = 'there are \\r \\n \\t \\0 \\\\ and \\xHH';
    expect(await wrong('a\\q')).toBe(`'\\q' is no escape; ${are}`);
    expect(await wrong('a\\xf')).toBe(`'\\x' is no escape; ${are}`);
    expect(await wrong('a\\')).toBe(`'\\' is no escape; ${are}`);
    expect(await outcome(server.endpoint, monitor({ pattern: '(' }))).toMatch(/^Invalid regular/);
    expect(server.accepted).toBe(0);
  });
});
