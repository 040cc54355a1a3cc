import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createSecureContext, type TLSSocket, type TLSSocketOptions } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { readClientHello } from '../../../src/net/client-hello.ts';
import { NO_RENEGOTIATION } from '../../../src/net/server-tls.ts';
import type { ClientTls } from '../../../src/net/tls-start.ts';
import { describeBoth, firstDifference, type Lab, pattern } from './lab.ts';
import { type KeyPair, Pki } from './pki.ts';
import { acceptTls, clientTls, TLS_VERSIONS, type TlsVersion } from './tls-peer.ts';

const MiB = 1024 * 1024;
const NOTHING = Buffer.alloc(0);

let pki: Pki;
let forLocalhost: KeyPair;
let trusting: ClientTls;

beforeAll(async () => {
  pki = await Pki.open();
  forLocalhost = await pki.server(['localhost', '127.0.0.1']);
  const context = createSecureContext({ ca: pki.ca, secureOptions: NO_RENEGOTIATION });
  trusting = { ...clientTls(), context };
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(() => pki.close());

/** How a server of the test is. */
function serving(
  version: TlsVersion,
  identity: KeyPair = forLocalhost,
  more: TLSSocketOptions & { readonly ticketKeys?: Buffer } = {},
): TLSSocketOptions {
  const { ticketKeys, ...options } = more;
  const secureContext = createSecureContext({
    ...identity,
    ca: pki.ca,
    minVersion: version,
    maxVersion: version,
    sessionIdContext: 'test',
    ...(ticketKeys && { ticketKeys }),
  });
  return { secureContext, ...options };
}

/** A connection on which TLS has begun from here. */
async function started(lab: Lab, start: ClientTls, version: TlsVersion, server: TLSSocketOptions) {
  const { stream: plain, owner, peer } = await lab.connect();
  const served = acceptTls(peer, version, server);
  const stream = plain.startTls(start, NOTHING);
  return { stream, owner, served, socket: served.socket as TLSSocket };
}

async function secured(lab: Lab, start: ClientTls, version: TlsVersion, server: TLSSocketOptions) {
  const all = await started(lab, start, version, server);
  await Promise.all([once(all.socket, 'secure'), all.owner.untilSecured()]);
  return all;
}

describeBoth((lab) => {
  describe.each([
    ['usual', false],
    ['detachable', true],
  ] as const)('%s TLS', (_how, detachable) => {
    describe.each(TLS_VERSIONS)('as a client of %s', (version) => {
      const as = (start: Partial<ClientTls>): ClientTls => ({ ...trusting, detachable, ...start });

      it('carries data both ways, and ends', async () => {
        const { stream, owner, served } = await secured(lab(), as({}), version, serving(version));
        expect(stream.tls?.protocol).toBe(version);
        expect(stream.tls?.verifyError).toBeUndefined();
        expect(stream.tls?.certificates).toHaveLength(2);
        const [up, down] = [pattern(2 * MiB, 1), pattern(2 * MiB, 2)];
        stream.read(true);
        stream.write(up);
        stream.end(false);
        served.socket.end(down);
        await Promise.all([owner.untilClosed(), served.untilEnded()]);
        expect(firstDifference(served.received.bytes, up)).toBeUndefined();
        expect(firstDifference(owner.received.bytes, down)).toBeUndefined();
        expect(owner.error).toBeUndefined();
        expect(owner.truncated).toBe(false);
      });

      it.each(['localhost', '127.0.0.1'])('takes a certificate for %s', async (serverName) => {
        await secured(lab(), as({ serverName }), version, serving(version));
      });

      it('does not name an IP address to the server', async () => {
        const { peer, stream } = await lab().connect();
        stream.startTls(as({ serverName: '127.0.0.1' }), NOTHING);
        await peer.untilReceived(100);
        const result = readClientHello(peer.received.bytes);
        expect(result.type === 'hello' && result.hello.serverName).toBeUndefined();
      });

      it('names the server', async () => {
        const { peer, stream } = await lab().connect();
        stream.startTls(as({ serverName: 'www.example.test' }), NOTHING);
        await peer.untilReceived(100);
        const result = readClientHello(peer.received.bytes);
        expect(result.type === 'hello' && result.hello.serverName).toBe('www.example.test');
      });

      describe('refuses', () => {
        const cases: [string, () => Promise<KeyPair>, Partial<ClientTls>, string][] = [
          [
            'another name',
            () => pki.server(['other.test']),
            {},
            'its certificate is not for localhost',
          ],
          [
            'a part of a label in place of the name',
            () => pki.server(['m*.example.test']),
            { serverName: 'mail.example.test' },
            'its certificate is not for mail.example.test',
          ],
          [
            'another address',
            () => pki.server(['localhost', '127.0.0.2']),
            { serverName: '127.0.0.1' },
            'its certificate is not for 127.0.0.1',
          ],
          [
            'an unknown authority',
            () => pki.server(['localhost'], { by: pki.stranger }),
            {},
            'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
          ],
          [
            'an expired certificate',
            () => pki.server(['localhost'], { days: -1 }),
            {},
            'CERT_HAS_EXPIRED',
          ],
        ];

        it.each(cases)('%s, unless it must not look', async (_what, make, start, error) => {
          const server = serving(version, await make());
          const { owner, served } = await started(lab(), as(start), version, server);
          await owner.untilClosed();
          expect(owner.heard).toEqual(['connect', 'close']);
          expect(owner.error).toBe(error);
          await served.until(() => served.ended || served.closed, 'some end');
          const blind = as({ ...start, verify: false });
          await secured(lab(), blind, version, server);
        });
      });

      it('shows its certificate when the server asks for one', async () => {
        const context = createSecureContext({ ca: pki.ca, ...(await pki.client()) });
        const server = serving(version, forLocalhost, { requestCert: true });
        const { socket, stream } = await secured(lab(), as({ context }), version, server);
        stream.write(Buffer.from('x'));
        await once(socket, 'data');
        expect(socket.getPeerCertificate().subject).toEqual({ CN: 'good' });
      });

      it('is refused without one by a server that wants it', async () => {
        const server = serving(version, forLocalhost, {
          requestCert: true,
          rejectUnauthorized: true,
        });
        const { owner, stream } = await started(lab(), as({}), version, server);
        stream.read(true);
        await owner.until(() => owner.closed || owner.ended, 'some end');
        // In TLS 1.3 the handshake of the client is over by then.
        if (version === 'TLSv1.2') expect(owner.heard).toEqual(['connect', 'close']);
        else expect(owner.heard[1]).toBe('secure');
      });

      it('agrees on a protocol', async () => {
        const server = serving(version, forLocalhost, { ALPNProtocols: ['smtp', 'imap'] });
        const start = as({ alpn: ['pop3', 'imap'] });
        const { stream, socket } = await secured(lab(), start, version, server);
        expect(stream.tls?.alpn).toBe('imap');
        expect(socket.alpnProtocol).toBe('imap');
      });

      it('tells of a server that takes none of its protocols', async () => {
        const server = serving(version, forLocalhost, { ALPNProtocols: ['smtp'] });
        const { owner } = await started(lab(), as({ alpn: ['imap'] }), version, server);
        await owner.untilClosed();
        expect(owner.error).toMatch(/NO_APPLICATION_PROTOCOL/);
      });

      it('goes on without one with a server that knows nothing of them', async () => {
        const start = as({ alpn: ['imap'] });
        const { stream } = await secured(lab(), start, version, serving(version));
        expect(stream.tls?.alpn).toBe('');
      });

      /** A session that a server has handed out. */
      async function sessionOf(server: TLSSocketOptions): Promise<Buffer> {
        let keep: (session: Buffer) => void = () => {};
        const session = new Promise<Buffer>((resolve) => {
          keep = resolve;
        });
        const { stream } = await secured(lab(), as({ onSession: keep }), version, server);
        expect(stream.tls?.resumed).toBe(false);
        stream.read(true);
        return session;
      }

      it('resumes a session that it was given', async () => {
        const server = serving(version, forLocalhost, { ticketKeys: pattern(48) });
        const session = await sessionOf(server);
        const { stream } = await secured(lab(), as({ session }), version, server);
        expect(stream.tls?.resumed).toBe(true);
        const [leaf] = stream.tls?.certificates ?? [];
        expect(new X509Certificate(leaf ?? '').toString()).toBe(forLocalhost.cert);
        expect(stream.tls?.verifyError).toBeUndefined();
        // A session counts for nothing where another name is wanted.
        const other = await started(lab(), as({ session, serverName: 'b.test' }), version, server);
        await other.owner.untilClosed();
        expect(other.owner.error).toBe('its certificate is not for b.test');
      });

      it('does not trust a session whose certificate has expired since', async () => {
        const server = serving(version, forLocalhost, { ticketKeys: pattern(48) });
        const session = await sessionOf(server);
        vi.setSystemTime(Date.parse(new X509Certificate(forLocalhost.cert).validTo) + 1);
        const { owner } = await started(lab(), as({ session }), version, server);
        await owner.untilClosed();
        expect(owner.error).toBe('CERT_HAS_EXPIRED');
      });

      it('does not trust a session that began with a certificate that is not good', async () => {
        const identity = await pki.server(['localhost'], { by: pki.stranger });
        const server = serving(version, identity, { ticketKeys: pattern(48) });
        let keep: (session: Buffer) => void = () => {};
        const session = new Promise<Buffer>((resolve) => {
          keep = resolve;
        });
        const blind = as({ verify: false, onSession: keep });
        const { stream } = await secured(lab(), blind, version, server);
        stream.read(true);
        const { owner } = await started(lab(), as({ session: await session }), version, server);
        await owner.untilClosed();
        expect(owner.error).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
      });

      it('begins anew where the server does not know the session', async () => {
        const serverWith = (seed: number) =>
          serving(version, forLocalhost, { ticketKeys: pattern(48, seed) });
        const session = await sessionOf(serverWith(1));
        const { stream } = await secured(lab(), as({ session }), version, serverWith(2));
        expect(stream.tls?.resumed).toBe(false);
      });

      it.each([
        ['a greeting in plaintext', Buffer.from('220 mail.example.test ESMTP\r\n')],
        ['an alert', Buffer.from('15030300020228', 'hex')],
        ['noise', pattern(64 * 1024, 5)],
      ])('is not confused by %s', async (_what, bytes) => {
        const { stream, owner, peer } = await lab().connect();
        stream.startTls(as({}), NOTHING);
        peer.socket.write(bytes);
        await owner.untilClosed();
        expect(owner.heard).toEqual(['connect', 'close']);
        expect(owner.error).toMatch(/^ERR_/);
      });

      it.each(['end', 'resetAndDestroy'] as const)(
        'tells of a server that is gone in the handshake: %s',
        async (how) => {
          const { stream, owner, peer } = await lab().connect();
          stream.startTls(as({}), NOTHING);
          await peer.untilReceived(100);
          peer.socket[how]();
          await owner.until(() => owner.closed || owner.ended, 'some end');
          expect(owner.secured).toBe(false);
        },
      );
    });

    it('refuses to negotiate anew', async () => {
      const start = { ...trusting, detachable };
      const { stream, owner, socket } = await secured(lab(), start, 'TLSv1.2', serving('TLSv1.2'));
      const refused = once(socket, '_tlsError');
      stream.read(true);
      socket.renegotiate({}, () => {});
      const [error] = await refused;
      expect(String(error)).toMatch(/NO_RENEGOTIATION|no renegotiation/i);
      expect(owner.heard.slice(0, 2)).toEqual(['connect', 'secure']);
    });
  });
});
