import { describe, expect, test } from 'vitest';
import { probe } from '../../../src/monitors/index.ts';
import { outcome, TestServer, timing } from './lab.ts';

describe('tcp', () => {
  test('passes where a port accepts, and ends with FIN', async () => {
    const server = await TestServer.start(() => {});
    expect(await outcome(server.endpoint, { ...timing, type: 'tcp' })).toBe('');
    await server.untilClosed();
    expect(server.errors).toEqual([]);
  });

  test('says that a port refuses', async () => {
    const server = await TestServer.start(() => {});
    await server.stop();
    const said = await outcome(server.endpoint, { ...timing, type: 'tcp' });
    expect(said).toBe('no connection: ECONNREFUSED');
  });

  test('opens nothing when it is too late already', async () => {
    const server = await TestServer.start(() => {});
    const signal = AbortSignal.abort();
    await expect(probe(server.endpoint, { ...timing, type: 'tcp' }, signal)).rejects.toThrow();
    expect(server.accepted).toBe(0);
  });
});

describe('tcp-half-open', () => {
  test('passes where a port accepts, and ends with RST', async () => {
    const server = await TestServer.start(() => {});
    expect(await outcome(server.endpoint, { ...timing, type: 'tcp-half-open' })).toBe('');
    await server.untilClosed();
    expect(server.errors).toEqual(['ECONNRESET']);
  });

  test('says that a port refuses', async () => {
    const server = await TestServer.start(() => {});
    await server.stop();
    const said = await outcome(server.endpoint, { ...timing, type: 'tcp-half-open' });
    expect(said).toBe('no connection: ECONNREFUSED');
  });
});
