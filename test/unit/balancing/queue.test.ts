import { describe, expect, it } from 'vitest';
import { RequestQueue } from '../../../src/balancing/queue.ts';

const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => ({ name })) as [
  object,
  object,
  object,
  object,
];

describe('a queue of requests', () => {
  it('serves first who came first', () => {
    const queue = new RequestQueue({ length: 3, timeout: 100 });
    expect(queue.take()).toBeUndefined();
    expect([a, b, c, d].map((request) => queue.add(request, 0))).toEqual([true, true, true, false]);
    expect([queue.size, queue.take(), queue.add(d, 0), queue.add(a, 0)]).toEqual([
      3,
      a,
      true,
      false,
    ]);
    expect([queue.take(), queue.take(), queue.take(), queue.take()]).toEqual([b, c, d, undefined]);
    expect(queue.size).toBe(0);
  });

  it('lets nobody wait twice, and go from anywhere', () => {
    const queue = new RequestQueue({ length: 4, timeout: 100 });
    for (const request of [a, b, c, d]) queue.add(request, 0);
    expect([queue.remove(b), queue.remove(b), queue.add(a, 0)]).toEqual([true, false, false]);
    expect([queue.remove(d), queue.remove(a), queue.add(a, 0)]).toEqual([true, true, true]);
    expect([queue.take(), queue.take(), queue.take()]).toEqual([c, a, undefined]);
  });

  it('gives out who has waited too long', () => {
    const queue = new RequestQueue({ length: 4, timeout: 100 });
    queue.add(a, 0);
    queue.add(b, 10);
    queue.add(c, 20);
    expect(queue.expired(99)).toEqual([]);
    expect(queue.expired(110)).toEqual([a, b]);
    queue.add(a, 110);
    expect(queue.expired(120)).toEqual([c]);
    expect(queue.expired(210)).toEqual([a]);
    expect([queue.expired(1e9), queue.size]).toEqual([[], 0]);
  });

  it('may have no room at all', () => {
    expect(new RequestQueue({ length: 0, timeout: 100 }).add(a, 0)).toBe(false);
  });

  it('costs the same however long it is', () => {
    const queue = new RequestQueue({ length: 50_000, timeout: 1 });
    const requests = Array.from({ length: 50_000 }, () => ({}));
    for (const request of requests) queue.add(request, 0);
    // Looking through all that were there before would take minutes.
    for (const request of requests) {
      if (queue.take() !== request || !queue.add(request, 0)) expect.fail('out of order');
    }
    expect(queue.expired(1)).toEqual(requests);
  });
});
