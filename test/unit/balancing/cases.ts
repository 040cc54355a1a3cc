import type { BalancerName } from '../../../src/balancing/balancers.ts';
import type { MemberSetup } from '../../../src/balancing/member.ts';
import type { PersistenceType } from '../../../src/balancing/persistence.ts';
import { type PickRequest, Pool, type PoolSettings } from '../../../src/balancing/pool.ts';

/** How a balancer has to behave. Tolerances are parts of all connections. */
interface BalancerCase {
  readonly name: BalancerName;
  /** Whether the ratios of the members decide over their shares. */
  readonly weighs: boolean;
  /** How far a share may be off, with ratios that are all 1, and with others. */
  readonly tolerance: { readonly even: number; readonly ratios: number };
  /** A hash always leads to the same member. */
  readonly sticky: boolean;
  readonly ramps: boolean;
}

export const balancerCases: readonly BalancerCase[] = [
  {
    name: 'round-robin',
    weighs: false,
    tolerance: { even: 0, ratios: 0 },
    sticky: false,
    ramps: true,
  },
  { name: 'ratio', weighs: true, tolerance: { even: 0, ratios: 0 }, sticky: false, ramps: true },
  {
    name: 'least-connections',
    weighs: false,
    tolerance: { even: 0.01, ratios: 0.01 },
    sticky: false,
    ramps: true,
  },
  {
    name: 'weighted-least-connections',
    weighs: true,
    tolerance: { even: 0.01, ratios: 0.01 },
    sticky: false,
    ramps: true,
  },
  {
    name: 'fastest',
    weighs: false,
    tolerance: { even: 0.01, ratios: 0.01 },
    sticky: false,
    ramps: true,
  },
  {
    name: 'predictive',
    weighs: false,
    tolerance: { even: 0.01, ratios: 0.01 },
    sticky: false,
    ramps: true,
  },
  {
    name: 'source-hash',
    weighs: true,
    tolerance: { even: 0.01, ratios: 0.01 },
    sticky: true,
    ramps: false,
  },
  {
    name: 'consistent-hash',
    weighs: true,
    tolerance: { even: 0.01, ratios: 0.01 },
    sticky: true,
    ramps: false,
  },
  {
    name: 'random-of-two',
    weighs: true,
    tolerance: { even: 0.01, ratios: 0.05 },
    sticky: false,
    ramps: true,
  },
];

/** What keys a type of persistence has to make. */
interface PersistenceCase {
  readonly type: PersistenceType;
  /** Leading bits that count. */
  readonly prefix4?: number;
  readonly prefix6?: number;
  /** Subjects of one client: all have one key. */
  readonly same: readonly string[];
  /** Subjects of other clients: each has its own key. */
  readonly others: readonly string[];
  /** Subjects that there is no key for. */
  readonly none: readonly string[];
  /** The subject of a client with this number. */
  subject(client: number): string;
}

const ipv4 = (client: number) => `198.${client >> 16}.${(client >> 8) & 255}.${client & 255}`;

export const persistenceCases: readonly PersistenceCase[] = [
  {
    type: 'source-address',
    same: ['192.0.2.1', '::ffff:192.0.2.1', '::FFFF:c000:201', '0:0:0::0:ffff:192.0.2.1'],
    others: ['192.0.2.2', '2001:db8::1', '2001:db8::2', '::192.0.2.1', '1::ffff:c000:201'],
    none: ['', 'example.com', '192.0.2', '192.0.2.256', '2001:db8', '1::2::3', '1:2:3:4:5:6:7:8:9'],
    subject: ipv4,
  },
  {
    type: 'source-address',
    prefix4: 20,
    prefix6: 52,
    same: ['192.0.16.1', '192.0.31.255', '::ffff:192.0.20.20'],
    others: ['192.0.32.0', '192.0.15.255', '2001:db8:0:1000::', '2001:db8::', '2001:db8:0:2000::'],
    none: ['', '1.2.3.4.5'],
    // One network for each client.
    subject: (client) => ipv4(client << 12),
  },
  {
    type: 'destination-address',
    same: [
      '2001:db8::1',
      '2001:DB8:0:0::1',
      '2001:0db8:0000:0000:0000:0000:0000:0001',
      '2001:db8::1%eth0',
    ],
    others: ['2001:db8::2', '2001:db8::', '::', '192.0.2.1'],
    none: ['', '2001:db8::12345', ':::', 'g::', '::1::'],
    subject: (client) => `2001:db8::${client.toString(16)}`,
  },
  {
    type: 'hash',
    same: ['a'.repeat(100_000), 'a'.repeat(100_000)],
    others: ['a'.repeat(99_999), 'a', 'A', '\0', ' ', 'a '],
    none: [''],
    subject: (client) => `user ${client}`,
  },
  {
    type: 'universal',
    same: ['a user', 'a user'],
    others: ['a', 'user', 'A user', 'a  user', '\0', '0', 'x'.repeat(1024)],
    none: ['', 'x'.repeat(1025)],
    subject: (client) => `user ${client}`,
  },
  {
    type: 'tls-session',
    same: ['0f3c', '0f3c'],
    others: ['0f3d', '0f'],
    none: [''],
    subject: (client) => client.toString(16).padStart(64, '0'),
  },
];

/** Numbers from 0 to less than 1 that look like chance and are the same each time (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const endpoint = (port: number) => ({ address: '127.0.0.1', port });

/** A pool with members on ports 1, 2, 3 and so on, which were there long ago. */
export function poolOf(
  members: readonly Omit<MemberSetup, 'endpoint'>[],
  settings: Partial<PoolSettings> = {},
): Pool {
  const pool = new Pool('servers', settings);
  pool.setMembers(
    members.map((member, index) => ({ ...member, endpoint: endpoint(index + 1) })),
    0,
  );
  return pool;
}

/** A request of a connection that nothing is known of. */
export function request(parts: Partial<PickRequest> = {}): PickRequest {
  return { failed: [], random: () => 0, now: 0, ...parts };
}

/** The port of the member that is chosen, or what else comes out. */
export function pick(pool: Pool, parts: Partial<PickRequest> = {}): number | string {
  const choice = pool.pick(request(parts));
  return choice.type === 'member' ? choice.member.endpoint.port : choice.type;
}

/** What `count` picks in a row choose. */
export function picks(pool: Pool, count: number, parts: Partial<PickRequest> = {}) {
  return Array.from({ length: count }, () => pick(pool, parts));
}

/** The part that each port has of what was chosen. */
export function shares(chosen: readonly (number | string)[]): Map<number | string, number> {
  const parts = new Map<number | string, number>();
  for (const port of chosen) parts.set(port, (parts.get(port) ?? 0) + 1 / chosen.length);
  return parts;
}
