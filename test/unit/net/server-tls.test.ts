import { once } from 'node:events';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateMode, TlsInfo } from '../../../src/core/rule-run.ts';
import { readClientHello } from '../../../src/net/client-hello.ts';
import {
  type Identity,
  ServerTlsProfile,
  type ServerTlsSettings,
} from '../../../src/net/server-tls.ts';
import { TicketSecrets } from '../../../src/net/ticket-keys.ts';
import { ByteLog } from './byte-log.ts';
import { Lab, loadNet, pattern } from './lab.ts';
import { type KeyPair, Pki } from './pki.ts';
import { TLS_VERSIONS, type TlsVersion } from './tls-peer.ts';

const HOUR = 3600;

let pki: Pki;
let lab: Lab;
let client: KeyPair;
let identities: { readonly [Name in 'a' | 'b' | 'wild' | 'rsa' | 'address']: Identity };

beforeAll(async () => {
  pki = await Pki.open();
  lab = await Lab.open(await loadNet('bare handles'));
  client = await pki.client();
  identities = {
    a: await identity(['a.test', 'www.a.test']),
    b: await identity(['b.test']),
    wild: await identity(['*.wild.test']),
    rsa: await identity(['a.test', 'rsa.test'], true),
    address: await identity(['127.0.0.1']),
  };
});
afterEach(() => lab.cleanUp());
afterAll(async () => {
  lab.close();
  await pki.close();
});

async function identity(names: readonly string[], rsa = false): Promise<Identity> {
  const material = await pki.server(names, { rsa });
  return { names, material, leaf: material.cert };
}

interface Options extends Partial<ServerTlsSettings> {
  readonly virtualServer?: string;
  readonly secrets?: TicketSecrets;
  readonly staple?: Buffer;
}

function profile(options: Options = {}): ServerTlsProfile {
  const {
    virtualServer = 'vs',
    secrets = new TicketSecrets([pattern(48)], HOUR),
    staple,
  } = options;
  const { virtualServer: _v, secrets: _s, staple: _o, ...settings } = options;
  return new ServerTlsProfile(
    virtualServer,
    {
      name: 'profile',
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.3',
      ciphers: 'DEFAULT',
      alpn: [],
      detachable: false,
      ca: pki.ca,
      identities: [identities.a, identities.b, identities.wild],
      strictSni: false,
      clientCertificate: 'none',
      sessionTickets: true,
      sessionTimeout: HOUR,
      ...settings,
    },
    secrets,
    () => staple,
  );
}

/** What a client sees. */
interface Seen {
  /** The first name in the server's certificate, and its kind of key. */
  readonly certificate: string;
  readonly resumed: boolean;
  /** What the server knows. */
  readonly info: TlsInfo;
  /** Undefined where the server hands out none. */
  readonly session: Buffer | undefined;
}

/** A real handshake. A text: why the profile refuses it. */
async function shake(
  of: ServerTlsProfile,
  options: ConnectionOptions,
  override?: CertificateMode,
): Promise<Seen | string> {
  const { stream: plain, owner, peer } = await lab.accept();
  peer.socket.removeAllListeners('data');
  const socket = connect({ ca: pki.ca, socket: peer.socket, checkServerIdentity: ok, ...options });
  socket.on('error', () => {});
  const received = new ByteLog();
  const hello = new Promise<ReturnType<typeof readClientHello>>((resolve) => {
    owner.take = (bytes) => {
      received.append(bytes);
      const result = readClientHello(received.bytes);
      if (result.type === 'incomplete') return;
      plain.read(false);
      resolve(result);
    };
  });
  plain.read(true);
  const result = await hello;
  if (result.type !== 'hello') throw new Error('there is no ClientHello');
  owner.take = undefined;
  const start = of.accept(result.hello, override);
  if (typeof start === 'string') {
    plain.destroy();
    return start;
  }
  let session: Buffer | undefined;
  socket.on('session', (each: Buffer) => {
    session = each;
  });
  const stream = plain.startTls(start, received.bytes);
  await owner.until(() => owner.secured || owner.closed, 'the handshake');
  if (owner.closed) return owner.error ?? 'closed';
  // Tickets of TLS 1.3 come in front of it.
  stream.write(Buffer.from('x'));
  await once(socket, 'data');
  await lab.settle();
  const info = stream.tls;
  if (info === undefined) throw new Error('there is no TLS');
  return { certificate: certificateOf(socket), resumed: socket.isSessionReused(), info, session };
}

const ok = () => undefined;

/** On a resumed session there is none: Node shows clients only what came in the handshake. */
function certificateOf(socket: TLSSocket): string {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return '';
  const name = /(DNS|IP Address):([^,]+)/.exec(certificate.subjectAltName ?? '')?.[2];
  return `${name} ${certificate.publicKey.asymmetricKeyType}`;
}

async function seen(
  of: ServerTlsProfile,
  options: ConnectionOptions,
  override?: CertificateMode,
): Promise<Seen> {
  const result = await shake(of, options, override);
  if (typeof result === 'string') throw new Error(result);
  return result;
}

const only = (version: TlsVersion) => ({ minVersion: version, maxVersion: version }) as const;

describe('the certificate', () => {
  it.each([
    ['a.test', 'a.test ec'],
    ['A.TEST', 'a.test ec'],
    ['www.a.test', 'a.test ec'],
    ['b.test', 'b.test ec'],
    ['x.wild.test', '*.wild.test ec'],
    // The wildcard is for one label, and for no less.
    ['y.x.wild.test', 'a.test ec'],
    ['wild.test', 'a.test ec'],
    ['xwild.test', 'a.test ec'],
    ['test', 'a.test ec'],
    ['unknown.test', 'a.test ec'],
    ['', 'a.test ec'],
  ])('for %j is that of %s', async (servername, certificate) => {
    expect((await seen(profile(), { servername })).certificate).toBe(certificate);
  });

  it('is of the type that the client can verify', async () => {
    const of = profile({ identities: [identities.a, identities.rsa] });
    const servername = 'a.test';
    for (const [sigalgs, certificate] of [
      ['ECDSA+SHA256', 'a.test ec'],
      ['RSA-PSS+SHA256:RSA+SHA256', 'a.test rsa'],
      ['RSA-PSS+SHA256:ECDSA+SHA256', 'a.test ec'],
    ] as const) {
      for (const version of TLS_VERSIONS) {
        const options = { servername, sigalgs, ...only(version) };
        const { certificate: shown } = await seen(of, options);
        // With both, TLS 1.2 goes by the ciphers and TLS 1.3 by the client's order.
        if (sigalgs.includes(':ECDSA')) expect(['a.test ec', 'a.test rsa']).toContain(shown);
        else expect(shown).toBe(certificate);
      }
    }
  });

  it('is the first of those of one type', async () => {
    const second = await identity(['www.a.test', 'a.test']);
    const of = profile({ identities: [identities.a, second] });
    expect((await seen(of, { servername: 'www.a.test' })).certificate).toBe('a.test ec');
  });

  it('is the exact one, even where a wildcard has another type of key', async () => {
    const wild = await identity(['*.a.test']);
    const of = profile({ identities: [wild, identities.a] });
    expect((await seen(of, { servername: 'www.a.test' })).certificate).toBe('a.test ec');
    expect((await seen(of, { servername: 'ftp.a.test' })).certificate).toBe('*.a.test ec');
  });

  it('is the first one for clients that name an address', async () => {
    const of = profile({ identities: [identities.b, identities.address] });
    expect((await seen(of, {})).certificate).toBe('b.test ec');
  });

  it('is shown to nobody who wants another one, if the profile is strict', async () => {
    const of = profile({ strictSni: true });
    expect(await shake(of, { servername: 'unknown.test' })).toBe(
      'there is no certificate for unknown.test',
    );
    expect((await seen(of, { servername: 'x.wild.test' })).certificate).toBe('*.wild.test ec');
    expect((await seen(of, {})).certificate).toBe('a.test ec');
  });

  it('comes with its OCSP response, unless there are two of them', async () => {
    const staple = Buffer.from('response');
    const result = readClientHello(await helloFor('a.test'));
    if (result.type !== 'hello') throw new Error('there is no ClientHello');
    const single = profile({ staple }).accept(result.hello, undefined);
    expect(single).toMatchObject({ ocsp: staple });
    const both = profile({ staple, identities: [identities.a, identities.rsa] });
    expect(both.accept(result.hello, undefined)).toMatchObject({ ocsp: undefined });
  });
});

/** A client's first bytes. */
async function helloFor(servername: string): Promise<Buffer> {
  const { stream, owner, peer } = await lab.accept();
  connect({ socket: peer.socket, servername }).on('error', () => {});
  stream.read(true);
  await owner.until(() => readClientHello(owner.received.bytes).type === 'hello', 'the hello');
  return owner.received.bytes;
}

describe("clients' certificates", () => {
  it.each([
    ['none', undefined, false],
    ['none', 'request', true],
    ['none', 'require', true],
    ['request', undefined, true],
    ['request', 'none', false],
    ['require', undefined, true],
    ['require', 'none', false],
  ] as const)('profile: %s, rule: %s', async (clientCertificate, override, isAsked) => {
    const { info } = await seen(profile({ clientCertificate }), { ...client }, override);
    expect(info.certificates.length > 0).toBe(isAsked);
  });

  it('are required in place of what the profile says', async () => {
    expect(await shake(profile(), only('TLSv1.2'), 'require')).toMatch(/CERTIFICATE/);
    expect(await shake(profile({ clientCertificate: 'require' }), {})).toMatch(/CERTIFICATE/);
  });

  it('cannot be asked for without a ca', async () => {
    const { ca: _ca, ...settings } = { ca: '' };
    const without = new ServerTlsProfile(
      'vs',
      {
        name: 'bare',
        minVersion: 'TLSv1.2',
        maxVersion: 'TLSv1.3',
        ciphers: 'DEFAULT',
        alpn: [],
        detachable: false,
        identities: [identities.a],
        strictSni: false,
        clientCertificate: 'none',
        sessionTickets: true,
        sessionTimeout: HOUR,
        ...settings,
      },
      new TicketSecrets(undefined, HOUR),
      () => undefined,
    );
    const reason = 'client-ssl profile bare has no "ca" to verify client certificates with';
    expect(await shake(without, {}, 'request')).toBe(reason);
    expect(await shake(without, {}, 'require')).toBe(reason);
    expect(await shake(without, {}, 'none')).toMatchObject({ resumed: false });
  });

  it('are looked up in every CRL of the list', async () => {
    const crl = await pki.crl();
    const revoked = await pki.client('revoked');
    for (const text of [crl, crl + crl, `${crl}\n`, crl.replaceAll('\n', '\r\n')]) {
      const of = profile({ clientCertificate: 'require', crl: text });
      expect(await shake(of, { ...revoked })).toBe('CERT_REVOKED');
      expect(await shake(of, { ...client })).toMatchObject({ resumed: false });
    }
  });
});

describe.each(TLS_VERSIONS)('a session of %s', (version) => {
  const tls = only(version);
  const a = { ...tls, servername: 'a.test' };

  /** Whether a session that began as `from` goes on as `to`. */
  async function goesOn(
    from: [ServerTlsProfile, ConnectionOptions?, CertificateMode?],
    to: [ServerTlsProfile, ConnectionOptions?, CertificateMode?],
  ): Promise<boolean> {
    const { session, resumed } = await seen(from[0], { ...a, ...from[1] }, from[2]);
    expect(resumed).toBe(false);
    expect(session).toBeDefined();
    const next = await seen(to[0], { ...a, ...to[1], session }, to[2]);
    expect(next.info.resumed).toBe(next.resumed);
    if (!next.resumed) {
      const name = to[1]?.servername ?? 'a.test';
      expect(next.certificate).toBe(`${name === 'www.a.test' ? 'a.test' : name} ec`);
    }
    return next.resumed;
  }

  it('goes on where it began', async () => {
    const of = profile();
    expect(await goesOn([of], [of])).toBe(true);
  });

  it('goes on in another process with the same keys, and after a reload', async () => {
    expect(await goesOn([profile()], [profile()])).toBe(true);
    const secrets = new TicketSecrets(undefined, HOUR);
    expect(await goesOn([profile({ secrets })], [profile({ secrets })])).toBe(true);
  });

  it('does not go on with other keys', async () => {
    const secrets = new TicketSecrets([pattern(48, 9)], HOUR);
    expect(await goesOn([profile()], [profile({ secrets })])).toBe(false);
  });

  it('goes on with keys of which its own is not the first any more', async () => {
    const secrets = new TicketSecrets([pattern(48, 9), pattern(48)], HOUR);
    expect(await goesOn([profile()], [profile({ secrets })])).toBe(true);
  });

  it('does not go on under another name', async () => {
    const of = profile();
    expect(await goesOn([of], [of, { servername: 'b.test' }])).toBe(false);
    expect(await goesOn([of, { servername: 'b.test' }], [of])).toBe(false);
    expect(await goesOn([of], [of, { servername: 'www.a.test' }])).toBe(false);
  });

  it('goes on under every name that has no certificate of its own', async () => {
    const of = profile();
    const { session } = await seen(of, { ...tls, servername: 'unknown.test' });
    const next = await seen(of, { ...tls, servername: 'unknown2.test', session });
    expect(next.resumed).toBe(true);
  });

  it('does not go on where the client has to show more than before', async () => {
    const of = profile();
    expect(await goesOn([of, client], [of, client, 'request'])).toBe(false);
    expect(await goesOn([of, client, 'request'], [of, client, 'require'])).toBe(false);
    expect(await goesOn([of, client, 'require'], [of, client, 'none'])).toBe(false);
    const { session } = await seen(of, a);
    expect(await shake(of, { ...a, session }, 'require')).toMatch(/CERTIFICATE/);
  });

  it('does not go on with another list of authorities or of what they revoked', async () => {
    const secrets = new TicketSecrets([pattern(48)], HOUR);
    const first = profile({ secrets, clientCertificate: 'request' });
    const ca = pki.ca + pki.stranger.certificate.toString();
    const more = profile({ secrets, clientCertificate: 'request', ca });
    expect(await goesOn([first, client], [more, client])).toBe(false);
    const crl = await pki.crl();
    const revoking = profile({ secrets, clientCertificate: 'request', crl });
    expect(await goesOn([first, client], [revoking, client])).toBe(false);
  });

  it('does not go on in another virtual server or profile, or with a new certificate', async () => {
    const secrets = new TicketSecrets([pattern(48)], HOUR);
    const first = profile({ secrets });
    expect(await goesOn([first], [profile({ secrets, virtualServer: 'other' })])).toBe(false);
    expect(await goesOn([first], [profile({ secrets, name: 'other' })])).toBe(false);
    const renewed = await identity(['a.test']);
    expect(await goesOn([first], [profile({ secrets, identities: [renewed] })])).toBe(false);
  });

  it('goes on for one period of the keys, and not for two', async () => {
    let now = 0;
    const secrets = new TicketSecrets(undefined, HOUR, () => now);
    const of = profile({ secrets });
    const { session } = await seen(of, a);
    now = 1.1 * HOUR * 1000;
    expect((await seen(of, { ...a, session })).resumed).toBe(true);
    const { session: later } = await seen(of, a);
    now = 2.2 * HOUR * 1000;
    expect((await seen(of, { ...a, session })).resumed).toBe(false);
    expect((await seen(of, { ...a, session: later })).resumed).toBe(true);
    now = 4.4 * HOUR * 1000;
    expect((await seen(of, { ...a, session: later })).resumed).toBe(false);
  });

  it('is not handed out where there are no tickets', async () => {
    const of = profile({ sessionTickets: false });
    const { session } = await seen(of, a);
    expect((await seen(of, { ...a, session })).resumed).toBe(false);
  });

  it('is not taken where there are no tickets any more', async () => {
    const { session } = await seen(profile(), a);
    const { resumed } = await seen(profile({ sessionTickets: false }), { ...a, session });
    expect(resumed).toBe(false);
  });

  it('tells the client how long it lives', async () => {
    const { session } = await seen(profile({ sessionTimeout: 1234 }), a);
    // The lifetime of the ticket in the client's form of the session.
    expect(session?.includes(Buffer.from([0x02, 0x02, 0x04, 0xd2]))).toBe(true);
  });

  it('ends when its time is over', async () => {
    const of = profile({ sessionTimeout: 1 });
    const { session } = await seen(of, a);
    const began = performance.now();
    let resumed = true;
    while (resumed && performance.now() - began < 4_000) {
      ({ resumed } = await seen(of, { ...a, session }));
    }
    expect(resumed).toBe(false);
  });
});

describe('settings that are wrong', () => {
  it.each([
    ['ciphers', { ciphers: 'NONSENSE' }],
    ['a crl', { crl: '-----BEGIN X509 CRL-----\nnonsense\n-----END X509 CRL-----\n' }],
  ] as const)('show at once: %s', (_what, settings) => {
    expect(() => profile(settings)).toThrow();
  });
});
