import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { contextTag, readElement, readElements } from '../core/der.ts';
import { toPem } from '../core/pem.ts';
import type { TlsInfo } from '../core/rule-run.ts';
import { handleOf } from './internals.ts';

/** A certificate as Node shows it, with its issuer's. */
export interface ChainLink {
  readonly raw?: Uint8Array;
  readonly issuerCertificate?: ChainLink;
}

/** OpenSSL itself takes no more. */
const LONGEST_CHAIN = 100;

/** A chain in DER, leaf first. A root is its own issuer. */
export function chainOf(leaf: ChainLink | null | undefined): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  let link = leaf ?? undefined;
  while (link?.raw !== undefined && chain.length < LONGEST_CHAIN) {
    chain.push(link.raw);
    const issuer: ChainLink | undefined = link.issuerCertificate;
    link = issuer === link ? undefined : issuer;
  }
  return chain;
}

/*
 * A session as OpenSSL serializes it is a sequence of the form's version, the TLS version, the
 * cipher, the session id, the secret, and then what has tags of its own.
 */
const PEER_CERTIFICATE = contextTag(3);

/** The session id in a serialized session. */
export function sessionIdOf(session: Uint8Array | undefined): Uint8Array {
  if (session === undefined) return new Uint8Array(0);
  const [, , , id] = readElements(readElement(session).content);
  return id?.content ?? new Uint8Array(0);
}

/**
 * The peer's certificate in a serialized session, in DER. A client that resumes a session is shown
 * none, and Node does not tell the one that it was shown when the session began.
 */
export function certificatesIn(session: Uint8Array | undefined): readonly Uint8Array[] {
  if (session === undefined) return [];
  const elements = readElements(readElement(session).content);
  const peer = elements.find(({ tag }) => tag === PEER_CERTIFICATE);
  return peer === undefined ? [] : [peer.content];
}

/**
 * What is wrong with the peer's certificate now, in OpenSSL's words. Where a session is resumed,
 * `error` is what was found when it began, and the certificate may have expired since.
 *
 * @param session - the serialized session, if it is resumed
 */
export function verifyErrorNow(
  error: string | undefined,
  session: Uint8Array | undefined,
): string | undefined {
  const [leaf] = error === undefined ? certificatesIn(session) : [];
  if (leaf === undefined) return error;
  const { validTo } = new X509Certificate(toPem(leaf));
  return Date.parse(validTo) < Date.now() ? 'CERT_HAS_EXPIRED' : undefined;
}

/** What is known of the session of a TLS socket. Each look asks OpenSSL. */
export class SocketTlsInfo implements TlsInfo {
  constructor(private readonly socket: TLSSocket) {}

  get protocol(): string {
    return this.socket.getProtocol() ?? '';
  }

  get cipher(): string {
    return this.socket.getCipher()?.name ?? '';
  }

  get alpn(): string {
    return this.socket.alpnProtocol || '';
  }

  get resumed(): boolean {
    return this.socket.isSessionReused();
  }

  get sessionId(): Uint8Array {
    return sessionIdOf(this.socket.getSession());
  }

  get certificates(): readonly Uint8Array[] {
    const chain = chainOf(this.socket.getPeerCertificate(true));
    return chain.length > 0 ? chain : certificatesIn(this.socket.getSession());
  }

  get verifyError(): string | undefined {
    const session = this.resumed ? this.socket.getSession() : undefined;
    return verifyErrorNow(handleOf(this.socket).verifyError()?.code, session);
  }
}
