import { describe, expect, it } from 'vitest';
import { PersistenceStore } from '../../../src/state/persistence.ts';

const record = (port: number) => ({
  virtualServer: 'pop3',
  pool: 'mail',
  member: { address: '127.0.0.1', port },
});

/** A store with records under the keys 1, 2, 3 and so on, added at 0 with a timeout of 100. */
function storeOf(count: number, maxRecords = 1000): PersistenceStore {
  const store = new PersistenceStore(maxRecords);
  for (let port = 1; port <= count; port++) store.add(`${port}`, record(port), 100, 0);
  return store;
}

const found = (store: PersistenceStore, count: number, now = 0) =>
  Array.from({ length: count }, (_, index) => index + 1).filter(
    (port) => store.lookUp(`${port}`, now) !== undefined,
  );

describe('a store of persistence records', () => {
  it('finds, replaces and deletes records', () => {
    const store = storeOf(2);
    expect([store.lookUp('1', 0), store.lookUp('3', 0)]).toEqual([record(1), undefined]);
    store.add('1', record(9), 100, 0);
    expect([store.lookUp('1', 0), store.size]).toEqual([record(9), 2]);
    expect([store.delete('1'), store.delete('1'), store.size]).toEqual([true, false, 1]);
    expect(store.lookUp('1', 0)).toBeUndefined();
  });

  it('takes keys for no more than texts', () => {
    const store = storeOf(0);
    for (const key of ['__proto__', 'constructor', '']) {
      expect(store.lookUp(key, 0)).toBeUndefined();
      store.add(key, record(1), 100, 0);
      expect(store.lookUp(key, 0)).toEqual(record(1));
    }
  });

  it('ends each record its own time after its last use', () => {
    const store = storeOf(2);
    store.add('3', record(3), 1000, 0);
    store.lookUp('1', 50);
    expect(found(store, 3, 100)).toEqual([1, 3]);
    expect(store.size, 'what is looked up too late is gone').toBe(2);
    expect(found(store, 3, 1099), 'all were used at 100').toEqual([3]);
    expect(found(store, 3, 2099)).toEqual([]);
    expect(store.size).toBe(0);
  });

  it('gives up the one that was not used for longest', () => {
    const store = storeOf(3, 3);
    store.lookUp('1', 10);
    store.add('2', record(2), 100, 10);
    store.add('4', record(4), 100, 10);
    expect(store.size).toBe(3);
    expect(found(store, 4, 10)).toEqual([1, 2, 4]);
    store.add('5', record(5), 100, 10);
    expect(found(store, 5, 10)).toEqual([2, 4, 5]);
  });

  it('holds one record if that is all it may', () => {
    const store = storeOf(5, 1);
    expect([store.size, found(store, 5)]).toEqual([1, [5]]);
    store.add('5', record(5), 100, 0);
    expect(store.size).toBe(1);
    store.delete('5');
    store.add('6', record(6), 100, 0);
    expect([store.size, store.lookUp('6', 0)]).toEqual([1, record(6)]);
  });

  it('sweeps what is over, all at once or in steps', () => {
    const store = storeOf(10);
    store.add('11', record(11), 1000, 0);
    expect(store.sweep(99)).toBe(0);
    store.lookUp('1', 99);
    expect([store.sweep(100), store.size]).toEqual([9, 2]);

    const large = storeOf(10);
    expect([large.sweep(100, 4), large.size]).toEqual([4, 6]);
    large.add('11', record(11), 100, 100);
    large.delete('5');
    expect([large.sweep(100, 4), large.size]).toEqual([4, 2]);
    expect([large.sweep(100, 4), large.size]).toEqual([1, 1]);
    expect(large.sweep(199, 4)).toBe(0);
    expect([large.sweep(200, 4), large.size]).toEqual([1, 0]);
    expect(large.sweep(200)).toBe(0);
  });

  it('is as quick with many records as with few', () => {
    const store = new PersistenceStore(50_000);
    // Twice as many as it holds: looking through all that were deleted would take minutes.
    for (let port = 0; port < 100_000; port++) store.add(`${port}`, record(1), 100, port);
    expect(store.size).toBe(50_000);
    expect(store.lookUp('50000', 50_050)).toEqual(record(1));
    expect(store.lookUp('49999', 50_050)).toBeUndefined();
    let swept = 0;
    while (store.size > 0) swept += store.sweep(1e6);
    expect(swept).toBe(50_000);
  });
});
