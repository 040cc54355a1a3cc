import { createSecureContext } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Folder } from './folder.ts';
import { profilesOf } from './ssl-profile.ts';

const folder = new Folder();
const { load, problems, warnings } = profilesOf('serverSsl', folder);
afterAll(() => folder.remove());

beforeAll(() => {
  folder.certificate('ca');
  folder.certificate('me', { issuer: 'ca' });
  folder.write('ca.cnf', '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\n');
  folder.write('index.txt', '');
  const crl = ['-config', 'ca.cnf', '-gencrl', '-keyfile', 'ca.key', '-cert', 'ca.crt'];
  folder.openssl('ca', ...crl, '-crldays', '5', '-out', 'ca.crl');
  const past = ['-crl_lastupdate', '20200101000000Z', '-crl_nextupdate', '20200201000000Z'];
  folder.openssl('ca', ...crl, ...past, '-out', 'old.crl');
  const future = ['-crl_lastupdate', '20500101000000Z', '-crl_nextupdate', '20510201000000Z'];
  folder.openssl('ca', ...crl, ...future, '-out', 'future.crl');
  folder.openssl('crl', '-in', 'ca.crl', '-outform', 'DER', '-out', 'ca.crl.der');
  folder.write('two.crl', `of two\n${folder.read('ca.crl')}\n${folder.read('old.crl')}`);
  folder.write('damaged.crl', folder.read('ca.crl').replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA'));
});

test('defaults', async () => {
  const { profile, files } = await load({});
  const { ciphers, ...settings } = profile;
  expect(settings).toEqual({
    name: 'm',
    verify: true,
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    alpn: [],
    detachable: false,
  });
  expect(ciphers).toMatch(/^TLS_AES_128_GCM_SHA256:.*:ECDHE-RSA-CHACHA20-POLY1305$/);
  expect(files).toEqual(['portreeve.json']);
});

test('everything', async () => {
  const keys = {
    verify: true,
    ca: 'ca.crt',
    crl: 'ca.crl',
    serverName: 'Mail.Example.com',
    cert: 'me.crt',
    key: 'me.key',
    chain: 'ca.crt',
    minVersion: 'TLSv1',
    ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0',
    alpn: ['imap'],
    detachable: true,
  };
  const { profile, files } = await load(keys);
  const { identity, ...settings } = profile;
  expect(settings).toEqual({
    name: 'm',
    verify: true,
    ca: folder.read('ca.crt'),
    crl: folder.read('ca.crl'),
    serverName: 'Mail.Example.com',
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.3',
    ciphers: keys.ciphers,
    alpn: ['imap'],
    detachable: true,
  });
  expect(identity).toMatchObject({ names: ['me'], leaf: folder.read('me.crt') });
  const { ca, crl = '', ciphers } = settings;
  createSecureContext({ ca, crl, ciphers, ...identity?.material });
  expect(files).toEqual(['portreeve.json', 'me.crt', 'ca.crt', 'me.key', 'ca.crl']);
  expect(await warnings(keys)).toEqual([]);
});

describe('problems', () => {
  test.each([
    [{ passphrase: 'x' }, "1:32: server-ssl profile 'm' has neither 'cert' and 'key' nor 'pkcs12'"],
    [{ cert: 'me.crt', key: 'ca.key' }, '2:24: the key does not belong to the certificate'],
    [{ ocsp: 'fetch' }, "2:2: unknown key 'ocsp' in server-ssl profile 'm'"],
    [{ ca: 'no.pem' }, "2:7: certificate file 'no.pem' does not exist"],
    [{ ca: 'me.key' }, "2:7: 'me.key' has no PEM certificate in it"],
    [{ crl: 'ca.crt' }, "2:8: 'ca.crt' has no PEM CRL in it"],
    [
      { crl: 'ca.crl.der' },
      "2:8: 'ca.crl.der' is DER, not PEM; openssl crl -inform DER -in 'ca.crl.der' -out NAME.pem converts it",
    ],
    [{ crl: 'damaged.crl' }, "2:8: 'damaged.crl' has a damaged CRL in it"],
    [
      { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256', minVersion: 'TLSv1.3' },
      '2:12: OpenSSL cannot use these ciphers: none of them is for the TLS versions allowed',
    ],
    [
      { cert: 'me.crt', key: 'me.key', ciphers: 'DEFAULT:@SECLEVEL=5' },
      '2:43: OpenSSL cannot use these ciphers with this certificate: ee key too small',
    ],
  ])('%j', async (keys, problem) => {
    expect(await problems(keys)).toEqual([problem]);
  });

  test.each(['10.0.0.1', '::1', 'a b', 'a.test.', '*.test'])(
    'serverName %s',
    async (serverName) => {
      expect(await problems({ serverName })).toEqual([
        `2:15: '${serverName}' is not the name of a host, such as "mail.example.com"`,
      ]);
    },
  );

  test('an unknown profile', async () => {
    const text = JSON.stringify({
      virtualServers: { v: { listen: ':0', serverSsl: 'Mails', pool: 'p' } },
      pools: { p: { members: ['a:1'] } },
      profiles: { serverSsl: { mail: {} } },
    });
    expect(await folder.problems(text)).toEqual([
      "portreeve.json:1:51: there is no server-ssl profile 'Mails'; did you mean 'mail'?",
    ]);
  });
});

describe('warnings', () => {
  test('of a CRL that has expired, one of several', async () => {
    const crl = 'two.crl';
    expect(await warnings({ ca: 'ca.crt', crl })).toEqual([
      "2:22: a CRL in 'two.crl' expired on Sat, 01 Feb 2020 00:00:00 GMT; certificates that it is for are refused",
    ]);
    const { profile } = await load({ ca: 'ca.crt', crl });
    expect(profile.crl).toBe(`${folder.read('ca.crl')}${folder.read('old.crl')}`);
  });

  test('not of one whose end is in the next century half', async () => {
    expect(await warnings({ ca: 'ca.crt', crl: 'future.crl' })).toEqual([]);
  });

  test('of what has no effect', async () => {
    expect(await warnings({ verify: false, ca: 'ca.crt', crl: 'ca.crl' })).toEqual([
      "2:22: 'ca' of server-ssl profile 'm' has no effect without \"verify\"",
      "2:37: 'crl' of server-ssl profile 'm' has no effect without \"verify\"",
    ]);
  });
});
