import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/index.ts';
import { createAuthority, issueCertificate } from '../../../src/net/certificate.ts';
import type { Peer } from '../net/peer.ts';
import { ask, connectError, EngineLab, freePort, line, portOf } from './engine-lab.ts';

let lab: EngineLab;
let echo: number;
beforeEach(async () => {
  lab = new EngineLab();
  echo = await lab.server('one');
});
afterEach(() => lab.close());

/** A rule that puts a word in front of each line of the client. */
function prefix(word: string): string {
  return `when('SERVER_CONNECTED', () => clientside(() => TCP.collect()));
when('CLIENT_DATA', () => {
  TCP.payload.replace(0, 0, '${word} ');
  TCP.release();
  TCP.collect();
});
`;
}

function config(more: object = {}, main: object = {}): Record<string, unknown> {
  return {
    virtualServers: {
      main: { listen: '127.0.0.1:0', pool: 'servers', rules: ['./prefix.js'], ...main },
    },
    pools: { servers: { members: [`127.0.0.1:${echo}`] } },
    ...more,
  };
}

/** A client that the server has greeted: its generation is settled. */
async function greeted(engine: Engine, name?: string): Promise<Peer> {
  const client = await lab.client(name === undefined ? { engine } : { engine, name });
  expect(await line(client)).toBe('one');
  return client;
}

/** What the rule of new connections says. */
async function word(engine: Engine): Promise<string | undefined> {
  const [first] = (await ask(await greeted(engine), 'hello')).split(' ');
  return first;
}

describe('reload', () => {
  it('serves new connections with the new rule, and keeps open ones on the old', async () => {
    lab.write('prefix.js', prefix('old'));
    const engine = await lab.start(config());
    const port = portOf(engine);
    const open = await greeted(engine);
    lab.write('prefix.js', prefix('new'));
    expect(await engine.reload()).toBe(true);
    expect(portOf(engine)).toBe(port);
    expect(await ask(open, 'hello')).toBe('old hello');
    expect(await word(engine)).toBe('new');
    expect(lab.logger.lines).toEqual(['info: reloaded']);
  });

  it('changes nothing when anything is wrong', async () => {
    lab.write('prefix.js', prefix('old'));
    const engine = await lab.start(config());
    const open = await greeted(engine);
    lab.write('prefix.js', `${prefix('new')}const = 1;\n`);
    lab.configure(config({}, { connectionLimit: 1 }));
    expect(await engine.reload()).toBe(false);
    expect(await ask(open, 'hello')).toBe('old hello');
    expect(await word(engine)).toBe('old');
    expect(lab.logger.lines[0]).toContain(`${lab.folder}/prefix.js:7:`);
    expect(lab.logger.lines.at(-1)).toBe(
      'error: reload refused; the last good configuration goes on',
    );
    lab.write('portreeve.json', '{ nonsense');
    expect(await engine.reload()).toBe(false);
    expect(await word(engine)).toBe('old');
    lab.write('prefix.js', prefix('new'));
    lab.configure(config());
    expect(await engine.reload()).toBe(true);
    expect(await word(engine)).toBe('new');
  });

  it('changes nothing when a new address is taken', async () => {
    lab.write('prefix.js', prefix('old'));
    const engine = await lab.start(config());
    const free = await freePort();
    const all = config() as { virtualServers: object };
    lab.write('prefix.js', prefix('new'));
    lab.configure({
      ...all,
      virtualServers: {
        ...all.virtualServers,
        second: { listen: `127.0.0.1:${free}`, pool: 'servers' },
        third: { listen: `127.0.0.1:${echo}`, pool: 'servers' },
      },
    });
    expect(await engine.reload()).toBe(false);
    expect(lab.logger.with('third')).toHaveLength(1);
    expect(await word(engine)).toBe('old');
    expect(await connectError(free)).toBe('ECONNREFUSED');
    expect(engine.listeners).toHaveLength(1);
  });

  it('cannot change an address into one that overlaps, and says so', async () => {
    lab.write('prefix.js', prefix('old'));
    const port = await freePort();
    const engine = await lab.start(config({}, { listen: `127.0.0.1:${port}` }));
    lab.configure(config({}, { listen: `*:${port}` }));
    expect(await engine.reload()).toBe(false);
    expect(lab.logger.lines[0]).toContain(
      `virtual server 'main' cannot listen on *:${port}: Portreeve listens on 127.0.0.1:${port}, which overlaps; changing one into the other takes a restart`,
    );
    expect(await word(engine)).toBe('old');
  });

  it('with `close` ends the connections of what has changed, at once', async () => {
    lab.write('prefix.js', prefix('old'));
    const how = { reload: { connections: 'close' } };
    const engine = await lab.start(config(how));
    const open = await greeted(engine);
    lab.write('prefix.js', prefix('new'));
    expect(await engine.reload()).toBe(true);
    await open.untilClosed();
    expect(open.error).toBe('ECONNRESET');
    expect(lab.logger.with('the virtual server was reloaded')).toHaveLength(1);
    expect(await word(engine)).toBe('new');
  });

  it('with `close` ends also those that earlier reloads kept', async () => {
    lab.write('prefix.js', prefix('oldest'));
    const engine = await lab.start(config());
    const open = await greeted(engine);
    lab.write('prefix.js', prefix('old'));
    expect(await engine.reload()).toBe(true);
    expect(await ask(open, 'hello')).toBe('oldest hello');
    lab.write('prefix.js', prefix('new'));
    lab.configure(config({ reload: { connections: 'close' } }));
    expect(await engine.reload()).toBe(true);
    await open.untilClosed();
    expect(open.error).toBe('ECONNRESET');
  });

  it('with `drain` gives them time', async () => {
    lab.write('prefix.js', prefix('old'));
    const engine = await lab.start(
      config({ reload: { connections: 'drain' }, drainTimeout: '400ms' }),
    );
    const open = await greeted(engine);
    lab.write('prefix.js', prefix('new'));
    expect(await engine.reload()).toBe(true);
    expect(await ask(open, 'hello')).toBe('old hello');
    expect(await word(engine)).toBe('new');
    await open.untilClosed();
    expect(lab.logger.with('the virtual server was reloaded')).toHaveLength(1);
  });

  it('leaves the connections of a virtual server alone that is as it was', async () => {
    lab.write('prefix.js', prefix('old'));
    lab.write('other.js', prefix('other'));
    const both = (limit: number) => {
      const all = config({ reload: { connections: 'close' } }) as { virtualServers: object };
      const server = { listen: '127.0.0.1:0', pool: 'servers', rules: ['./other.js'] };
      const other = { ...server, connectionLimit: limit };
      return { ...all, virtualServers: { ...all.virtualServers, other } };
    };
    const engine = await lab.start(both(10));
    const open = await greeted(engine);
    const changed = await greeted(engine, 'other');
    lab.configure(both(20));
    expect(await engine.reload()).toBe(true);
    await changed.untilClosed();
    expect(await ask(open, 'hello')).toBe('old hello');
    expect(await engine.reload()).toBe(true);
    expect(await ask(open, 'hello')).toBe('old hello');
  });

  it('moves a virtual server to another address', async () => {
    lab.write('prefix.js', prefix('old'));
    const [here, there] = [await freePort(), await freePort()];
    const engine = await lab.start(config({}, { listen: `127.0.0.1:${here}` }));
    const open = await greeted(engine);
    lab.configure(config({}, { listen: `127.0.0.1:${there}` }));
    expect(await engine.reload()).toBe(true);
    expect(portOf(engine)).toBe(there);
    expect(await word(engine)).toBe('old');
    expect(await connectError(here)).toBe('ECONNREFUSED');
    expect(await ask(open, 'hello')).toBe('old hello');
  });

  it('renames a virtual server, and swaps two addresses', async () => {
    const [here, there] = [await freePort(), await freePort()];
    const servers = (one: string, two: string, portOfOne: number, portOfTwo: number) => ({
      virtualServers: {
        [one]: { listen: `127.0.0.1:${portOfOne}`, pool: 'servers', rules: ['./prefix.js'] },
        [two]: { listen: `127.0.0.1:${portOfTwo}`, pool: 'servers' },
      },
      pools: { servers: { members: [`127.0.0.1:${echo}`] } },
    });
    lab.write('prefix.js', prefix('ruled'));
    const engine = await lab.start(servers('a', 'b', here, there));
    const open = await greeted(engine, 'a');
    lab.configure(servers('c', 'b', here, there));
    expect(await engine.reload()).toBe(true);
    expect(await ask(await greeted(engine, 'c'), 'hello')).toBe('ruled hello');
    lab.configure(servers('c', 'b', there, here));
    expect(await engine.reload()).toBe(true);
    expect([portOf(engine, 'c'), portOf(engine, 'b')]).toEqual([there, here]);
    expect(await ask(await greeted(engine, 'c'), 'hello')).toBe('ruled hello');
    expect(await ask(await greeted(engine, 'b'), 'hello')).toBe('hello');
    expect(await ask(open, 'hello')).toBe('ruled hello');
  });

  it.each(['keep', 'drain', 'close'])('removes a virtual server (%s)', async (connections) => {
    lab.write('prefix.js', prefix('old'));
    const all = config({ reload: { connections }, drainTimeout: '300ms' });
    const other = { listen: '127.0.0.1:0', pool: 'servers' };
    const { virtualServers } = all as { virtualServers: object };
    const engine = await lab.start({ ...all, virtualServers: { ...virtualServers, other } });
    const port = portOf(engine, 'other');
    const open = await greeted(engine, 'other');
    lab.configure(all);
    expect(await engine.reload()).toBe(true);
    expect(engine.listeners.map(({ virtualServer }) => virtualServer)).toEqual(['main']);
    expect(await connectError(port)).toBe('ECONNREFUSED');
    if (connections !== 'close') expect(await ask(open, 'hello')).toBe('hello');
    if (connections === 'keep') return;
    await open.untilClosed();
    expect(lab.logger.with('the virtual server was removed')).toHaveLength(1);
  });

  it('shows changed pools also to connections that were there before', async () => {
    lab.write(
      'prefix.js',
      `when('CLIENT_ACCEPTED', () => TCP.collect());
       when('CLIENT_DATA', () => TCP.release());`,
    );
    const engine = await lab.start(config());
    const open = await lab.client({ engine });
    const two = await lab.server('two');
    lab.configure(config({ pools: { servers: { members: [`127.0.0.1:${two}`] } } }));
    expect(await engine.reload()).toBe(true);
    expect(await ask(open, 'hello')).toBe('two');
  });

  it('twice at once is done twice, one after the other', async () => {
    lab.write('prefix.js', prefix('old'));
    const engine = await lab.start(config());
    lab.write('prefix.js', prefix('new'));
    const both = [engine.reload(), engine.reload()];
    expect(await Promise.all(both)).toEqual([true, true]);
    expect(await word(engine)).toBe('new');
    expect(lab.logger.with('info: reloaded')).toHaveLength(2);
  });

  it('does not end where files are in a strange state', async () => {
    lab.write('prefix.js', prefix('old'));
    const engine = await lab.start(config());
    for (const rules of [['./nowhere.js'], ['.'], ['./portreeve.json'], ['/dev/null/x.js']]) {
      lab.configure(config({}, { rules }));
      expect(await engine.reload()).toBe(false);
    }
    lab.configure(config());
    expect(await engine.reload()).toBe(true);
    expect(await word(engine)).toBe('old');
  });
});

describe('a certificate', () => {
  const authority = createAuthority('Test');

  const rule = (comment: string) => `when('CLIENTSSL_HANDSHAKE', () => {}); // ${comment}`;

  function issue(): void {
    const { certPem, keyPem } = issueCertificate({ authority, names: ['localhost'] });
    lab.write('cert.pem', certPem);
    lab.write('key.pem', keyPem);
  }

  const secure = () =>
    config(
      { profiles: { clientSsl: { mail: { cert: 'cert.pem', key: 'key.pem' } } } },
      { clientSsl: 'mail' },
    );

  interface Handshake {
    readonly socket: TLSSocket;
    readonly serial: string;
    readonly resumed: boolean;
    /** Comes a little later. */
    readonly session: Promise<Buffer>;
  }

  async function handshake(engine: Engine, session?: Buffer): Promise<Handshake> {
    const options: ConnectionOptions = {
      port: portOf(engine),
      host: '127.0.0.1',
      servername: 'localhost',
      ca: authority.certPem,
      ...(session && { session }),
    };
    const socket = connectTls(options);
    const ticket = new Promise<Buffer>((resolve) => socket.once('session', resolve));
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve).once('error', reject);
    });
    socket.on('error', () => {}).resume();
    const { serialNumber } = socket.getPeerCertificate();
    const resumed = socket.isSessionReused();
    return { socket, serial: serialNumber, resumed, session: ticket };
  }

  it('that changes is shown to new connections', async () => {
    lab.write('prefix.js', rule('old'));
    issue();
    const engine = await lab.start(secure());
    const before = await handshake(engine);
    expect((await handshake(engine)).serial).toBe(before.serial);
    issue();
    expect(await engine.reload()).toBe(true);
    const after = await handshake(engine);
    expect(after.serial).not.toBe(before.serial);
    expect(before.socket.destroyed).toBe(false);
    lab.write('cert.pem', 'nonsense');
    expect(await engine.reload()).toBe(false);
    const last = await handshake(engine);
    expect(last.serial).toBe(after.serial);
    for (const { socket } of [before, after, last]) socket.destroy();
  });

  it('lets sessions from before a reload resume', async () => {
    lab.write('prefix.js', rule('old'));
    issue();
    const engine = await lab.start(secure());
    const first = await handshake(engine);
    expect(first.resumed).toBe(false);
    const session = await first.session;
    const second = await handshake(engine, session);
    expect(second.resumed).toBe(true);
    lab.write('prefix.js', rule('new'));
    expect(await engine.reload()).toBe(true);
    const third = await handshake(engine, session);
    expect(third.resumed).toBe(true);
    for (const { socket } of [first, second, third]) socket.destroy();
  });
});
