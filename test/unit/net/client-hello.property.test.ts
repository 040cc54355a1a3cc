import { beforeAll, describe, expect, it } from 'vitest';
import { type HelloResult, readClientHello } from '../../../src/net/client-hello.ts';
import { helloOfNode, inRecords, messageOf } from './hello-bytes.ts';

/** Numbers from 0 to `below` - 1, always the same ones for a seed (mulberry32). */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** All that a hello says, read by its getters, too. */
function said(result: HelloResult): unknown {
  if (result.type !== 'hello') return result;
  const { hello } = result;
  const { serverName, alpn, versions, cipherSuites, sessionId, ticket, extensionTypes } = hello;
  const bodies = extensionTypes.map((type) => hello.extension(type));
  return { serverName, alpn, versions, cipherSuites, sessionId, ticket, extensionTypes, bodies };
}

let plain: Buffer;

beforeAll(async () => {
  plain = await helloOfNode({ ALPNProtocols: ['h2', 'imap'] });
});

describe('reading a hello', () => {
  it('gives the same for any records and any cut', () => {
    const random = randomNumbers(1);
    const expected = said(readClientHello(plain));
    for (let round = 0; round < 300; round++) {
      const hello = inRecords(messageOf(plain), 1 + random(400));
      const cut = random(hello.length);
      expect(readClientHello(hello.subarray(0, cut)), `${cut}`).toEqual({ type: 'incomplete' });
      const longer = Buffer.concat([hello, Buffer.alloc(random(50), random(256))]);
      expect(said(readClientHello(longer))).toEqual(expected);
    }
  });

  it('never throws for damaged bytes, nor takes back what it said of fewer', () => {
    const random = randomNumbers(2);
    const types = { hello: 0, incomplete: 0, invalid: 0 };
    for (let round = 0; round < 5000; round++) {
      const hello = inRecords(messageOf(plain), 50 + random(500));
      for (let damages = 1 + random(3); damages > 0; damages--) {
        // Mostly in front and around lengths, where it matters.
        const at = random(2) === 0 ? random(100) : random(hello.length);
        hello[at] = random(2) === 0 ? random(256) : (hello[at] ?? 0) ^ (1 << random(8));
      }
      const result = readClientHello(hello);
      types[result.type]++;
      said(result);
      const before = readClientHello(hello.subarray(0, random(hello.length)));
      if (before.type === 'invalid') expect(result).toEqual(before);
      else if (before.type === 'hello') expect(said(result)).toEqual(said(before));
    }
    expect(Math.min(types.hello, types.incomplete, types.invalid)).toBeGreaterThan(50);
  });

  it('never says hello for bytes that are missing or moved', () => {
    const random = randomNumbers(3);
    const message = messageOf(plain);
    for (let round = 0; round < 2000; round++) {
      const [at, count] = [4 + random(message.length - 4), 1 + random(40)];
      const shorter = Buffer.concat([message.subarray(0, at), message.subarray(at + count)]);
      expect(readClientHello(inRecords(shorter)).type, `${at} ${count}`).toBe('incomplete');
    }
  });

  it('never throws for anything', () => {
    const random = randomNumbers(4);
    for (let round = 0; round < 5000; round++) {
      const noise = Buffer.from(Array.from({ length: random(200) }, () => random(256)));
      const start = Buffer.from([0x16, 3, 1, 0, 100, 1, 0, 0, 96, 3, 3]).subarray(0, random(12));
      said(readClientHello(Buffer.concat([start, noise])));
    }
  });
});
