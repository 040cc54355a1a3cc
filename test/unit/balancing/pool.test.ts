import { describe, expect, it } from 'vitest';
import { Pool } from '../../../src/balancing/pool.ts';
import { endpoint, pick, picks, poolOf, request, seeded } from './cases.ts';

/** The member on this port. */
function memberOn(pool: Pool, port: number) {
  const member = pool.members().find((one) => one.endpoint.port === port);
  if (member === undefined) throw new Error(`no member on port ${port}`);
  return member;
}

const failed = (...ports: number[]) => ({ failed: ports.map(endpoint) });

const setups = (...ports: number[]) => ports.map((port) => ({ endpoint: endpoint(port) }));

describe('a pool', () => {
  it('has its members take turns', () => {
    expect(picks(poolOf([{}, {}, {}]), 7)).toEqual([1, 2, 3, 1, 2, 3, 1]);
    expect(picks(poolOf([{}]), 3)).toEqual([1, 1, 1]);
  });

  it('says why it has no member to choose', () => {
    const pool = new Pool('servers');
    const none = (reason: string) => ({ type: 'none', reason });
    expect(pool.pick(request())).toEqual(none('no member has an address'));
    expect(pool.pick(request(failed(1)))).toEqual(none('no member has an address'));
    pool.setMembers(setups(1, 2), 0);
    memberOn(pool, 1).setUp(false, 0);
    memberOn(pool, 2).setState('offline', 0);
    expect(pool.pick(request())).toEqual(none('no member is up'));
    memberOn(pool, 1).setState('disabled', 0);
    expect(pool.pick(request())).toEqual(none('no member is enabled'));
    memberOn(pool, 2).setState('enabled', 0);
    expect(pick(pool)).toBe(2);
  });

  it('passes over members that failed', () => {
    expect(picks(poolOf([{}, {}, {}]), 4, failed(2))).toEqual([1, 3, 1, 3]);
    expect(picks(poolOf([{}, {}, {}]), 3, failed(1, 3))).toEqual([2, 2, 2]);
  });

  it('chooses one that failed when all have, but none that is down', () => {
    const pool = poolOf([{}, {}, {}]);
    memberOn(pool, 2).setUp(false, 0);
    expect(picks(pool, 4, failed(1, 2, 3))).toEqual([1, 3, 1, 3]);
  });

  it('tells members apart by address and port', () => {
    const pool = new Pool('servers');
    const other = { address: '::1', port: 1 };
    pool.setMembers([{ endpoint: endpoint(1) }, { endpoint: other }], 0);
    const chosen = (without: typeof other) => {
      const choice = pool.pick(request({ failed: [without] }));
      return choice.type === 'member' ? choice.member.endpoint : choice;
    };
    expect(chosen(endpoint(1))).toEqual(other);
    expect(chosen(other)).toEqual(endpoint(1));
  });

  it('lists its members and those that are active', () => {
    const pool = poolOf([{}, { priority: 5 }, { connectionLimit: 1 }, { state: 'disabled' }, {}]);
    memberOn(pool, 1).setUp(false, 0);
    pool.opened(memberOn(pool, 3));
    expect(pool.members().map(({ endpoint: { port } }) => port)).toEqual([1, 2, 3, 4, 5]);
    expect(pool.activeMembers(0).map(({ endpoint: { port } }) => port)).toEqual([2, 3, 5]);
  });

  it('changes how it balances and keeps what it knows', () => {
    const pool = poolOf([{ ratio: 3 }, {}]);
    pool.opened(memberOn(pool, 1));
    pool.configure({ balancing: 'least-connections' });
    expect(picks(pool, 3)).toEqual([2, 2, 2]);
    pool.configure({ balancing: 'ratio' });
    expect(picks(pool, 4).sort()).toEqual([1, 1, 1, 2]);
    pool.configure({});
    expect(picks(pool, 4)).toEqual([1, 2, 1, 2]);
  });
});

describe('the members of a pool', () => {
  it('take turns from where the turn is when they change', () => {
    const pool = poolOf([{}, {}, {}, {}]);
    expect(picks(pool, 3)).toEqual([1, 2, 3]);
    pool.setMembers(setups(5, 6), 0);
    expect(picks(pool, 4)).toEqual([5, 6, 5, 6]);
    pool.setMembers([], 0);
    expect(pick(pool)).toBe('none');
    pool.setMembers(setups(7), 0);
    expect(picks(pool, 1)).toEqual([7]);
  });

  it('keep their state when they stay', () => {
    const pool = poolOf([{}, {}, {}, {}]);
    const before = memberOn(pool, 1);
    pool.opened(before);
    before.setState('disabled', 0);
    memberOn(pool, 2).setUp(false, 0);
    pool.setMembers([{ endpoint: { ...endpoint(1), host: 'one' }, ratio: 9 }, ...setups(2, 3)], 50);
    expect(memberOn(pool, 1)).toBe(before);
    expect(before).toMatchObject({ connections: 1, state: 'disabled', upSince: 0 });
    expect(before.endpoint.host).toBe('one');
    expect(before.settings.ratio).toBe(9);
    expect(picks(pool, 2)).toEqual([3, 3]);
    pool.setMembers([{ endpoint: endpoint(1), state: 'enabled' }], 60);
    expect(before).toMatchObject({ state: 'enabled', upSince: 60 });
  });

  it('are counted once, as the first says', () => {
    const pool = new Pool('servers');
    pool.setMembers([{ endpoint: endpoint(1), ratio: 2 }, { endpoint: endpoint(1) }], 0);
    expect(pool.members().map(({ settings }) => settings.ratio)).toEqual([2]);
  });

  it('that left and still have connections are the same when they come back', () => {
    const pool = poolOf([{ connectionLimit: 1 }, {}]);
    const [one, two] = [memberOn(pool, 1), memberOn(pool, 2)];
    pool.opened(one);
    pool.setMembers(setups(2), 10);
    expect(picks(pool, 2, { now: 10 })).toEqual([2, 2]);
    pool.setMembers(setups(2), 20);
    pool.setMembers([{ endpoint: endpoint(1), connectionLimit: 1 }], 30);
    expect(memberOn(pool, 1)).toBe(one);
    expect(pick(pool, { now: 30 })).toBe('full');
    pool.setMembers([], 40);
    pool.closed(one);
    pool.setMembers(setups(1, 2), 50);
    expect(memberOn(pool, 1), 'its last connection has ended').not.toBe(one);
    expect(memberOn(pool, 2), 'it had none').not.toBe(two);
  });

  it('never have less than no connections', () => {
    const pool = poolOf([{}]);
    pool.closed(memberOn(pool, 1));
    pool.opened(memberOn(pool, 1));
    expect(memberOn(pool, 1).connections).toBe(1);
  });
});

describe('priorities', () => {
  const priorities = [0, 10, 5, 10, 0].map((priority) => ({ priority }));

  it('do not count unless a least number of members is asked for', () => {
    expect(picks(poolOf(priorities), 5).sort()).toEqual([1, 2, 3, 4, 5]);
  });

  it.each([
    [1, [2, 4]],
    [2, [2, 4]],
    [3, [2, 3, 4]],
    [4, [1, 2, 3, 4, 5]],
    [99, [1, 2, 3, 4, 5]],
  ])('bring in the next group until %i are available', (minActive, ports) => {
    const chosen = picks(poolOf(priorities, { minActive }), 10);
    expect([...new Set(chosen)].sort()).toEqual(ports);
  });

  it('bring in the next group when members are down, disabled, full or have failed', () => {
    const usable = (change: (pool: Pool) => unknown, parts = {}) => {
      const pool = poolOf(
        priorities.map((setup) => ({ ...setup, connectionLimit: 1 })),
        { minActive: 2 },
      );
      change(pool);
      return [...new Set(picks(pool, 10, parts))].sort();
    };
    const withThird = [3, 4];
    expect(usable(() => {})).toEqual([2, 4]);
    expect(usable((pool) => memberOn(pool, 2).setUp(false, 0))).toEqual(withThird);
    expect(usable((pool) => memberOn(pool, 2).setState('disabled', 0))).toEqual(withThird);
    expect(usable((pool) => pool.opened(memberOn(pool, 2)))).toEqual(withThird);
    expect(usable(() => {}, failed(2))).toEqual(withThird);
    expect(usable(() => {}, failed(2, 3, 4))).toEqual([1, 5]);
    expect(usable(() => {}, failed(1, 2, 3, 4, 5))).toEqual([2, 4]);
  });
});

describe('connection limits', () => {
  it('pass over members that are full, until all are', () => {
    const pool = poolOf([{ connectionLimit: 2 }, { connectionLimit: 1 }, { state: 'disabled' }]);
    const open = () => {
      const choice = pool.pick(request());
      if (choice.type === 'member') pool.opened(choice.member);
      return choice.type === 'member' ? choice.member.endpoint.port : choice.type;
    };
    expect([open(), open(), open(), open()]).toEqual([1, 2, 1, 'full']);
    expect(pick(pool, failed(1))).toBe('full');
    pool.closed(memberOn(pool, 2));
    expect([open(), open()]).toEqual([2, 'full']);
    memberOn(pool, 1).setUp(false, 0);
    memberOn(pool, 2).setUp(false, 0);
    expect(pick(pool)).toBe('none');
  });

  it('prefer a member that failed to waiting', () => {
    const pool = poolOf([{ connectionLimit: 1 }, {}]);
    pool.opened(memberOn(pool, 1));
    expect(pick(pool, failed(2))).toBe(2);
  });
});

describe('a slow ramp', () => {
  it('leaves members that came together equal', () => {
    const pool = poolOf([{}, {}], { slowRamp: 1000 });
    expect(picks(pool, 4, { random: seeded(1) })).toEqual([1, 2, 1, 2]);
  });

  it('does not keep back the only one', () => {
    const pool = poolOf([{}, {}], { slowRamp: 1000 });
    memberOn(pool, 2).setUp(false, 5000);
    memberOn(pool, 2).setUp(true, 5000);
    memberOn(pool, 1).setUp(false, 5000);
    expect(picks(pool, 3, { now: 5000, random: () => 0.999 })).toEqual([2, 2, 2]);
  });

  it('is for new members of a pool that runs', () => {
    const pool = poolOf([{}], { slowRamp: 1000 });
    pool.setMembers(setups(1, 2), 5000);
    expect(picks(pool, 3, { now: 5000, random: () => 0.2 })).toEqual([1, 1, 1]);
    expect(picks(pool, 3, { now: 5500, random: () => 0.2 })).toEqual([2, 1, 2]);
  });
});

describe('failures in a row', () => {
  it('mark a member down for a time', () => {
    const pool = poolOf([{}, {}], { passiveFall: 2, passiveDownTime: 100 });
    const one = memberOn(pool, 1);
    expect(pool.failed(one, 10)).toBe(false);
    pool.connected(one, 3, 20);
    expect(pool.failed(one, 30)).toBe(false);
    expect(pick(pool, { now: 30 })).toBe(1);
    expect(pool.failed(one, 40)).toBe(true);
    expect(picks(pool, 2, { now: 139 })).toEqual([2, 2]);
    expect(picks(pool, 2, { now: 140 })).toEqual([1, 2]);
    expect(pool.failed(one, 150), 'until it has shown that it works').toBe(true);
    expect(pick(pool, { now: 150 })).toBe(2);
  });

  it('do nothing unless they are to', () => {
    const pool = poolOf([{}]);
    for (let count = 0; count < 100; count++) pool.failed(memberOn(pool, 1), 0);
    expect(pick(pool)).toBe(1);
  });
});

describe('a persistent connection', () => {
  const found = (pool: Pool, port: number, parts = {}, same: 'member' | 'node' = 'member') =>
    pool.persistent(endpoint(port), request(parts), same)?.endpoint.port;

  it('goes to its member, also when that is disabled', () => {
    const pool = poolOf([{}, { state: 'disabled' }, { state: 'offline' }, { connectionLimit: 1 }]);
    expect([1, 2, 3, 4, 5].map((port) => found(pool, port))).toEqual([
      1,
      2,
      undefined,
      4,
      undefined,
    ]);
    pool.opened(memberOn(pool, 4));
    memberOn(pool, 1).setUp(false, 0);
    expect([1, 2, 4].map((port) => found(pool, port))).toEqual([undefined, 2, undefined]);
    expect(found(pool, 2, failed(2))).toBeUndefined();
  });

  it('goes to no member that was marked down', () => {
    const pool = poolOf([{}], { passiveFall: 1, passiveDownTime: 100 });
    pool.failed(memberOn(pool, 1), 0);
    expect(found(pool, 1, { now: 99 })).toBeUndefined();
    expect(found(pool, 1, { now: 100 })).toBe(1);
  });

  it('goes to no member that has left', () => {
    const pool = poolOf([{}]);
    pool.opened(memberOn(pool, 1));
    pool.setMembers(setups(2), 0);
    expect(found(pool, 1)).toBeUndefined();
  });

  it('may go to another port of the same node', () => {
    const pool = new Pool('servers');
    const [a, b] = ['192.0.2.1', '192.0.2.2'].map((address) => ({ address, port: 143 }));
    if (a === undefined || b === undefined) throw new Error('no endpoints');
    pool.setMembers(
      [a, b, { ...b, port: 993 }].map((server) => ({ endpoint: server })),
      0,
    );
    const at = (address: string, port: number) =>
      pool.persistent({ address, port }, request(), 'node')?.key;
    expect(at('192.0.2.2', 110)).toBe('192.0.2.2:143');
    expect(at('192.0.2.2', 993)).toBe('192.0.2.2:993');
    pool.members()[2]?.setUp(false, 0);
    expect(at('192.0.2.2', 993)).toBe('192.0.2.2:143');
    expect(at('192.0.2.3', 143)).toBeUndefined();
  });
});
