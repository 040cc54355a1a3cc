import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Portreeve, startPortreeve } from './harness/portreeve.ts';
import { freePort, temporaryFolder, within } from './harness/process.ts';
import { Authority, type Issued } from './harness/tls-authority.ts';
import { starttlsProtocols } from './harness/tls-protocols.ts';
import { Stub } from './harness/tls-stub.ts';
import { type Visit, type VisitTask, visit } from './harness/tls-visit.ts';
import { TlsWire } from './harness/tls-wire.ts';

// Which certificate a client gets, which ones are taken from it, and where its session counts.

const GREETING = starttlsProtocols.pop3.stub.greeting;

let authority: Authority;
let stub: Stub;
/** Two names, another one, a wildcard. */
let [pair, other, wild]: Issued[] = [];
/** Of a client. */
let client: Issued;

beforeAll(async () => {
  [authority, stub] = await Promise.all([
    Authority.make('Test'),
    Stub.start(starttlsProtocols.pop3.stub),
  ]);
  pair = await authority.issue({ names: ['one.test', 'uno.test'] });
  other = await authority.issue({ names: ['two.test'] });
  wild = await authority.issue({ names: ['*.wild.test'] });
  client = await authority.issue({ names: ['client.test'] });
  return () => stub.stop();
});

afterEach(() => TlsWire.destroyAll());

function identity(issued: Issued | undefined): object {
  return { cert: issued?.certFile, key: issued?.keyFile };
}

/** A virtual server for each profile, with its name; those in `twins` have one of their own. */
function start(
  clientSsl: Readonly<Record<string, object>>,
  twins: Readonly<Record<string, string>> = {},
  files: Readonly<Record<string, string>> = {},
): Promise<Portreeve> {
  const names = [...Object.keys(clientSsl).map((name) => [name, name]), ...Object.entries(twins)];
  const virtualServers = names.map(([name, profile]) => [
    name,
    { listen: '127.0.0.1:0', clientSsl: profile, pool: 'stub' },
  ]);
  return startPortreeve(
    {
      virtualServers: Object.fromEntries(virtualServers),
      pools: { stub: { members: [`127.0.0.1:${stub.port}`] } },
      profiles: { clientSsl },
    },
    files,
  );
}

/** A client that has TLS and the server's greeting. */
async function connect(port: number, options: ConnectionOptions = {}): Promise<TlsWire> {
  const wire = await TlsWire.connect(port);
  // The certificate is looked at by the test.
  await wire.startTls({ ca: authority.cert, rejectUnauthorized: false, ...options });
  await wire.inside.waitFor(GREETING);
  return wire;
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('tickets of %s', (version) => {
  let portreeve: Portreeve;
  const certificates = () => ({ ...identity(pair), certificates: [identity(other)] });
  const asking = (clientCertificate: string) => ({
    ...certificates(),
    ca: authority.certFile,
    clientCertificate,
  });

  beforeAll(async () => {
    portreeve = await start(
      {
        none: certificates(),
        request: asking('request'),
        require: asking('require'),
        off: { ...certificates(), sessionTickets: false },
      },
      { twin: 'none' },
    );
    return () => portreeve.stop();
  });

  function go(server: string, name: string, more: Partial<VisitTask> = {}): Promise<Visit> {
    const port = portreeve.port(server);
    return visit({ port, name, version, greeting: GREETING, ...more });
  }

  test('resume under the same name, again and again', async () => {
    const first = await go('none', 'one.test');
    expect(first.resumed).toBe(false);
    const second = await go('none', 'one.test', { session: first.session });
    expect(second.resumed).toBe(true);
    const third = await go('none', 'one.test', { session: first.session });
    expect(third.resumed).toBe(true);
  });

  test.each([
    ['with another certificate', 'two.test'],
    ['in the same certificate', 'uno.test'],
    ['that nobody has', 'unknown.test'],
  ])('do not resume under a name %s', async (_, name) => {
    const { session } = await go('none', 'one.test');
    expect((await go('none', name, { session })).resumed).toBe(false);
    expect((await go('none', 'one.test', { session })).resumed).toBe(true);
  });

  test('do not resume at another virtual server with the same profile', async () => {
    const { session } = await go('none', 'one.test');
    expect((await go('twin', 'one.test', { session })).resumed).toBe(false);
  });

  test('do not resume where another policy for client certificates counts', async () => {
    const { session } = await go('none', 'one.test');
    expect((await go('request', 'one.test', { session })).resumed).toBe(false);
    expect((await go('require', 'one.test', { session, certificate: client })).resumed).toBe(false);
    await expect(go('require', 'one.test', { session })).rejects.toThrow('it ended');
    const asked = await go('request', 'one.test', { session });
    await expect(go('require', 'one.test', { session: asked.session })).rejects.toThrow('it ended');
  });

  test('resume with the client certificate that they were made with', async () => {
    const first = await go('require', 'one.test', { certificate: client });
    const second = await go('require', 'one.test', { session: first.session });
    expect(second.resumed).toBe(true);
  });

  test('do not resume with sessionTickets off', async () => {
    const { session } = await go('off', 'one.test');
    // Where there is none to keep, there is no file.
    const again = await go('off', 'one.test', existsSync(session) ? { session } : {});
    expect(again.resumed).toBe(false);
  });

  test('resume after a restart and in another process with the same keys', async () => {
    const key = ticketKey();
    const one = await withKeys(key);
    const { session } = await at(one);
    const two = await withKeys(key);
    expect((await at(two, session)).resumed).toBe(true);
    await one.stop();
    await two.stop();
    const three = await withKeys(key);
    expect((await at(three, session)).resumed).toBe(true);
    const stranger = await withKeys(ticketKey());
    expect((await at(stranger, session)).resumed).toBe(false);
  });

  test('resume after the keys were rotated, until theirs is gone', async () => {
    const [old, fresh] = [ticketKey(), ticketKey()];
    const running = await withKeys(old);
    const before = await at(running);
    await saveKeys(running, `${fresh}${old}`);
    const resumed = await at(running, before.session);
    expect(resumed.resumed).toBe(true);
    const after = await at(running);
    await saveKeys(running, fresh);
    expect((await at(running, before.session)).resumed).toBe(false);
    expect((await at(running, after.session)).resumed).toBe(true);
    await saveKeys(running, ticketKey());
    expect((await at(running, after.session)).resumed).toBe(false);
  });

  async function withKeys(keys: string): Promise<Portreeve> {
    const profile = { ...certificates(), ticketKeys: 'keys' };
    const started = await start({ keyed: profile }, {}, { keys });
    onTestFinished(async () => void (await started.process.stop()));
    return started;
  }

  function at(running: Portreeve, session?: string): Promise<Visit> {
    const task = { port: running.port('keyed'), name: 'one.test', version, greeting: GREETING };
    return visit(session === undefined ? task : { ...task, session });
  }
});

/** A line for a file of ticket keys. */
function ticketKey(): string {
  return `${randomBytes(48).toString('base64')}\n`;
}

async function saveKeys(portreeve: Portreeve, keys: string): Promise<void> {
  const logged = portreeve.log.text.length;
  portreeve.save('keys', keys);
  await portreeve.log.waitFor('reloaded', logged);
}

describe('the name asked for', () => {
  let portreeve: Portreeve;

  beforeAll(async () => {
    const profile = { ...identity(pair), certificates: [identity(other), identity(wild)] };
    portreeve = await start({ lenient: profile, strict: { ...profile, strictSni: true } });
    return () => portreeve.stop();
  });

  test.each([
    ['one.test', 'one.test'],
    ['uno.test', 'one.test'],
    ['two.test', 'two.test'],
    ['TWO.test', 'two.test'],
    ['a.wild.test', '*.wild.test'],
    ['a.b.wild.test', 'one.test'],
    ['wild.test', 'one.test'],
    ['unknown.test', 'one.test'],
    ['', 'one.test'],
  ])('%j gets the certificate of %s', async (servername, name) => {
    const wire = await connect(portreeve.port('lenient'), { servername });
    expect(wire.session.getPeerX509Certificate()?.subject).toBe(`CN=${name}`);
  });

  test('may be an address, which no client should ask for', async () => {
    const task = { port: portreeve.port('lenient'), name: '127.0.0.1', greeting: GREETING };
    expect((await visit({ ...task, version: 'TLSv1.3' })).text).toContain('CN = one.test');
  });

  test.each(['unknown.test', 'a.b.wild.test', 'wild.test'])(
    '%s is refused with strictSni',
    async (servername) => {
      const wire = connect(portreeve.port('strict'), { servername });
      await expect(wire).rejects.toThrow('ended in the handshake');
    },
  );

  test.each(['one.test', 'a.wild.test', ''])('%j is served with strictSni', async (servername) => {
    const wire = await connect(portreeve.port('strict'), { servername });
    expect(wire.session.authorized || servername === '').toBe(true);
  });
});

test('of two certificates for a name, a client gets the one that it can verify', async () => {
  const names = ['both.test'] as const;
  const [rsa, ec] = [await authority.issue({ names, rsa: true }), await authority.issue({ names })];
  const portreeve = await start({ both: { ...identity(rsa), certificates: [identity(ec)] } });
  for (const [sigalgs, type] of [
    ['RSA-PSS+SHA256', 'rsa'],
    ['ECDSA+SHA256', 'ec'],
  ] as const) {
    const wire = await connect(portreeve.port('both'), { servername: 'both.test', sigalgs });
    expect(wire.session.getPeerX509Certificate()?.publicKey.asymmetricKeyType).toBe(type);
  }
  TlsWire.destroyAll();
  await portreeve.stop();
});

describe('ALPN', () => {
  let portreeve: Portreeve;

  beforeAll(async () => {
    portreeve = await start({ mail: { ...identity(pair), alpn: ['imap', 'pop3'] } });
    return () => portreeve.stop();
  });

  test('takes the first of the profile that the client has', async () => {
    const port = portreeve.port('mail');
    const both = await connect(port, { ALPNProtocols: ['pop3', 'imap'] });
    expect(both.session.alpnProtocol).toBe('imap');
    const one = await connect(port, { ALPNProtocols: ['http/1.1', 'pop3'] });
    expect(one.session.alpnProtocol).toBe('pop3');
    const none = await connect(port);
    expect(none.session.alpnProtocol).toBe(false);
  });

  test('refuses clients that have other protocols', async () => {
    const wire = connect(portreeve.port('mail'), { ALPNProtocols: ['http/1.1'] });
    await expect(wire).rejects.toThrow(/no application protocol/i);
  });
});

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('client certificates in %s', (version) => {
  let portreeve: Portreeve;
  let shown: Readonly<Record<string, Issued>>;

  beforeAll(async () => {
    const foreign = await Authority.make('Foreign');
    const revoked = await authority.issue({ names: ['revoked.test'] });
    shown = {
      good: client,
      revoked,
      expired: await authority.issue({ names: ['expired.test'], expired: true }),
      foreign: await foreign.issue({ names: ['client.test'] }),
    };
    const asks = { ...identity(pair), ca: authority.certFile, crl: 'crl.pem' };
    portreeve = await start(
      {
        require: { ...asks, clientCertificate: 'require' },
        request: { ...asks, clientCertificate: 'request' },
      },
      {},
      { 'crl.pem': await authority.revoke(revoked) },
    );
    return () => portreeve.stop();
  });

  function show(server: string, name?: string): Promise<TlsWire> {
    const issued = name === undefined ? undefined : shown[name];
    const own = issued && { cert: issued.cert, key: issued.key };
    return connect(portreeve.port(server), { ...own, minVersion: version, maxVersion: version });
  }

  test('a good one is taken', async () => {
    await show('require', 'good');
    await show('request', 'good');
  });

  test.each(['revoked', 'expired', 'foreign', undefined])('%s is refused', async (name) => {
    stub.forget();
    const logged = portreeve.log.text.length;
    await expect(show('require', name)).rejects.toThrow(/ended|ECONNRESET|alert/);
    await portreeve.log.waitFor(/the TLS handshake with the client failed/, logged);
    expect(stub.connections).toBe(0);
  });

  test('none is needed where one is requested', async () => {
    await show('request');
  });
});

describe('OCSP stapling', () => {
  test('from a file', async () => {
    const response = join(temporaryFolder(), 'ocsp.der');
    if (pair === undefined) throw new Error('there is no certificate');
    writeFileSync(response, await authority.ocspResponse(pair));
    const chain = authority.certFile;
    const portreeve = await start({ stapled: { ...identity(pair), chain, ocsp: response } });
    expect(await statusOf(portreeve, 'one.test')).toMatch(/Cert Status: good/);
    await portreeve.stop();
  });

  test('fetched from the responder', async () => {
    const port = await freePort();
    const ocspUrl = `http://127.0.0.1:${port}/`;
    const fetched = await authority.issue({ names: ['fetched.test'], ocspUrl });
    const responder = await authority.startResponder(port);
    const chain = authority.certFile;
    const portreeve = await start({ stapled: { ...identity(fetched), chain, ocsp: 'fetch' } });
    // Clients that come before the answer is there get none.
    const status = await within(10_000, 'the response', async () => {
      for (;;) {
        const text = await statusOf(portreeve, 'fetched.test');
        if (!text.includes('no response sent')) return text;
      }
    });
    expect(status).toMatch(/Cert Status: good/);
    await portreeve.stop();
    await responder.stop();
  });

  async function statusOf(portreeve: Portreeve, name: string): Promise<string> {
    const port = portreeve.port('stapled');
    const task = { port, name, version: 'TLSv1.3', greeting: GREETING, more: ['-status'] } as const;
    return (await visit(task)).text;
  }
});
