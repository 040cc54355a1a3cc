import { test } from 'vitest';
import {
  client,
  conversation,
  everyCut,
  loadRule,
  logs,
  server,
  spliced,
} from '../../src/testing/index.ts';

const rule = await loadRule(new URL('starttls.js', import.meta.url));
const withTls = { clientTls: true };

test('TLS begins behind the answer to STARTTLS, which the server does not see', () => {
  everyCut(rule, withTls, [
    client('HELLO\r\n'),
    server.receives('HELLO\r\n'),
    server('OK\r\n'),
    client.receives('OK\r\n'),
    client('STARTTLS\r\n'),
    server.receivesNothing(),
    client.receives('OK begin TLS\r\n'),
    client.startsTls(),
    client('HELLO\r\n'),
    server.receives('HELLO\r\n'),
    spliced(),
  ]);
});

test('plaintext behind STARTTLS ends the connection', () => {
  conversation(rule, withTls, [
    client('STARTTLS\r\nHELLO\r\n'),
    server.receivesNothing(),
    client.receives('OK begin TLS\r\n'),
    logs('plaintext behind the command that starts TLS'),
    client.seesReset(),
    server.seesReset(),
  ]);
});
