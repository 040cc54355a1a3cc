import { describe, expect, it } from 'vitest';
import { balancers } from '../../../src/balancing/balancers.ts';
import type { Member } from '../../../src/balancing/member.ts';
import type { PickRequest, Pool } from '../../../src/balancing/pool.ts';
import { balancerCases, endpoint, pick, picks, poolOf, request, seeded, shares } from './cases.ts';

const CHOICES = 100_000;

/** Connections that are open at a time in a simulation. */
const OPEN = 200;

function choose(pool: Pool, parts: Partial<PickRequest>): Member {
  const choice = pool.pick(request(parts));
  if (choice.type !== 'member') throw new Error(`the choice is ${choice.type}`);
  return choice.member;
}

/** Connections of many clients come and go; says which ports they went to. */
function simulate(pool: Pool, choices = CHOICES): number[] {
  const random = seeded(choices);
  const open: Member[] = [];
  const ports: number[] = [];
  for (let now = 0; now < choices; now++) {
    const hash = Math.floor(random() * 2 ** 32);
    const member = choose(pool, { random, now, hash });
    pool.opened(member);
    pool.connected(member, 20, now);
    ports.push(member.endpoint.port);
    open.push(member);
    if (open.length < OPEN) continue;
    const [gone] = open.splice(Math.floor(random() * open.length), 1);
    if (gone !== undefined) pool.closed(gone);
  }
  return ports;
}

it('every balancer has its case', () => {
  expect(balancerCases.map(({ name }) => name).sort()).toEqual(Object.keys(balancers).sort());
});

describe.each(balancerCases)('$name', ({ name, weighs, tolerance, sticky, ramps }) => {
  it.each([
    { ratios: [1, 1, 1, 1, 1], within: tolerance.even },
    { ratios: [4, 1, 3, 2], within: tolerance.ratios },
  ])('gives members of ratios $ratios their shares', ({ ratios, within }) => {
    const pool = poolOf(
      ratios.map((ratio) => ({ ratio })),
      { balancing: name },
    );
    const parts = shares(simulate(pool));
    const total = ratios.reduce((sum, ratio) => sum + ratio);
    for (const [index, ratio] of ratios.entries()) {
      const due = weighs ? ratio / total : 1 / ratios.length;
      const off = Math.abs((parts.get(index + 1) ?? 0) - due);
      expect(off, `${index + 1}: ${parts.get(index + 1)}`).toBeLessThanOrEqual(within + 1e-6);
    }
  });

  it('leads a client to one member only if that is its purpose', () => {
    const pool = poolOf([{}, {}, {}, {}, {}], { balancing: name });
    const random = seeded(1);
    const seen = new Map<number, Set<number | string>>();
    for (let choice = 0; choice < CHOICES; choice++) {
      const hash = Math.floor(random() * 1000) * 4_294_967;
      const ports = seen.get(hash) ?? new Set();
      seen.set(hash, ports.add(pick(pool, { hash, random, now: choice })));
    }
    const counts = [...seen.values()].map(({ size }) => size);
    expect(Math.max(...counts)).toBe(sticky ? 1 : 5);
    expect(Math.min(...counts)).toBe(sticky ? 1 : 5);
  });

  it('chooses only candidates, with and without a hash', () => {
    const members = poolOf([{}, { ratio: 1000 }, {}, { ratio: 7 }, {}, {}]).members();
    const balancer = balancers[name]();
    const random = seeded(2);
    for (let turn = 0; turn < 5000; turn++) {
      const some = members.filter(() => random() < 0.5);
      const hash = random() < 0.5 ? undefined : Math.floor(random() * 2 ** 32);
      if (some.length === 0) continue;
      const member = balancer.pick(some, { hash, random, now: turn });
      if (!some.includes(member)) expect.fail(`turn ${turn} chose ${member.key}`);
      member.connections = Math.floor(random() * 10);
    }
  });

  it('refuses to choose from nothing', () => {
    expect(() => balancers[name]().pick([], { random: () => 0, now: 0 })).toThrow(RangeError);
  });

  it('goes on when members leave, come and come back', () => {
    const pool = poolOf([{}, {}, {}], { balancing: name });
    simulate(pool, 100);
    pool.setMembers([{ endpoint: endpoint(9) }], 100);
    expect(picks(pool, 3, { now: 100 })).toEqual([9, 9, 9]);
    pool.setMembers(
      [9, 2, 1].map((port) => ({ endpoint: endpoint(port) })),
      100,
    );
    for (const member of pool.members()) while (member.connections > 0) pool.closed(member);
    expect(new Set(simulate(pool, 3000))).toEqual(new Set([1, 2, 9]));
  });

  it('reaches every member, also without hashes', () => {
    const pool = poolOf([{}, {}, {}, {}], { balancing: name });
    expect(new Set(picks(pool, 200, { random: seeded(3) }))).toEqual(new Set([1, 2, 3, 4]));
  });

  it(
    ramps ? 'lets a new member begin with a tenth' : 'gives a new member its place at once',
    () => {
      const pool = poolOf([{}, {}, {}, {}], { balancing: name, slowRamp: 1000 });
      const [first] = pool.members();
      const random = seeded(4);
      const hashed = () => ({ random, hash: Math.floor(random() * 2 ** 32) });
      const partAt = (now: number) =>
        shares(Array.from({ length: 20_000 }, () => pick(pool, { ...hashed(), now }))).get(1) ?? 0;
      first?.setUp(false, 5000);
      expect(partAt(5000)).toBe(0);
      first?.setUp(true, 5000);
      const due = (share: number) => (ramps ? [share / 4, share / (3 + share)] : [1 / 4, 1 / 4]);
      for (const [now, share] of [
        [5000, 0.1],
        [5500, 0.55],
        [6000, 1],
      ] as const) {
        const [least = 0, most = 0] = due(share);
        expect(partAt(now), `at ${now}`).toBeGreaterThan(least - 0.015);
        expect(partAt(now), `at ${now}`).toBeLessThan(most + 0.015);
      }
    },
  );
});

describe('ratio', () => {
  it('has no bursts', () => {
    const pool = poolOf([{ ratio: 5 }, { ratio: 1 }, { ratio: 1 }], { balancing: 'ratio' });
    expect(picks(pool, 7)).toEqual([1, 1, 2, 1, 3, 1, 1]);
  });

  it('forgets what a member has earned by another ratio', () => {
    const pool = poolOf([{ ratio: 1000 }, { ratio: 999 }], { balancing: 'ratio' });
    picks(pool, 1);
    const setups = [1, 2].map((port) => ({ endpoint: endpoint(port), ratio: 1 }));
    pool.setMembers(setups, 0);
    expect(picks(pool, 4)).toEqual([1, 2, 1, 2]);
  });
});

describe.each(['least-connections', 'weighted-least-connections'] as const)('%s', (balancing) => {
  it('looks at open connections, and takes turns where they are equal', () => {
    const pool = poolOf([{}, {}, {}], { balancing });
    expect(picks(pool, 4)).toEqual([1, 2, 3, 1]);
    const [one, two] = pool.members();
    if (one === undefined || two === undefined) throw new Error('members are missing');
    pool.opened(one);
    pool.opened(two);
    expect(picks(pool, 2)).toEqual([3, 3]);
    pool.closed(one);
    expect(picks(pool, 2)).toEqual([1, 3]);
  });
});

describe.each(['fastest', 'predictive'] as const)('%s', (balancing) => {
  const measured = (...times: readonly (readonly number[])[]) => {
    const pool = poolOf([{}, {}, {}], { balancing });
    for (const [index, member] of pool.members().entries()) {
      for (const ms of times[index] ?? []) pool.connected(member, ms, 0);
    }
    return pool;
  };

  it('prefers the member that connects in the shortest time', () => {
    expect(picks(measured([30], [10], [20]), 3)).toEqual([2, 2, 2]);
  });

  it('counts open connections, so that not all run to one', () => {
    const pool = measured([20], [10], [20]);
    const member = choose(pool, {});
    for (let connection = 0; connection < 3; connection++) pool.opened(member);
    expect(picks(pool, 2)).toEqual([3, 1]);
  });

  it('tries a member that was slow again, and one that is not measured first', () => {
    const pool = measured([30], [], [20]);
    expect(pick(pool)).toBe(2);
    for (const member of pool.members()) pool.connected(member, 30, 0);
    const [, two] = pool.members();
    for (let time = 0; time < 3; time++) if (two !== undefined) pool.connected(two, 3000, 0);
    const chosen = Array.from({ length: 2000 }, (_, index) => {
      const now = index * 100;
      const member = choose(pool, { now });
      pool.connected(member, 30, now);
      return member.endpoint.port;
    });
    expect(chosen.slice(0, 100)).not.toContain(2);
    expect(chosen).toContain(2);
  });
});

it('predictive sees where the times go, fastest where they are', () => {
  const line = (from: number, step: number) =>
    Array.from({ length: 60 }, (_, n) => from + n * step);
  const times = { rising: line(10, 0.25), falling: line(84, -1) };
  for (const balancing of ['fastest', 'predictive'] as const) {
    const pool = poolOf([{}, {}], { balancing });
    const [rising, falling] = pool.members();
    if (rising === undefined || falling === undefined) throw new Error('members are missing');
    for (const ms of times.rising) pool.connected(rising, ms, 0);
    for (const ms of times.falling) pool.connected(falling, ms, 0);
    expect(pick(pool)).toBe(balancing === 'fastest' ? 1 : 2);
  }
});

describe('consistent-hash', () => {
  const HASHES = Array.from({ length: 4000 }, (_, index) => index * 0x9e3779b1);

  it('moves hardly any clients but those of the member that leaves', () => {
    const moved: number[] = [];
    for (let count = 2; count <= 50; count++) {
      const pool = poolOf(Array(count).fill({}), { balancing: 'consistent-hash' });
      const before = HASHES.map((hash) => pick(pool, { hash }));
      const leaver = 1 + ((count % 7) % count);
      pool.members()[leaver - 1]?.setUp(false, 0);
      const after = HASHES.map((hash) => pick(pool, { hash }));
      const changed = HASHES.filter((_, index) => before[index] !== after[index]).length;
      moved.push(changed);
      expect(changed / HASHES.length, `${count} members`).toBeLessThanOrEqual(1 / count + 0.02);
      expect(changed, 'only those that it had').toBe(
        before.filter((port) => port === leaver).length,
      );
    }
    expect(Math.min(...moved)).toBeGreaterThan(0);
  });

  it.each([[[1, 1, 1, 1, 1]], [[1, 2, 3, 4]], [[1, 1000]]])(
    'keeps members of ratios %j within 1.25 of their part, though all come from few clients',
    (ratios) => {
      const pool = poolOf(
        ratios.map((ratio) => ({ ratio })),
        { balancing: 'consistent-hash' },
      );
      const total = ratios.reduce((sum, ratio) => sum + ratio);
      const random = seeded(5);
      const open: Member[] = [];
      for (let choice = 0; choice < 20_000; choice++) {
        const hash = random() < 0.9 ? 7 : Math.floor(random() * 100);
        const member = choose(pool, { hash });
        pool.opened(member);
        open.push(member);
        const bound = Math.ceil((1.25 * open.length * member.settings.ratio) / total);
        if (member.connections > bound) expect.fail(`${member.connections} over ${bound}`);
        const [gone] = random() < 0.45 ? open.splice(Math.floor(random() * open.length), 1) : [];
        if (gone !== undefined) pool.closed(gone);
      }
    },
  );

  it('leads clients back when the member has room again', () => {
    const pool = poolOf([{}, {}], { balancing: 'consistent-hash' });
    const home = choose(pool, { hash: 1 });
    for (let connection = 0; connection < 9; connection++) pool.opened(home);
    expect(choose(pool, { hash: 1 })).not.toBe(home);
    for (let connection = 0; connection < 9; connection++) pool.closed(home);
    expect(choose(pool, { hash: 1 })).toBe(home);
  });
});
