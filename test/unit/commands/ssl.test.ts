import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { refusal } from '../../../src/commands/spec.ts';
import type { RuleServices, TlsInfo } from '../../../src/core/rule-run.ts';
import { createAuthority, issueCertificate } from '../../../src/net/certificate.ts';
import { bytes, call, specOf, text, type World } from './call.ts';

const INFO: TlsInfo = {
  protocol: 'TLSv1.3',
  cipher: 'TLS_AES_128_GCM_SHA256',
  alpn: '',
  resumed: false,
  sessionId: new Uint8Array(0),
  certificates: [],
  verifyError: undefined,
};

/** A flow whose client speaks TLS, and whose server does not. */
function withTls(info: Partial<TlsInfo>, services: Partial<RuleServices> = {}): World {
  return {
    client: { tls: 'secured' },
    services: {
      tls: (side) => (side === 'client' ? { ...INFO, ...info } : undefined),
      ...services,
    },
  };
}

const ofServer = (world: World): World => ({ ...world, event: 'SERVER_DATA' });

function answer(world: World, name: string, ...args: unknown[]): unknown {
  const { result, actions } = call(world, name, ...args);
  expect(actions).toEqual([]);
  return result;
}

describe('SSL.mode', () => {
  it.each([
    ['none', 0, false],
    ['pending', 0, true],
    ['hello', 0, true],
    ['handshake', 0, true],
    ['secured', 1, true],
    ['closing', 1, true],
    ['closing', 2, true],
    ['none', 2, true],
  ] as const)('with tls %s and %i layers is %s', (tls, depth, expected) => {
    expect(answer({ client: { tls, depth } }, 'SSL.mode')).toBe(expected);
  });

  it('means the current side', () => {
    expect(answer(ofServer({ client: { tls: 'secured' } }), 'SSL.mode')).toBe(false);
    expect(answer(ofServer({ server: { tls: 'secured' } }), 'SSL.mode')).toBe(true);
  });
});

describe('SSL.cipher', () => {
  it.each([
    ['TLS_AES_128_GCM_SHA256', '128'],
    ['TLS_AES_256_GCM_SHA384', '256'],
    ['TLS_CHACHA20_POLY1305_SHA256', '256'],
    ['TLS_AES_128_CCM_8_SHA256', '128'],
    ['ECDHE-RSA-AES128-GCM-SHA256', '128'],
    ['ECDHE-ECDSA-AES256-SHA384', '256'],
    ['ECDHE-RSA-CHACHA20-POLY1305', '256'],
    ['DHE-RSA-CAMELLIA256-SHA', '256'],
    ['ECDHE-ARIA128-GCM-SHA256', '128'],
    ['DES-CBC3-SHA', '168'],
    ['NULL-SHA256', '0'],
  ])('bits of %s are %s', (cipher, bits) => {
    const world = withTls({ cipher });
    expect(answer(world, 'SSL.cipher', 'bits')).toBe(bits);
    expect(answer(world, 'SSL.cipher', 'name')).toBe(cipher);
  });

  it('knows the bits of every cipher that OpenSSL offers as it does', () => {
    const lines = execFileSync('openssl', ['ciphers', '-v'], { encoding: 'utf8' }).split('\n');
    const known = lines.flatMap((line) => /^(\S+) .*Enc=\w+\((\d+)\)/.exec(line) ?? []);
    expect(known.length).toBeGreaterThan(30);
    for (let i = 0; i < known.length; i += 3) {
      expect(answer(withTls({ cipher: known[i + 1] ?? '' }), 'SSL.cipher', 'bits'), known[i]).toBe(
        known[i + 2],
      );
    }
  });

  it('version is the one of TLS', () => {
    expect(answer(withTls({ protocol: 'TLSv1.2' }), 'SSL.cipher', 'version')).toBe('TLSv1.2');
  });

  it('is empty without TLS, also while it is about to start', () => {
    const world = withTls({});
    for (const part of ['name', 'bits', 'version']) {
      expect(answer(ofServer(world), 'SSL.cipher', part)).toBe('');
      expect(answer({ ...world, client: { tls: 'pending' } }, 'SSL.cipher', part)).toBe('');
    }
  });
});

describe('SSL.sessionid, SSL.alpn and SSL.sni.name', () => {
  it('tell of the session', () => {
    const world = withTls({ sessionId: Uint8Array.of(0, 0xab, 0xff), alpn: 'imap' });
    expect(answer(world, 'SSL.sessionid')).toBe('00abff');
    expect(answer(world, 'SSL.alpn')).toBe('imap');
  });

  it('are empty where there is nothing', () => {
    for (const world of [withTls({}), ofServer(withTls({ alpn: 'x' })), {}]) {
      for (const name of ['SSL.sessionid', 'SSL.alpn', 'SSL.sni.name']) {
        expect(answer(world, name)).toBe('');
      }
    }
  });

  it('the name is known before the handshake is complete, and of both sides', () => {
    const services = {
      serverName: (side: string) => (side === 'client' ? 'asked.test' : 'upstream.test'),
    };
    const world: World = { client: { tls: 'hello' }, services };
    expect(answer({ ...world, event: 'CLIENTSSL_CLIENTHELLO' }, 'SSL.sni.name')).toBe('asked.test');
    expect(answer(ofServer(world), 'SSL.sni.name')).toBe('upstream.test');
  });
});

describe('SSL.extensions', () => {
  const services = {
    clientHello: () => ({
      serverName: 'a.test',
      extension: (type: number) =>
        ({ 0: bytes('\0\x09'), 23: new Uint8Array(0) })[type] as Uint8Array | undefined,
    }),
  };
  const world: World = { event: 'CLIENTSSL_CLIENTHELLO', client: { tls: 'hello' }, services };

  it.each([
    [0, true, '\0\x09'],
    [23, true, ''],
    [16, false, ''],
  ])('of type %i: %s', (type, exists, body) => {
    expect(answer(world, 'SSL.extensions.exists', type)).toBe(exists);
    expect(text(answer(world, 'SSL.extensions', type) as Uint8Array)).toBe(body);
  });

  it.each(['SSL.extensions', 'SSL.extensions.exists'])('%s needs a ClientHello', (name) => {
    expect(() => call({ event: 'CLIENTSSL_HANDSHAKE' }, name, 0)).toThrow(
      `${name}: there is no ClientHello`,
    );
    expect(refusal(specOf(name), 'CLIENT_DATA')).toContain('not valid in CLIENT_DATA');
  });
});

describe('SSL.cert', () => {
  const authority = createAuthority('Test');
  const der = (pem: string): Uint8Array => new X509Certificate(pem).raw;
  const root = der(authority.certPem);
  const leaf = der(issueCertificate({ authority, names: ['a.test'] }).certPem);
  const nothing = new Uint8Array(0);

  it('is the certificate with that index', () => {
    const world = withTls({ certificates: [leaf, root] });
    expect(answer(world, 'SSL.cert.count')).toBe(2);
    expect(answer(world, 'SSL.cert', 0)).toBe(leaf);
    expect(answer(world, 'SSL.cert', 1)).toBe(root);
    expect(answer(world, 'SSL.cert', 2)).toEqual(nothing);
  });

  it.each([
    ['the next one', [leaf, root], 0, root],
    ['itself for a root', [leaf, root], 1, root],
    ['itself for a root that is alone', [root], 0, root],
    ['not known for a leaf that is alone', [leaf], 0, nothing],
    ['not known behind the last', [leaf, root], 2, nothing],
    ['not known without certificates', [], 0, nothing],
  ])('issuer is %s', (_what, certificates, index, expected) => {
    expect(answer(withTls({ certificates }), 'SSL.cert.issuer', index)).toEqual(expected);
  });

  it('is empty without TLS', () => {
    const world = ofServer(withTls({ certificates: [leaf] }));
    expect(answer(world, 'SSL.cert.count')).toBe(0);
    expect(answer(world, 'SSL.cert', 0)).toEqual(nothing);
    expect(answer(world, 'SSL.cert.issuer', 0)).toEqual(nothing);
  });

  it.each([
    ['ignore', 'none'],
    ['request', 'request'],
    ['require', 'require'],
  ])('mode %s orders %s', (mode, ordered) => {
    const world = { event: 'CLIENTSSL_CLIENTHELLO' } as const;
    expect(call(world, 'SSL.cert.mode', mode).actions).toEqual([
      { type: 'clientCertificate', mode: ordered },
    ]);
  });

  it('mode comes too late in CLIENTSSL_HANDSHAKE', () => {
    expect(refusal(specOf('SSL.cert.mode'), 'CLIENTSSL_HANDSHAKE')).toContain('not valid in');
    expect(specOf('SSL.cert.mode').params[0]?.values).toEqual(['ignore', 'request', 'require']);
  });

  it.each([
    ['a good one', [leaf], undefined, 0],
    ['one that has expired', [leaf], 'CERT_HAS_EXPIRED', 10],
    ['none', [], 'UNABLE_TO_GET_ISSUER_CERT', 0],
  ])('verify_result of %s', (_what, certificates, verifyError, code) => {
    expect(answer(withTls({ certificates, verifyError }), 'SSL.verify_result')).toBe(code);
  });

  it('verify_result is 0 without TLS', () => {
    expect(answer({}, 'SSL.verify_result')).toBe(0);
  });
});

describe('SSL.renegotiate', () => {
  it('is always an error, and says what to do instead', () => {
    expect(() => call(withTls({}), 'SSL.renegotiate')).toThrow('call SSL.cert.mode() before');
  });
});

describe('SSL.enable and SSL.disable while the hello is looked at', () => {
  const world = { event: 'CLIENTSSL_CLIENTHELLO', client: { tls: 'hello' } } as const;

  it('there may be no TLS, whatever the profile says of taking it off', () => {
    expect(call(world, 'SSL.disable').actions).toEqual([
      { type: 'tls', side: 'client', enabled: false },
    ]);
  });

  it('it cannot be enabled once more', () => {
    expect(() => call(world, 'SSL.enable')).toThrow('TLS on the client side is being changed');
  });
});
