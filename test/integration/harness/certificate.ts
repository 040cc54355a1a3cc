import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, temporaryFolder } from './process.ts';

/** A self-signed certificate, its own authority, in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  /** Path of the certificate, for clients that verify. */
  readonly certFile: string;
}

/** Makes an EC P-256 certificate for localhost, 127.0.0.1 and ::1 with the `openssl` command. */
export async function makeCertificate(): Promise<Certificate> {
  const folder = temporaryFolder();
  const result = await run(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-subj', '/CN=localhost', '-days', '2', '-keyout', 'key.pem', '-out', 'cert.pem'],
      ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'],
    ],
    { folder },
  );
  if (result.code !== 0) throw new Error(`openssl req: ${result.stderr}`);
  const certFile = join(folder, 'cert.pem');
  return {
    cert: readFileSync(certFile, 'utf8'),
    key: readFileSync(join(folder, 'key.pem'), 'utf8'),
    certFile,
  };
}
