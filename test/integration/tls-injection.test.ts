import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import { type Portreeve, startPortreeve } from './harness/portreeve.ts';
import { within } from './harness/process.ts';
import { Authority, type Issued } from './harness/tls-authority.ts';
import { StarttlsBench } from './harness/tls-bench.ts';
import {
  ldapBind,
  ldapBindAnswer,
  ldapStartTls,
  ldapStartTlsAnswer,
  type StarttlsProtocol,
  starttlsProtocols,
} from './harness/tls-protocols.ts';
import { type Misbehaviour, UpstreamServer, upstreamProtocols } from './harness/tls-upstream.ts';
import { clientHello, TlsWire } from './harness/tls-wire.ts';

// Plaintext that somebody in between puts around STARTTLS, in every protocol that has a rule.

let certificate: Certificate;
let bench: StarttlsBench;

beforeAll(async () => {
  certificate = await makeCertificate();
  bench = await StarttlsBench.start(certificate);
  return () => bench.stop();
});

afterEach(() => TlsWire.destroyAll());

const { irc, ldap } = starttlsProtocols;
const capLs = { send: 'CAP LS\r\n', answer: ':stub CAP * LS :tls sasl\r\n' };

const protocols: [string, StarttlsProtocol][] = Object.entries(starttlsProtocols);

describe.each(protocols)('%s: plaintext for the server', (name, protocol) => {
  beforeEach(() => forget(name));

  test('behind the command, in one segment, it ends the connection, unheard', async () => {
    const logged = bench.portreeve.log.text.length;
    const wire = await bench.open(name, protocol);
    wire.send(protocol.command + protocol.injected);
    await expectEnd(wire, name, protocol);
    await bench.portreeve.log.waitFor(/sent plaintext behind the command that starts TLS/, logged);
  });

  test('behind the command, in a segment of its own, it ends the connection, unheard', async () => {
    const wire = await bench.open(name, protocol);
    wire.send(protocol.command);
    wire.send(protocol.injected);
    await expectEnd(wire, name, protocol);
  });

  test('in place of the handshake it ends the connection, unheard', async () => {
    const wire = await bench.ask(name, protocol);
    wire.send(protocol.injected);
    await expectEnd(wire, name, protocol);
  });

  test('behind a ClientHello, in one segment, it ends the connection, unheard', async () => {
    const wire = await bench.open(name, protocol);
    const hello = await clientHello();
    wire.send(protocol.command + hello.toString('latin1') + protocol.injected);
    await within(5_000, 'the end', () => wire.ended);
    await expectUnheard(name, protocol);
  });

  test('a ClientHello behind the command, in one segment, is the beginning of TLS', async () => {
    const wire = await bench.open(name, protocol);
    const { command, goAhead } = protocol;
    await wire.startTls({ ca: certificate.cert, glued: { command, goAhead } });
    await expectAnswerInside(wire, protocol);
  });
});

const serverTalks = protocols.filter(([, { stub }]) => stub.greeting !== '');
const asked = protocols.flatMap(([name, protocol]) =>
  protocol.asked === undefined ? [] : [{ name, protocol, asked: protocol.asked }],
);

describe('answers of the server around STARTTLS', () => {
  test.each(asked)('$name: a late one comes before the go-ahead', async ({ name, ...task }) => {
    forget(name);
    const { protocol, asked } = task;
    const stub = bench.stub(name);
    const wire = await bench.open(name, protocol);
    stub.hold();
    wire.send(asked.send + protocol.command);
    await stub.hears(asked.send);
    stub.letGo();
    expect(await wire.next(protocol.goAhead)).toBe(asked.answer + protocol.goAhead);
    await wire.startTls({ ca: certificate.cert });
    await expectAnswerInside(wire, protocol);
  });

  test.each(serverTalks)('%s: the greeting comes before the go-ahead', async (name, protocol) => {
    forget(name);
    const stub = bench.stub(name);
    stub.hold();
    const wire = await bench.connect(name);
    const { opening, command, goAhead } = protocol;
    // A telnet server is not connected to before TLS.
    if (name !== 'telnet') await stub.connected();
    wire.send(opening.map(({ send }) => send).join('') + command);
    stub.letGo();
    const answers = opening.map(({ answer }) => answer).join('') + goAhead;
    expect(await wire.next(answers)).toBe(answers);
    await wire.startTls({ ca: certificate.cert });
    await expectAnswerInside(wire, protocol);
  });

  // MySQL has no go-ahead; in Telnet the server is not connected to before TLS.
  const connected = serverTalks.filter(([name]) => name !== 'mysql' && name !== 'telnet');

  test.each(connected)('%s: an unasked one is not behind the go-ahead', async (name, protocol) => {
    forget(name);
    const wire = await bench.ask(name, protocol);
    await bench.stub(name).say('unasked\r\n');
    // Anything but TLS in front of it makes the handshake fail.
    await wire.startTls({ ca: certificate.cert });
    expect(wire.unread).toBe('');
  });

  test('irc: an unasked one is not behind the go-ahead', async () => {
    forget('irc');
    const wire = await bench.open('irc', irc);
    wire.send(capLs.send);
    expect(await wire.next(capLs.answer)).toBe(capLs.answer);
    wire.send(irc.command);
    await wire.next(irc.goAhead);
    await bench.stub('irc').say(':stub NOTICE * :unasked\r\n');
    await wire.startTls({ ca: certificate.cert });
    expect(wire.unread).toBe('');
  });

  test('irc: no answer to what was asked in plaintext comes inside TLS', async () => {
    forget('irc');
    const wire = await bench.open('irc', irc);
    wire.send(capLs.send + irc.command);
    await wire.next(irc.goAhead);
    await wire.startTls({ ca: certificate.cert });
    await expectAnswerInside(wire, irc);
  });

  test('ldap: StartTLS is refused while one is due', async () => {
    forget('ldap');
    const stub = bench.stub('ldap');
    const wire = await bench.open('ldap', ldap);
    stub.hold();
    const bind = ldapBind(5, '');
    wire.send(bind + ldapStartTls(6));
    const refusal = ldapStartTlsAnswer(6, 1, 'Operations are outstanding');
    expect(await wire.next(refusal)).toBe(refusal);
    await stub.hears(bind);
    stub.letGo();
    expect(await wire.next(ldapBindAnswer(5, 0))).toBe(ldapBindAnswer(5, 0));
    wire.send(ldap.command);
    expect(await wire.next(ldap.goAhead)).toBe(ldap.goAhead);
    await wire.startTls({ ca: certificate.cert });
    await expectAnswerInside(wire, ldap);
  });
});

describe('STARTTLS towards the server', () => {
  const names = ['pop3', 'imap', 'smtp', 'lmtp'] as const;
  type Name = (typeof names)[number];
  const servers = new Map<Name, UpstreamServer>();
  let portreeve: Portreeve;
  let good: Issued;
  let certificates: Readonly<Record<string, Issued>>;

  beforeAll(async () => {
    const [authority, other] = await Promise.all([Authority.make('Test'), Authority.make('Other')]);
    good = await authority.issue({ names: ['server.test'] });
    certificates = {
      'for another name': await authority.issue({ names: ['other.test'] }),
      'of an unknown authority': await other.issue({ names: ['server.test'] }),
      'that has expired': await authority.issue({ names: ['server.test'], expired: true }),
    };
    const virtualServers: Record<string, object> = {};
    const pools: Record<string, object> = {};
    for (const name of names) {
      const server = await UpstreamServer.start(upstreamProtocols[name]);
      servers.set(name, server);
      const rules = [{ rule: 'starttls-upstream', options: { protocol: name } }];
      const profiles = { serverSsl: 'tls', tcp: 'tcp' };
      virtualServers[name] = { listen: '127.0.0.1:0', ...profiles, pool: name, rules };
      pools[name] = { members: [`127.0.0.1:${server.port}`] };
    }
    const serverSsl = { tls: { ca: authority.certFile, serverName: 'server.test' } };
    const profiles = { serverSsl, tcp: { tcp: { handshakeTimeout: '500ms' } } };
    portreeve = await startPortreeve({ virtualServers, pools, profiles });
    return async () => {
      TlsWire.destroyAll();
      await portreeve.stop();
      for (const server of servers.values()) await server.stop();
    };
  });

  /** Logs in at a server that behaves like this, without waiting for anything. */
  async function logIn(
    name: Name,
    behaviour: Partial<Misbehaviour>,
  ): Promise<{ wire: TlsWire; server: UpstreamServer }> {
    const server = servers.get(name);
    if (server === undefined) throw new Error(`there is no server for ${name}`);
    server.behave({ certificate: good, ...behaviour });
    const wire = await TlsWire.connect(portreeve.port(name));
    wire.send(upstreamProtocols[name].login);
    return { wire, server };
  }

  /** The client gets nothing of the server, and the server nothing of the client. */
  async function expectNothing(
    name: Name,
    behaviour: Partial<Misbehaviour>,
    answer: RegExp,
  ): Promise<void> {
    const { wire, server } = await logIn(name, behaviour);
    await within(5_000, 'the end', () => wire.ended);
    expect(wire.plain.text).toMatch(answer);
    expect(wire.plain.text).not.toContain('PLAIN');
    expect(server.plain.text).not.toContain('SECRET');
    expect(server.inside.text).toBe('');
  }

  test.each(names)('%s: the login reaches a good one inside TLS', async (name) => {
    const { inside, login } = upstreamProtocols[name];
    const { wire, server } = await logIn(name, {});
    await wire.next(inside);
    expect(server.plain.text).not.toContain('SECRET');
    expect(server.inside.text).toBe(login);
  });

  test.each(names)('%s: an answer behind the go-ahead ends the connection', (name) => {
    const { goAhead, glued } = upstreamProtocols[name];
    return expectNothing(name, { answer: goAhead + glued }, /^$/);
  });

  test.each(names)('%s: a refusal of STARTTLS ends the connection', (name) => {
    const { refusal, failure } = upstreamProtocols[name];
    return expectNothing(name, { answer: refusal }, failure);
  });

  test.each(['smtp', 'lmtp'] as const)('%s: so does an offer without it', (name) => {
    const { offer, failure } = upstreamProtocols[name];
    return expectNothing(name, { offer: offer?.stripped ?? '' }, failure);
  });

  test('imap: so does PREAUTH', () =>
    expectNothing('imap', { greeting: '* PREAUTH PLAIN\r\n' }, upstreamProtocols.imap.failure));

  test.each(names)(
    '%s: a handshake that stalls or breaks off ends the connection',
    async (name) => {
      await expectNothing(name, { handshake: 'closes' }, /^$/);
      await expectNothing(name, { handshake: 'stalls' }, /^$/);
    },
  );

  test.each(names)('%s: a wrong certificate ends the connection', async (name) => {
    const all = Object.entries(certificates);
    expect(all).toHaveLength(3);
    for (const [what, certificate] of all) {
      const logged = portreeve.log.text.length;
      await expectNothing(name, { certificate }, /^$/);
      const line = portreeve.log.waitFor(/the TLS handshake with the server failed/, logged);
      await expect(line, what).resolves.toBeDefined();
    }
  });
});

function forget(name: string): void {
  bench.stub(name).forget();
}

async function expectEnd(wire: TlsWire, name: string, protocol: StarttlsProtocol): Promise<void> {
  // A client does not always see that it is a reset: the go-ahead may hide it.
  await within(5_000, 'the end', () => wire.ended);
  await expectUnheard(name, protocol);
}

async function expectUnheard(name: string, { heard }: StarttlsProtocol): Promise<void> {
  const stub = bench.stub(name);
  await within(5_000, 'the server connection to end', () => stub.idle());
  expect(stub.received).toBe(heard);
}

/** The first bytes inside TLS are the answer to what was asked inside TLS. */
async function expectAnswerInside(wire: TlsWire, { inside }: StarttlsProtocol): Promise<void> {
  expect(await wire.ask(inside.send, inside.answer)).toBe(inside.answer);
  expect(wire.unread).toBe('');
}
