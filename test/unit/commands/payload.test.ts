import { describe, expect, it } from 'vitest';
import { bytes, call, callIn, runIn, text } from './call.ts';

const LAYERS = [
  { layer: 'TCP', tls: 'none' },
  { layer: 'SSL', tls: 'secured' },
] as const;

describe.each(LAYERS)('$layer on a side with tls $tls', ({ layer, tls }) => {
  const client = { tls, payload: 'USER bob\r\n' };
  const name = (suffix: string) => `${layer}.${suffix}`;

  describe('collect', () => {
    it.each([
      ['nothing', [], {}],
      ['a length', [5], { length: 5 }],
      ['a length and a skip', [5, 3], { length: 5, skip: 3 }],
      ['a skip of 0', [5, 0], { length: 5 }],
    ])('records %s', (_what, args, rest) => {
      const { result, actions } = call({ client }, name('collect'), ...args);
      expect(result).toBeUndefined();
      expect(actions).toEqual([{ type: 'collect', side: 'client', ...rest }]);
    });

    it('means the current side', () => {
      const { actions } = call({ event: 'SERVER_DATA', server: { tls } }, name('collect'));
      expect(actions).toEqual([{ type: 'collect', side: 'server' }]);
    });

    it('refuses a length of 0', () => {
      expect(() => call({ client }, name('collect'), 0)).toThrow(
        new RangeError(`${layer}.collect: length must be at least 1`),
      );
    });
  });

  describe('release', () => {
    it.each([
      ['all', [], 10],
      ['a part', [4], 4],
      ['no more than is held', [99], 10],
      ['nothing', [0], 0],
    ])('of %s answers how much', (_what, args, length) => {
      const { result, actions } = call({ client }, name('release'), ...args);
      expect(result).toBe(length);
      expect(actions).toEqual([{ type: 'release', side: 'client', length }]);
    });

    it('counts what the same handler has changed', () => {
      const run = runIn({ client });
      callIn(run, name('payload.replace'), 0, 5, bytes(''));
      expect(callIn(run, name('release'), 2)).toBe(2);
      expect(callIn(run, name('release'))).toBe(3);
      expect(callIn(run, name('release'))).toBe(0);
    });
  });

  describe('payload', () => {
    it.each([
      ['everything', [], 'USER bob\r\n'],
      ['the first bytes', [4], 'USER'],
      ['more than there is', [99], 'USER bob\r\n'],
      ['from an offset', [5, 3], 'bob'],
      ['over the end', [8, 99], '\r\n'],
      ['behind the end', [50, 5], ''],
    ])('is %s', (_what, args, expected) => {
      const { result, actions } = call({ client }, name('payload'), ...args);
      expect(text(result as Uint8Array)).toBe(expected);
      expect(actions).toEqual([]);
    });

    it.each([
      ['everything', [], 'USER bob\r\n'],
      ['the rest from an offset', [5], 'bob\r\n'],
      ['a range', [5, 3], 'bob'],
    ])('.bytes is %s', (_what, args, expected) => {
      expect(text(call({ client }, name('payload.bytes'), ...args).result as Uint8Array)).toBe(
        expected,
      );
    });

    it('.length counts', () => {
      expect(call({ client }, name('payload.length')).result).toBe(10);
      expect(call({ client: { tls } }, name('payload.length')).result).toBe(0);
    });

    it.each([
      ['a byte', ['\n'], 9],
      ['a word', ['bob'], 5],
      ['the first of several', ['\r\n'], 8],
      ['only from an offset', ['U', 1], -1],
      ['what is not there', ['alice'], -1],
      ['nothing, at the start', [''], 0],
      ['nothing, from an offset', ['', 3], 3],
      ['nothing, behind the end', ['', 99], 10],
      ['something, from behind the end', ['b', 99], -1],
    ])('.indexOf finds %s', (_what, [needle, from], expected) => {
      const args = from === undefined ? [] : [from];
      expect(call({ client }, name('payload.indexOf'), bytes(String(needle)), ...args).result).toBe(
        expected,
      );
    });

    it('.indexOf takes no needle with which the search would take long', () => {
      const find = (length: number) =>
        call({ client }, name('payload.indexOf'), bytes('a'.repeat(length))).result;
      expect(find(250)).toBe(-1);
      expect(() => find(251)).toThrow(RangeError);
    });

    it('.indexOf looks only at the held bytes of a larger buffer', () => {
      const run = runIn({ client: { tls, payload: 'ab\ncd\n' } });
      callIn(run, name('release'), 3);
      expect(callIn(run, name('payload.indexOf'), bytes('\n'))).toBe(2);
      expect(callIn(run, name('payload.indexOf'), bytes('ab'))).toBe(-1);
    });

    it('.replace is recorded, and seen by later reads', () => {
      const run = runIn({ client });
      callIn(run, name('payload.replace'), 5, 3, bytes('alice'));
      expect(text(callIn(run, name('payload')) as Uint8Array)).toBe('USER alice\r\n');
      expect(callIn(run, name('payload.length'))).toBe(12);
      expect(callIn(run, name('payload.indexOf'), bytes('\n'))).toBe(11);
      expect(run.actions).toEqual([
        { type: 'replace', side: 'client', offset: 5, length: 3, data: bytes('alice') },
      ]);
    });
  });

  it('respond goes to the peer of the current side', () => {
    const data = bytes('+OK\r\n');
    const { actions } = call({ client }, name('respond'), data);
    expect(actions).toEqual([{ type: 'respond', side: 'client', data }]);
  });

  const all = [
    ['collect', []],
    ['release', []],
    ['payload', []],
    ['payload.bytes', []],
    ['payload.length', []],
    ['payload.indexOf', [bytes('x')]],
    ['payload.replace', [0, 0, bytes('x')]],
    ['respond', [bytes('x')]],
  ] as const;

  it.each(all)('%s needs a connection', (suffix, args) => {
    const event = 'LB_SELECTED';
    const run = runIn({ event, server: { open: false } });
    run.side = 'server';
    expect(() => callIn(run, name(suffix), ...args)).toThrow(
      `${layer}.${suffix}: the server side is not connected`,
    );
    expect(run.actions).toEqual([]);
  });

  it.each(all)('%s is refused while TLS is being changed', (suffix, args) => {
    for (const changing of ['hello', 'handshake', 'closing'] as const) {
      if (suffix === 'collect' && changing === 'closing') continue;
      const client = { tls: changing, depth: layer === 'SSL' ? 1 : 0 };
      expect(() => call({ client }, name(suffix), ...args)).toThrow(
        `${layer}.${suffix}: TLS on the client side is being changed`,
      );
    }
  });

  it.each(all)('%s names the layer that is meant', (suffix, args) => {
    const other = tls === 'none' ? 'secured' : 'none';
    const message =
      tls === 'none'
        ? `TCP.${suffix}: the client side speaks TLS; use SSL.${suffix}`
        : `SSL.${suffix}: the client side does not speak TLS; use TCP.${suffix}`;
    expect(() => call({ client: { tls: other } }, name(suffix), ...args)).toThrow(message);
  });

  it.each(all)('%s means the plaintext of the topmost layer', (suffix, args) => {
    const client = { tls: 'pending', depth: layer === 'SSL' ? 1 : 0 } as const;
    expect(() => call({ client }, name(suffix), ...args)).not.toThrow();
  });
});

describe('collect behind SSL.disable', () => {
  const services = { tlsProfile: () => ({ name: 'tls', detachable: true }) };
  const secured = (depth: number) => ({ client: { tls: 'secured', depth }, services }) as const;

  it('is for what comes when the topmost layer is off', () => {
    for (const [depth, layer] of [
      [1, 'TCP'],
      [2, 'SSL'],
    ] as const) {
      const run = runIn(secured(depth));
      callIn(run, 'SSL.disable');
      callIn(run, `${layer}.collect`, 3);
      expect(run.actions.at(-1)).toEqual({ type: 'collect', side: 'client', length: 3 });
    }
  });

  it('names the layer that is meant then', () => {
    const outer = runIn(secured(1));
    callIn(outer, 'SSL.disable');
    expect(() => callIn(outer, 'SSL.collect')).toThrow(
      'SSL.collect: the client side does not speak TLS; use TCP.collect',
    );
    const inner = runIn(secured(2));
    callIn(inner, 'SSL.disable');
    expect(() => callIn(inner, 'TCP.collect')).toThrow(
      'TCP.collect: the client side speaks TLS; use SSL.collect',
    );
  });

  it('is for the current layer when SSL.enable is called again', () => {
    const run = runIn(secured(1));
    callIn(run, 'SSL.disable');
    callIn(run, 'SSL.enable');
    expect(() => callIn(run, 'TCP.collect')).toThrow('use SSL.collect');
    callIn(run, 'SSL.collect');
  });

  it('may come while TLS is being taken off', () => {
    const closing = { client: { tls: 'closing', depth: 1 } } as const;
    expect(call(closing, 'TCP.collect').actions).toEqual([{ type: 'collect', side: 'client' }]);
    expect(() => call(closing, 'SSL.collect')).toThrow('use TCP.collect');
  });

  it('is for the ClientHello that is not answered', () => {
    const hello = { event: 'CLIENTSSL_CLIENTHELLO', client: { tls: 'hello' } } as const;
    const run = runIn(hello);
    expect(() => callIn(run, 'TCP.collect')).toThrow('TLS on the client side is being changed');
    callIn(run, 'SSL.disable');
    callIn(run, 'TCP.collect');
    expect(run.actions.map(({ type }) => type)).toEqual(['tls', 'collect']);
  });

  it('means the side whose TLS is taken off', () => {
    const run = runIn({ ...secured(1), server: { tls: 'secured', depth: 1 } });
    callIn(run, 'SSL.disable', 'serverside');
    expect(() => callIn(run, 'TCP.collect')).toThrow('use SSL.collect');
    run.side = 'server';
    callIn(run, 'TCP.collect');
    expect(run.actions.at(-1)).toEqual({ type: 'collect', side: 'server' });
  });
});

it('TCP commands work while TLS is about to start', () => {
  const client = { tls: 'pending', payload: '\x16\x03\x01' } as const;
  expect(call({ client }, 'TCP.release').result).toBe(3);
});
