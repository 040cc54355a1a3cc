import { type Endpoint, formatEndpoint } from '../core/types.ts';
import { hashText } from './hash.ts';

/**
 * What an operator lets a member do. `disabled`: only connections that persistence brings to it.
 * `offline`: none. Open connections go on in each.
 */
export type MemberState = 'enabled' | 'disabled' | 'offline';

export interface MemberSettings {
  /** 1 to 1000: its share, for balancers that weigh. */
  readonly ratio: number;
  /** 0 to 1000: members of a higher priority are used first. */
  readonly priority: number;
  /** Connections open at a time; 0: no limit. */
  readonly connectionLimit: number;
}

/** A member as a pool is given it. The settings default to 1, 0 and 0. */
export interface MemberSetup extends Partial<MemberSettings> {
  readonly endpoint: Endpoint;
  /** Absent: as it was; a new member is enabled. */
  readonly state?: MemberState;
}

/** The share of a connection time that goes into the mean, and of a change that goes into the trend. */
const NEWEST = 0.25;

/** Without new connections, what was measured counts half after this time, in milliseconds. */
const HALF_LIFE = 10_000;

/** No connection time counts less, in milliseconds; this is also what an unmeasured member gets. */
const LEAST_TIME = 1;

/** The share with which a slow ramp begins. */
const FIRST_SHARE = 0.1;

/** A server in a pool. All times are milliseconds of one clock that never goes back. */
export class Member {
  /** `address:port`; tells the members of a pool apart. */
  readonly key: string;
  /** Of the key. */
  readonly hash: number;
  /** Open now, also those that are being connected. */
  connections = 0;
  /** Its place when the members take turns. Belongs to the pool. */
  order = 0;
  /** What it has coming by its ratio. Belongs to the balancer. */
  credit = 0;

  private given: Endpoint;
  private limits: MemberSettings = { ratio: 1, priority: 0, connectionLimit: 0 };
  private allowed: MemberState = 'enabled';
  private passes = true;
  /** When it came, or will come, into service: one marked down for a time has it in the future. */
  private since: number;
  private failures = 0;
  private meanTime = 0;
  private trend = 0;
  private measuredAt: number | undefined;

  constructor(endpoint: Endpoint, now: number) {
    this.given = endpoint;
    this.key = formatEndpoint(endpoint);
    this.hash = hashText(this.key);
    this.since = now;
  }

  get endpoint(): Endpoint {
    return this.given;
  }

  get settings(): MemberSettings {
    return this.limits;
  }

  get state(): MemberState {
    return this.allowed;
  }

  /** What the monitors say; true without monitors. */
  get up(): boolean {
    return this.passes;
  }

  /** When it last came into service, for the ramp. */
  get upSince(): number {
    return this.since;
  }

  /** It has as many connections as it may. */
  get full(): boolean {
    const { connectionLimit } = this.limits;
    return connectionLimit > 0 && this.connections >= connectionLimit;
  }

  /**
   * Takes settings over; connections and what was measured stay.
   *
   * @throws RangeError when a setting is not a whole number within its range
   */
  configure(setup: MemberSetup, now: number): void {
    const { ratio = 1, priority = 0, connectionLimit = 0 } = setup;
    checkRange('ratio', ratio, 1, 1000);
    checkRange('priority', priority, 0, 1000);
    checkRange('connectionLimit', connectionLimit, 0, Number.MAX_SAFE_INTEGER);
    // Credit was earned by the old ratio, and could keep it waiting, or busy, for a long time.
    if (ratio !== this.limits.ratio) this.credit = 0;
    this.given = setup.endpoint;
    this.limits = { ratio, priority, connectionLimit };
    if (setup.state !== undefined) this.setState(setup.state, now);
  }

  /** One that becomes enabled begins its ramp. */
  setState(state: MemberState, now: number): void {
    if (state === 'enabled' && this.allowed !== 'enabled') this.since = now;
    this.allowed = state;
  }

  /** Says what the monitors found. One that comes up begins its ramp, and its failures are forgotten. */
  setUp(up: boolean, now: number): void {
    if (up && !this.passes) {
      this.since = now;
      this.failures = 0;
    }
    this.passes = up;
  }

  /** Monitors find it up, and it was not marked down for its failures. */
  inService(now: number): boolean {
    return this.passes && now >= this.since;
  }

  /** It may serve a new connection; whether it is full is another question. */
  active(now: number): boolean {
    return this.allowed === 'enabled' && this.inService(now);
  }

  /**
   * A connection to it failed. After `fall` failures in a row, and then after each, it is out of
   * service for `downTime` milliseconds. True when it was in service and now is not.
   */
  failed(fall: number, downTime: number, now: number): boolean {
    const before = this.inService(now);
    this.failures += 1;
    if (fall > 0 && this.failures >= fall) this.since = now + downTime;
    return before && !this.inService(now);
  }

  /** A connection to it was made in `ms` milliseconds. */
  connected(ms: number, now: number): void {
    this.failures = 0;
    if (this.measuredAt === undefined) {
      this.meanTime = ms;
    } else {
      const change = NEWEST * (ms - this.meanTime);
      this.meanTime += change;
      this.trend += NEWEST * (change - this.trend);
    }
    this.measuredAt = now;
  }

  /** The share of what it would get that is due to it: 0.1 when it comes up, 1 after `slowRamp` ms. */
  share(now: number, slowRamp: number): number {
    const age = Math.max(0, now - this.since);
    return age >= slowRamp ? 1 : FIRST_SHARE + (1 - FIRST_SHARE) * (age / slowRamp);
  }

  /** Milliseconds that a connection takes, 1 at least: an exponentially weighted mean (1/4 newest). */
  expectedTime(now: number): number {
    return this.aged(this.meanTime, now);
  }

  /**
   * The same for the next connection if the trend holds: mean + 4 * trend. On a straight line the
   * mean lags 3 measurements behind the newest one (it takes 1/4 of each), and the next is one ahead.
   */
  predictedTime(now: number): number {
    return this.aged(this.meanTime + this.trend / NEWEST, now);
  }

  /** What was measured long ago fades, or a member that was slow once would never be tried again. */
  private aged(ms: number, now: number): number {
    if (this.measuredAt === undefined) return LEAST_TIME;
    return Math.max(LEAST_TIME, ms * 2 ** ((this.measuredAt - now) / HALF_LIFE));
  }
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`${name} must be a whole number from ${least} to ${most}, not ${value}`);
}
