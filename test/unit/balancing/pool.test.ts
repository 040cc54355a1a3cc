import { describe, expect, it } from 'vitest';
import { Pool } from '../../../src/balancing/pool.ts';

const member = (port: number) => ({ address: '127.0.0.1', port });

function poolOf(...ports: number[]): Pool {
  const pool = new Pool('servers');
  pool.setMembers(ports.map(member));
  return pool;
}

function picks(pool: Pool, count: number, ...failed: number[]): (number | undefined)[] {
  return Array.from({ length: count }, () => pool.pick(failed.map(member))?.port);
}

describe('a pool', () => {
  it('has its members take turns', () => {
    expect(picks(poolOf(1, 2, 3), 7)).toEqual([1, 2, 3, 1, 2, 3, 1]);
    expect(picks(poolOf(1), 3)).toEqual([1, 1, 1]);
  });

  it('answers nothing without members', () => {
    const pool = new Pool('servers');
    expect(pool.size).toBe(0);
    expect(pool.pick([])).toBeUndefined();
    expect(pool.pick([member(1)])).toBeUndefined();
    pool.setMembers([member(1)]);
    expect(picks(pool, 2)).toEqual([1, 1]);
    expect(pool.size).toBe(1);
  });

  it('passes over members that failed', () => {
    expect(picks(poolOf(1, 2, 3), 4, 2)).toEqual([1, 3, 1, 3]);
    expect(picks(poolOf(1, 2, 3), 3, 1, 3)).toEqual([2, 2, 2]);
  });

  it('chooses one that failed when all have', () => {
    const pool = poolOf(1, 2, 3);
    for (let turn = 0; turn < 6; turn++) {
      expect([1, 2, 3]).toContain(pool.pick([1, 2, 3].map(member))?.port);
    }
  });

  it('tells members apart by address and port', () => {
    const pool = new Pool('servers');
    const other = { address: '::1', port: 1 };
    pool.setMembers([member(1), other]);
    expect(pool.pick([member(1)])).toEqual(other);
    expect(pool.pick([other])).toEqual(member(1));
  });

  it('goes on with new members where the turn is', () => {
    const pool = poolOf(1, 2, 3, 4);
    expect(picks(pool, 3)).toEqual([1, 2, 3]);
    pool.setMembers([5, 6].map(member));
    const next = picks(pool, 4);
    expect(new Set(next)).toEqual(new Set([5, 6]));
    expect(next[0]).toBe(next[2]);
    pool.setMembers([]);
    expect(pool.pick([])).toBeUndefined();
    pool.setMembers([member(7)]);
    expect(picks(pool, 1)).toEqual([7]);
  });
});
