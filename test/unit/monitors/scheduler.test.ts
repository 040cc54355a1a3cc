import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Endpoint } from '../../../src/core/types.ts';
import {
  MonitorSet,
  type MonitorSettings,
  type MonitorStatus,
} from '../../../src/monitors/index.ts';
import { TestServer, timing } from './lab.ts';

const server: Endpoint = { address: '192.0.2.1', port: 110 };
const monitor: MonitorSettings = { ...timing, type: 'tcp' };

/** Probes that pass or fail as they are told, or wait. */
class Probes {
  /** When each began, by server. */
  readonly begun: { readonly at: number; readonly key: string }[] = [];
  running = 0;
  most = 0;
  /** Why probes fail; '' when they pass. */
  problem = '';
  /** How long each takes; without end until its deadline when it is infinite. */
  duration = 0;

  readonly probe = async (
    { address, port }: Endpoint,
    _: MonitorSettings,
    signal: AbortSignal,
  ): Promise<void> => {
    this.begun.push({ at: performance.now(), key: `${address}:${port}` });
    this.running += 1;
    this.most = Math.max(this.most, this.running);
    try {
      await this.wait(signal);
    } finally {
      this.running -= 1;
    }
    if (this.problem !== '') throw new Error(this.problem);
  };

  get times(): number[] {
    return this.begun.map(({ at }) => at);
  }

  private wait(signal: AbortSignal): Promise<void> {
    if (this.duration === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer =
        this.duration === Number.POSITIVE_INFINITY ? undefined : setTimeout(resolve, this.duration);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(new Error('timed out'));
      });
    });
  }
}

/** The time from each to the next one. */
function gapsOf(times: readonly number[]): number[] {
  return times.slice(1).map((time, index) => Math.round(time - (times[index] ?? 0)));
}

/** Takes what a listener hears. */
function recorder() {
  const heard: MonitorStatus[] = [];
  return {
    heard,
    listener: (status: MonitorStatus) => void heard.push(status),
    states: () => heard.map(({ state }) => state),
  };
}

describe('with time that is told to pass', () => {
  let probes: Probes;
  let monitors: MonitorSet;

  beforeEach(() => {
    vi.useFakeTimers({ now: 1_000_000 });
    probes = new Probes();
    monitors = new MonitorSet(probes.probe, () => 0.5);
  });

  afterEach(() => {
    monitors.close();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  test('probes at once, and then in intervals', async () => {
    const { listener, states } = recorder();
    const watch = monitors.watch(server, monitor, listener);
    expect(watch.status).toEqual({ state: 'unknown', reason: '', since: 1_000_000 });
    const start = performance.now();
    await vi.advanceTimersByTimeAsync(0);
    expect(watch.status.state).toBe('up');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(probes.times.map((time) => time - start)).toEqual([0, 5_000, 10_000]);
    expect(states()).toEqual(['up']);
  });

  test('tells of changes only, with reason and time', async () => {
    const { heard, listener } = recorder();
    const watch = monitors.watch(server, monitor, listener);
    await vi.advanceTimersByTimeAsync(0);
    probes.problem = 'no greeting: timed out';
    await vi.advanceTimersByTimeAsync(10_000);
    expect(heard).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(5_000);
    probes.problem = 'no connection: ECONNREFUSED';
    await vi.advanceTimersByTimeAsync(5_000);
    expect(watch.status.reason).toBe('no connection: ECONNREFUSED');
    probes.problem = '';
    await vi.advanceTimersByTimeAsync(5_000);
    expect(heard).toEqual([
      { state: 'up', reason: '', since: 1_000_000 },
      { state: 'down', reason: 'no greeting: timed out', since: 1_015_000 },
      { state: 'up', reason: '', since: 1_025_000 },
    ]);
  });

  test('ends a probe at its deadline, and measures intervals from start to start', async () => {
    probes.duration = Number.POSITIVE_INFINITY;
    const { heard, listener } = recorder();
    monitors.watch(server, monitor, listener);
    await vi.advanceTimersByTimeAsync(1_999);
    expect(heard).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(heard).toEqual([{ state: 'down', reason: 'timed out', since: 1_002_000 }]);
    await vi.advanceTimersByTimeAsync(3_000);
    const [first = 0, second] = probes.times;
    expect(second).toBe(first + 5_000);
  });

  test('never probes twice at a time, even if a probe outlasts its interval', async () => {
    probes.duration = 1_500;
    monitors.watch(server, { ...monitor, interval: 1_000 }, () => {});
    await vi.advanceTimersByTimeAsync(5_000);
    // No timer takes less than a millisecond.
    expect(gapsOf(probes.times)).toEqual([1_501, 1_501, 1_501]);
    expect(probes.most).toBe(1);
  });

  test('waits for timeUntilUp', async () => {
    const { heard, listener } = recorder();
    monitors.watch(server, { ...monitor, timeUntilUp: 7_000 }, listener);
    await vi.advanceTimersByTimeAsync(9_999);
    expect(heard).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(heard).toEqual([{ state: 'up', reason: '', since: 1_010_000 }]);
  });

  test('shares a probe where server and settings are equal', async () => {
    const one = recorder();
    const other = recorder();
    monitors.watch(server, monitor, one.listener);
    await vi.advanceTimersByTimeAsync(0);
    const watch = monitors.watch({ ...server }, { ...monitor }, other.listener);
    expect(watch.status.state).toBe('up');
    expect(monitors.size).toBe(1);
    probes.problem = 'no';
    await vi.advanceTimersByTimeAsync(15_000);
    expect(probes.begun).toHaveLength(4);
    expect(one.states()).toEqual(['up', 'down']);
    expect(other.states()).toEqual(['down']);
  });

  test.each<[string, Endpoint, MonitorSettings]>([
    ['port', { ...server, port: 111 }, monitor],
    ['name', { ...server, host: 'mail.example.com' }, monitor],
    ['interval', server, { ...monitor, interval: 6_000 }],
    ['type', server, { ...monitor, type: 'tcp-half-open' }],
  ])('shares no probe where the %s is another', (_, endpoint, settings) => {
    monitors.watch(server, monitor, () => {});
    monitors.watch(endpoint, settings, () => {});
    expect(monitors.size).toBe(2);
  });

  test('keeps a probe while somebody listens, and its state through a change of hands', async () => {
    const { listener, heard } = recorder();
    const old = monitors.watch(server, monitor, listener);
    // The same function twice are two listeners.
    const twin = monitors.watch(server, monitor, listener);
    await vi.advanceTimersByTimeAsync(0);
    expect(heard).toHaveLength(2);
    const next = monitors.watch(server, { ...monitor }, () => {});
    old.close();
    old.close();
    twin.close();
    expect(next.status.state).toBe('up');
    await vi.advanceTimersByTimeAsync(5_000);
    expect(probes.begun).toHaveLength(2);
    next.close();
    expect(monitors.size).toBe(0);
    const fresh = monitors.watch(server, monitor, () => {});
    expect(fresh.status.state).toBe('unknown');
    // One that was closed before does not end the new probe.
    next.close();
    expect(monitors.size).toBe(1);
  });

  test('a listener may end watches, and begin new ones', async () => {
    const { listener, heard } = recorder();
    let calls = 0;
    const watches = [0, 1].map(() =>
      monitors.watch(server, monitor, () => {
        calls += 1;
        const next = monitors.watch(server, monitor, listener);
        expect(next.status.state).toBe('up');
        for (const watch of watches) watch.close();
      }),
    );
    await vi.advanceTimersByTimeAsync(0);
    expect(calls).toBe(1);
    expect(heard).toEqual([]);
    probes.problem = 'no';
    await vi.advanceTimersByTimeAsync(15_000);
    expect(calls).toBe(1);
    expect(heard).toHaveLength(1);
  });

  test('close ends probes that are under way, and nobody hears of it', async () => {
    probes.duration = Number.POSITIVE_INFINITY;
    const { listener, heard } = recorder();
    monitors.watch(server, monitor, listener);
    await vi.advanceTimersByTimeAsync(100);
    expect(probes.running).toBe(1);
    monitors.close();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(probes.running).toBe(0);
    expect(heard).toEqual([]);
    expect(probes.begun).toHaveLength(1);
  });
});

describe('thousands of watches', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    return () => vi.useRealTimers();
  });

  test('share probes, which are spread over the interval', async () => {
    const probes = new Probes();
    let drawn = 0;
    // As even as can be: the multiples of the golden ratio.
    const monitors = new MonitorSet(probes.probe, () => (++drawn * 0.618034) % 1);
    const start = performance.now();
    let heard = 0;
    for (let index = 0; index < 10_000; index++) {
      const endpoint = { address: '192.0.2.1', port: 1 + (index % 200) };
      monitors.watch(endpoint, { ...monitor, jitter: 1 }, () => {
        heard += 1;
      });
    }
    expect(monitors.size).toBe(200);
    await vi.advanceTimersByTimeAsync(5_000);
    const first = new Map<string, number>();
    for (const { at, key } of probes.begun) if (!first.has(key)) first.set(key, at - start);
    for (let part = 0; part < 10; part++) {
      const isIn = (time: number) => Math.floor(time / 500) === part;
      expect([...first.values()].filter(isIn).length).toBeGreaterThanOrEqual(18);
    }
    expect(heard).toBe(10_000);
    monitors.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('stay spread: intervals vary by half the jitter each way', async () => {
    const probes = new Probes();
    const numbers = [0, 0, 0.999, 0.5];
    const monitors = new MonitorSet(probes.probe, () => numbers.shift() ?? 0.5);
    monitors.watch(server, { ...monitor, jitter: 0.2 }, () => {});
    await vi.advanceTimersByTimeAsync(20_000);
    expect(gapsOf(probes.times).slice(0, 3)).toEqual([4_500, 5_499, 5_000]);
    monitors.close();
  });
});

describe('with a real server', () => {
  test('follows it down and up', async () => {
    const settings: MonitorSettings = { ...monitor, interval: 10, fall: 2, rise: 2 };
    const target = await TestServer.start(() => {});
    const monitors = new MonitorSet();
    try {
      await new Promise<void>((resolve) => {
        monitors.watch(target.endpoint, settings, ({ state }) => state === 'up' && resolve());
      });
      const down = new Promise<MonitorStatus>((resolve) => {
        monitors.watch(target.endpoint, settings, resolve);
      });
      await target.stop();
      expect(await down).toMatchObject({ state: 'down', reason: 'no connection: ECONNREFUSED' });
    } finally {
      monitors.close();
    }
  });
});
