import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Payload } from '../../../src/core/payload.ts';
import { bytes, text } from './playbook.ts';

function holding(...chunks: string[]): Payload {
  const payload = new Payload();
  for (const chunk of chunks) payload.append(bytes(chunk));
  return payload;
}

const held = (payload: Payload) => text(payload.bytes());

describe('Payload', () => {
  it('begins empty', () => {
    const payload = new Payload();
    expect(payload.length).toBe(0);
    expect(held(payload)).toBe('');
    expect(text(payload.take(5))).toBe('');
  });

  it('holds a single chunk as it came', () => {
    const chunk = bytes('abc');
    const payload = new Payload();
    payload.append(chunk);
    expect(payload.bytes()).toBe(chunk);
    expect(payload.take(3)).toBe(chunk);
  });

  it('joins chunks', () => {
    expect(held(holding('ab', '', 'c', 'def'))).toBe('abcdef');
  });

  it('takes from the front, and no more than there is', () => {
    const payload = holding('abc', 'def');
    expect(text(payload.take(4))).toBe('abcd');
    expect(payload.length).toBe(2);
    expect(text(payload.take(99))).toBe('ef');
    expect(payload.length).toBe(0);
  });

  it('never writes to a chunk that it was given', () => {
    const first = bytes('abcdef');
    const payload = new Payload();
    payload.append(first.subarray(0, 2));
    payload.append(bytes('XY'));
    payload.replace({ offset: 0, length: 1, data: bytes('Z') });
    expect(held(payload)).toBe('ZbXY');
    expect(text(first)).toBe('abcdef');
  });

  it('leaves what was taken alone when more arrives', () => {
    const payload = holding('ab', 'cd');
    const taken = payload.take(3);
    payload.append(bytes('efgh'));
    payload.replace({ offset: 0, length: 9, data: bytes('zzzzzzzzz') });
    expect(text(taken)).toBe('abc');
  });

  it.each([
    ['in the middle', 1, 2, 'XYZ', 'aXYZdef'],
    ['at the front', 0, 0, 'X', 'Xabcdef'],
    ['at the end', 6, 0, 'X', 'abcdefX'],
    ['beyond the end, which means the end', 99, 5, 'X', 'abcdefX'],
    ['over the end', 4, 99, 'X', 'abcdX'],
    ['everything by nothing', 0, 6, '', ''],
  ])('replaces %s', (_where, offset, length, data, result) => {
    const payload = holding('abc', 'def');
    payload.replace({ offset, length, data: bytes(data) });
    expect(held(payload)).toBe(result);
  });

  it('clones without sharing what comes later', () => {
    const payload = holding('ab', 'cd');
    const copy = payload.clone();
    copy.append(bytes('X'));
    payload.append(bytes('Y'));
    copy.take(1);
    expect([held(copy), held(payload)]).toEqual(['bcdX', 'abcdY']);
  });

  it('copies each byte only a few times when many small segments arrive', () => {
    const payload = new Payload();
    const stores = new Set<ArrayBufferLike>();
    for (let segment = 0; segment < 20_000; segment += 1) {
      payload.append(bytes('x'));
      stores.add(payload.bytes().buffer);
    }
    expect(payload.length).toBe(20_000);
    expect(stores.size).toBeLessThan(20);
  });

  it('does what a plain string does', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('append' as const), data: fc.string({ maxLength: 9 }) }),
      fc.record({ do: fc.constant('take' as const), length: fc.nat(12) }),
      fc.record({
        do: fc.constant('replace' as const),
        offset: fc.nat(12),
        length: fc.nat(12),
        data: fc.string({ maxLength: 9 }),
      }),
      fc.record({ do: fc.constant('clear' as const) }),
    );
    const conversation = fc.array(step, { maxLength: 40 });
    fc.assert(
      fc.property(conversation, (steps) => {
        const payload = new Payload();
        const taken: { view: Uint8Array; was: string }[] = [];
        let model = '';
        for (const step of steps) {
          if (step.do === 'append') {
            payload.append(bytes(step.data));
            model += step.data;
          } else if (step.do === 'take') {
            taken.push({ view: payload.take(step.length), was: model.slice(0, step.length) });
            model = model.slice(step.length);
          } else if (step.do === 'replace') {
            payload.replace({ ...step, data: bytes(step.data) });
            model =
              model.slice(0, step.offset) + step.data + model.slice(step.offset + step.length);
          } else {
            payload.clear();
            model = '';
          }
          expect(held(payload)).toBe(model);
          expect(payload.length).toBe(model.length);
        }
        for (const { view, was } of taken) expect(text(view)).toBe(was);
      }),
    );
  });
});
