import { expect, test } from 'vitest';
import { formatQuantity, parseQuantity, type Quantity } from '../../../src/config/quantity.ts';
import { nearest, quote } from '../../../src/core/text.ts';

test.each([
  ['clientSSL', 'clientSsl'],
  ['pool', 'pools'],
  ['lsiten', 'listen'],
  ['listn', 'listen'],
  ['LISTEN', 'listen'],
  ['tpc', 'tcp'],
  ['snat', undefined],
  ['', undefined],
  ['x'.repeat(65), undefined],
])('nearest to %j is %j', (name, expected) => {
  expect(nearest(name, ['listen', 'clientSsl', 'tcp', 'pools', 'rules'])).toBe(expected);
});

test('the nearest of several, and the first of equals', () => {
  expect(nearest('mail', ['mains', 'maid', 'mall'])).toBe('maid');
  expect(nearest('mail', [])).toBeUndefined();
});

test('quoted text is bounded and cannot drive a terminal', () => {
  expect(quote("it's")).toBe("'it's'");
  expect(quote('a\u001b[2J\n\u009b')).toBe("'a\\x1b[2J\\x0a\\x9b'");
  expect(quote('x'.repeat(81))).toBe(`'${'x'.repeat(77)}...'`);
});

const duration: Quantity = { unit: 'duration', default: 1, min: 1, max: 7_200_000, doc: '' };
const size: Quantity = { unit: 'size', default: 1, min: 0, max: 1024 * 1024, doc: '' };

test.each([
  [duration, '500ms', 500],
  [duration, '90s', 90_000],
  [duration, '2h', 7_200_000],
  [duration, 7_200_000, 7_200_000],
  [duration, '7200001ms', undefined],
  [duration, '0s', undefined],
  [duration, 0.5, undefined],
  [duration, '500', undefined],
  [duration, '1.5s', undefined],
  [duration, '-1s', undefined],
  [duration, '1 s', undefined],
  [duration, '1constructor', undefined],
  [size, '64KiB', 65_536],
  [size, '1MiB', 1_048_576],
  [size, '7B', 7],
  [size, 0, 0],
  [size, '1KB', undefined],
  [size, '2MiB', undefined],
])('%j reads %j as %j', (quantity, text, expected) => {
  expect(parseQuantity(quantity, text)).toBe(expected);
});

test('quantities are written in the largest unit that fits', () => {
  const written = [0, 1, 1500, 60_000, 90_000, 3_600_000].map((ms) => formatQuantity(duration, ms));
  expect(written).toEqual(['0ms', '1ms', '1500ms', '1m', '90s', '1h']);
});
