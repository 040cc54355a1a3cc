import { isIP } from 'node:net';
import type { TlsInfo } from '../core/rule-run.ts';
import { type StreamHandle, type TlsHandle, wrapTls } from './internals.ts';
import { certificatesIn, chainOf, sessionIdOf, verifyErrorNow } from './tls-session.ts';
import { alpnList, type TlsStart } from './tls-start.ts';

/** Puts TLS on a handle on which nothing is being written. The handshake begins with `beginTls`. */
export function layTls(below: StreamHandle, start: TlsStart): TlsHandle {
  const tls = wrapTls(below, start.context, start.role === 'server');
  // Renegotiation is refused by the context.
  tls.onhandshakestart = () => {};
  if (start.alpn.length > 0) tls.setALPNProtocols(alpnList(start.alpn));
  if (start.role === 'server') {
    const { certificate, ocsp } = start;
    if (certificate !== 'none') tls.setVerifyMode(true, certificate === 'require');
    if (ocsp !== undefined) tls.setOCSPResponse(ocsp);
    return tls;
  }
  if (isIP(start.serverName) === 0) tls.setServername(start.serverName);
  if (start.session !== undefined) tls.setSession(start.session);
  tls.onnewsession = (_id, session) => start.onSession(session);
  tls.enableSessionCallbacks();
  return tls;
}

/** What is known of the session on a bare TLS handle. Each look asks OpenSSL. */
export class RawTlsInfo implements TlsInfo {
  constructor(private readonly handle: TlsHandle) {}

  get protocol(): string {
    return this.handle.getProtocol() ?? '';
  }

  get cipher(): string {
    return this.handle.getCipher()?.name ?? '';
  }

  get alpn(): string {
    return this.handle.getALPNNegotiatedProtocol() || '';
  }

  get resumed(): boolean {
    return this.handle.isSessionReused();
  }

  get sessionId(): Uint8Array {
    return sessionIdOf(this.handle.getSession());
  }

  get certificates(): readonly Uint8Array[] {
    const chain = chainOf(this.handle.getPeerCertificate(true));
    return chain.length > 0 ? chain : certificatesIn(this.handle.getSession());
  }

  get verifyError(): string | undefined {
    const session = this.resumed ? this.handle.getSession() : undefined;
    return verifyErrorNow(this.handle.verifyError()?.code, session);
  }
}
