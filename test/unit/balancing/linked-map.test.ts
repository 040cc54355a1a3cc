import { expect, it } from 'vitest';
import { LinkedMap } from '../../../src/balancing/linked-map.ts';
import { seeded } from './cases.ts';

it('a linked map does what an array of entries would', () => {
  const random = seeded(8);
  const map = new LinkedMap<number, number>();
  const entries: [number, number][] = [];
  for (let turn = 0; turn < 5000; turn++) {
    const key = Math.floor(random() * 12);
    const index = entries.findIndex(([known]) => known === key);
    expect([map.has(key), map.get(key)]).toEqual([index >= 0, entries[index]?.[1]]);
    if (random() < 0.6) {
      if (index >= 0) entries.splice(index, 1);
      entries.push([key, turn]);
      map.set(key, turn);
    } else {
      if (index >= 0) entries.splice(index, 1);
      expect(map.delete(key)).toBe(index >= 0);
    }
    expect([map.size, map.first()]).toEqual([entries.length, entries[0]?.[0]]);
  }
  expect([...map.keys()].sort()).toEqual(entries.map(([key]) => key).sort());
});
