import { execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refusal } from '../../../src/commands/spec.ts';
import { x509Commands } from '../../../src/commands/x509.ts';
import { runIn } from './call.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'portreeve-x509-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
}

/** The PEM of a self-signed certificate; the key of OpenSSL's req, the lines of its two sections. */
function make(key: readonly string[], names: string, extensions: string, ...more: string[]) {
  const sections = ['[req]\ndistinguished_name=n\nx509_extensions=e\nprompt=no', `[n]\n${names}`];
  writeFileSync(join(folder, 'a.cnf'), [...sections, `[e]\n${extensions}\n`].join('\n'));
  const newKey = ['-newkey', ...key, '-nodes', '-keyout', 'a.key'];
  openssl('req', '-x509', '-utf8', '-config', 'a.cnf', ...newKey, '-out', 'a.pem', ...more);
  return readFileSync(join(folder, 'a.pem'));
}

/** What `openssl x509` says of the certificate made last. */
function said(...options: readonly string[]): string {
  return openssl('x509', '-in', 'a.pem', '-noout', ...options).trimEnd();
}

const EC = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
const USUAL = `subjectAltName=DNS:www.example.test,DNS:*.b.test,IP:192.0.2.1,URI:spiffe://a/b,email:x@y.test
keyUsage=critical,digitalSignature,keyEncipherment,decipherOnly
extendedKeyUsage=clientAuth,serverAuth,emailProtection,1.2.3.4
basicConstraints=critical,CA:FALSE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
authorityInfoAccess=OCSP;URI:http://ocsp.test,caIssuers;URI:http://ca.test/ca.crt
crlDistributionPoints=URI:http://crl.test/a.crl
certificatePolicies=1.2.3.4,2.5.29.32.0`;

function call(name: string, ...args: readonly unknown[]): unknown {
  const spec = x509Commands.find((candidate) => candidate.name === `X509.${name}`);
  if (spec?.how.kind !== 'call') throw new Error(`there is no command X509.${name}`);
  return spec.how.run(runIn({ event: 'RULE_INIT' }), ...(args as never[]));
}

/** As `SSL.cert` gives it. */
const der = (pem: Uint8Array) => call('pem2der', pem) as Uint8Array;

describe('of a usual certificate', () => {
  let pem: Buffer;

  beforeAll(() => {
    pem = make(['rsa:2048'], 'C=US\nO=Example\nCN=www.example.test', USUAL);
  });

  it('subject and issuer are as OpenSSL writes them', () => {
    expect(call('subject', pem)).toBe('CN=www.example.test,O=Example,C=US');
    expect(`issuer=${call('issuer', pem)}`).toBe(said('-issuer', '-nameopt', 'RFC2253'));
    expect(call('subject', pem, 'commonName')).toBe('www.example.test');
  });

  it('dates, serial number and version are', () => {
    const serial = String(call('serial_number', pem));
    expect(serial).toMatch(/^[0-9a-f]{2}(:[0-9a-f]{2})*$/);
    expect(`serial=${serial.replaceAll(':', '').toUpperCase()}`).toBe(said('-serial'));
    expect(`notBefore=${call('not_valid_before', pem)}`).toBe(said('-startdate'));
    expect(`notAfter=${call('not_valid_after', pem)}`).toBe(said('-enddate'));
    expect(call('version', pem)).toBe(3);
  });

  it('fingerprints are', () => {
    expect(said('-fingerprint', '-md5')).toBe(`md5 Fingerprint=${call('hash', pem)}`);
    const sha256 = call('hash', pem, 'sha256');
    expect(said('-fingerprint', '-sha256')).toBe(`sha256 Fingerprint=${sha256}`);
  });

  it('the key is', () => {
    const key = createPublicKey(said('-pubkey')).export({ type: 'spki', format: 'der' });
    expect(call('subject_public_key', pem)).toBe(key.toString('hex'));
    expect(call('subject_public_key_type', pem)).toBe('RSA');
    expect(call('subject_public_key_RSA_bits', pem)).toBe(2048);
    expect(call('signature_algorithm', pem)).toBe('sha256WithRSAEncryption');
  });

  it('extensions are', () => {
    const rest = ['header', 'version', 'serial', 'signame', 'validity', 'subject', 'issuer'];
    const options = [...rest, 'pubkey', 'sigdump'].map((part) => `no_${part}`).join(',');
    const text = said('-text', '-certopt', options).replace(/^ {8}/gm, '');
    expect(call('extensions', pem)).toBe(text);
  });

  it('DER and PEM say the same, and become each other', () => {
    expect(der(pem)).toEqual(execFileSync('openssl', ['x509', '-outform', 'DER'], { input: pem }));
    expect(call('whole', der(pem))).toBe(pem.toString());
    for (const { name, params } of x509Commands) {
      if (params[0]?.type !== 'binary' || name === 'X509.pem2der') continue;
      const command = name.replace('X509.', '');
      expect(call(command, der(pem)), name).toEqual(call(command, pem));
    }
  });

  it('of several, the first counts', () => {
    const other = make(EC, 'CN=other', '');
    expect(call('subject', Buffer.concat([Buffer.from('text\n'), other, pem]))).toBe('CN=other');
  });
});

describe('names', () => {
  it('are escaped', () => {
    const part = 'O=\\#Biz.\\, \\"Inc.+;<>=\\\\ \nOU=\\ lead + a\nCN=n\u00e4me';
    const pem = make(EC, part, '');
    const subject = said('-subject', '-nameopt', 'RFC2253,-esc_msb,utf8').slice('subject='.length);
    expect(subject).toContain('\\"Inc.\\+\\;\\<\\>');
    expect(call('subject', pem)).toBe(subject);
    expect(call('subject', pem, 'commonName')).toBe('n\u00e4me');
  });

  it('may have several values in one part', () => {
    const pem = make(EC, 'O=Example\nCN=a + b\n+UID=u\n1.CN=last', '');
    expect(`subject=${call('subject', pem)}`).toBe(said('-subject', '-nameopt', 'RFC2253'));
    expect(call('subject', pem)).toBe('CN=last,UID=u+CN=a \\+ b,O=Example');
    expect(call('subject', pem, 'commonName')).toBe('last');
  });

  it('cannot bring in lines', () => {
    const pem = make(EC, 'O=a', '', '-subj', '/CN=a\nO=b');
    expect(call('subject', pem)).toBe('CN=a\\0AO=b');
  });

  it('may be missing', () => {
    const pem = make(EC, 'O=a', '', '-subj', '/');
    expect(call('subject', pem)).toBe('');
    expect(call('subject', pem, 'commonName')).toBe('');
    expect(call('subject', make(EC, 'O=a', ''), 'commonName')).toBe('');
  });
});

describe('of other certificates', () => {
  it.each([
    [['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'], 'EC', 'ecdsa-with-SHA256'],
    [['ed25519'], 'unknown', 'ED25519'],
    [['rsa:1024', '-sigopt', 'rsa_padding_mode:pss'], 'RSA', 'rsassaPss'],
  ])('the key %j is %s, signed with %s', (key, type, algorithm) => {
    const pem = make(key, 'CN=a', '');
    expect(call('subject_public_key_type', pem)).toBe(type);
    expect(call('signature_algorithm', pem)).toBe(algorithm);
    if (type === 'RSA') expect(call('subject_public_key_RSA_bits', pem)).toBe(1024);
    else {
      expect(() => call('subject_public_key_RSA_bits', pem)).toThrow(
        new TypeError('X509.subject_public_key_RSA_bits: the public key is not an RSA key'),
      );
    }
  });

  it('serial numbers may be small, great and negative', () => {
    const serial = (number: string) =>
      call('serial_number', make(EC, 'CN=a', '', '-set_serial', number));
    expect(serial('0')).toBe('00');
    expect(serial('10')).toBe('0a');
    expect(serial('0x80ff')).toBe('80:ff');
    expect(serial('-1')).toBe('-01');
  });

  it('there may be no extensions', () => {
    openssl(
      'req',
      '-new',
      '-newkey',
      ...EC,
      '-nodes',
      '-keyout',
      'b.key',
      '-subj',
      '/CN=old',
      '-out',
      'b.csr',
    );
    openssl('x509', '-req', '-in', 'b.csr', '-key', 'b.key', '-out', 'b.pem');
    const pem = readFileSync(join(folder, 'b.pem'));
    expect(call('version', pem)).toBe(1);
    expect(call('extensions', pem)).toBe('(no extensions)');
    expect(call('subject_public_key', pem)).toMatch(/^3059/);
  });

  it('extensions that are not decoded are bytes', () => {
    const odd = `basicConstraints=CA:TRUE,pathlen:3
1.2.3.40000=DER:0102ff
2.5.29.15=DER:ffff
2.5.29.17=critical,DER:3003
subjectKeyIdentifier=none
nameConstraints=permitted;DNS:a.test
crlDistributionPoints=dirName:n`;
    expect(String(call('extensions', make(EC, 'CN=a', odd))).split('\n')).toEqual([
      'X509v3 extensions:',
      '    X509v3 Basic Constraints: ',
      '        CA:TRUE, pathlen:3',
      '    1.2.3.40000: ',
      '        01:02:FF',
      '    X509v3 Key Usage: ',
      '        FF:FF',
      '    X509v3 Subject Alternative Name: critical',
      '        30:03',
      '    X509v3 Name Constraints: ',
      '        30:0C:A0:0A:30:08:82:06:61:2E:74:65:73:74',
      '    X509v3 CRL Distribution Points: ',
      expect.stringMatching(/^ {8}30:[0-9A-F:]+$/),
    ]);
  });

  it('names cannot bring in others, or lines', () => {
    const uri = `860b${Buffer.from('http://a\nb.').toString('hex')}`;
    const odd = `subjectAltName=@names
2.5.29.31=DER:30133011a00fa00d${uri}
1.3.6.1.5.5.7.1.1=DER:3019301706082b06010505073001${uri}
[names]
DNS.1=a\\, DNS:b`;
    const text = String(call('extensions', make(EC, 'CN=a', odd)));
    expect(text).toContain('\n        DNS:"a\\u002c DNS:b"\n');
    expect(text).toContain('\n          URI:http://a\\x0Ab.\n');
    expect(text).toContain('\n        OCSP - URI:"http://a\\u000ab."\n');
  });
});

describe('what is not a certificate', () => {
  const commands = x509Commands.filter(({ params }) => params[0]?.type === 'binary');

  it('is refused by each command', () => {
    expect(commands.length).toBeGreaterThan(12);
    for (const { name } of commands) {
      for (const wrong of ['', '0', '0\x82', 'certificate', '-----BEGIN CERTIFICATE-----']) {
        expect(() => call(name.replace('X509.', ''), Buffer.from(wrong, 'latin1'))).toThrow(
          new TypeError(`${name}: this is not a certificate`),
        );
      }
    }
  });

  it('is refused, also when it is cut off, goes on, or is too long', () => {
    const whole = der(make(EC, 'CN=a', USUAL));
    for (let length = 0; length < whole.length; length++) {
      expect(() => call('subject', whole.subarray(0, length))).toThrow('not a certificate');
    }
    for (const more of [1, 70_000]) {
      expect(() => call('subject', Buffer.concat([whole, Buffer.alloc(more)]))).toThrow(
        'X509.subject: this is not a certificate',
      );
    }
    const long = Buffer.concat([make(EC, 'CN=a', ''), Buffer.alloc(65_536, '\n')]);
    expect(() => call('subject', long)).toThrow('not a certificate');
  });

  it('never does anything but throw that', () => {
    const whole = der(make(EC, 'CN=a', USUAL));
    let shown = 0;
    for (let at = 0; at < whole.length; at++) {
      for (const mask of [0x01, 0x80]) {
        const damaged = Uint8Array.from(whole);
        damaged[at] = (damaged[at] ?? 0) ^ mask;
        for (const name of ['subject', 'version', 'extensions', 'subject_public_key_type']) {
          try {
            call(name, damaged);
            shown++;
          } catch (error) {
            expect(error).toEqual(new TypeError(`X509.${name}: this is not a certificate`));
          }
        }
      }
    }
    expect(shown).toBeGreaterThan(100);
  });

  it('is not taken for the one before', () => {
    const [one, other] = [make(EC, 'CN=one', ''), make(EC, 'CN=two', '')];
    const asked = [one, other, one.subarray(1), one, one];
    const answers = asked.map((bytes) => {
      try {
        return call('subject', bytes);
      } catch {
        return 'none';
      }
    });
    expect(answers).toEqual(['CN=one', 'CN=two', 'none', 'CN=one', 'CN=one']);
  });

  it('is not PEM inside of a certificate', () => {
    const victim = make(EC, 'CN=victim', '').toString('hex');
    const pem = make(EC, 'CN=attacker', `1.2.3.4=DER:0a${victim}`);
    expect(call('subject', der(pem))).toBe('CN=attacker');
    expect(call('pem2der', der(pem))).toEqual(der(pem));
  });
});

it('all commands are valid in every event', () => {
  for (const spec of x509Commands) expect(refusal(spec, 'RULE_INIT')).toBeUndefined();
  expect(call('verify_cert_error_string', 10)).toBe('certificate has expired');
});
