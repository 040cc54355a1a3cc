import { describe, expect, it } from 'vitest';
import { hashText } from '../../../src/balancing/hash.ts';
import {
  MAX_KEY_LENGTH,
  type MatchAcross,
  type PersistencePlace,
  persistenceKey,
  recordedMember,
} from '../../../src/balancing/persistence.ts';
import { Pool } from '../../../src/balancing/pool.ts';
import { PersistenceStore } from '../../../src/state/persistence.ts';
import { persistenceCases, poolOf, request, seeded } from './cases.ts';

const POP3: PersistencePlace = { virtualServer: 'pop3', address: '192.0.2.1', pool: 'mail' };

describe.each(persistenceCases)('persistence by $type, $prefix4 bits', (sample) => {
  const { same, others, none, subject, ...settings } = sample;
  const keyOf = (text: string) => persistenceKey(settings, POP3, text);

  it('has one key for a client, and others for others', () => {
    const keys = new Set(same.map(keyOf));
    expect(keys.size).toBe(1);
    expect(keys.has(undefined)).toBe(false);
    for (const other of others) keys.add(keyOf(other));
    expect(keys.size).toBe(1 + others.length);
  });

  it('has no key where there is nothing to go by', () => {
    for (const text of none) expect(keyOf(text), text.slice(0, 50)).toBeUndefined();
  });

  it('has keys of bounded length', () => {
    for (const text of [...same, ...others]) {
      expect(keyOf(text)?.length).toBeLessThan(MAX_KEY_LENGTH + 100);
    }
  });

  it('keeps clients with their members over 100,000 connections', () => {
    const clients = 1000;
    const pool = poolOf([{}, {}, {}, {}], { balancing: 'random-of-two' });
    const store = new PersistenceStore(clients);
    const random = seeded(6);
    const homes = new Map<number, number>();
    for (let now = 0; now < 100_000; now++) {
      const client = Math.floor(random() * clients);
      const key = keyOf(subject(client)) ?? '';
      const record = store.lookUp(key, now);
      const wish = request({ random, now });
      const home = record && recordedMember(settings, record, pool, wish);
      const choice = home === undefined ? pool.pick(wish) : undefined;
      const member = home ?? (choice?.type === 'member' ? choice.member : undefined);
      if (member === undefined) throw new Error('no member');
      store.add(key, { ...POP3, member: member.endpoint }, 1e6, now);
      pool.opened(member);
      const { port } = member.endpoint;
      if ((homes.get(client) ?? port) !== port) expect.fail(`client ${client} went to ${port}`);
      homes.set(client, port);
    }
    expect(homes.size).toBe(clients);
    expect(store.size).toBe(clients);
    for (const { connections } of pool.members()) expect(connections).toBeGreaterThan(20_000);
  }, 30_000);
});

describe('prefixes', () => {
  const keyOf = (text: string, prefix4: number, prefix6: number) =>
    persistenceKey({ type: 'source-address', prefix4, prefix6 }, POP3, text);

  it('hide the bits behind them', () => {
    for (let prefix = 0; prefix <= 32; prefix++) {
      const flipped = (bit: number) => {
        const address = (0xc0a80181 ^ (2 ** (31 - bit))) >>> 0;
        return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
      };
      for (let bit = 0; bit < 32; bit++) {
        const equal = keyOf(flipped(bit), prefix, 0) === keyOf('192.168.1.129', prefix, 0);
        expect(equal, `bit ${bit} of ${prefix}`).toBe(bit >= prefix);
      }
    }
  });

  it('hide the bits behind them in IPv6', () => {
    for (let prefix = 0; prefix <= 128; prefix++) {
      const flipped = (bit: number) =>
        Array.from({ length: 8 }, (_, group) =>
          (0xa5c3 ^ (bit >> 4 === group ? 0x8000 >> (bit & 15) : 0)).toString(16),
        ).join(':');
      for (let bit = 0; bit < 128; bit++) {
        const equal = keyOf(flipped(bit), 0, prefix) === keyOf(flipped(128), 0, prefix);
        if (equal !== bit >= prefix) expect.fail(`bit ${bit} of ${prefix}`);
      }
    }
  });
});

describe('match across', () => {
  const otherService = { ...POP3, virtualServer: 'imap' };
  const otherAddress = { ...otherService, address: '192.0.2.2' };
  const otherPool = { ...POP3, pool: 'spare' };
  const keyAt = (matchAcross: MatchAcross | undefined, place: PersistencePlace) =>
    persistenceKey(
      { type: 'universal', ...(matchAcross === undefined ? {} : { matchAcross }) },
      place,
      'user',
    );

  it.each([
    [undefined, { service: false, address: false, pool: false }],
    ['services', { service: true, address: false, pool: true }],
    ['virtuals', { service: true, address: true, pool: true }],
    ['pools', { service: true, address: true, pool: true }],
  ] as const)('%s finds records of the places that it should', (matchAcross, finds) => {
    const key = keyAt(matchAcross, POP3);
    expect(keyAt(matchAcross, otherService) === key, 'another virtual server').toBe(finds.service);
    expect(keyAt(matchAcross, otherAddress) === key, 'another address').toBe(finds.address);
    expect(keyAt(matchAcross, otherPool) === key, 'another pool').toBe(finds.pool);
  });

  it('keeps the kinds of match and of persistence apart', () => {
    const kinds = [undefined, 'services', 'virtuals', 'pools'] as const;
    expect(new Set(kinds.map((kind) => keyAt(kind, POP3))).size).toBe(4);
    const types = persistenceCases.map(({ type }) => type);
    const keys = new Set(types.map((type) => persistenceKey({ type }, POP3, '192.0.2.1')));
    expect(keys.size).toBe(new Set(types).size);
  });

  it.each([
    [undefined, [true, false, false]],
    ['services', [true, true, false]],
    ['virtuals', [true, true, false]],
    ['pools', [true, false, false]],
  ] as const)('%s accepts the member, or its node', (matchAcross, accepts) => {
    const record = { ...POP3, member: { address: '192.0.2.8', port: 110 } };
    const settings = { type: 'universal', ...(matchAcross && { matchAcross }) } as const;
    const applies = (address: string, port: number) => {
      const pool = new Pool('servers');
      pool.setMembers([{ endpoint: { address, port } }], 0);
      return recordedMember(settings, record, pool, request()) !== undefined;
    };
    const results = [
      applies('192.0.2.8', 110),
      applies('192.0.2.8', 143),
      applies('192.0.2.9', 110),
    ];
    expect(results).toEqual(accepts);
  });

  it('applies to no member that cannot serve', () => {
    const pool = poolOf([{ state: 'disabled' }]);
    const [member] = pool.members();
    const record = { ...POP3, member: { address: '127.0.0.1', port: 1 } };
    const found = () => recordedMember({ type: 'hash' }, record, pool, request());
    expect(found()).toBe(member);
    member?.setState('offline', 0);
    expect(found()).toBeUndefined();
  });
});

describe('hashes of texts', () => {
  it('are spread evenly in all bits', () => {
    const ones = Array<number>(32).fill(0);
    for (let client = 0; client < 20_000; client++) {
      const hash = hashText(`10.0.${client >> 8}.${client & 255}`);
      for (let bit = 0; bit < 32; bit++) ones[bit] = (ones[bit] ?? 0) + ((hash >>> bit) & 1);
    }
    for (const count of ones) expect(Math.abs(count - 10_000)).toBeLessThan(400);
  });

  it('do not collide together under two seeds', () => {
    const texts = Array.from({ length: 400_000 }, (_, index) => {
      const number = Math.imul(index, 0x9e3779b1) >>> 0;
      return `${number.toString(16)}-${index.toString(16)}`;
    });
    expect(new Set(texts.map((text) => hashText(text))).size).toBeLessThan(texts.length);
    const both = new Set(texts.map((text) => `${hashText(text)}.${hashText(text, 1)}`));
    expect(both.size).toBe(texts.length);
  });
});
