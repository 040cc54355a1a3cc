import { isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import { maskAddress } from '../../../src/balancing/address.ts';
import { seeded } from './cases.ts';

describe('a masked address', () => {
  it.each([
    ['192.0.2.129', 25, '192.0.2.128/25'],
    ['192.0.2.129', 32, '192.0.2.129/32'],
    ['192.0.2.129', 0, '0.0.0.0/0'],
    ['::ffff:192.0.2.129', 16, '192.0.0.0/16'],
    ['255.255.255.255', 9, '255.128.0.0/9'],
  ])('%s with %i bits is %s', (text, prefix, masked) => {
    expect(maskAddress(text, prefix, 128)).toBe(masked);
  });

  it.each([
    ['2001:db8:ffff::1', 48, '2001:db8:ffff:0:0:0:0:0/48'],
    ['2001:db8:ffff::1', 33, '2001:db8:8000:0:0:0:0:0/33'],
    ['fe80::1%eth0', 128, 'fe80:0:0:0:0:0:0:1/128'],
    ['64:ff9b::192.0.2.1', 128, '64:ff9b:0:0:0:0:c000:201/128'],
    ['::', 128, '0:0:0:0:0:0:0:0/128'],
    ['::1', 0, '0:0:0:0:0:0:0:0/0'],
  ])('%s with %i bits is %s', (text, prefix, masked) => {
    expect(maskAddress(text, 32, prefix)).toBe(masked);
  });

  it('is none for what is no address, as Node.js sees it', () => {
    const random = seeded(7);
    const marks = ['0', '1', 'f', 'ffff', '255', '256', '.', '.', ':', ':', '::', '%', 'g', ' '];
    const starts = ['', '', '1.2.3.', '::', '1:2:3:4:5:6:', '1:2:3:4:5:6:7:', '::ffff:1.2.3.'];
    const one = (list: readonly string[]) => list[Math.floor(random() * list.length)] ?? '';
    const seen = { good: 0, bad: 0 };
    for (let turn = 0; turn < 50_000; turn++) {
      const count = Math.floor(random() * 6);
      const text = one(starts) + Array.from({ length: count }, () => one(marks)).join('');
      // A zone is not looked at here, and there a leading zero makes a byte of IPv4 bad.
      if (text.includes('%') || /(^|[.:])0[0-9]+(\.|$)/.test(text)) continue;
      const good = isIP(text) !== 0;
      seen[good ? 'good' : 'bad'] += 1;
      if ((maskAddress(text, 32, 128) !== undefined) !== good) expect.fail(text);
    }
    expect(Math.min(seen.good, seen.bad)).toBeGreaterThan(3000);
    expect(maskAddress(`::1%${'x'.repeat(100)}`, 32, 128)).toBeUndefined();
  });
});
