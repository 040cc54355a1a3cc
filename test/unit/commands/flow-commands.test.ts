import { describe, expect, it } from 'vitest';
import { ruleEventNames } from '../../../src/core/rule-events.ts';
import { CLIENT, call, callIn, runIn, SERVER, specOf, start } from './call.ts';

describe('TCP', () => {
  it('close means the current side', () => {
    expect(call({}, 'TCP.close').actions).toEqual([{ type: 'close', side: 'client' }]);
    expect(call({ event: 'SERVER_DATA' }, 'TCP.close').actions).toEqual([
      { type: 'close', side: 'server' },
    ]);
  });

  it.each([
    ['client_port', [], CLIENT.remote.port],
    ['server_port', [], SERVER.remote.port],
    ['local_port', [], CLIENT.local.port],
    ['local_port', ['serverside'], SERVER.local.port],
    ['remote_port', [], CLIENT.remote.port],
    ['remote_port', ['serverside'], SERVER.remote.port],
    ['remote_port', ['clientside'], CLIENT.remote.port],
  ])('%s(%j)', (name, args, port) => {
    expect(call({}, `TCP.${name}`, ...args).result).toBe(port);
  });

  it('ports follow the current side where they have no name', () => {
    const world = { event: 'SERVER_CONNECTED' } as const;
    expect(call(world, 'TCP.local_port').result).toBe(SERVER.local.port);
    expect(call(world, 'TCP.client_port').result).toBe(CLIENT.remote.port);
  });

  it('ports are 0 without a connection', () => {
    const world = { services: { addresses: () => undefined } };
    for (const name of ['client_port', 'server_port', 'local_port', 'remote_port']) {
      expect(call(world, `TCP.${name}`).result).toBe(0);
    }
  });
});

describe('SSL.enable and SSL.disable', () => {
  it.each([
    ['SSL.enable', 'none', [], true],
    ['SSL.enable', 'pending', ['clientside'], true],
    ['SSL.disable', 'pending', [], false],
    ['SSL.disable', 'none', [], false],
  ] as const)('%s with tls %s', (name, tls, args, enabled) => {
    expect(call({ client: { tls } }, name, ...args).actions).toEqual([
      { type: 'tls', side: 'client', enabled },
    ]);
  });

  it.each(['SSL.enable', 'SSL.disable'])('%s needs a profile', (name) => {
    expect(() => call({}, name, 'serverside')).toThrow(
      `${name}: the virtual server has no server-ssl profile`,
    );
    expect(() => call({ services: { tlsProfile: () => undefined } }, name)).toThrow(
      `${name}: the virtual server has no client-ssl profile`,
    );
  });

  it.each(['handshake', 'closing'] as const)('both refuse while TLS is in state %s', (tls) => {
    for (const name of ['SSL.enable', 'SSL.disable']) {
      expect(() => call({ client: { tls } }, name)).toThrow(
        `${name}: TLS on the client side is being changed`,
      );
    }
  });

  it('SSL.enable starts another layer inside TLS', () => {
    expect(call({ client: { tls: 'secured' } }, 'SSL.enable').actions).toEqual([
      { type: 'tls', side: 'client', enabled: true },
    ]);
  });

  it('SSL.disable takes TLS off only where the profile allows for it', () => {
    const client = { tls: 'secured' } as const;
    expect(() => call({ client }, 'SSL.disable')).toThrow(
      'SSL.disable: TLS has begun; set "detachable": true in the client-ssl profile \'tls\' to take it off',
    );
    const services = { tlsProfile: () => ({ name: 'tls', detachable: true }) };
    expect(call({ client, services }, 'SSL.disable').actions).toEqual([
      { type: 'tls', side: 'client', enabled: false },
    ]);
  });
});

describe('pool and node', () => {
  it('name a pool', () => {
    expect(call({}, 'pool', 'sorry').actions).toEqual([{ type: 'pool', pool: 'sorry' }]);
  });

  it('name a member', () => {
    expect(call({}, 'pool', 'web', '10.0.0.1', 80).actions).toEqual([
      { type: 'pool', pool: 'web', member: { address: '10.0.0.1', port: 80 } },
    ]);
  });

  it('name a server', () => {
    expect(call({}, 'node', '2001:db8::1', 65_535).actions).toEqual([
      { type: 'node', server: { address: '2001:db8::1', port: 65_535 } },
    ]);
  });

  it.each([
    ['pool', ['nowhere'], Error, "pool: there is no pool 'nowhere'"],
    ['pool', ['web', '10.0.0.1'], TypeError, 'pool: a member needs an address and a port'],
    ['pool', ['web', 'host', 80], TypeError, "pool: 'host' is not an IP address"],
    ['pool', ['web', '10.0.0.1', 0], RangeError, 'pool: port must be from 1 to 65535'],
    ['node', ['localhost', 80], TypeError, "node: 'localhost' is not an IP address"],
    ['node', ['10.0.0.1', 0], RangeError, 'node: port must be from 1 to 65535'],
    ['node', ['10.0.0.1', 65_536], RangeError, 'node: port must be from 1 to 65535'],
  ] as const)('%s(%j) is refused', (name, args, type, message) => {
    const run = runIn();
    const refused = () => callIn(run, name, ...args);
    expect(refused).toThrow(type);
    expect(refused).toThrow(message);
    expect(run.actions).toEqual([]);
  });
});

describe('LB', () => {
  const server = { address: '10.0.0.1', port: 80 };

  it.each([
    ['before a member was chosen', { pool: 'web' }, ['web', 'web', '', '']],
    ['after', { pool: 'web', server }, ['web 10.0.0.1 80', 'web', '10.0.0.1', '80']],
    ['after node', { server }, ['10.0.0.1 80', '', '10.0.0.1', '80']],
    ['without a pool', {}, ['', '', '', '']],
  ])('server %s', (_when, selection, [whole, pool, addr, port]) => {
    const part = (...args: string[]) => call({ selection }, 'LB.server', ...args).result;
    expect([part(), part('pool'), part('addr'), part('port')]).toEqual([whole, pool, addr, port]);
  });

  it('reselect', () => {
    expect(call({ event: 'LB_FAILED' }, 'LB.reselect').actions).toEqual([{ type: 'reselect' }]);
  });
});

describe('event', () => {
  it.each([
    ['the current one', [], 'CLIENT_DATA'],
    ['another', ['SERVER_CLOSED'], 'SERVER_CLOSED'],
    ['all', ['all'], 'all'],
  ])('disable and enable: %s', (_what, args, event) => {
    expect(call({}, 'event.disable', ...args).actions).toEqual([
      { type: 'event', event, enabled: false },
    ]);
    expect(call({}, 'event.enable', ...args).actions).toEqual([
      { type: 'event', event, enabled: true },
    ]);
  });

  it('allow only names of events', () => {
    for (const name of ['event.disable', 'event.enable']) {
      expect(specOf(name).params[0]?.values).toEqual([...ruleEventNames, 'all']);
    }
    expect(specOf('when').params[0]?.values).toEqual(ruleEventNames);
  });
});

describe('reject, drop and the commands of the guest', () => {
  it.each(['reject', 'drop'])('%s', (type) => {
    expect(call({}, type)).toEqual({ result: undefined, actions: [{ type }] });
  });

  it.each(['when', 'clientside', 'serverside'])('%s is carried out in the guest', (name) => {
    expect(specOf(name).how).toEqual({ kind: 'prelude' });
  });
});

describe('after', () => {
  it('settles once its time has come, and can be cancelled', () => {
    const asked: { ms: number; callback: () => void }[] = [];
    let cancelled = 0;
    const run = runIn({
      services: {
        after: (ms, callback) => {
          asked.push({ ms, callback });
          return () => {
            cancelled += 1;
          };
        },
      },
    });
    const outcomes: unknown[] = [];
    const cancel = start(run, (outcome) => outcomes.push(outcome), 'after', 250);
    expect(asked.map(({ ms }) => ms)).toEqual([250]);
    expect(outcomes).toEqual([]);
    asked[0]?.callback();
    expect(outcomes).toEqual([{ ok: true }]);
    cancel();
    expect(cancelled).toBe(1);
  });

  it('takes up to an hour', () => {
    const settle = () => undefined;
    expect(() => start(runIn(), settle, 'after', 3_600_000)).not.toThrow();
    expect(() => start(runIn(), settle, 'after', 3_600_001)).toThrow(
      new RangeError('after: milliseconds must be at most 3600000'),
    );
  });
});
