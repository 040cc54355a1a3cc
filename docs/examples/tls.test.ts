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

const upstream = await loadRule(new URL('starttls-upstream.js', import.meta.url));
const clear = await loadRule(new URL('clear-command.js', import.meta.url));
const sni = await loadRule(new URL('sni.js', import.meta.url));

test('the client hears of the server when TLS with it is up', () => {
  everyCut(upstream, { serverTls: true }, [
    server('OK ready\r\n'),
    server.receives('STARTTLS\r\n'),
    client('HELLO\r\n'),
    server('OK begin TLS\r\n'),
    client.receivesNothing(),
    server.startsTls(),
    client.receives('OK ready\r\n'),
    server.receives('HELLO\r\n'),
    spliced(),
  ]);
});

test('plaintext behind the answer of the server ends the connection', () => {
  conversation(upstream, { serverTls: true }, [
    server('OK ready\r\n'),
    server.receives('STARTTLS\r\n'),
    server('OK begin TLS\r\nOK you are in\r\n'),
    logs('plaintext behind the answer that lets begin TLS'),
    client.seesReset(),
    server.seesReset(),
  ]);
});

test('CLEAR takes TLS off, and plaintext goes on', () => {
  everyCut(clear, { clientTls: true, detachable: true }, [
    client.startsTls(),
    client('HELLO\r\n'),
    server.receives('HELLO\r\n'),
    client('CLEAR\r\n'),
    client.receives('OK\r\n'),
    client.stopsTls(),
    client('DATA\r\n'),
    server.receives('DATA\r\n'),
    spliced(),
  ]);
});

test('TLS for other names ends at the server', () => {
  const setup = {
    clientTls: true,
    pools: { ours: ['203.0.113.1:143'], others: ['203.0.113.2:993'] },
  };
  conversation(sni, setup, [
    client.says({ serverName: 'mail.example.com' }),
    client.startsTls(),
    server.accepts('203.0.113.1:143'),
  ]);
  conversation(sni, setup, [
    client('\x16\x03\x01'),
    client.says({ serverName: 'elsewhere.example' }),
    server.accepts('203.0.113.2:993'),
    server.receives('\x16\x03\x01'),
  ]);
});
