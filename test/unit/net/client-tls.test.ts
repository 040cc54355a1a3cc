import { createSecureContext, TLSSocket, type TLSSocketOptions } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ClientTlsProfile, type ClientTlsSettings } from '../../../src/net/client-tls.ts';
import { Lab, loadNet, pattern } from './lab.ts';
import { type KeyPair, Pki } from './pki.ts';
import { TLS_VERSIONS } from './tls-peer.ts';

const NOTHING = Buffer.alloc(0);
const SERVER = { address: '127.0.0.1', port: 25, host: 'mail.test' };

let pki: Pki;
let lab: Lab;
let forMail: KeyPair;

beforeAll(async () => {
  pki = await Pki.open();
  lab = await Lab.open(await loadNet('bare handles'));
  forMail = await pki.server(['mail.test', '127.0.0.1']);
});
afterEach(() => lab.cleanUp());
afterAll(async () => {
  lab.close();
  await pki.close();
});

function profile(settings: Partial<ClientTlsSettings> = {}): ClientTlsProfile {
  return new ClientTlsProfile({
    name: 'profile',
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    ciphers: 'DEFAULT',
    alpn: [],
    detachable: false,
    verify: true,
    ca: pki.ca,
    ...settings,
  });
}

/** A real handshake; answers what both know, or why there is none. */
async function shake(
  of: ClientTlsProfile,
  options: TLSSocketOptions & { readonly identity?: KeyPair } = {},
  server: typeof SERVER | { address: string; port: number } = SERVER,
) {
  const { identity = forMail, ...rest } = options;
  const secureContext = createSecureContext({
    ...identity,
    ca: pki.ca,
    ticketKeys: pattern(48),
    sessionIdContext: 'test',
    ...rest,
  });
  const { stream: plain, owner, peer } = await lab.connect();
  peer.socket.removeAllListeners('data');
  const socket = new TLSSocket(peer.socket, { isServer: true, secureContext, ...rest });
  socket.on('error', () => {});
  const stream = plain.startTls(of.connect(server), NOTHING);
  await owner.until(() => owner.secured || owner.closed, 'the handshake');
  if (owner.closed) return { error: owner.error };
  socket.write('x');
  stream.read(true);
  await owner.untilReceived(1);
  // Tickets of TLS 1.3 come behind it.
  await lab.settle();
  return { resumed: stream.tls?.resumed, alpn: stream.tls?.alpn, socket };
}

describe('the name that is demanded', () => {
  it.each([
    [{}, SERVER, 'mail.test'],
    [{}, { address: '127.0.0.1', port: 25 }, '127.0.0.1'],
    [{}, { ...SERVER, host: 'mail.test.' }, 'mail.test'],
    [{ serverName: 'other.test' }, SERVER, 'other.test'],
  ])('with %j of %j is %s', (settings, server, name) => {
    expect(profile(settings).connect(server).serverName).toBe(name);
  });

  it('is verified', async () => {
    expect(await shake(profile())).toMatchObject({ resumed: false });
    expect(await shake(profile(), {}, { address: '127.0.0.1', port: 25 })).toMatchObject({
      resumed: false,
    });
    expect(await shake(profile({ serverName: 'other.test' }))).toEqual({
      error: 'its certificate is not for other.test',
    });
    expect(await shake(profile({ serverName: 'other.test', verify: false }))).toMatchObject({
      resumed: false,
    });
  });
});

describe('trust', () => {
  it('is in the authorities of the system, if none are named', async () => {
    const { ca: _ca, ...settings } = { ca: '' };
    const of = new ClientTlsProfile({
      name: 'system',
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.3',
      ciphers: 'DEFAULT',
      alpn: [],
      detachable: false,
      verify: true,
      ...settings,
    });
    expect(await shake(of)).toEqual({ error: 'SELF_SIGNED_CERT_IN_CHAIN' });
  });

  it('ends where the authority has revoked the certificate', async () => {
    const crl = await pki.crl();
    expect(await shake(profile({ crl }))).toMatchObject({ resumed: false });
    const revoked = await pki.server(['mail.test'], { revoked: true });
    expect(await shake(profile({ crl }), { identity: revoked })).toEqual({
      error: 'CERT_REVOKED',
    });
  });
});

it('shows its certificate', async () => {
  const material = await pki.client();
  const identity = { names: [], material, leaf: material.cert };
  const options = { requestCert: true, rejectUnauthorized: true };
  const { socket } = await shake(profile({ identity }), options);
  expect(socket?.getPeerCertificate().subject).toEqual({ CN: 'good' });
});

it('agrees on a protocol', async () => {
  const of = profile({ alpn: ['smtp', 'lmtp'] });
  expect(await shake(of, { ALPNProtocols: ['lmtp'] })).toMatchObject({ alpn: 'lmtp' });
});

describe.each(TLS_VERSIONS)('a session of %s', (version) => {
  const settings = { minVersion: version, maxVersion: version } as const;

  it('goes on with the same server only', async () => {
    const of = profile(settings);
    expect(await shake(of)).toMatchObject({ resumed: false });
    expect(await shake(of)).toMatchObject({ resumed: true });
    expect(await shake(of)).toMatchObject({ resumed: true });
    for (const other of [
      { ...SERVER, port: 26 },
      { ...SERVER, host: '127.0.0.1' },
    ]) {
      expect(await shake(of, {}, other)).toMatchObject({ resumed: false });
      expect(await shake(of, {}, other)).toMatchObject({ resumed: true });
    }
  });

  it('goes on with no other profile', async () => {
    expect(await shake(profile(settings))).toMatchObject({ resumed: false });
    expect(await shake(profile(settings))).toMatchObject({ resumed: false });
  });
});

it('keeps sessions of the last 1,000 servers', () => {
  const of = profile();
  const at = (port: number) => ({ address: '127.0.0.1', port });
  for (let port = 1; port <= 1001; port++) {
    of.connect(at(port)).onSession(Buffer.from(String(port)));
  }
  expect(of.connect(at(1)).session).toBeUndefined();
  expect(of.connect(at(2)).session?.toString()).toBe('2');
  // What is renewed is not the oldest any more.
  of.connect(at(2)).onSession(Buffer.from('again'));
  of.connect(at(1002)).onSession(Buffer.from('1002'));
  expect(of.connect(at(2)).session?.toString()).toBe('again');
  expect(of.connect(at(3)).session).toBeUndefined();
});

it('refuses settings that are wrong at once', () => {
  expect(() => profile({ ciphers: 'NONSENSE' })).toThrow();
});
