import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readPkcs12 } from '../../../src/config/pkcs12.ts';
import { Folder } from './folder.ts';
import { profilesOf } from './ssl-profile.ts';

const folder = new Folder();
const { load, problems, warnings } = profilesOf('clientSsl', folder);
afterAll(() => folder.remove());

/** The certificate with its key, whatever its form. */
async function identity(keys: object) {
  const { profile, files } = await load(keys);
  const [found] = profile.identities;
  if (found === undefined || !('key' in found.material)) throw new Error('no PEM');
  createSecureContext({ ...found.material });
  return { ...found, material: found.material, files };
}

const passphrase = 'correct horse';

beforeAll(() => {
  folder.certificate('root');
  folder.certificate('ca', { issuer: 'root' });
  const responder = 'authorityInfoAccess=OCSP;URI:http://127.0.0.1:9/ocsp';
  folder.certificate('a', { issuer: 'ca', extensions: [responder] });
  folder.certificate('b');
  folder.write('chain.pem', `${folder.read('ca.crt')}${folder.read('root.crt')}`);
});

describe('private keys', () => {
  beforeAll(() => {
    folder.certificate('rsa', { algorithm: 'RSA' });
    folder.certificate('ed', { algorithm: 'ED25519' });
    folder.openssl('ecparam', '-name', 'prime256v1', '-genkey', '-out', 'parameters.key');
    folder.openssl('req', '-x509', '-key', 'parameters.key', '-subj', '/CN=p', '-out', 'p.crt');
    folder.openssl('rsa', '-in', 'rsa.key', '-traditional', '-out', 'pkcs1.key');
    folder.openssl('ec', '-in', 'a.key', '-out', 'sec1.key');
    const secret = ['-passout', `pass:${passphrase}`];
    folder.openssl('pkcs8', '-topk8', '-in', 'a.key', ...secret, '-out', 'aes.key');
    const des = ['-v1', 'PBE-SHA1-3DES'];
    folder.openssl('pkcs8', '-topk8', '-in', 'a.key', ...des, ...secret, '-out', '3des.key');
    folder.openssl('ec', '-in', 'a.key', '-aes256', ...secret, '-out', 'proc-type.key');
    const text = `\uFEFFBag Attributes: \r\n${folder.read('a.key')}${folder.read('a.crt')}the end`;
    const latin1 = Buffer.from([0xfc, 0x0a]);
    const crlf = Buffer.from(text.replaceAll('\n', '\r\n'));
    folder.write('both.pem', Buffer.concat([crlf, latin1]));
    folder.write('crlf.key', folder.read('proc-type.key').replaceAll('\n', '\r\n'));
  });

  test.each([
    ['PKCS#8', { cert: 'a.crt', key: 'a.key' }],
    ['PKCS#8 with RSA', { cert: 'rsa.crt', key: 'rsa.key' }],
    ['PKCS#8 with Ed25519', { cert: 'ed.crt', key: 'ed.key' }],
    ['PKCS#1', { cert: 'rsa.crt', key: 'pkcs1.key' }],
    ['SEC1', { cert: 'a.crt', key: 'sec1.key' }],
    ['SEC1 behind EC PARAMETERS', { cert: 'p.crt', key: 'parameters.key' }],
    ['encrypted PKCS#8', { cert: 'a.crt', key: 'aes.key', passphrase }],
    ['PKCS#8 with 3DES', { cert: 'a.crt', key: '3des.key', passphrase }],
    ['Proc-Type', { cert: 'a.crt', key: 'proc-type.key', passphrase }],
    ['Proc-Type, CRLF', { cert: 'a.crt', key: 'crlf.key', passphrase }],
    ['one file with text, BOM and CRLF', { cert: 'both.pem', key: 'both.pem' }],
    ['a passphrase without need', { cert: 'a.crt', key: 'a.key', passphrase }],
  ])('%s', async (_form, keys) => {
    const { material, leaf } = await identity(keys);
    expect(material.key).toMatch(/^-----BEGIN PRIVATE KEY-----\n[^-]+-----END PRIVATE KEY-----\n$/);
    const { publicKey } = new X509Certificate(leaf);
    expect(new X509Certificate(leaf).checkPrivateKey(createPrivateKey(material.key))).toBe(true);
    expect(publicKey.asymmetricKeyType).toMatch(/^(rsa|ec|ed25519)$/);
    expect(material.cert).toBe(leaf);
    expect(await warnings(keys)).toEqual([]);
  });

  test('encrypted as OpenSSL 3 no longer does', async () => {
    const providers = ['-provider', 'legacy', '-provider', 'default'];
    const md5 = ['-topk8', '-v1', 'PBE-MD5-DES', '-passout', 'pass:x', ...providers];
    folder.openssl('pkcs8', '-in', 'a.key', ...md5, '-out', 'md5.key');
    expect(await problems({ cert: 'a.crt', key: 'md5.key', passphrase: 'x' })).toEqual([
      "2:23: the key 'md5.key' is encrypted in a way no longer supported; openssl pkcs8 -topk8 -provider legacy -provider default encrypts it anew",
    ]);
  });
});

test('the chain goes behind the certificate, as it is written, and the issuer is found in it', async () => {
  folder.write('bundle.pem', `${folder.read('a.crt')}${folder.read('b.crt')}`);
  const found = await identity({ cert: 'bundle.pem', key: 'a.key', chain: 'chain.pem' });
  const [a, b, ca, root] = ['a', 'b', 'ca', 'root'].map((name) => folder.read(`${name}.crt`));
  expect(found.material.cert).toBe(`${a}${b}${ca}${root}`);
  expect(found.leaf).toBe(a);
  expect(found.issuer).toBe(ca);
  expect((await identity({ cert: 'a.crt', key: 'a.key' })).issuer).toBeUndefined();
});

describe('names', () => {
  test.each([
    ['of subjectAltName', ['DNS:A.Test,DNS:*.b.test,DNS:a.test'], ['a.test', '*.b.test']],
    ['that are addresses', ['IP:10.0.0.1,IP:2001:DB8::1'], ['10.0.0.1', '2001:db8::1']],
    ['that are none', ['email:a@b.test,DNS:f*.b.test,DNS:a b.test,URI:http://c.test'], []],
    ['of the subject alone', [], ['common.test', 'second.test']],
  ])('%s', async (_what, names, expected) => {
    const extensions = names.map((name) => `subjectAltName=${name}`);
    folder.certificate('n', { subject: '/CN=Common.Test/CN=second.test/O=x', extensions });
    expect((await identity({ cert: 'n.crt', key: 'n.key' })).names).toEqual(expected);
  });

  test('a name cannot smuggle in another one', async () => {
    const lines = ['[req]', 'distinguished_name=d', '[d]', '[x]', 'subjectAltName=@s'];
    folder.write('odd.cnf', [...lines, '[s]', 'DNS.1=a.test\\, DNS:b.test'].join('\n'));
    const request = ['-key', 'b.key', '-subj', '/CN=b', '-config', 'odd.cnf', '-extensions', 'x'];
    folder.openssl('req', '-x509', ...request, '-out', 'odd.crt');
    expect((await identity({ cert: 'odd.crt', key: 'b.key' })).names).toEqual([]);
  });
});

describe('PKCS#12', () => {
  function pkcs12(name: string, ...options: string[]): void {
    const pair = ['-in', 'a.crt', '-inkey', 'a.key', '-certfile', 'backwards.pem'];
    folder.openssl('pkcs12', '-export', ...pair, ...options, '-out', name);
  }

  beforeAll(() => {
    const certificates = ['root', 'b', 'ca'].map((name) => folder.read(`${name}.crt`));
    folder.write('backwards.pem', certificates.join(''));
    folder.write('text.p12', folder.read('a.crt'));
    const secret = ['-passout', 'pass:pässword'];
    const tripleDes = ['-certpbe', 'PBE-SHA1-3DES', '-keypbe', 'PBE-SHA1-3DES', '-macalg', 'sha1'];
    pkcs12('modern.p12', ...secret);
    pkcs12('aes128.p12', ...secret, '-certpbe', 'AES-128-CBC', '-keypbe', 'AES-192-CBC');
    pkcs12('half.p12', ...secret, '-keypbe', 'NONE');
    pkcs12('3des.p12', ...secret, ...tripleDes);
    pkcs12('empty.p12', '-passout', 'pass:');
    pkcs12('3des-empty.p12', '-passout', 'pass:', ...tripleDes);
    pkcs12('open.p12', '-passout', 'pass:', '-certpbe', 'NONE', '-keypbe', 'NONE', '-nomac');
    pkcs12('rc2.p12', ...secret, '-legacy');
    const keyless = ['-nokeys', '-in', 'a.crt', ...secret, '-out', 'keyless.p12'];
    folder.openssl('pkcs12', '-export', ...keyless);
    const lone = ['-nocerts', '-inkey', 'a.key', ...secret, '-out', 'lone.p12'];
    folder.openssl('pkcs12', '-export', ...lone);
  });

  test.each([
    { pkcs12: 'modern.p12', passphrase: 'pässword' },
    { pkcs12: 'aes128.p12', passphrase: 'pässword' },
    { pkcs12: 'half.p12', passphrase: 'pässword' },
    { pkcs12: '3des.p12', passphrase: 'pässword' },
    { pkcs12: 'empty.p12', passphrase: '' },
    { pkcs12: 'empty.p12' },
    { pkcs12: '3des-empty.p12' },
    { pkcs12: 'open.p12' },
  ])('$pkcs12 is the same as PEM, its chain in order', async (keys) => {
    const { files, ...found } = await identity(keys);
    const inPem = await identity({ cert: 'a.crt', key: 'a.key', chain: 'chain.pem' });
    expect({ ...found, files: inPem.files }).toEqual(inPem);
    expect(files).toEqual(['portreeve.json', keys.pkcs12]);
    expect(await warnings(keys)).toEqual([]);
  });

  test.each([
    [{ pkcs12: 'none.p12' }, "2:11: PKCS#12 file 'none.p12' does not exist"],
    [
      { pkcs12: 'modern.p12' },
      '2:11: \'modern.p12\' is encrypted; set "passphrase", best from an environment variable',
    ],
    [
      { pkcs12: 'modern.p12', passphrase: 'password' },
      "2:37: the passphrase does not open 'modern.p12'",
    ],
    [{ pkcs12: '3des.p12', passphrase: 'x' }, "2:35: the passphrase does not open '3des.p12'"],
    [
      { pkcs12: 'rc2.p12', passphrase: 'pässword' },
      '2:11: \'rc2.p12\' is encrypted in a way no longer supported; openssl pkcs12 -legacy -nodes -in OLD -out NEW.pem makes PEM of it, for "cert" and "key"',
    ],
    [
      { pkcs12: 'keyless.p12', passphrase: 'pässword' },
      "2:11: 'keyless.p12' has no private key in it",
    ],
    [
      { pkcs12: 'lone.p12', passphrase: 'pässword' },
      "2:11: no certificate in 'lone.p12' belongs to the key",
    ],
    [{ pkcs12: 'text.p12' }, '2:11: \'text.p12\' is not PKCS#12; PEM goes into "cert" and "key"'],
    [
      { pkcs12: 'open.p12', key: 'a.key' },
      "2:22: 'key' of client-ssl profile 'm' does not go with 'pkcs12'; leave one of them away",
    ],
    [
      { cert: 'open.p12', key: 'a.key' },
      '2:9: \'open.p12\' is DER, not PEM; it looks like PKCS#12, which goes into "pkcs12"',
    ],
  ])('%j', async (keys, problem) => {
    expect(await problems(keys)).toEqual([problem]);
  });

  test('a certificate in it is not the PEM in an extension of that', async () => {
    const other = Buffer.from(`\n${folder.read('b.crt')}`).toString('hex');
    folder.certificate('carrier', { extensions: [`1.2.3.4=DER:${other}`] });
    const pair = ['-in', 'carrier.crt', '-inkey', 'carrier.key', '-passout', 'pass:'];
    folder.openssl('pkcs12', '-export', ...pair, '-out', 'carrier.p12');
    expect((await identity({ pkcs12: 'carrier.p12' })).leaf).toBe(folder.read('carrier.crt'));
  });

  test('whatever the bytes, there is a key or a reason', () => {
    const good = ['open.p12', '3des.p12', 'modern.p12'].map((name) =>
      readFileSync(folder.at(name)),
    );
    const damaged = fc
      .tuple(fc.constantFrom(...good), fc.nat(1500), fc.nat(255), fc.nat(1500))
      .map(([bytes, at, byte, end]) => {
        const copy = Buffer.from(bytes);
        copy[at % copy.length] = byte;
        return end < 200 ? copy.subarray(0, end * 8) : copy;
      });
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 40 })), (bytes) => {
        const result = readPkcs12(Buffer.from(bytes), 'pässword');
        expect(typeof result === 'string' || result.key.type === 'private').toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe('OCSP', () => {
  beforeAll(() => {
    folder.write('index.txt', '');
    const signer = ['-rsigner', 'ca.crt', '-rkey', 'ca.key', '-CA', 'ca.crt', '-no_nonce'];
    const from = ['-index', 'index.txt', ...signer, '-issuer', 'ca.crt'];
    folder.openssl('ocsp', ...from, '-cert', 'a.crt', '-ndays', '2', '-respout', 'a.ocsp');
    folder.openssl('ocsp', ...from, '-cert', 'a.crt', '-respout', 'endless.ocsp');
    folder.openssl('ocsp', ...from, '-cert', 'b.crt', '-ndays', '2', '-respout', 'b.ocsp');
    folder.write('refused.ocsp', Uint8Array.of(0x30, 0x03, 0x0a, 0x01, 0x06));
    const old = readFileSync(folder.at('a.ocsp'));
    // The year of nextUpdate.
    old.write('2020', old.indexOf(Buffer.from('a011180f', 'hex')) + 4);
    folder.write('old.ocsp', old);
  });

  const pair = { cert: 'a.crt', key: 'a.key' };

  test.each(['a.ocsp', 'endless.ocsp'])('a response in a file: %s', async (ocsp) => {
    const found = await identity({ ...pair, ocsp });
    const response = readFileSync(folder.at(ocsp)).toString('base64');
    expect(found.ocsp).toEqual({ response });
    expect(found.files).toContain(ocsp);
    expect(await warnings({ ...pair, ocsp })).toEqual([]);
  });

  test('one that has expired is a warning', async () => {
    const found = await warnings({ ...pair, ocsp: 'old.ocsp' });
    expect(found).toEqual([
      expect.stringMatching(/^2:38: the OCSP response 'old.ocsp' expired on .* 2020 .* GMT$/),
    ]);
  });

  test('to be fetched', async () => {
    const found = await identity({ ...pair, chain: 'chain.pem', ocsp: 'fetch' });
    expect(found.ocsp).toBe('fetch');
  });

  test.each([
    [{ ...pair, ocsp: 'none.ocsp' }, "2:38: OCSP response 'none.ocsp' does not exist"],
    [{ ...pair, ocsp: 'a.crt' }, "2:38: 'a.crt' is not an OCSP response (DER)"],
    [{ ...pair, ocsp: 'refused.ocsp' }, "2:38: 'refused.ocsp' is not an OCSP response (DER)"],
    [{ ...pair, ocsp: 'b.ocsp' }, "2:38: 'b.ocsp' is for another certificate"],
    [
      { ...pair, ocsp: 'fetch' },
      "2:38: the issuer's certificate is not in the chain: OCSP asks by it",
    ],
    [
      { cert: 'b.crt', key: 'b.key', ocsp: 'fetch' },
      '2:38: the certificate names no OCSP responder to fetch from',
    ],
  ])('%j', async (keys, problem) => {
    expect(await problems(keys)).toEqual([problem]);
  });
});
