import { describe, expect, it } from 'vitest';
import { CLIENT, call, SERVER } from './call.ts';

const isIn = (address: string, network: string) =>
  call({ event: 'RULE_INIT' }, 'IP.addr', address, network).result;

describe('IP addresses of the connection', () => {
  it.each([
    ['client_addr', [], CLIENT.remote.address],
    ['server_addr', [], SERVER.remote.address],
    ['local_addr', [], CLIENT.local.address],
    ['local_addr', ['serverside'], SERVER.local.address],
    ['remote_addr', [], CLIENT.remote.address],
    ['remote_addr', ['serverside'], SERVER.remote.address],
  ])('%s(%j)', (name, args, address) => {
    expect(call({}, `IP.${name}`, ...args).result).toBe(address);
  });

  it('follow the current side where they have no name', () => {
    const world = { event: 'SERVER_CONNECTED' } as const;
    expect(call(world, 'IP.remote_addr').result).toBe(SERVER.remote.address);
    expect(call(world, 'IP.remote_addr', 'clientside').result).toBe(CLIENT.remote.address);
    expect(call(world, 'IP.client_addr').result).toBe(CLIENT.remote.address);
  });

  it('are empty without a connection', () => {
    const world = { services: { addresses: () => undefined } };
    for (const name of ['client_addr', 'server_addr', 'local_addr', 'remote_addr']) {
      expect(call(world, `IP.${name}`).result).toBe('');
    }
  });
});

describe('IP.addr', () => {
  it.each([
    ['10.1.2.3', '10.1.2.3'],
    ['10.1.2.3', '10.0.0.0/8'],
    ['10.1.2.3', '10.9.9.9/8'],
    ['10.1.2.3', '10.0.0.0/255.0.0.0'],
    ['10.1.2.3', '10.1.2.0/23'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['10.1.2.3', '10.1.2.3/255.255.255.255'],
    ['10.1.2.3', '0.0.0.0/0'],
    ['10.1.2.3', '0.0.0.0/0.0.0.0'],
    ['2001:db8::1', '2001:db8:0:0:0:0:0:1'],
    ['2001:DB8::1', '2001:db8::/32'],
    ['2001:db8::1', '2001:db8::/ffff:ffff::'],
    ['2001:db8::1', '::/0'],
    ['2001:db8::1', '2001:db8::1/128'],
    ['::ffff:10.1.2.3', '10.0.0.0/8'],
    ['::ffff:a01:203', '10.1.2.3'],
    ['10.1.2.3', '::ffff:10.1.2.3'],
    ['10.1.2.3', '::ffff:10.0.0.0/104'],
    ['10.1.2.3', '::ffff:0:0/96'],
  ])('%s is in %s', (address, network) => {
    expect(isIn(address, network)).toBe(true);
  });

  it.each([
    ['10.1.2.3', '10.1.2.4'],
    ['10.1.2.3', '11.0.0.0/8'],
    ['10.1.4.3', '10.1.2.0/23'],
    ['10.1.2.3', '10.1.2.2/32'],
    ['2001:db9::1', '2001:db8::/32'],
    ['2001:db8::1', '2001:db8::2'],
    ['10.1.2.3', '2001:db8::/32'],
    ['10.1.2.3', '::/0'],
    ['2001:db8::1', '0.0.0.0/0'],
    ['::1', '0.0.0.1'],
    ['11.1.2.3', '::ffff:10.0.0.0/104'],
  ])('%s is not in %s', (address, network) => {
    expect(isIn(address, network)).toBe(false);
  });

  it.each([
    ['host', '10.0.0.0/8', "IP.addr: 'host' is not an IP address"],
    ['', '10.0.0.0/8', "IP.addr: '' is not an IP address"],
    ['10.1.2', '10.0.0.0/8', "IP.addr: '10.1.2' is not an IP address"],
    ['10.1.2.300', '10.0.0.0/8', "IP.addr: '10.1.2.300' is not an IP address"],
    ['010.1.2.3', '10.0.0.0/8', "IP.addr: '010.1.2.3' is not an IP address"],
    ['0x0a010203', '10.0.0.0/8', "IP.addr: '0x0a010203' is not an IP address"],
    ['10.1.2.3/8', '10.0.0.0/8', "IP.addr: '10.1.2.3/8' is not an IP address"],
    ['10.1.2.3', '', "IP.addr: '' is not an IP address"],
    ['10.1.2.3', '/8', "IP.addr: '' is not an IP address"],
    ['10.1.2.3', 'net/8', "IP.addr: 'net' is not an IP address"],
    ['10.1.2.3', '10.0.0.0/', "IP.addr: '/' is not a network mask"],
    ['10.1.2.3', '10.0.0.0/33', "IP.addr: '/33' is not a network mask"],
    ['10.1.2.3', '10.0.0.0/-1', "IP.addr: '/-1' is not a network mask"],
    ['10.1.2.3', '10.0.0.0/8.0', "IP.addr: '/8.0' is not a network mask"],
    ['10.1.2.3', '10.0.0.0/1e1', "IP.addr: '/1e1' is not a network mask"],
    ['10.1.2.3', '10.0.0.0/8/8', "IP.addr: '/8/8' is not a network mask"],
    ['10.1.2.3', '10.0.0.0/0008', "IP.addr: '/0008' is not a network mask"],
    ['10.1.2.3', '10.0.0.0/255.0.255.0', "IP.addr: '/255.0.255.0' is not a network mask"],
    ['10.1.2.3', '10.0.0.0/ff00::', "IP.addr: '/ff00::' is not a network mask"],
    ['2001:db8::1', '2001:db8::/129', "IP.addr: '/129' is not a network mask"],
    ['2001:db8::1', '2001:db8::/255.0.0.0', "IP.addr: '/255.0.0.0' is not a network mask"],
    ['2001:db8::1', '2001:db8::/ffff:0:ffff::', "IP.addr: '/ffff:0:ffff::' is not a network mask"],
  ])('refuses %j in %j', (address, network, message) => {
    expect(() => isIn(address, network)).toThrow(new TypeError(message));
  });
});
