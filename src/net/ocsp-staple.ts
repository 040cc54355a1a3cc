import type { X509Certificate } from 'node:crypto';
import { fetchOcsp, ocspRefreshDelay } from './ocsp.ts';
import { ocspResponder } from './ocsp-certificate.ts';
import { type OcspResponse, ocspExpiry, readOcspResponse } from './ocsp-response.ts';

/** What an {@link OcspStaple} is for. */
export interface OcspStapleOptions {
  readonly certificate: X509Certificate;
  /** The certificate that issued it: the next one of the chain. */
  readonly issuer: X509Certificate;
  /** DER of the one response to staple; without it, responses are fetched. */
  readonly response?: Uint8Array;
  /** The clock, milliseconds since the epoch. */
  readonly now?: () => number;
}

/**
 * The current OCSP response of one certificate, given or kept fresh. One that says `revoked` is
 * stapled: clients ought to know. One that says `unknown` counts as none: a responder may not have
 * heard of a certificate that was issued just now.
 */
export class OcspStaple {
  private readonly certificate: X509Certificate;
  private readonly issuer: X509Certificate;
  private readonly isFixed: boolean;
  private readonly now: () => number;
  private readonly closing = new AbortController();
  private response: OcspResponse | undefined;
  private timer: NodeJS.Timeout | undefined;

  /**
   * @throws Error when the given response is of no use, see {@link readOcspResponse}; without one,
   * when the certificate names no responder
   */
  constructor(options: OcspStapleOptions) {
    const { certificate, issuer, response, now = Date.now } = options;
    this.certificate = certificate;
    this.issuer = issuer;
    this.now = now;
    this.isFixed = response !== undefined;
    if (response !== undefined) {
      this.response = known(readOcspResponse(response, certificate, issuer, now()));
    } else if (ocspResponder(certificate) === undefined) {
      throw new Error('the certificate names no OCSP responder');
    }
  }

  /** The DER to staple now; `undefined` when there is no response, or it has expired. */
  current(): Buffer | undefined {
    const { response } = this;
    return response && this.now() <= ocspExpiry(response) ? response.der : undefined;
  }

  /**
   * Fetches in the background from now on, if the response is not a given one. Call it once.
   *
   * @param log - is told of failures, and of a certificate that is revoked
   */
  start(log: (message: string) => void): void {
    if (!this.isFixed) void this.refresh(log);
  }

  /** Stops fetching. The response stays until it expires. */
  close(): void {
    this.closing.abort(new Error('closed'));
    clearTimeout(this.timer);
  }

  private async refresh(log: (message: string) => void): Promise<void> {
    const fetched = await this.fetch(log);
    if (this.closing.signal.aborted) return;
    this.response = fetched ?? this.response;
    const delay = ocspRefreshDelay(fetched, this.now());
    this.timer = setTimeout(() => void this.refresh(log), delay).unref();
  }

  private async fetch(log: (message: string) => void): Promise<OcspResponse | undefined> {
    const { certificate, issuer, closing, now } = this;
    try {
      const response = known(await fetchOcsp(certificate, issuer, closing.signal, now));
      if (response.status === 'revoked') log('OCSP: the certificate is revoked');
      return response;
    } catch (error) {
      if (!closing.signal.aborted) log(`OCSP: ${(error as Error).message}`);
      return undefined;
    }
  }
}

function known(response: OcspResponse): OcspResponse {
  if (response.status !== 'unknown') return response;
  throw new Error('the OCSP responder does not know the certificate');
}
