import { describe, expect, it } from 'vitest';
import type { CollectAction } from '../../../src/core/rule-actions.ts';
import { looksLikeTls, SideState } from '../../../src/core/side-state.ts';
import { bytes, text } from './playbook.ts';

type Wanted = Pick<CollectAction, 'length' | 'skip'>;

function collecting(wanted: Wanted = {}): SideState {
  const side = new SideState('client');
  side.startCollect({ type: 'collect', side: 'client', ...wanted });
  return side;
}

const held = (side: SideState) => text(side.payload.bytes());

/** Marks the event as fired, as the flow does. */
function fire(side: SideState): void {
  if (side.collect !== undefined) side.collect.due = 'no';
}

describe('SideState', () => {
  it('lets bytes go when nothing is collected', () => {
    const side = new SideState('client');
    side.receive(bytes('ab'));
    side.receive(bytes('cd'));
    expect(held(side)).toBe('');
    expect(side.isDue()).toBe(false);
    expect(text(side.takeOutput())).toBe('abcd');
    expect(side.output).toBe(0);
  });

  describe('collect', () => {
    it('without a length is due for every segment', () => {
      const side = collecting();
      expect(side.isDue()).toBe(false);
      side.receive(bytes('a'));
      expect(side.isDue()).toBe(true);
      fire(side);
      expect(side.isDue()).toBe(false);
      side.receive(bytes('b'));
      expect(side.isDue()).toBe(true);
      expect(held(side)).toBe('ab');
      expect(side.output).toBe(0);
    });

    it('with a length is due once that many bytes are held', () => {
      const side = collecting({ length: 3 });
      side.receive(bytes('ab'));
      expect(side.isDue()).toBe(false);
      side.receive(bytes('cd'));
      expect(side.isDue()).toBe(true);
    });

    it('with a skip lets those bytes pass, and is due when they have', () => {
      const side = collecting({ length: 4, skip: 3 });
      side.receive(bytes('ab'));
      expect([text(side.takeOutput()), held(side), side.isDue()]).toEqual(['ab', '', false]);
      side.receive(bytes('cde'));
      expect([text(side.takeOutput()), held(side), side.isDue()]).toEqual(['c', 'de', true]);
      fire(side);
      side.receive(bytes('f'));
      expect(side.isDue()).toBe(false);
      side.receive(bytes('g'));
      expect([held(side), side.isDue()]).toEqual(['defg', true]);
    });

    it('is due when exactly the skip has passed and nothing is held', () => {
      const side = collecting({ skip: 2 });
      side.receive(bytes('ab'));
      expect([held(side), side.isDue()]).toEqual(['', true]);
    });

    it('last wins', () => {
      const side = collecting({ length: 9 });
      side.startCollect({ type: 'collect', side: 'client', length: 2 });
      side.receive(bytes('ab'));
      expect(side.isDue()).toBe(true);
    });

    it('again is due at once only if bytes were taken off and enough are left', () => {
      const left = (wanted: Wanted, taken: number) => {
        const side = collecting();
        side.receive(bytes('abcdef'));
        side.startCollect({ type: 'collect', side: 'client', ...wanted });
        side.release(taken);
        side.handlersDone(6);
        return side.isDue();
      };
      expect(left({ length: 4 }, 2)).toBe(true);
      expect(left({ length: 5 }, 2)).toBe(false);
      expect(left({ length: 4 }, 0)).toBe(false);
      expect(left({}, 2)).toBe(false);
    });
  });

  describe('release', () => {
    it('takes up to that many bytes, in order', () => {
      const side = collecting();
      side.receive(bytes('abcdef'));
      side.release(2);
      side.release(1);
      expect([text(side.takeOutput()), held(side)]).toEqual(['abc', 'def']);
      side.release(99);
      expect([text(side.takeOutput()), held(side)]).toEqual(['def', '']);
    });

    it('goes to the TLS layer while TLS is pending, and to the other side before', () => {
      const side = collecting();
      side.receive(bytes('abcdef'));
      side.release(1);
      side.tls = 'pending';
      side.release(2);
      expect(text(side.takeLeftover())).toBe('bcdef');
      expect(text(side.takeOutput())).toBe('a');
      expect(side.collect).toBeUndefined();
    });

    it('goes to the other side after all when TLS is cancelled', () => {
      const side = collecting();
      side.tls = 'pending';
      side.receive(bytes('abc'));
      side.release(2);
      expect([side.held, side.output]).toEqual([3, 0]);
      side.cancelTls();
      side.release(1);
      expect([side.tls, text(side.takeOutput())]).toEqual(['none', 'abc']);
    });
  });

  it('forgets everything on discard, and what still comes', () => {
    const side = collecting();
    side.receive(bytes('abc'));
    side.release(1);
    side.discard();
    side.receive(bytes('more'));
    expect([held(side), side.output, side.collect]).toEqual(['', 0, undefined]);
  });
});

describe('looksLikeTls', () => {
  it.each([
    ['a whole header', [0x16, 3, 1, 0, 5], true],
    ['SSL 3.0 to TLS 1.3 versions', [0x16, 3, 4], true],
    ['its first byte alone', [0x16], true],
    ['its first two bytes', [0x16, 3], true],
    ['no byte', [], false],
    ['an alert', [0x15, 3, 1], false],
    ['application data', [0x17, 3, 3], false],
    ['another major version', [0x16, 2], false],
    ['text', [...bytes('USER x')], false],
  ])('%s', (_name, data, answer) => {
    expect(looksLikeTls(Uint8Array.from(data))).toBe(answer);
  });
});
