import { mix } from './hash.ts';
import type { Member } from './member.ts';

/** What the choice for one connection may depend on. */
export interface BalancingRequest {
  /** 32 bits of what stays the same for a client, such as its address; undefined: nothing does. */
  readonly hash?: number | undefined;
  /** From 0 to less than 1. */
  readonly random: () => number;
  /** Milliseconds of a clock that never goes back. */
  readonly now: number;
}

/** A way to choose a member. One object serves one pool. */
export interface Balancer {
  /** Members that came up lately get fewer connections. Not where a client has its place by hash. */
  readonly ramps: boolean;
  /**
   * @param candidates those that may be chosen, by ascending `order`
   * @throws RangeError when there are none
   */
  pick(candidates: readonly Member[], request: BalancingRequest): Member;
}

/**
 * The member with the lowest cost; of equal ones the next in turn. The formulas are in `balancers`.
 */
class LowestCost implements Balancer {
  readonly ramps = true;
  private last = -1;

  constructor(private readonly cost: (member: Member, now: number) => number) {}

  pick(candidates: readonly Member[], { now }: BalancingRequest): Member {
    const start = indexAfter(candidates, this.last);
    let best = candidateAt(candidates, start);
    let lowest = this.cost(best, now);
    for (let step = 1; step < candidates.length; step++) {
      const member = candidateAt(candidates, (start + step) % candidates.length);
      const cost = this.cost(member, now);
      if (cost < lowest) {
        best = member;
        lowest = cost;
      }
    }
    this.last = best.order;
    return best;
  }
}

/**
 * Smooth weighted round robin: each choice gives every member credit by its ratio; who has most is
 * chosen and pays what all were given. Exact over a period, and without bursts within.
 */
class Ratio implements Balancer {
  readonly ramps = true;

  pick(candidates: readonly Member[]): Member {
    let best = candidateAt(candidates, 0);
    let given = 0;
    for (const member of candidates) {
      member.credit += member.settings.ratio;
      given += member.settings.ratio;
      if (member.credit > best.credit) best = member;
    }
    best.credit -= given;
    return best;
  }
}

/** The hash modulo the sum of the ratios. Cheap; most clients move when the candidates change. */
class SourceHash implements Balancer {
  readonly ramps = false;

  pick(candidates: readonly Member[], request: BalancingRequest): Member {
    let left = hashOf(request) % totalRatio(candidates);
    for (const member of candidates) {
      left -= member.settings.ratio;
      if (left < 0) return member;
    }
    return candidateAt(candidates, 0);
  }
}

/** How much more than its part of all connections a member may have. */
const LOAD_BOUND = 1.25;

/**
 * Rendezvous hashing (highest random weight, which CARP is too) with bounded load. Every member has
 * its own score for a client, and the best one that has room is chosen: room is for less than
 * 1.25 * (all connections + 1) * its part of the ratios, rounded up. When a member leaves, only its
 * clients move. Unlike a ring or Maglev it keeps no table that has to follow the candidates, and is
 * even to the last bit of the hash; the price is a logarithm for each candidate.
 */
class ConsistentHash implements Balancer {
  readonly ramps = false;

  pick(candidates: readonly Member[], request: BalancingRequest): Member {
    const hash = hashOf(request);
    let connections = 1;
    for (const member of candidates) connections += member.connections;
    const room = (LOAD_BOUND * connections) / totalRatio(candidates);
    let best = candidateAt(candidates, 0);
    let highest = -1;
    for (const member of candidates) {
      const { ratio } = member.settings;
      if (member.connections >= Math.ceil(room * ratio)) continue;
      // -ln of an even number from 0 to 1 is a waiting time; times with weights win by their share.
      const score = ratio / -Math.log((mix(hash ^ member.hash) + 0.5) / 2 ** 32);
      if (score > highest) {
        best = member;
        highest = score;
      }
    }
    return best;
  }
}

/** Two different ones by chance; of these, the one with fewer connections for its ratio. */
class RandomOfTwo implements Balancer {
  readonly ramps = true;

  pick(candidates: readonly Member[], { random }: BalancingRequest): Member {
    const index = Math.floor(random() * candidates.length);
    const one = candidateAt(candidates, index);
    if (candidates.length === 1) return one;
    const step = 1 + Math.floor(random() * (candidates.length - 1));
    const other = candidateAt(candidates, (index + step) % candidates.length);
    return load(other) < load(one) ? other : one;
  }
}

/** Every way to balance, by the name that the configuration has for it. */
export const balancers = {
  // To cost the same is to take turns.
  'round-robin': () => new LowestCost(() => 0),
  ratio: () => new Ratio(),
  'least-connections': () => new LowestCost((member) => member.connections),
  'weighted-least-connections': () => new LowestCost(load),
  // Times the connections, or all clients would run to the fastest until it is the slowest.
  fastest: () => new LowestCost((member, now) => member.expectedTime(now) * queue(member)),
  predictive: () => new LowestCost((member, now) => member.predictedTime(now) * queue(member)),
  'source-hash': () => new SourceHash(),
  'consistent-hash': () => new ConsistentHash(),
  'random-of-two': () => new RandomOfTwo(),
} as const satisfies Readonly<Record<string, () => Balancer>>;

export type BalancerName = keyof typeof balancers;

/** Its connections if it were chosen. */
function queue(member: Member): number {
  return member.connections + 1;
}

function load(member: Member): number {
  return queue(member) / member.settings.ratio;
}

function totalRatio(candidates: readonly Member[]): number {
  let total = 0;
  for (const member of candidates) total += member.settings.ratio;
  return total;
}

/** The client's hash; one by chance where there is none. */
function hashOf({ hash, random }: BalancingRequest): number {
  return hash === undefined ? Math.floor(random() * 2 ** 32) : hash >>> 0;
}

/** Where the first candidate stands whose turn comes after that of `order`. */
function indexAfter(candidates: readonly Member[], order: number): number {
  for (let index = 0; index < candidates.length; index++) {
    if (candidateAt(candidates, index).order > order) return index;
  }
  return 0;
}

function candidateAt(candidates: readonly Member[], index: number): Member {
  const member = candidates[index];
  if (member === undefined) throw new RangeError('there are no candidates');
  return member;
}
