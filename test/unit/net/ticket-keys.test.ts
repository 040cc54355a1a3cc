import { describe, expect, it } from 'vitest';
import { isMadeWith, TicketSecrets } from '../../../src/net/ticket-keys.ts';
import { pattern } from './lab.ts';

const HOUR = 3600;
const hours = (count: number) => count * HOUR * 1000;

/** Secrets of their own, and the clock that they go by. */
function own() {
  const clock = { now: 5_000 };
  const secrets = new TicketSecrets(undefined, HOUR, () => clock.now);
  return { clock, secrets };
}

describe('ticket secrets', () => {
  it('make a key of 48 bytes for each scope', () => {
    const { secrets } = own();
    const [a] = secrets.keysFor('a');
    const [b] = secrets.keysFor('b');
    expect(a).toHaveLength(48);
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(false);
    // Not even their names are the same: a ticket tells nothing of other scopes.
    expect(a?.subarray(0, 16).equals(b?.subarray(0, 16) ?? Buffer.alloc(0))).toBe(false);
    expect(secrets.keysFor('a')).toEqual([a]);
  });

  it('are random unless they are given', () => {
    expect(own().secrets.keysFor('a')).not.toEqual(own().secrets.keysFor('a'));
    const given = [pattern(48, 1), pattern(48, 2)];
    const keys = new TicketSecrets(given, HOUR).keysFor('a');
    expect(keys).toHaveLength(2);
    expect(new TicketSecrets(given, HOUR).keysFor('a')).toEqual(keys);
    expect(new TicketSecrets([...given].reverse(), HOUR).keysFor('a')).toEqual([...keys].reverse());
  });

  it('change after a period, and the last ones still read', () => {
    const { clock, secrets } = own();
    const [first] = secrets.keysFor('a');
    clock.now += hours(1) - 1;
    secrets.rotate();
    expect(secrets.keysFor('a')).toEqual([first]);
    expect(secrets.version).toBe(0);
    clock.now += 1;
    secrets.rotate();
    expect(secrets.version).toBe(1);
    const [second, ...rest] = secrets.keysFor('a');
    expect(rest).toEqual([first]);
    expect(second).not.toEqual(first);
    clock.now += hours(1);
    secrets.rotate();
    const [third, ...last] = secrets.keysFor('a');
    expect(last).toEqual([second]);
    expect([first, second]).not.toContainEqual(third);
  });

  it('that nobody has used for two periods are gone', () => {
    const { clock, secrets } = own();
    const [first] = secrets.keysFor('a');
    clock.now += hours(2);
    secrets.rotate();
    expect(secrets.keysFor('a')).toHaveLength(1);
    expect(secrets.keysFor('a')).not.toContainEqual(first);
  });

  it('that are given stay', () => {
    const clock = { now: 0 };
    const secrets = new TicketSecrets([pattern(48)], HOUR, () => clock.now);
    const keys = secrets.keysFor('a');
    clock.now += hours(100);
    secrets.rotate();
    expect(secrets.version).toBe(0);
    expect(secrets.keysFor('a')).toEqual(keys);
  });
});

describe('a ticket', () => {
  const key = pattern(48);

  it('begins with the name of its key', () => {
    expect(isMadeWith(Buffer.concat([key.subarray(0, 16), pattern(100, 3)]), key)).toBe(true);
    expect(isMadeWith(key.subarray(0, 16), key)).toBe(true);
    expect(isMadeWith(pattern(116, 3), key)).toBe(false);
  });

  it('may be of any length', () => {
    for (let length = 0; length < 16; length++) {
      expect(isMadeWith(key.subarray(0, length), key)).toBe(false);
    }
  });
});
