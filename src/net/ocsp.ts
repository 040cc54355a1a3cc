import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { ocspRequest, ocspResponder } from './ocsp-certificate.ts';
import { MAX_OCSP_RESPONSE, type OcspResponse, readOcspResponse } from './ocsp-response.ts';

const MINUTE = 60 * 1000;
/** For all of a fetch, from the name to the last byte, in milliseconds. */
const FETCH_LIMIT = 10_000;

/**
 * Asks the certificate's responder (RFC 6960, appendix A.1). Takes 10 s and 64 KiB at most, and
 * follows no redirects.
 *
 * @param now - the clock that the response must be valid by, milliseconds since the epoch
 * @throws Error (as a rejection) that says which responder and what went wrong
 */
export async function fetchOcsp(
  certificate: X509Certificate,
  issuer: X509Certificate,
  signal?: AbortSignal,
  now: () => number = Date.now,
): Promise<OcspResponse> {
  const responder = ocspResponder(certificate);
  if (responder === undefined) throw new Error('the certificate names no OCSP responder');
  // A timer of its own: it ends together with the fetch, unlike the one of AbortSignal.timeout.
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new Error('no answer within 10 s')), FETCH_LIMIT);
  const giveUp = () => limit.abort(signal?.reason);
  signal?.addEventListener('abort', giveUp);
  try {
    if (signal?.aborted) giveUp();
    const der = await post(responder, ocspRequest(certificate, issuer), limit.signal);
    return readOcspResponse(der, certificate, issuer, now());
  } catch (error) {
    const reason = messageOf(limit.signal.aborted ? limit.signal.reason : error);
    throw new Error(`OCSP responder ${responder.href}: ${reason}`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
  }
}

async function post(url: URL, body: Buffer, signal: AbortSignal): Promise<Buffer> {
  const send = url.protocol === 'https:' ? requestHttps : requestHttp;
  const headers = {
    'Content-Type': 'application/ocsp-request',
    'Content-Length': body.length,
    Accept: 'application/ocsp-response',
  };
  const request = send(url, { method: 'POST', headers, agent: false, signal });
  try {
    const answered = once(request, 'response', { signal });
    // An error after the answer has begun is an error of the answer too, which is being read.
    request.on('error', () => undefined);
    request.end(body);
    const [answer] = (await answered) as [IncomingMessage];
    checkHead(answer);
    return await readBody(answer);
  } finally {
    request.destroy();
  }
}

/** Some responders send a general type or none; a text is a page for people. */
function checkHead({ statusCode, headers }: IncomingMessage): void {
  if (statusCode !== 200) throw new Error(`it answered with HTTP status ${statusCode}`);
  const type = headers['content-type'] ?? 'application/ocsp-response';
  if (!/^application\//i.test(type)) throw new Error(`it answered with ${JSON.stringify(type)}`);
}

async function readBody(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_OCSP_RESPONSE) throw new Error('it answered with more than 64 KiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Where a host has several addresses and none answers, the error has a code and no message. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || (error as NodeJS.ErrnoException).code || error.name;
}

/**
 * How long to wait before the responder is asked again, in milliseconds: until the middle between
 * thisUpdate and nextUpdate, or of what is left when that is over. A minute to a day; an hour without
 * nextUpdate.
 *
 * @param response - `undefined` after a failure: five minutes
 * @param now - milliseconds since the epoch
 */
export function ocspRefreshDelay(response: OcspResponse | undefined, now: number): number {
  if (response === undefined) return 5 * MINUTE;
  const { thisUpdate, nextUpdate } = response;
  if (nextUpdate === undefined) return 60 * MINUTE;
  const middle = (thisUpdate + nextUpdate) / 2;
  const due = middle > now ? middle : (now + nextUpdate) / 2;
  return Math.min(Math.max(due - now, MINUTE), 24 * 60 * MINUTE);
}
