import { describe, expect, it } from 'vitest';
import { Member, type MemberSetup } from '../../../src/balancing/member.ts';
import { endpoint } from './cases.ts';

const member = (setup: Omit<MemberSetup, 'endpoint'> = {}, now = 0) => {
  const created = new Member(endpoint(25), now);
  created.configure({ endpoint: endpoint(25), ...setup }, now);
  return created;
};

describe('a member', () => {
  it('is known by its address and port', () => {
    expect(member().key).toBe('127.0.0.1:25');
    expect(new Member({ address: '::1', port: 25 }, 0).key).toBe('[::1]:25');
  });

  it('has settings with bounds', () => {
    expect(member().settings).toEqual({ ratio: 1, priority: 0, connectionLimit: 0 });
    const settings = { ratio: 1000, priority: 1000, connectionLimit: 1 };
    expect(member(settings).settings).toEqual(settings);
    const bad = [
      { ratio: 0 },
      { ratio: 1001 },
      { ratio: 1.5 },
      { ratio: Number.NaN },
      { priority: -1 },
      { priority: 1001 },
      { connectionLimit: -1 },
      { connectionLimit: Number.POSITIVE_INFINITY },
    ];
    for (const setup of bad) expect(() => member(setup), JSON.stringify(setup)).toThrow(RangeError);
    expect(() => member({ ratio: 0 })).toThrow(
      'ratio must be a whole number from 1 to 1000, not 0',
    );
  });

  it('is full at its limit', () => {
    const limited = member({ connectionLimit: 2 });
    limited.connections = 1;
    expect(limited.full).toBe(false);
    limited.connections = 2;
    expect(limited.full).toBe(true);
    limited.configure({ endpoint: endpoint(25) }, 0);
    expect(limited.full).toBe(false);
  });

  it('is active while it is enabled and up', () => {
    const changing = member();
    expect(changing.active(0)).toBe(true);
    changing.setUp(false, 1);
    expect([changing.active(1), changing.inService(1)]).toEqual([false, false]);
    changing.setUp(true, 2);
    changing.setState('disabled', 3);
    expect([changing.active(3), changing.inService(3)]).toEqual([false, true]);
    changing.setState('enabled', 4);
    expect(changing.active(4)).toBe(true);
  });

  it('ramps from a tenth, when it came, came up or was enabled', () => {
    const ramping = member({}, 1000);
    const at = (now: number) => Number(ramping.share(now, 900).toFixed(3));
    expect([1000, 1300, 1600, 1900, 9000].map(at)).toEqual([0.1, 0.4, 0.7, 1, 1]);
    expect(ramping.share(1000, 0)).toBe(1);
    ramping.setUp(true, 5000);
    expect(at(5000), 'it was up').toBe(1);
    ramping.setUp(false, 5000);
    ramping.setUp(true, 6000);
    expect([ramping.upSince, at(6000), at(6900)]).toEqual([6000, 0.1, 1]);
    ramping.setState('offline', 7000);
    ramping.setState('enabled', 8000);
    expect([ramping.upSince, at(8000)]).toEqual([8000, 0.1]);
    ramping.setState('enabled', 9000);
    expect(ramping.upSince).toBe(8000);
  });

  it('is out of service for a time after failures in a row', () => {
    const failing = member();
    expect([failing.failed(3, 500, 10), failing.failed(3, 500, 20)]).toEqual([false, false]);
    failing.connected(5, 25);
    expect([failing.failed(3, 500, 30), failing.failed(3, 500, 40)]).toEqual([false, false]);
    expect(failing.active(49)).toBe(true);
    expect(failing.failed(3, 500, 50)).toBe(true);
    expect([failing.active(50), failing.active(549), failing.active(550)]).toEqual([
      false,
      false,
      true,
    ]);
    expect(failing.failed(3, 500, 500), 'an attempt from before; it is down already').toBe(false);
    expect([failing.active(999), failing.active(1000)]).toEqual([false, true]);
    expect(failing.share(1000, 100), 'it ramps when it is back').toBe(0.1);
    expect(failing.failed(3, 500, 1001), 'one more is enough').toBe(true);
    failing.connected(5, 1600);
    expect(failing.failed(3, 500, 1700), 'not after a success').toBe(false);
  });

  it('is not marked down where that is off, and is back when monitors see it come up', () => {
    const failing = member();
    for (let count = 0; count < 10; count++) expect(failing.failed(0, 500, 0)).toBe(false);
    expect(failing.failed(1, 500, 0)).toBe(true);
    failing.setUp(false, 10);
    failing.setUp(true, 20);
    expect(failing.active(20)).toBe(true);
    expect(failing.failed(2, 500, 30), 'its failures are forgotten').toBe(false);
  });
});

describe('the connection times of a member', () => {
  it('have a mean of which the newest is a quarter', () => {
    const measured = member();
    expect(measured.expectedTime(0)).toBe(1);
    measured.connected(100, 0);
    expect(measured.expectedTime(0)).toBe(100);
    measured.connected(200, 0);
    expect(measured.expectedTime(0)).toBe(125);
    measured.connected(0, 0);
    expect(measured.expectedTime(0)).toBe(93.75);
  });

  it('have a trend that foretells the next of a straight line', () => {
    const measured = member();
    for (let ms = 10; ms <= 500; ms += 5) measured.connected(ms, 0);
    expect(measured.expectedTime(0)).toBeCloseTo(485, 3);
    expect(measured.predictedTime(0)).toBeCloseTo(505, 3);
    for (let count = 0; count < 100; count++) measured.connected(40, 0);
    expect(measured.predictedTime(0)).toBeCloseTo(40, 3);
  });

  it('fade without new ones, and are never below a millisecond', () => {
    const measured = member();
    measured.connected(80, 1000);
    expect(measured.expectedTime(11_000)).toBeCloseTo(40);
    expect(measured.predictedTime(21_000)).toBeCloseTo(20);
    expect(measured.expectedTime(1e9)).toBe(1);
    measured.connected(0, 1e9);
    for (let count = 0; count < 50; count++) measured.connected(0, 1e9);
    expect(measured.expectedTime(1e9)).toBe(1);
    expect(measured.predictedTime(1e9)).toBe(1);
  });
});
