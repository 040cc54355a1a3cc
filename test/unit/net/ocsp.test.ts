import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { fetchOcsp, ocspRefreshDelay } from '../../../src/net/ocsp.ts';
import { ocspRequest, ocspResponder } from '../../../src/net/ocsp-certificate.ts';
import { type Issued, OcspLab, SERIAL } from './ocsp-lab.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let lab: OcspLab;
let authority: Issued;
let delegate: Issued;

beforeAll(async () => {
  lab = await OcspLab.open();
  authority = await lab.authority('Authority');
  delegate = await lab.issue('Responder', authority, {
    extensions: ['extendedKeyUsage = OCSPSigning'],
  });
});
afterAll(() => lab.close());

describe('ocspRequest', () => {
  it.each(['01', '80C0FFEE', `7F${'AB'.repeat(19)}`])(
    'is what OpenSSL asks of %s',
    async (serial) => {
      const leaf = await lab.leaf(authority, 1, serial);
      const request = ocspRequest(leaf.certificate, leaf.issuer);
      expect(request.equals(await lab.request(leaf, 'sha1'))).toBe(true);
    },
  );
});

describe('ocspResponder', () => {
  async function responderOf(...lines: string[]): Promise<string | undefined> {
    const { certificate } = await lab.issue('a.test', authority, { extensions: lines });
    return ocspResponder(certificate)?.href;
  }

  it('is the first http or https URL for OCSP', async () => {
    const access = 'authorityInfoAccess = caIssuers;URI:http://a.test/ca';
    expect(await responderOf()).toBeUndefined();
    expect(await responderOf(access)).toBeUndefined();
    expect(await responderOf(`${access},OCSP;URI:ldap://b.test,OCSP;DNS:c.test`)).toBeUndefined();
    expect(await responderOf(`${access},OCSP;URI:no url`)).toBeUndefined();
    expect(
      await responderOf(
        `${access},OCSP;URI:ldap://b.test,OCSP;URI:http://c.test,OCSP;URI:http://d`,
      ),
    ).toBe('http://c.test/');
    expect(await responderOf('authorityInfoAccess = OCSP;URI:https://e.test:8/x?y')).toBe(
      'https://e.test:8/x?y',
    );
  });
});

describe('fetchOcsp with a responder of OpenSSL', () => {
  it.each(['good', 'revoked', 'unknown'] as const)('learns that it is %s', async (status) => {
    const { port } = await lab.responder(authority, delegate, '-ndays', '2');
    const { certificate, issuer } = await lab.leaf(authority, port, SERIAL[status]);
    const response = await fetchOcsp(certificate, issuer);
    expect(response.status).toBe(status);
    expect(response.nextUpdate).toBe(response.thisUpdate + 2 * DAY);
  });

  it('checks what it got, by the clock that it is given', async () => {
    const { port } = await lab.responder(authority, delegate, '-ndays', '2');
    const { certificate, issuer } = await lab.leaf(authority, port);
    const late = () => Date.now() + 3 * DAY;
    await expect(fetchOcsp(certificate, issuer, undefined, late)).rejects.toThrow(
      new RegExp(`^OCSP responder http://127.0.0.1:${port}/ocsp: the OCSP response expired at`),
    );
  });

  it('says that the responder is for another authority, and that it is gone', async () => {
    const other = await lab.authority('Other');
    const { port, stop } = await lab.responder(other, other, '-ndays', '2');
    const { certificate, issuer } = await lab.leaf(authority, port);
    // OpenSSL calls a certificate of another authority unknown, and signs that.
    await expect(fetchOcsp(certificate, issuer)).rejects.toThrow(/neither the issuer nor a deleg/);
    await stop();
    await expect(fetchOcsp(certificate, issuer)).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe('fetchOcsp with a server that is', () => {
  /** The promise of a fetch from such a server, and the server's side of it. */
  async function fetchFrom(listener: RequestListener, signal?: AbortSignal) {
    const { port, server } = await lab.httpServer(listener);
    const { certificate, issuer } = await lab.leaf(authority, port);
    return { server, fetch: () => fetchOcsp(certificate, issuer, signal) };
  }

  async function untilHungUp(server: Server): Promise<void> {
    const [socket]: Socket[] = await once(server, 'connection');
    socket?.on('error', () => undefined); // It is a reset if there was more to come.
    await new Promise((resolve) => socket?.on('close', resolve));
  }

  /** Until a client of this process has the head of an answer. */
  function untilHead(): Promise<void> {
    const channel = 'http.client.response.finish';
    return new Promise((resolve) => {
      subscribe(channel, function onHead() {
        unsubscribe(channel, onHead);
        resolve();
      });
    });
  }

  const answerWith =
    (status: number, type: string | undefined, body: Buffer): RequestListener =>
    (_, response) => {
      response.writeHead(status, type === undefined ? {} : { 'Content-Type': type }).end(body);
    };

  it('ordinary: gets one POST of the request', async () => {
    const requests: [IncomingMessage, Buffer][] = [];
    const { port } = await lab.httpServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray());
      requests.push([request, body]);
      const der = await lab.respondTo(body, authority, delegate, '-ndays', '1');
      response.writeHead(200, { 'Content-Type': 'application/ocsp-response' }).end(der);
    });
    const { certificate, issuer } = await lab.leaf(authority, port);
    expect((await fetchOcsp(certificate, issuer)).status).toBe('good');
    expect(requests.length).toBe(1);
    const [request, body] = requests[0] ?? [];
    expect([request?.method, request?.url]).toEqual(['POST', '/ocsp']);
    expect(request?.headers).toMatchObject({
      'content-type': 'application/ocsp-request',
      'content-length': `${body?.length}`,
      host: `127.0.0.1:${port}`,
    });
    expect(body?.equals(ocspRequest(certificate, issuer))).toBe(true);
  });

  it.each([undefined, 'application/octet-stream', 'Application/OCSP-Response; x=y'])(
    'careless: says that it sends %j',
    async (type) => {
      const { port, server } = await lab.httpServer(() => undefined);
      const leaf = await lab.leaf(authority, port);
      const der = await lab.respond(leaf, authority, delegate, '-ndays', '1');
      server.on('request', answerWith(200, type, der));
      expect((await fetchOcsp(leaf.certificate, leaf.issuer)).status).toBe('good');
    },
  );

  it.each([
    [200, 'text/html', /: it answered with "text\/html"$/],
    [404, 'application/ocsp-response', /: it answered with HTTP status 404$/],
    [200, 'application/ocsp-response', /: the OCSP response is malformed: /],
  ])('wrong: status %i, %s', async (status, type, message) => {
    const { fetch } = await fetchFrom(answerWith(status, type, Buffer.from('<p>hello')));
    await expect(fetch()).rejects.toThrow(message);
  });

  it('elsewhere: a redirect is not followed', async () => {
    let count = 0;
    const { fetch } = await fetchFrom((_, response) => {
      count += 1;
      response.writeHead(302, { Location: '/other' }).end();
    });
    await expect(fetch()).rejects.toThrow(/HTTP status 302/);
    expect(count).toBe(1);
  });

  it('endless: 64 KiB are enough', async () => {
    const { server, fetch } = await fetchFrom((_, response) => {
      response.writeHead(200, { 'Content-Type': 'application/ocsp-response' });
      const flow = () => {
        while (response.write(Buffer.alloc(10_000))) if (response.destroyed) return;
      };
      response.on('drain', flow);
      flow();
    });
    const closed = untilHungUp(server);
    await expect(fetch()).rejects.toThrow(/more than 64 KiB/);
    await closed;
  });

  it.each<[string, (response: ServerResponse) => void]>([
    ['before the head', (response) => response.destroy()],
    [
      'in the body',
      (response) => {
        response.writeHead(200, { 'Content-Length': 100 });
        response.write('0123456789', () => response.destroy());
      },
    ],
  ])('breaking off %s', async (_, breakOff) => {
    const { fetch } = await fetchFrom((__, response) => breakOff(response));
    await expect(fetch()).rejects.toThrow(/socket hang up|aborted|ECONNRESET/);
  });

  type Silence = [string, (response: ServerResponse) => void, (server: Server) => Promise<unknown>];
  const silences: Silence[] = [
    ['before the head', () => undefined, (server) => once(server, 'request')],
    ['in the body', (response) => response.writeHead(200).write('x'), untilHead],
    [
      'after a change of the protocol',
      (response) => response.writeHead(101, { Connection: 'upgrade', Upgrade: 'x' }).end(),
      untilHungUp,
    ],
  ];

  it.each(silences)('silent %s, until it is aborted', async (_, stall, untilSilent) => {
    const abort = new AbortController();
    const { server, fetch } = await fetchFrom((__, response) => stall(response), abort.signal);
    const silent = untilSilent(server);
    const outcome = expect(fetch()).rejects.toThrow(/: enough$/);
    await silent;
    abort.abort(new Error('enough'));
    await outcome;
  });

  it.each(silences)('silent %s, for 10 s', async (_, stall, untilSilent) => {
    const { server, fetch } = await fetchFrom((__, response) => stall(response));
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const silent = untilSilent(server);
      let isOver = false;
      const fetched = fetch().finally(() => {
        isOver = true;
      });
      const outcome = expect(fetched).rejects.toThrow(/: no answer within 10 s$/);
      await silent;
      await vi.advanceTimersByTimeAsync(9_999);
      expect(isOver).toBe(false);
      await vi.advanceTimersByTimeAsync(1);
      await outcome;
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('not asked at all when it is aborted already, or there is none', async () => {
    const { fetch } = await fetchFrom(
      () => {
        throw new Error('was asked');
      },
      AbortSignal.abort(new Error('too late')),
    );
    await expect(fetch()).rejects.toThrow(/: too late$/);
    const { certificate } = await lab.issue('a.test', authority);
    await expect(fetchOcsp(certificate, authority.certificate)).rejects.toThrow(
      'the certificate names no OCSP responder',
    );
  });
});

describe('ocspRefreshDelay', () => {
  const now = Date.UTC(2030, 0, 1);
  const delay = (from: number, to: number | undefined) =>
    ocspRefreshDelay(
      {
        der: Buffer.alloc(0),
        status: 'good',
        thisUpdate: now + from,
        nextUpdate: to === undefined ? undefined : now + to,
      },
      now,
    );

  it.each([
    ['the middle', 0, 4 * HOUR, 2 * HOUR],
    ['the middle, which is near', -3 * HOUR, 5 * HOUR, HOUR],
    ['a day at most', 0, 7 * DAY, DAY],
    ['half of what is left', -6 * HOUR, 2 * HOUR, HOUR],
    ['a minute at least', -HOUR, MINUTE, MINUTE],
    ['a minute at least, when it is over', -HOUR, -MINUTE, MINUTE],
    ['an hour without nextUpdate', 0, undefined, HOUR],
  ])('is %s', (_, from, to, expected) => {
    expect(delay(from, to)).toBe(expected);
  });

  it('is five minutes after a failure', () => {
    expect(ocspRefreshDelay(undefined, now)).toBe(5 * MINUTE);
  });
});
