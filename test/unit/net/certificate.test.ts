import { execFile } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority, issueCertificate } from '../../../src/net/certificate.ts';

const run = promisify(execFile);
const DAY = 24 * 60 * 60 * 1000;

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portreeve-certificate-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function inFolder(name: string, text: string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, text);
  return file;
}

const authority = createAuthority('Test authority');

const FOREIGN_CONFIG = `
[req]
prompt = no
string_mask = default
distinguished_name = name
x509_extensions = extensions
[name]
C = GB
O = The Reeves
CN = Foreign
[extensions]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = 0A0B0C0D
`;

function lifetime(certificate: X509Certificate): { from: number; to: number } {
  return { from: Date.parse(certificate.validFrom), to: Date.parse(certificate.validTo) };
}

describe('createAuthority', () => {
  it('makes a self-signed authority that verifies', async () => {
    const certificate = new X509Certificate(authority.certPem);
    expect(certificate.ca).toBe(true);
    expect(certificate.subject).toBe('CN=Test authority');
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    const file = await inFolder('self.pem', authority.certPem);
    const { stdout } = await run('openssl', ['verify', '-x509_strict', '-CAfile', file, file]);
    expect(stdout).toBe(`${file}: OK\n`);
  });

  it('keeps a name beyond ASCII', () => {
    expect(new X509Certificate(createAuthority('Prüfstelle').certPem).subject).toContain('ü');
  });

  it.each(['', 'x'.repeat(65)])('refuses the name %j', (name) => {
    expect(() => createAuthority(name)).toThrow(RangeError);
  });
});

describe('issueCertificate', () => {
  it('names hosts and addresses, and nothing else', () => {
    const names = ['mail.example.com', '*.example.net', '127.0.0.1', '2001:db8::1'];
    const certificate = new X509Certificate(issueCertificate({ authority, names }).certPem);
    expect(certificate.checkHost('mail.example.com')).toBe('mail.example.com');
    expect(certificate.checkHost('any.example.net')).toBe('*.example.net');
    expect(certificate.checkHost('example.org')).toBeUndefined();
    expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(certificate.checkIP('2001:db8::1')).toBe('2001:db8::1');
    expect(certificate.checkIP('127.0.0.2')).toBeUndefined();
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  });

  it('is issued by its authority and by no other of the same name', () => {
    const issued = new X509Certificate(issueCertificate({ authority, names: ['a.test'] }).certPem);
    const issuer = new X509Certificate(authority.certPem);
    const twin = new X509Certificate(createAuthority('Test authority').certPem);
    expect(issued.checkIssued(issuer)).toBe(true);
    expect(issued.verify(issuer.publicKey)).toBe(true);
    expect(issued.checkIssued(twin)).toBe(false);
  });

  it('is valid from a day ago until the days are over, at most 398 days in all', () => {
    const names = ['a.test'];
    const now = Date.now();
    const short = lifetime(
      new X509Certificate(issueCertificate({ authority, names, days: 7 }).certPem),
    );
    expect(Math.abs(short.from - (now - DAY))).toBeLessThan(5000);
    expect(Math.abs(short.to - (now + 7 * DAY))).toBeLessThan(5000);
    const long = lifetime(
      new X509Certificate(issueCertificate({ authority, names, days: 397 }).certPem),
    );
    expect(long.to + 1000 - long.from).toBeLessThanOrEqual(398 * DAY);
  });

  it('numbers certificates with 128 bits, positive and different each time', () => {
    const serials = Array.from({ length: 20 }, () => {
      const { certPem } = issueCertificate({ authority, names: ['a.test'] });
      return new X509Certificate(certPem).serialNumber;
    });
    expect(new Set(serials).size).toBe(serials.length);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
  });

  it('carries the extensions that RFC 5280 wants, and passes the strict check', async () => {
    const ca = await inFolder('ca.pem', authority.certPem);
    const { certPem } = issueCertificate({ authority, names: ['a.test', '127.0.0.1'] });
    const file = await inFolder('leaf.pem', certPem);
    const verify = ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', ca];
    const { stdout } = await run('openssl', [...verify, '-verify_hostname', 'a.test', file]);
    expect(stdout).toBe(`${file}: OK\n`);
    const { stdout: text } = await run('openssl', ['x509', '-in', file, '-noout', '-text']);
    expect(text).toContain('Version: 3 (0x2)');
    expect(text).toContain('ecdsa-with-SHA256');
    expect(text).toMatch(/Basic Constraints: critical\n\s+CA:FALSE/);
    expect(text).toMatch(/Key Usage: critical\n\s+Digital Signature\n/);
    expect(text).toMatch(/Alternative Name: \n\s+DNS:a.test, IP Address:127.0.0.1/);
  });

  it('leaves the subject empty and the SAN critical for a long first name', async () => {
    const name = `${'long-label.'.repeat(8)}test`;
    const ca = await inFolder('ca-long.pem', authority.certPem);
    const file = await inFolder('long.pem', issueCertificate({ authority, names: [name] }).certPem);
    await run('openssl', ['verify', '-x509_strict', '-CAfile', ca, '-verify_hostname', name, file]);
    const { stdout } = await run('openssl', ['x509', '-in', file, '-noout', '-text']);
    expect(stdout).toContain('Subject Alternative Name: critical');
    expect(new X509Certificate(await readFile(file)).subject).toBeFalsy();
  });

  it("copies a foreign authority's name and key identifier as they stand", async () => {
    const [certFile, keyFile] = [join(folder, 'foreign.pem'), join(folder, 'foreign.key')];
    // A configuration of its own: the system's one would add extensions that contradict this one.
    const config = await inFolder('req.cnf', FOREIGN_CONFIG);
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes'];
    const files = ['-config', config, '-keyout', keyFile, '-out', certFile];
    await run('openssl', ['req', '-x509', '-days', '2', ...key, ...files]);
    const foreign = {
      certPem: await readFile(certFile, 'utf8'),
      keyPem: await readFile(keyFile, 'utf8'),
    };
    const issued = issueCertificate({ authority: foreign, names: ['b.test'] });
    const file = await inFolder('issued.pem', issued.certPem);
    const { stdout } = await run('openssl', ['verify', '-x509_strict', '-CAfile', certFile, file]);
    expect(stdout).toBe(`${file}: OK\n`);
    const { stdout: text } = await run('openssl', ['x509', '-in', file, '-noout', '-text']);
    expect(text).toMatch(/Authority Key Identifier: \n\s+0A:0B:0C:0D/);
    const printableCountry = Buffer.from('13024742', 'hex');
    expect(new X509Certificate(issued.certPem).raw.includes(printableCountry)).toBe(true);
  });

  it.each(['', 'a b', 'a..b', '-a.test', 'fe80::1%lo', '1.2.3.999', 'a\0.test', 'grüße.test', '*'])(
    'refuses the name %j',
    (name) => {
      expect(() => issueCertificate({ authority, names: [name] })).toThrow(TypeError);
    },
  );

  it('refuses no names, a time out of range, and a key that does not fit', () => {
    expect(() => issueCertificate({ authority, names: [] })).toThrow(RangeError);
    for (const days of [0, 398, 1.5, Number.NaN]) {
      expect(() => issueCertificate({ authority, names: ['a.test'], days })).toThrow(RangeError);
    }
    const stolen = { certPem: authority.certPem, keyPem: createAuthority('Other').keyPem };
    expect(() => issueCertificate({ authority: stolen, names: ['a.test'] })).toThrow(TypeError);
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const keyPem = rsa.export({ type: 'pkcs8', format: 'pem' }).toString();
    const wrong = { certPem: authority.certPem, keyPem };
    expect(() => issueCertificate({ authority: wrong, names: ['a.test'] })).toThrow(
      /not an EC key/,
    );
  });
});

describe('a TLS handshake', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('is trusted with %s by who trusts the CA', async (v) => {
    const { certPem, keyPem } = issueCertificate({ authority, names: ['localhost', '127.0.0.1'] });
    const server = createServer({ cert: certPem, key: keyPem, minVersion: v, maxVersion: v });
    server.on('secureConnection', (socket: TLSSocket) => socket.end('trusted'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const client = connect({ port, host: '127.0.0.1', ca: authority.certPem });
      const chunks = await client.toArray();
      expect(client.authorized).toBe(true);
      expect(Buffer.concat(chunks).toString()).toBe('trusted');
      const doubter = connect({ port, host: '127.0.0.1', ca: createAuthority('Other').certPem });
      await expect(once(doubter, 'secureConnect')).rejects.toThrow(/unable to verify|issuer/);
    } finally {
      server.close();
    }
  });
});
