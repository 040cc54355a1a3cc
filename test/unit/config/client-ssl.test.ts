import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatProblem } from '../../../src/config/index.ts';
import { Folder } from './folder.ts';

const folder = new Folder();
afterAll(() => folder.remove());

beforeAll(() => {
  folder.certificate('a');
  folder.certificate('b');
  const [certA, certB, keyA] = ['a.crt', 'b.crt', 'a.key'].map((name) =>
    readFileSync(folder.at(name), 'utf8'),
  );
  folder.write('chain.pem', `# the intermediates\n${certB}\n${certB}`);
  folder.write('bundle.pem', `${certA}${certB}${keyA}`);
  folder.write('reversed.pem', `${certB}${certA}`);
  folder.write('damaged.crt', String(certA).replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA'));
  folder.write('damaged.key', String(keyA).replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA'));
  folder.write('plain.txt', 'hello');
  const encrypt = ['-aes256', '-passout', 'pass:correct horse'];
  folder.openssl(
    'pkcs8',
    '-topk8',
    '-in',
    'a.key',
    '-v2',
    'aes256',
    ...encrypt.slice(1),
    '-out',
    'pkcs8.key',
  );
  folder.openssl('ec', '-in', 'a.key', ...encrypt, '-out', 'legacy.key');
  folder.openssl('req', '-new', '-key', 'a.key', '-subj', '/CN=old', '-out', 'old.csr');
  folder.openssl(
    'x509',
    '-req',
    '-in',
    'old.csr',
    '-signkey',
    'a.key',
    '-days',
    '-1',
    '-out',
    'old.crt',
  );
  folder.openssl('x509', '-in', 'a.crt', '-outform', 'DER', '-out', 'a.der');
  folder.openssl('genrsa', '-out', 'weak.key', '512');
  folder.openssl('req', '-x509', '-key', 'weak.key', '-subj', '/CN=weak', '-out', 'weak.crt');
});

/** Line 2 is the profile. */
function config(profile: object): string {
  const server = '"v": { "listen": ":0", "clientSsl": "m", "pool": "p" }';
  const rest = `"pools": { "p": { "members": ["a:1"] } }, "virtualServers": { ${server} }`;
  return `{ "profiles": { "clientSsl": { "m":\n${JSON.stringify(profile)}\n} }, ${rest} }`;
}

async function profile(keys: object) {
  const result = await folder.load(config(keys));
  expect(result.problems.map(formatProblem)).toEqual([]);
  const found = result.config?.virtualServers[0]?.clientSsl;
  if (found === undefined) throw new Error('no profile');
  return { profile: found, files: result.files };
}

describe('good profiles', () => {
  test.each([
    { cert: 'a.crt', key: 'a.key' },
    { cert: 'bundle.pem', key: 'bundle.pem' },
    { cert: 'a.crt', key: 'a.key', chain: 'chain.pem' },
    { cert: 'a.crt', key: 'a.key', passphrase: 'not needed' },
    { cert: 'a.crt', key: 'pkcs8.key', passphrase: 'correct horse' },
    { cert: 'a.crt', key: 'legacy.key', passphrase: 'correct horse' },
    {
      cert: 'a.crt',
      key: 'a.key',
      ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256',
    },
    { cert: 'a.crt', key: 'a.key', ciphers: 'HIGH:!aNULL:@STRENGTH', maxVersion: 'TLSv1.2' },
    { cert: 'a.crt', key: 'a.key', ciphers: 'TLS_AES_256_GCM_SHA384', minVersion: 'TLSv1.3' },
  ])('%j', async (keys) => {
    const { profile: made, files } = await profile(keys);
    const { pem, passphrase, minVersion, maxVersion, ciphers } = made;
    createSecureContext({ ...pem, passphrase, minVersion, maxVersion, ciphers });
    const named = [keys.cert, ...(keys.chain === undefined ? [] : [keys.chain]), keys.key];
    const watched = new Set(['portreeve.json', ...named]);
    expect(files).toEqual([...watched].map((name) => folder.at(name)));
    expect(await folder.warnings(config(keys))).toEqual([]);
  });

  test('the chain goes behind the certificate, and nothing else of the files', async () => {
    const { profile: made } = await profile({
      cert: 'bundle.pem',
      key: 'bundle.pem',
      chain: 'chain.pem',
    });
    const [a, b, key] = ['a.crt', 'b.crt', 'a.key'].map((name) =>
      readFileSync(folder.at(name), 'utf8'),
    );
    expect(made.pem).toEqual({ cert: `${a}${b}${b}${b}`, key });
    expect(made.chain).toBe(folder.at('chain.pem'));
  });
});

const pair = { cert: 'a.crt', key: 'a.key' };

describe('problems', () => {
  test.each([
    [
      { cert: 'no.crt', key: 'no.key' },
      ["2:9: certificate file 'no.crt' does not exist", "2:24: key file 'no.key' does not exist"],
    ],
    [{ ...pair, chain: '.' }, ["2:39: certificate file '.' is a folder"]],
    [{ ...pair, cert: 'plain.txt' }, ["2:9: 'plain.txt' has no PEM certificate in it"]],
    [{ ...pair, cert: 'a.der' }, ["2:9: certificate file 'a.der' is not UTF-8 text"]],
    [{ ...pair, cert: 'damaged.crt' }, ["2:9: 'damaged.crt' has a damaged certificate in it"]],
    [{ ...pair, chain: 'a.key' }, ["2:39: 'a.key' has no PEM certificate in it"]],
    [{ ...pair, key: 'a.crt' }, ["2:23: 'a.crt' has no PEM private key in it"]],
    [{ ...pair, key: 'damaged.key' }, ["2:23: 'damaged.key' has a damaged private key in it"]],
    [{ ...pair, key: 'b.key' }, ['2:23: the key does not belong to the certificate']],
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
    [
      { ...pair, minVersion: 'TLSv1.1' },
      [
        "2:44: 'minVersion' of client-ssl profile 'm' must be one of \"TLSv1.2\", \"TLSv1.3\"; did you mean 'TLSv1.2'?",
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
  ])('%j', async (keys, problems) => {
    const found = (await folder.problems(config(keys))).map((line) =>
      line.replace(folder.path, '.'),
    );
    expect(found).toEqual(problems.map((problem) => `portreeve.json:${problem}`));
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
      const { problems } = await folder.load(config(keys), env);
      expect(problems).toHaveLength(1);
      expect(JSON.stringify(problems)).not.toContain('hunter2');
    }
  });

  test('what refers to a broken profile is not a problem of its own', async () => {
    expect(await folder.problems(config({ ...pair, key: 'b.key' }))).toHaveLength(1);
  });

  test('files of a broken profile are to be watched', async () => {
    const { files } = await folder.load(config({ ...pair, key: 'later.key' }));
    expect(files).toEqual(['portreeve.json', 'a.crt', 'later.key'].map((name) => folder.at(name)));
  });
});

describe('warnings', () => {
  test('of certificates that have expired', async () => {
    const [warning, ...others] = await folder.warnings(config({ ...pair, cert: 'old.crt' }));
    expect(warning).toMatch(/^portreeve\.json:2:9: certificate 'CN=old' expired on .* GMT$/);
    expect(others).toEqual([]);
  });

  test('of ciphers that OpenSSL does not know', async () => {
    const ciphers = 'ECDHE-ECDSA-AES128-GCM-SHA265:ECDHE-ECDSA-AES256-GCM-SHA384:!aNULL';
    expect(await folder.warnings(config({ ...pair, ciphers }))).toEqual([
      "portreeve.json:2:41: no cipher here is called 'ECDHE-ECDSA-AES128-GCM-SHA265'; did you mean 'ECDHE-ECDSA-AES128-GCM-SHA256'?",
    ]);
  });
});
