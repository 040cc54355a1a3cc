import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { type ConnectionOptions, createSecureContext, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { CertificateMode } from '../../../src/core/rule-run.ts';
import type { ServerTls } from '../../../src/net/tls-start.ts';
import { ByteLog } from './byte-log.ts';
import { describeBoth, type Lab } from './lab.ts';
import { type KeyPair, Pki } from './pki.ts';
import { Recorder } from './recorder.ts';
import { connectTls, serverTls, TLS_VERSIONS, type TlsVersion } from './tls-peer.ts';

const NOTHING = Buffer.alloc(0);

let pki: Pki;
let forLocalhost: KeyPair;
let good: KeyPair;
let revoked: KeyPair;
let strange: KeyPair;
let crl: string;

beforeAll(async () => {
  pki = await Pki.open();
  forLocalhost = await pki.server(['localhost']);
  good = await pki.client('good');
  revoked = await pki.client('revoked');
  strange = await pki.client('good', pki.stranger);
  crl = await pki.crl();
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(() => pki.close());

/** A handshake that a client with these options has begun. */
async function started(
  lab: Lab,
  start: ServerTls,
  version: TlsVersion,
  options: ConnectionOptions = {},
) {
  const { stream: plain, owner, peer } = await lab.accept();
  const stream = plain.startTls(start, NOTHING);
  const client = connectTls(peer, version, { ca: pki.ca, ...options });
  return { stream, owner, client, socket: client.socket as TLSSocket };
}

describeBoth((lab) => {
  describe.each([
    ['usual', false],
    ['detachable', true],
  ] as const)('%s TLS', (_how, detachable) => {
    const as = (start: Partial<ServerTls>, more: { readonly crl?: string } = {}): ServerTls => ({
      ...serverTls(detachable),
      context: createSecureContext({
        ...forLocalhost,
        ca: pki.ca,
        sessionIdContext: 'test',
        ...more,
      }),
      ...start,
    });

    describe.each(TLS_VERSIONS)('of %s with a client', (version) => {
      /** The stream, if the client is taken; the error otherwise. */
      async function outcome(
        start: ServerTls,
        options: ConnectionOptions,
      ): Promise<{ readonly names?: readonly string[]; readonly error?: string | undefined }> {
        const { stream, owner, client } = await started(lab(), start, version, options);
        await owner.until(() => owner.secured || owner.closed, 'an outcome');
        if (owner.secured) {
          const certificates = stream.tls?.certificates ?? [];
          return { names: certificates.map((each) => new X509Certificate(each).subject) };
        }
        await client.until(() => client.ended || client.closed, 'some end');
        expect(owner.heard).toEqual(['close']);
        return { error: owner.error };
      }

      const modes: [CertificateMode, string, () => ConnectionOptions, object][] = [
        ['none', 'without a certificate', () => ({}), { names: [] }],
        ['none', 'that has one', () => good, { names: [] }],
        ['request', 'without a certificate', () => ({}), { names: [] }],
        ['request', 'that has a good one', () => good, { names: ['CN=good', 'CN=Tests'] }],
        ['request', "that has a stranger's", () => strange, { names: ['CN=good'] }],
        ['require', 'that has a good one', () => good, { names: ['CN=good', 'CN=Tests'] }],
        [
          'require',
          "that has a stranger's",
          () => strange,
          { error: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
        ],
      ];

      it.each(modes)('%s: one %s', async (certificate, _what, options, expected) => {
        expect(await outcome(as({ certificate }), options())).toEqual(expected);
      });

      it('require: one without a certificate', async () => {
        const { error } = await outcome(as({ certificate: 'require' }), {});
        expect(error).toMatch(/PEER_DID_NOT_RETURN_A_CERTIFICATE/);
      });

      it('request: tells what is wrong with a certificate', async () => {
        const start = as({ certificate: 'request' }, { crl });
        for (const [client, error] of [
          [good, undefined],
          [strange, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
          [revoked, 'CERT_REVOKED'],
        ] as const) {
          const { stream, owner } = await started(lab(), start, version, client);
          await owner.untilSecured();
          expect(stream.tls?.verifyError).toBe(error);
        }
      });

      it('require: refuses one whose certificate was revoked', async () => {
        const start = as({ certificate: 'require' }, { crl });
        expect(await outcome(start, revoked)).toEqual({ error: 'CERT_REVOKED' });
        expect(await outcome(start, good)).toEqual({ names: ['CN=good', 'CN=Tests'] });
      });

      it('require: resumes the session of one with a certificate, and still knows it', async () => {
        const start = as({ certificate: 'require' });
        const first = await started(lab(), start, version, good);
        const session = once(first.socket, 'session');
        await first.owner.untilSecured();
        first.stream.write(Buffer.from('x'));
        const again = await started(lab(), start, version, { session: (await session)[0] });
        await again.owner.untilSecured();
        expect(again.stream.tls?.resumed).toBe(true);
        const [leaf] = again.stream.tls?.certificates ?? [];
        expect(new X509Certificate(leaf ?? '').subject).toBe('CN=good');
        expect(again.stream.tls?.verifyError).toBeUndefined();
      });

      it.each(['request', 'require'] as const)(
        '%s: sees that a certificate has expired since its session began',
        async (certificate) => {
          const start = as({ certificate });
          const first = await started(lab(), start, version, good);
          const session = once(first.socket, 'session');
          await first.owner.untilSecured();
          first.stream.write(Buffer.from('x'));
          const options = { session: (await session)[0] };
          vi.setSystemTime(Date.parse(new X509Certificate(good.cert).validTo) + 1);
          const { stream, owner } = await started(lab(), start, version, options);
          await owner.until(() => owner.secured || owner.closed, 'the handshake');
          const known = owner.closed ? owner.error : stream.tls?.verifyError;
          expect([owner.secured, known]).toEqual([certificate === 'request', 'CERT_HAS_EXPIRED']);
        },
      );

      it('that offers the protocol', async () => {
        const start = as({ alpn: ['imap', 'pop3'] });
        const options = { ALPNProtocols: ['pop3', 'imap'] };
        const { stream, owner, socket } = await started(lab(), start, version, options);
        await Promise.all([owner.untilSecured(), once(socket, 'secureConnect')]);
        expect(stream.tls?.alpn).toBe('imap');
        expect(socket.alpnProtocol).toBe('imap');
      });

      it('that offers none', async () => {
        const { stream, owner } = await started(lab(), as({ alpn: ['imap'] }), version);
        await owner.untilSecured();
        expect(stream.tls?.alpn).toBe('');
      });

      it('that offers other protocols', async () => {
        const options = { ALPNProtocols: ['smtp'] };
        const { owner, client } = await started(lab(), as({ alpn: ['imap'] }), version, options);
        await Promise.all([owner.untilClosed(), client.untilClosed()]);
        expect(owner.heard).toEqual(['close']);
        expect(client.error).toMatch(/NO_APPLICATION_PROTOCOL/);
      });

      it('that offers some, where nothing is agreed on', async () => {
        const options = { ALPNProtocols: ['smtp'] };
        const { owner, socket } = await started(lab(), as({}), version, options);
        await Promise.all([owner.untilSecured(), once(socket, 'secureConnect')]);
        expect(socket.alpnProtocol).toBe(false);
      });

      it('that knows another version', async () => {
        const other = version === 'TLSv1.2' ? 'TLSv1.3' : 'TLSv1.2';
        const versions = { minVersion: other, maxVersion: other } as const;
        const context = createSecureContext({ ...forLocalhost, ...versions });
        const { owner, client } = await started(lab(), as({ context }), version);
        await Promise.all([owner.untilClosed(), client.untilClosed()]);
        expect(owner.error).toMatch(/UNSUPPORTED_PROTOCOL|VERSION/);
        // What it is told, and not only a closed connection.
        expect(client.error).toMatch(/PROTOCOL_VERSION/);
      });
    });

    it.each(['-tls1_2', '-tls1_3'])('staples an OCSP response (%s)', async (option) => {
      const ocspLab = pki.lab;
      const leaf = await ocspLab.leaf(pki.authority, 9);
      const ocsp = await ocspLab.respond(leaf, pki.authority, pki.authority, '-ndays', '1');
      const said = await statusSaid(lab(), as({ ocsp }), option);
      expect(said).toMatch(/OCSP Response Status: successful/);
      expect(said).toMatch(/Cert Status: good/);
      expect(await statusSaid(lab(), as({}), option)).toMatch(/OCSP response: no response sent/);
    });
  });
});

/** What `openssl s_client -status` says. */
async function statusSaid(lab: Lab, start: ServerTls, option: string): Promise<string> {
  const owner = new Recorder();
  const accepted = lab.expect(owner);
  const args = ['s_client', '-status', option, '-connect', `127.0.0.1:${lab.port}`];
  const client: ChildProcessWithoutNullStreams = spawn('openssl', args);
  const said = new ByteLog();
  client.stdout.on('data', (bytes) => said.append(bytes));
  const ended = once(client, 'close');
  const stream = (await accepted).startTls(start, NOTHING);
  await owner.untilSecured();
  stream.end(false);
  await ended;
  return said.text;
}
