import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyCode, verifyText } from '../../../src/commands/verify-result.ts';
import { createAuthority, issueCertificate } from '../../../src/net/certificate.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'portreeve-verify-'));
  const authority = createAuthority('Test');
  const names = ['a.test'];
  writeFileSync(join(folder, 'ca.pem'), authority.certPem);
  writeFileSync(join(folder, 'leaf.pem'), issueCertificate({ authority, names }).certPem);
  const request = 'req -x509 -newkey ed25519 -nodes -keyout own.key -subj /CN=own -out own.pem';
  execFileSync('openssl', request.split(' '), { cwd: folder, stdio: 'pipe' });
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('the result of a verification', () => {
  it.each([
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 18, '-no-CApath own.pem'],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 20, '-no-CApath leaf.pem'],
    ['CERT_NOT_YET_VALID', 9, '-attime 1000000000 -CAfile ca.pem leaf.pem'],
    ['CERT_HAS_EXPIRED', 10, '-attime 4000000000 -CAfile ca.pem leaf.pem'],
    ['HOSTNAME_MISMATCH', 62, '-verify_hostname b.test -CAfile ca.pem leaf.pem'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 62, '-verify_hostname b.test -CAfile ca.pem leaf.pem'],
    ['INVALID_PURPOSE', 26, '-purpose sslclient -CAfile ca.pem leaf.pem'],
  ])('%s is %i, as OpenSSL says', (name, code, options) => {
    expect(verifyCode(name)).toBe(code);
    const { stderr } = spawnSync('openssl', ['verify', ...options.split(' ')], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(stderr).toMatch(
      new RegExp(`^error ${code} at \\d depth lookup: ${verifyText(code)}$`, 'm'),
    );
  });

  it('is 0 without a name, and 1 for one that is not known', () => {
    expect(verifyCode(undefined)).toBe(0);
    expect(verifyCode('UNSPECIFIED')).toBe(1);
    expect(verifyCode('constructor')).toBe(1);
  });

  it.each([
    [0, 'ok'],
    [1, 'unspecified certificate verification error'],
    [21, 'unable to verify the first certificate'],
    [50, 'application verification failure'],
    [79, 'invalid CA certificate'],
    [94, 'Certificate public key has explicit ECC parameters'],
    [95, 'unknown certificate verification error'],
    [2 ** 31 - 1, 'unknown certificate verification error'],
  ])('%i is %j', (code, text) => {
    expect(verifyText(code)).toBe(text);
  });
});
