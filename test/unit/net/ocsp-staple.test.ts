import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { readOcspResponse } from '../../../src/net/ocsp-response.ts';
import { OcspStaple } from '../../../src/net/ocsp-staple.ts';
import { type Issued, type Leaf, OcspLab, SERIAL } from './ocsp-lab.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

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

/** Looks after each turn of the event loop, which fake timers leave alone. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 4_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('waited 4 s in vain');
    await nextTurn();
  }
}

function nextUpdate(response: Buffer, { certificate, issuer }: Leaf): number {
  return readOcspResponse(response, certificate, issuer, Date.now()).nextUpdate ?? 0;
}

describe('a given response', () => {
  it('is stapled until it expires', async () => {
    const leaf = await lab.leaf(authority, 1);
    const response = await lab.respond(leaf, authority, delegate, '-nmin', '30');
    let now = Date.now();
    const staple = new OcspStaple({ ...leaf, response, now: () => now });
    expect(staple.current()?.equals(response)).toBe(true);
    now = nextUpdate(response, leaf);
    expect(staple.current()?.equals(response)).toBe(true);
    now += 1;
    expect(staple.current()).toBeUndefined();
    expect(() => new OcspStaple({ ...leaf, response, now: () => now })).toThrow(/expired/);
  });

  it('needs no responder, and none is asked', async () => {
    const { certificate } = await lab.issue('a.test', authority, { serial: SERIAL.good });
    const leaf = { certificate, issuer: authority.certificate };
    const response = await lab.respond(leaf, authority, delegate, '-ndays', '1');
    const staple = new OcspStaple({ ...leaf, response });
    const log = vi.fn();
    const timers = vi.spyOn(globalThis, 'setTimeout');
    staple.start(log);
    expect(timers).not.toHaveBeenCalled();
    timers.mockRestore();
    staple.close();
    expect(staple.current()?.equals(response)).toBe(true);
    expect(log).not.toHaveBeenCalled();
    expect(() => new OcspStaple(leaf)).toThrow('the certificate names no OCSP responder');
  });

  it('is refused when it is malformed, or does not know the certificate', async () => {
    const leaf = await lab.leaf(authority, 1, SERIAL.unknown);
    const response = await lab.respond(leaf, authority, delegate, '-ndays', '1');
    expect(() => new OcspStaple({ ...leaf, response })).toThrow(/does not know the certificate/);
    expect(() => new OcspStaple({ ...leaf, response: Buffer.from('x') })).toThrow(/malformed/);
  });
});

describe('fetching from a responder of OpenSSL', () => {
  it('staples the response until it expires, and not any longer', async () => {
    const { port, stop } = await lab.responder(authority, delegate, '-nmin', '30');
    const leaf = await lab.leaf(authority, port);
    let late = 0;
    const staple = new OcspStaple({ ...leaf, now: () => Date.now() + late });
    const log = vi.fn();
    expect(staple.current()).toBeUndefined();
    staple.start(log);
    await until(() => staple.current() !== undefined);
    await stop();
    const response = staple.current() ?? Buffer.alloc(0);
    late = nextUpdate(response, leaf) - Date.now() - 5_000;
    expect(staple.current()?.equals(response)).toBe(true);
    late += 6_000;
    expect(staple.current()).toBeUndefined();
    expect(log).not.toHaveBeenCalled();
    staple.close();
  });

  it('tells that the certificate is revoked, and staples that', async () => {
    const { port } = await lab.responder(authority, delegate, '-nmin', '30');
    const leaf = await lab.leaf(authority, port, SERIAL.revoked);
    const staple = new OcspStaple(leaf);
    const log = vi.fn();
    staple.start(log);
    await until(() => staple.current() !== undefined);
    expect(log.mock.calls).toEqual([['OCSP: the certificate is revoked']]);
    staple.close();
  });

  it('leaves no timer behind that keeps the process alive', async () => {
    const { port } = await lab.responder(authority, delegate, '-nmin', '30');
    const timers = vi.spyOn(globalThis, 'setTimeout');
    const staple = new OcspStaple(await lab.leaf(authority, port));
    staple.start(() => undefined);
    await until(() => staple.current() !== undefined);
    const waiting = timers.mock.results.at(-1)?.value as NodeJS.Timeout;
    timers.mockRestore();
    expect(waiting.hasRef()).toBe(false);
    staple.close();
  });
});

describe('fetching again', () => {
  let port = 0;
  let server: Server;
  let requests: ServerResponse[] = [];
  let log: string[] = [];
  let staple: OcspStaple;
  let late = 0;

  beforeEach(async () => {
    requests = [];
    log = [];
    late = 0;
    ({ port, server } = await lab.httpServer((_, response) => {
      requests.push(response);
    }));
  });
  afterEach(() => {
    staple.close();
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  function start(leaf: Leaf): void {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    vi.spyOn(globalThis, 'setTimeout');
    staple = new OcspStaple({ ...leaf, now: () => Date.now() + late });
    staple.start((message) => log.push(message));
  }

  /** Answers the next request, and waits until the timer for the one after it runs. */
  async function answer(body: Buffer | number): Promise<void> {
    await until(() => requests.length > 0);
    const response = requests.shift();
    const timers = vi.mocked(setTimeout).mock.calls;
    const { length } = timers;
    if (typeof body === 'number') response?.writeHead(body).end();
    else response?.end(body);
    await until(() => timers.length > length);
    expect(vi.getTimerCount()).toBe(1);
  }

  async function pass(milliseconds: number): Promise<void> {
    late += milliseconds;
    await vi.advanceTimersByTimeAsync(milliseconds);
  }

  it('is due in the middle, and five minutes after each failure', async () => {
    const leaf = await lab.leaf(authority, port);
    const first = await lab.respond(leaf, authority, delegate, '-nmin', '240');
    const unknown = await lab.leaf(authority, port, SERIAL.unknown);
    const otherCertificate = await lab.respond(unknown, authority, delegate, '-nmin', '240');
    const second = await lab.respond(leaf, authority, authority, '-nmin', '600');
    start(leaf);
    await answer(503);
    expect(staple.current()).toBeUndefined();
    expect(log.splice(0)).toEqual([
      `OCSP: OCSP responder http://127.0.0.1:${port}/ocsp: it answered with HTTP status 503`,
    ]);
    await pass(5 * MINUTE - 1);
    expect(vi.getTimerCount()).toBe(1);
    expect(requests.length).toBe(0);
    await pass(1);
    await answer(first);
    expect(staple.current()?.equals(first)).toBe(true);
    await pass(2 * HOUR - 6 * MINUTE);
    expect(requests.length).toBe(0);
    await pass(MINUTE);
    await answer(otherCertificate);
    expect(staple.current()?.equals(first)).toBe(true);
    expect(log.splice(0)).toEqual([expect.stringMatching(/about another certificate$/)]);
    await pass(5 * MINUTE);
    await answer(second);
    expect(staple.current()?.equals(second)).toBe(true);
    expect(log).toEqual([]);
  });

  it('counts `unknown` as a failure', async () => {
    const leaf = await lab.leaf(authority, port, SERIAL.unknown);
    const response = await lab.respond(leaf, authority, delegate, '-ndays', '1');
    start(leaf);
    await answer(response);
    expect(staple.current()).toBeUndefined();
    expect(log).toEqual(['OCSP: the OCSP responder does not know the certificate']);
    await pass(5 * MINUTE);
    await until(() => requests.length === 1);
  });

  it('ends with close, during a request', async () => {
    const connected = once(server, 'connection');
    start(await lab.leaf(authority, port));
    const [socket] = await connected;
    await until(() => requests.length === 1);
    const closed = once(socket, 'close');
    staple.close();
    await closed;
    expect(vi.getTimerCount()).toBe(0);
    expect(log).toEqual([]);
  });

  it('ends with close, between requests; the response stays', async () => {
    const leaf = await lab.leaf(authority, port);
    const response = await lab.respond(leaf, authority, delegate, '-ndays', '1');
    start(leaf);
    await answer(response);
    staple.close();
    expect(vi.getTimerCount()).toBe(0);
    expect(staple.current()?.equals(response)).toBe(true);
    await pass(2 * HOUR);
    expect(requests.length).toBe(0);
  });
});
