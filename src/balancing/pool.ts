import { type Endpoint, formatEndpoint } from '../core/types.ts';
import { type Balancer, type BalancerName, type BalancingRequest, balancers } from './balancers.ts';
import { Member, type MemberSetup } from './member.ts';

/** Times in milliseconds. */
export interface PoolSettings {
  readonly balancing: BalancerName;
  /**
   * Members of a lower priority are used when fewer than this many of the higher ones are available;
   * 0: priorities do not count.
   */
  readonly minActive: number;
  /** A member that comes up gets a share that grows from 10 % to all of it; 0: all at once. */
  readonly slowRamp: number;
  /** As many failures in a row mark a member down; 0: they do not. */
  readonly passiveFall: number;
  /** For so long. */
  readonly passiveDownTime: number;
}

const DEFAULTS: PoolSettings = {
  balancing: 'round-robin',
  minActive: 0,
  slowRamp: 0,
  passiveFall: 0,
  passiveDownTime: 0,
};

/** A connection that wants a member. */
export interface PickRequest extends BalancingRequest {
  /** Where this connection has failed before. */
  readonly failed: readonly Endpoint[];
}

/** `full`: there are members in service, but all have as many connections as they may. */
export type Choice =
  | { readonly type: 'member'; readonly member: Member }
  | { readonly type: 'full' }
  | { readonly type: 'none'; readonly reason: string };

const FULL: Choice = { type: 'full' };

const NOWHERE: readonly Endpoint[] = [];

/**
 * A named set of members. It chooses, and keeps count of what who uses it tells: `opened` and
 * `closed` for each connection, `connected` or `failed` for each attempt.
 */
export class Pool {
  private settings: PoolSettings;
  private balancer: Balancer;
  /** As configured. */
  private list: readonly Member[] = [];
  /** Higher priorities first. */
  private ranked: readonly Member[] = [];
  /** By key: the members, and those that are none any more and still have connections. */
  private known = new Map<string, Member>();

  constructor(
    readonly name: string,
    settings: Partial<PoolSettings> = {},
  ) {
    this.settings = { ...DEFAULTS, ...settings };
    this.balancer = balancers[this.settings.balancing]();
  }

  /** Changes how it chooses. What is known of the members stays. */
  configure(settings: Partial<PoolSettings>): void {
    const { balancing } = this.settings;
    this.settings = { ...DEFAULTS, ...settings };
    if (this.settings.balancing !== balancing) {
      this.balancer = balancers[this.settings.balancing]();
    }
  }

  /**
   * Sets the members, in the order in which they take turns. One that stays keeps its state, its
   * connections and what was measured; so does one that comes back before its last connection has
   * ended, for names that mean now this address, now that. Of equal ones the first counts.
   *
   * @throws RangeError when a setting is out of range
   */
  setMembers(setups: readonly MemberSetup[], now: number): void {
    const members = new Map<string, Member>();
    for (const setup of setups) {
      const key = formatEndpoint(setup.endpoint);
      if (members.has(key)) continue;
      const member = this.known.get(key) ?? new Member(setup.endpoint, now);
      member.configure(setup, now);
      members.set(key, member);
    }
    this.list = [...members.values()];
    this.ranked = this.list.toSorted((a, b) => b.settings.priority - a.settings.priority);
    for (const [order, member] of this.ranked.entries()) member.order = order;
    for (const [key, member] of this.known) {
      if (member.connections > 0 && !members.has(key)) members.set(key, member);
    }
    this.known = members;
  }

  /** All members, in the order in which they were given. */
  members(): readonly Member[] {
    return this.list;
  }

  /** The members that may serve new connections, full or not. */
  activeMembers(now: number): readonly Member[] {
    return this.list.filter((member) => member.active(now));
  }

  /** Chooses a member for a new connection; one where it has failed before only if no other is left. */
  pick(request: PickRequest): Choice {
    const { failed, now } = request;
    let candidates = this.candidates(failed, now);
    if (candidates.length === 0 && failed.length > 0) candidates = this.candidates(NOWHERE, now);
    if (candidates.length > 0) return { type: 'member', member: this.choose(candidates, request) };
    if (this.list.some((member) => member.active(now))) return FULL;
    return { type: 'none', reason: this.whyNone() };
  }

  /**
   * The member that a persistence record names, if it may serve a connection that comes for it: also
   * a disabled one, but none that is down, offline or full, or where this connection has failed.
   *
   * @param same `node`: failing that, another member at its address, whatever the port
   */
  persistent(
    endpoint: Endpoint,
    { failed, now }: Pick<PickRequest, 'failed' | 'now'>,
    same: 'member' | 'node' = 'member',
  ): Member | undefined {
    const serves = (member: Member) =>
      member.state !== 'offline' && member.inService(now) && !member.full && !isIn(failed, member);
    const exact = this.list.find((member) => isEndpoint(member, endpoint) && serves(member));
    if (exact !== undefined || same === 'member') return exact;
    return this.list.find(
      (member) => member.endpoint.address === endpoint.address && serves(member),
    );
  }

  /** A connection goes to this member: from the moment it is chosen, before it is connected. */
  opened(member: Member): void {
    member.connections += 1;
  }

  /** A connection that was `opened` is no more, or never came to be. */
  closed(member: Member): void {
    if (member.connections === 0) return;
    member.connections -= 1;
    if (member.connections === 0 && !this.list.includes(member)) this.known.delete(member.key);
  }

  /** A connection to this member was made in `ms` milliseconds. */
  connected(member: Member, ms: number, now: number): void {
    member.connected(ms, now);
  }

  /** A connection to this member failed. True when that has marked it down. */
  failed(member: Member, now: number): boolean {
    const { passiveFall, passiveDownTime } = this.settings;
    return member.failed(passiveFall, passiveDownTime, now);
  }

  /** By priority, as many groups as `minActive` takes. Full members are not available. */
  private candidates(failed: readonly Endpoint[], now: number): Member[] {
    const { minActive } = this.settings;
    const found: Member[] = [];
    for (const member of this.ranked) {
      const last = found.at(-1);
      const enough = minActive > 0 && found.length >= minActive;
      if (enough && last?.settings.priority !== member.settings.priority) break;
      if (member.active(now) && !member.full && !isIn(failed, member)) found.push(member);
    }
    return found;
  }

  /**
   * Has the balancer choose. One that is in its ramp is taken by chance, as its share is to the
   * largest; else its turn goes to another. So members that came up together are equal.
   */
  private choose(candidates: Member[], request: PickRequest): Member {
    const { slowRamp } = this.settings;
    if (slowRamp === 0 || !this.balancer.ramps) return this.balancer.pick(candidates, request);
    const shareOf = (member: Member) => member.share(request.now, slowRamp);
    const largest = candidates.reduce((most, member) => Math.max(most, shareOf(member)), 0);
    for (;;) {
      const member = this.balancer.pick(candidates, request);
      if (request.random() * largest < shareOf(member)) return member;
      candidates.splice(candidates.indexOf(member), 1);
    }
  }

  private whyNone(): string {
    if (this.list.length === 0) return 'no member has an address';
    if (this.list.every((member) => member.state !== 'enabled')) return 'no member is enabled';
    return 'no member is up';
  }
}

function isIn(list: readonly Endpoint[], member: Member): boolean {
  // Almost always empty, and asked for each member.
  return list.length > 0 && list.some((endpoint) => isEndpoint(member, endpoint));
}

function isEndpoint({ endpoint }: Member, { address, port }: Endpoint): boolean {
  return endpoint.address === address && endpoint.port === port;
}
