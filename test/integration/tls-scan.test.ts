import { beforeAll, describe, expect, test } from 'vitest';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import { run } from './harness/process.ts';
import { IMPLICIT, StarttlsBench } from './harness/tls-bench.ts';

// What `sslscan` finds at a client-ssl profile that has nothing but a certificate.

let bench: StarttlsBench;

beforeAll(async () => {
  const certificate: Certificate = await makeCertificate();
  bench = await StarttlsBench.start(certificate);
  return () => bench.stop();
});

/**
 * How sslscan gets to TLS, by the name of the virtual server. It knows more protocols, but no way
 * through: in IRC it waits for a banner first, in LDAP it stops reading the answer at a NUL, and in
 * XMPP it sends a line end behind `<starttls/>`, which RFC 6120, section 5.3.1, forbids.
 */
const starts: readonly (readonly [string, readonly string[]])[] = [
  [IMPLICIT, []],
  ['pop3', ['--starttls-pop3']],
  ['imap', ['--starttls-imap']],
  ['smtp', ['--starttls-smtp']],
  ['ftp', ['--starttls-ftp']],
  ['postgres', ['--starttls-psql']],
  ['mysql', ['--starttls-mysql']],
];

const ciphers = {
  'TLSv1.2': [
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
  ],
  'TLSv1.3': ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
};

describe.each(starts)('sslscan of %s', (name, args) => {
  let elements: Attributes[];

  beforeAll(async () => {
    const address = `127.0.0.1:${bench.portreeve.port(name)}`;
    const result = await run('sslscan', ['--xml=-', '--sni-name=localhost', ...args, address]);
    expect(result.code, result.stderr).toBe(0);
    elements = elementsOf(result.stdout);
  });

  function all(element: string): Attributes[] {
    return elements.filter((attributes) => attributes.element === element);
  }

  test('finds TLS 1.2 and 1.3 alone', () => {
    const protocols = all('protocol');
    const names = protocols.map(({ type, version }) => `${type} ${version}`);
    const old = ['ssl 2', 'ssl 3', 'tls 1.0', 'tls 1.1'];
    expect(names).toEqual([...old, 'tls 1.2', 'tls 1.3']);
    const enabled = protocols.filter((protocol) => protocol.enabled !== '0');
    expect(enabled.map(({ version }) => version)).toEqual(['1.2', '1.3']);
  });

  test('finds no renegotiation, compression or Heartbleed', () => {
    expect(all('renegotiation')).toMatchObject([{ supported: '0' }]);
    // It names compression only where it finds it, or can look for it.
    for (const { supported } of all('compression')) expect(supported).toBe('0');
    const heartbleed = all('heartbleed');
    expect(heartbleed.map(({ sslversion }) => sslversion)).toEqual(['TLSv1.3', 'TLSv1.2']);
    for (const { vulnerable } of heartbleed) expect(vulnerable).toBe('0');
  });

  test('finds the ciphers of the profile, in its order', () => {
    for (const [version, names] of Object.entries(ciphers)) {
      const found = all('cipher').filter(({ sslversion }) => sslversion === version);
      expect(found.map(({ cipher }) => cipher)).toEqual(names);
    }
    expect(all('cipher')).toHaveLength(Object.values(ciphers).flat().length);
    for (const { strength } of all('cipher')) expect(['strong', 'acceptable']).toContain(strength);
  });

  test('finds no weak groups', () => {
    const groups = all('group');
    expect(groups.length).toBeGreaterThan(0);
    for (const { name: group, bits } of groups)
      expect(Number(bits), group).toBeGreaterThanOrEqual(112);
  });
});

type Attributes = Readonly<Record<string, string>>;

/** The elements of the report with their attributes, and `element`: what each one is. */
function elementsOf(xml: string): Attributes[] {
  return [...xml.matchAll(/<([a-z-]+)((?: [a-z]+="[^"]*")*) ?\/>/g)].map(
    ([, element = '', attributes = '']) => ({
      ...Object.fromEntries(
        [...attributes.matchAll(/([a-z]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
      ),
      element,
    }),
  );
}
