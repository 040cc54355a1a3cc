import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { SecureContext } from 'node:tls';
import { toPem } from '../core/pem.ts';
import type { CertificateMode, TlsInfo } from '../core/rule-run.ts';

interface TlsCommon {
  readonly context: SecureContext;
  /** Protocols for ALPN (RFC 7301), the dearest first; empty: none. */
  readonly alpn: readonly string[];
  /** TLS can be taken off again. */
  readonly detachable: boolean;
}

/** TLS towards a client. */
export interface ServerTls extends TlsCommon {
  readonly role: 'server';
  readonly certificate: CertificateMode;
  /** An OCSP response to staple. */
  readonly ocsp: Buffer | undefined;
}

/** TLS towards a server. */
export interface ClientTls extends TlsCommon {
  readonly role: 'client';
  /** Sent as SNI and demanded of the certificate; an IP address is only demanded. */
  readonly serverName: string;
  /** Whether the server's certificate must be right. */
  readonly verify: boolean;
  /** A session to resume. */
  readonly session: Buffer | undefined;
  /** Takes sessions that may be resumed later. */
  readonly onSession: (session: Buffer) => void;
}

/** How TLS is to start on a stream. */
export type TlsStart = ServerTls | ClientTls;

/** OpenSSL's name for a peer without a certificate. */
const NO_CERTIFICATE = 'the peer has shown no certificate';

/** Why a session with this peer must not be used; undefined: it may. */
export function refusalOf(start: TlsStart, info: TlsInfo): string | undefined {
  if (start.role === 'server') {
    if (start.certificate !== 'require') return undefined;
    if (info.certificates.length === 0) return NO_CERTIFICATE;
    return info.verifyError;
  }
  if (!start.verify) return undefined;
  const [leaf] = info.certificates;
  if (leaf === undefined) return NO_CERTIFICATE;
  if (info.verifyError !== undefined) return info.verifyError;
  return isFor(new X509Certificate(toPem(leaf)), start.serverName)
    ? undefined
    : `its certificate is not for ${start.serverName}`;
}

function isFor(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  // `*` stands for a whole label only (RFC 9525, section 6.3).
  return certificate.checkHost(name, { subject: 'never', partialWildcards: false }) !== undefined;
}

/** The list as it is in the extension: each name behind its length. */
export function alpnList(names: readonly string[]): Buffer {
  return Buffer.concat(
    names.flatMap((name) => [Buffer.from([name.length]), Buffer.from(name, 'latin1')]),
  );
}
