import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TlsMonitor } from '../../../src/monitors/index.ts';
import { type KeyPair, Pki } from '../net/pki.ts';
import { outcome, SOON, TestServer, timing } from './lab.ts';

let pki: Pki;
let good: KeyPair;

beforeAll(async () => {
  pki = await Pki.open();
  good = await pki.server(['mail.example.com', '127.0.0.1'], { days: 20 });
});

afterAll(() => pki.close());

function monitor(settings: Partial<TlsMonitor> = {}): TlsMonitor {
  return { ...timing, type: 'tls', verify: true, ca: pki.ca, ...settings };
}

async function probeWith(pair: KeyPair, settings?: Partial<TlsMonitor>): Promise<string> {
  const server = await TestServer.start(() => {}, pair);
  const said = await outcome(server.endpoint, monitor(settings));
  await server.untilClosed();
  return said;
}

describe('tls', () => {
  test('passes with the right certificate, by name and by address', async () => {
    expect(await probeWith(good)).toBe('');
    expect(await probeWith(good, { serverName: 'mail.example.com' })).toBe('');
  });

  test("demands the name of the member's host", async () => {
    const server = await TestServer.start(() => {}, good);
    const at = (host: string) => outcome({ ...server.endpoint, host }, monitor());
    expect(await at('mail.example.com')).toBe('');
    expect(await at('www.example.com')).toBe("the server's certificate is not for www.example.com");
  });

  test('refuses an authority that is not trusted, unless nothing is verified', async () => {
    const strange = await pki.server(['127.0.0.1'], { by: pki.stranger });
    expect(await probeWith(strange)).toBe(
      "the server's certificate is refused: unable to verify the first certificate",
    );
    expect(await probeWith(strange, { verify: false })).toBe('');
    expect(await probeWith(strange, { verify: false, serverName: 'other.example' })).toBe('');
  });

  test.each([true, false])('fails before a certificate expires (verify: %s)', async (verify) => {
    expect(await probeWith(good, { verify, minDays: 19 })).toBe('');
    expect(await probeWith(good, { verify, minDays: 20 })).toMatch(
      /^the server's certificate expires on \w{3} .* GMT, which is within 20 days$/,
    );
  });

  test('says why a handshake fails', async () => {
    const plain = await TestServer.start((socket) => socket.write('220 This is no TLS\r\n'));
    expect(await outcome(plain.endpoint, monitor())).toMatch(
      /^(no TLS handshake: wrong version number|the server sent '220 .*' in plaintext)/,
    );
    const closing = await TestServer.start((socket) => socket.end());
    expect(await outcome(closing.endpoint, monitor())).toMatch(
      /^no TLS handshake: (the server closed the connection|ECONNRESET)$/,
    );
    const silent = await TestServer.start(() => {});
    expect(await outcome(silent.endpoint, monitor(), SOON)).toBe('no TLS handshake: timed out');
    for (const server of [plain, closing, silent]) await server.untilClosed();
  });

  test('trusts nothing where the authorities are no PEM', async () => {
    expect(await probeWith(good, { ca: 'none' })).toMatch(/^the server's certificate is refused: /);
  });
});
