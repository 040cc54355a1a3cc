import { once } from 'node:events';
import { connect, createSecureContext, createServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Folder } from './folder.ts';
import { profilesOf } from './ssl-profile.ts';

const folder = new Folder();
const { config, load, problems, warnings } = profilesOf('clientSsl', folder);
afterAll(() => folder.remove());

beforeAll(() => {
  folder.certificate('a');
  folder.certificate('b');
  folder.certificate('rsa', { subject: '/CN=a', algorithm: 'RSA' });
  folder.certificate('weak', { algorithm: 'RSA', bits: 512 });
  const [certA, certB, keyA] = ['a.crt', 'b.crt', 'a.key'].map((name) => folder.read(name));
  folder.write('reversed.pem', `${certB}${certA}`);
  folder.write('damaged.crt', String(certA).replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA'));
  folder.write('damaged.key', String(keyA).replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA'));
  folder.write('plain.txt', 'hello');
  const secret = ['-passout', 'pass:correct horse'];
  folder.openssl('pkcs8', '-topk8', '-in', 'a.key', ...secret, '-out', 'pkcs8.key');
  folder.openssl('ec', '-in', 'a.key', '-aes256', ...secret, '-out', 'legacy.key');
  folder.openssl('req', '-new', '-key', 'a.key', '-subj', '/CN=old', '-out', 'old.csr');
  const signed = ['-req', '-in', 'old.csr', '-signkey', 'a.key', '-days', '-1'];
  folder.openssl('x509', ...signed, '-out', 'old.crt');
  folder.openssl('x509', '-in', 'a.crt', '-outform', 'DER', '-out', 'a.der');
  folder.openssl('pkey', '-in', 'a.key', '-outform', 'DER', '-out', 'a.key.der');
});

const pair = { cert: 'a.crt', key: 'a.key' };

const modern =
  'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305';

const old =
  'ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:@SECLEVEL=0';

describe('good profiles', () => {
  test('defaults', async () => {
    const { profile, files } = await load(pair);
    const { identities, ...settings } = profile;
    expect(settings).toEqual({
      name: 'm',
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.3',
      ciphers: modern,
      alpn: [],
      detachable: false,
      strictSni: false,
      clientCertificate: 'none',
      sessionTickets: true,
      sessionTimeout: 3600,
    });
    expect(identities).toHaveLength(1);
    expect(files).toEqual(['portreeve.json', 'a.crt', 'a.key']);
  });

  test('everything', async () => {
    const keys = ['A'.repeat(64), `${'/+0'.repeat(21)}z`];
    folder.write('tickets', `\n${keys[0]}\r\n  ${keys[1]}`);
    folder.openssl('req', '-x509', '-key', 'b.key', '-subj', '/CN=*.b.test', '-out', 'wild.crt');
    const written = {
      certificates: [
        { cert: 'rsa.crt', key: 'rsa.key' },
        { cert: 'wild.crt', key: 'b.key' },
      ],
      strictSni: true,
      alpn: ['imap', 'h2'],
      clientCertificate: 'require',
      ca: 'reversed.pem',
      sessionTimeout: '1500ms',
      ticketKeys: 'tickets',
      detachable: true,
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.2',
    };
    const { profile, files } = await load({ ...pair, ...written });
    const { identities, ...settings } = profile;
    expect(settings).toEqual({
      name: 'm',
      strictSni: true,
      alpn: ['imap', 'h2'],
      clientCertificate: 'require',
      ca: folder.read('reversed.pem'),
      sessionTickets: true,
      sessionTimeout: 2,
      ticketKeys: keys,
      detachable: true,
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.2',
      ciphers: `${modern}:${old}`,
    });
    expect(identities.map(({ names }) => names)).toEqual([['a'], ['a'], ['*.b.test']]);
    const named = ['a.crt', 'a.key', 'rsa.crt', 'rsa.key', 'wild.crt', 'b.key'];
    expect(files).toEqual(['portreeve.json', ...named, 'reversed.pem', 'tickets']);
    expect(await warnings({ ...pair, ...written })).toEqual([]);
  });

  test.each([
    { ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256' },
    { ciphers: 'HIGH:!aNULL:@STRENGTH', maxVersion: 'TLSv1.2' },
    { ciphers: 'TLS_AES_256_GCM_SHA384', minVersion: 'TLSv1.3' },
    { ciphers: 'AES128-SHA:@SECLEVEL=0', minVersion: 'TLSv1', maxVersion: 'TLSv1' },
    { minVersion: 'TLSv1.3' },
    { minVersion: 'TLSv1' },
  ])('%j', async (keys) => {
    const { profile } = await load({ ...pair, ...keys });
    const { identities, minVersion, maxVersion, ciphers } = profile;
    for (const { material } of identities) {
      createSecureContext({ ...material, minVersion, maxVersion, ciphers });
    }
    expect(await warnings({ ...pair, ...keys })).toEqual([]);
  });

  test.each(
    (['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const).flatMap((version) => [
      { version, cert: 'a' },
      { version, cert: 'rsa' },
    ]),
  )('$version is done with the certificate $cert', async ({ version, cert }) => {
    const keys = { cert: `${cert}.crt`, key: `${cert}.key`, minVersion: 'TLSv1' };
    const { minVersion, maxVersion, ciphers, identities } = (await load(keys)).profile;
    const settings = { ...identities[0]?.material, minVersion, maxVersion, ciphers };
    const server = createServer(settings, (socket) => socket.end());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const versions = { minVersion: version, maxVersion: version, ciphers };
    const client = connect({ port, host: '127.0.0.1', ...versions, rejectUnauthorized: false });
    try {
      await once(client, 'secureConnect');
      expect(client.getProtocol()).toBe(version);
      expect(client.getCipher().name).toMatch(
        version < 'TLSv1.2' ? /^ECDHE-.*AES128-SHA$/ : /AES.?128.GCM.SHA256$/,
      );
    } finally {
      client.destroy();
      server.close();
    }
  });

  test('a renewed file makes another profile, the same file the same', async () => {
    const text = async () => JSON.stringify((await load(pair)).profile);
    const before = await text();
    expect(await text()).toBe(before);
    const cert = folder.read('a.crt');
    folder.openssl('req', '-x509', '-key', 'a.key', '-subj', '/CN=a', '-out', 'a.crt');
    expect(await text()).not.toBe(before);
    folder.write('a.crt', cert);
  });
});

describe('problems', () => {
  test.each([
    [
      { cert: 'no.crt', key: 'no.key' },
      ["2:9: certificate file 'no.crt' does not exist", "2:24: key file 'no.key' does not exist"],
    ],
    [{ ...pair, chain: '.' }, ["2:39: certificate file '.' is a folder"]],
    [{ ...pair, cert: 'plain.txt' }, ["2:9: 'plain.txt' has no PEM certificate in it"]],
    [
      { cert: 'a.der', key: 'a.key.der' },
      [
        "2:9: 'a.der' is DER, not PEM; openssl x509 -inform DER -in 'a.der' -out NAME.pem converts it",
        "2:23: 'a.key.der' is DER, not PEM; openssl pkey -inform DER -in 'a.key.der' -out NAME.pem converts it",
      ],
    ],
    [{ ...pair, cert: 'damaged.crt' }, ["2:9: 'damaged.crt' has a damaged certificate in it"]],
    [{ ...pair, chain: 'a.key' }, ["2:39: 'a.key' has no PEM certificate in it"]],
    [{ ...pair, key: 'a.crt' }, ["2:23: 'a.crt' has no PEM private key in it"]],
    [{ ...pair, key: 'damaged.key' }, ["2:23: 'damaged.key' has a damaged private key in it"]],
    [{ ...pair, key: 'b.key' }, ['2:23: the key does not belong to the certificate']],
    [{ ...pair, key: 'rsa.key' }, ['2:23: the key does not belong to the certificate']],
    [
      { ...pair, cert: 'reversed.pem' },
      [
        '2:30: the key does not belong to the certificate; it belongs to certificate 2 of the file: put that first',
      ],
    ],
    [
      { ...pair, key: 'pkcs8.key' },
      [
        '2:23: the key \'pkcs8.key\' is encrypted; set "passphrase", best from an environment variable',
      ],
    ],
    [
      { ...pair, key: 'legacy.key' },
      [
        '2:23: the key \'legacy.key\' is encrypted; set "passphrase", best from an environment variable',
      ],
    ],
    [
      { ...pair, key: 'pkcs8.key', passphrase: 'battery' },
      ["2:48: the passphrase does not open the key 'pkcs8.key'"],
    ],
    [
      { ...pair, key: 'legacy.key', passphrase: '' },
      ["2:49: the passphrase does not open the key 'legacy.key'"],
    ],
    [
      { cert: 'weak.crt', key: 'weak.key' },
      ['2:9: OpenSSL refuses this certificate: ee key too small'],
    ],
    [
      { ...pair, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.2' },
      ['2:44: no TLS version is left from TLSv1.3 to TLSv1.2'],
    ],
    [{ ...pair, maxVersion: 'TLSv1.1' }, ['2:44: no TLS version is left from TLSv1.2 to TLSv1.1']],
    [
      { ...pair, minVersion: 'SSLv3' },
      [
        '2:44: \'minVersion\' of client-ssl profile \'m\' must be one of "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"',
      ],
    ],
    [
      { ...pair, ciphers: 'DEFAULT:@SECLEVEL=5' },
      ['2:41: OpenSSL cannot use these ciphers with this certificate: ee key too small'],
    ],
    [{ ...pair, ciphers: 'NONSENSE' }, ['2:41: OpenSSL cannot use these ciphers: no cipher match']],
    [
      { ...pair, ciphers: 'TLS_AES_128_GCM_SHA256', maxVersion: 'TLSv1.2' },
      ['2:41: OpenSSL cannot use these ciphers: none of them is for the TLS versions allowed'],
    ],
    [
      { ...pair, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256', minVersion: 'TLSv1.3' },
      ['2:41: OpenSSL cannot use these ciphers: none of them is for the TLS versions allowed'],
    ],
    [{}, ["1:32: client-ssl profile 'm' has neither 'cert' and 'key' nor 'pkcs12'"]],
    [{ cert: 'a.crt' }, ["1:32: client-ssl profile 'm' has no 'key'"]],
    [
      { ...pair, certificates: [{ key: 'a.key' }, { ...pair, key: 'b.key' }] },
      [
        "2:47: 'certificates[0]' of client-ssl profile 'm' has no 'cert'",
        '2:85: the key does not belong to the certificate',
      ],
    ],
    [
      { ...pair, clientCertificate: 'request' },
      [
        "2:51: 'clientCertificate' of client-ssl profile 'm' needs \"ca\": who may issue the certificates",
      ],
    ],
    [
      { ...pair, strictSni: 'yes' },
      ["2:43: 'strictSni' of client-ssl profile 'm' must be true or false"],
    ],
    [
      { ...pair, sessionTimeout: '25h' },
      [
        "2:48: 'sessionTimeout' of client-ssl profile 'm' must be a duration from 1s to 24h, such as \"1h\", or a number of milliseconds",
      ],
    ],
  ])('%j', async (keys, expected) => {
    const found = await problems(keys);
    expect(found.map((line) => line.replace(folder.path, '.'))).toEqual(expected);
  });

  const protocol =
    'must be the name of a protocol, such as "imap", in 1 to 255 letters, digits and signs';

  test.each([
    [['imap', ''], `2:46: 'alpn[1]' of client-ssl profile 'm' ${protocol}`],
    [['x'.repeat(256)], `2:39: 'alpn[0]' of client-ssl profile 'm' ${protocol}`],
    [['ü'], `2:39: 'alpn[0]' of client-ssl profile 'm' ${protocol}`],
    [
      ['h2', 'h2'],
      "2:38: 'alpn' of client-ssl profile 'm' must be a list of up to 16 protocols, none twice",
    ],
    [
      Array.from({ length: 17 }, (_, i) => `p${i}`),
      "2:38: 'alpn' of client-ssl profile 'm' must be a list of up to 16 protocols, none twice",
    ],
  ])('alpn %j', async (alpn, problem) => {
    expect(await problems({ ...pair, alpn })).toEqual([problem]);
  });

  const ticketKey = 'k'.repeat(64);

  test.each([
    ['', 'there are 0'],
    [`${ticketKey}\n`.repeat(9), 'there are 9'],
    [`${ticketKey}\n${ticketKey.slice(1)}\n`, 'line 2 is none'],
    [`# secret\n${ticketKey}`, 'line 1 is none'],
    ['k'.repeat(107), 'line 1 is none'],
  ])('ticket keys %#', async (text, trouble) => {
    folder.write('keys', text);
    expect(await problems({ ...pair, ticketKeys: 'keys' })).toEqual([
      `2:44: 'keys' must be 1 to 8 lines of 48 bytes in Base64: ${trouble}; "openssl rand -base64 48" makes one`,
    ]);
  });

  test('never show the passphrase', async () => {
    const env = { PASS: 'hunter2' };
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a reference to the environment
    const secret = '${PASS}';
    const broken = [
      { ...pair, key: 'pkcs8.key', passphrase: secret },
      { ...pair, key: 'b.key', passphrase: secret },
      { ...pair, passphrase: [secret] },
      { ...pair, pass: secret },
    ];
    for (const keys of broken) {
      const found = await problems(keys, env);
      expect(found).toHaveLength(1);
      expect(found[0]).not.toContain('hunter2');
    }
  });

  test('what refers to a broken profile is not a problem of its own', async () => {
    expect(await problems({ ...pair, key: 'b.key' })).toHaveLength(1);
  });

  test('files of a broken profile are to be watched', async () => {
    const { files } = await folder.load(config({ ...pair, key: 'later.key', ca: 'later.pem' }));
    const named = ['portreeve.json', 'a.crt', 'later.key', 'later.pem'];
    expect(files).toEqual(named.map((name) => folder.at(name)));
  });
});

describe('warnings', () => {
  test('of certificates that have expired', async () => {
    const [warning, ...others] = await warnings({ ...pair, cert: 'old.crt' });
    expect(warning).toMatch(/^2:9: certificate 'CN=old' expired on .* GMT$/);
    expect(others).toEqual([]);
  });

  test('of ciphers that OpenSSL does not know', async () => {
    const ciphers = 'ECDHE-ECDSA-AES128-GCM-SHA265:ECDHE-ECDSA-AES256-GCM-SHA384:!aNULL';
    expect(await warnings({ ...pair, ciphers })).toEqual([
      "2:41: no cipher here is called 'ECDHE-ECDSA-AES128-GCM-SHA265'; did you mean 'ECDHE-ECDSA-AES128-GCM-SHA256'?",
    ]);
  });

  test('of ciphers that leave the old versions out', async () => {
    expect(await warnings({ ...pair, ciphers: 'AES128-SHA', minVersion: 'TLSv1.1' })).toEqual([
      '2:41: OpenSSL does not use TLSv1.1 unless "@SECLEVEL=0" is among the ciphers',
    ]);
  });

  test('of names that two certificates with the same kind of key have', async () => {
    const extensions = ['subjectAltName=DNS:x.test,DNS:a,DNS:y.test'];
    folder.certificate('again', { extensions });
    const certificates = [
      { cert: 'rsa.crt', key: 'rsa.key' },
      { cert: 'again.crt', key: 'again.key' },
    ];
    expect(await warnings({ ...pair, certificates })).toEqual([
      "2:90: a certificate before this one is for 'a' as well, with the same kind of key; the first one is used",
    ]);
  });

  test('of what has no effect', async () => {
    folder.write('keys', 'k'.repeat(64));
    const keys = { ca: 'b.crt', sessionTickets: false, ticketKeys: 'keys' };
    expect(await warnings({ ...pair, ...keys })).toEqual([
      "2:36: 'ca' of client-ssl profile 'm' is for client certificates, which are not asked for; set \"clientCertificate\"",
      "2:80: 'ticketKeys' of client-ssl profile 'm' has no effect without \"sessionTickets\"",
    ]);
  });
});
