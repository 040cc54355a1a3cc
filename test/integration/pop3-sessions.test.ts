import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import { undot } from './harness/clients.ts';
import { type Dovecot, mailbox, PASSWORD, startDovecot } from './harness/dovecot.ts';
import { LineClient } from './harness/line-client.ts';
import { sha256 } from './harness/messages.ts';
import { hasIpv6Loopback, type Relay, startRelay } from './harness/network.ts';
import { certificateFiles, type MailServer, pop3Config } from './harness/pop3.ts';
import { type Portreeve, startPortreeve } from './harness/portreeve.ts';
import { freePort, within } from './harness/process.ts';

// What well-behaved clients never do, and what an operator does.

let certificate: Certificate;
let dovecot: Dovecot;
let portreeve: Portreeve;

beforeAll(async () => {
  certificate = await makeCertificate();
  dovecot = await startDovecot();
  portreeve = await start({
    pop3: {},
    strict: { options: { requireTls: true } },
    pop3s: { options: { tls: 'implicit' } },
  });
  return () => portreeve.stop();
});

function start(servers: Record<string, MailServer>, backend = dovecot.port): Promise<Portreeve> {
  return startPortreeve(pop3Config(backend, servers), certificateFiles(certificate));
}

async function logIn(client: LineClient): Promise<void> {
  expect(await client.ask('USER alice')).toMatch(/^\+OK/);
  expect(await client.ask(`PASS ${PASSWORD}`)).toMatch(/^\+OK/);
}

async function readAndQuit(client: LineClient): Promise<void> {
  for (const [index, message] of mailbox.entries()) {
    const lines = await client.askForLines(`RETR ${index + 1}`);
    expect(sha256(undot(lines))).toBe(sha256(message));
  }
  expect(await client.ask('QUIT')).toMatch(/^\+OK/);
  expect(await client.ended).toBe('end');
}

describe('bytes cut and joined', () => {
  test('every byte in a segment of its own', async () => {
    const client = await LineClient.connect(portreeve.port('pop3'));
    await client.reply();
    for (const byte of 'STLS\r\n') client.send(byte);
    expect(await client.reply()).toMatch(/^\+OK/);
    await client.startTls(certificate.cert);
    for (const byte of `USER alice\r\nPASS ${PASSWORD}\r\n`) client.send(byte);
    expect(await client.reply()).toMatch(/^\+OK/);
    expect(await client.reply()).toMatch(/^\+OK/);
    await readAndQuit(client);
  });

  test('a whole session in one segment', async () => {
    const client = await LineClient.connectWithStls(portreeve.port('pop3'), certificate.cert);
    client.send(`USER alice\r\nPASS ${PASSWORD}\r\nRETR 2\r\nQUIT\r\n`);
    for (const _command of ['USER', 'PASS', 'RETR']) {
      expect(await client.reply()).toMatch(/^\+OK/);
    }
    expect(sha256(undot(await client.lines()))).toBe(sha256(mailbox[1] ?? ''));
    expect(await client.reply()).toMatch(/^\+OK/);
    expect(await client.ended).toBe('end');
  });

  test('commands in front of STLS are answered in plaintext, before it', async () => {
    const client = await LineClient.connect(portreeve.port('pop3'));
    await client.reply();
    client.send('CAPA\r\nSTLS\r\n');
    expect(await client.reply()).toMatch(/^\+OK/);
    expect(await client.lines()).toMatch(/^STLS\r$/m);
    expect(await client.reply()).toMatch(/^\+OK/);
    expect(client.unread).toBe('');
    await client.startTls(certificate.cert);
    await logIn(client);
    await readAndQuit(client);
  });
});

describe('logging in', () => {
  test('a wrong password is refused, and another try allowed', async () => {
    const client = await LineClient.connectWithStls(portreeve.port('pop3'), certificate.cert);
    expect(await client.ask('USER alice')).toMatch(/^\+OK/);
    expect(await client.ask('PASS wrong')).toMatch(/^-ERR/);
    const wrong = Buffer.from('\0alice\0wrong').toString('base64');
    expect(await client.ask(`AUTH PLAIN ${wrong}`)).toMatch(/^-ERR/);
    await logIn(client);
    await readAndQuit(client);
  });

  test('AUTH PLAIN that the client takes back', async () => {
    const client = await LineClient.connectWithStls(portreeve.port('pop3'), certificate.cert);
    expect(await client.ask('AUTH PLAIN')).toMatch(/^\+ /);
    expect(await client.ask('*')).toMatch(/^-ERR/);
    await logIn(client);
    await readAndQuit(client);
  });

  test('STLS inside TLS is refused', async () => {
    const client = await LineClient.connectWithStls(portreeve.port('pop3'), certificate.cert);
    expect(await client.ask('STLS')).toMatch(/^-ERR/);
    await logIn(client);
    await readAndQuit(client);
  });

  test.each(['USER alice', 'AUTH PLAIN', 'AUTH LOGIN', 'APOP alice 0123456789abcdef'])(
    'with requireTls %s is refused before TLS',
    async (command) => {
      const client = await LineClient.connect(portreeve.port('strict'));
      await client.reply();
      expect(await client.ask(command)).toMatch(/^-ERR/);
      expect(await client.askForLines('CAPA')).toMatch(/^STLS\r$/m);
      expect(await client.ask('STLS')).toMatch(/^\+OK/);
      await client.startTls(certificate.cert);
      await logIn(client);
      await readAndQuit(client);
    },
  );
});

describe('plaintext injection', () => {
  let relay: Relay;
  let guarded: Portreeve;

  beforeAll(async () => {
    relay = await startRelay(dovecot.port);
    guarded = await start({ pop3: {} }, relay.port);
    return async () => {
      await guarded.stop();
      await relay.stop();
    };
  });

  async function expectUnheard(): Promise<void> {
    await within(5_000, 'the server connections to end', () => relay.idle());
    expect(relay.received()).not.toMatch(/user|injected/i);
  }

  test('a command behind STLS in one segment ends the connection, unheard', async () => {
    const client = await LineClient.connect(guarded.port('pop3'));
    await client.reply();
    client.send('STLS\r\nUSER injected\r\n');
    const handshake = async (): Promise<string> => {
      await client.reply();
      await client.startTls(certificate.cert);
      return 'secured';
    };
    const outcome = Promise.race([client.ended, handshake().catch(() => client.ended)]);
    expect(await within(5_000, 'the end', () => outcome)).not.toBe('secured');
    await expectUnheard();
  });

  test('a command in place of the handshake ends the connection, unheard', async () => {
    const client = await LineClient.connect(guarded.port('pop3'));
    await client.reply();
    expect(await client.ask('STLS')).toMatch(/^\+OK/);
    client.send('USER injected\r\n');
    await within(5_000, 'the end', () => client.ended);
    await expectUnheard();
  });
});

describe('deadlines', () => {
  let impatient: Portreeve;

  beforeAll(async () => {
    impatient = await start({
      pop3: { tcp: 'short' },
      pop3s: { tcp: 'short', options: { tls: 'implicit' } },
    });
    return () => impatient.stop();
  });

  /** Milliseconds until the connection ends while a byte is sent every 100 ms, if any is left. */
  async function lifetime(client: LineClient, drip: string): Promise<number> {
    const begin = performance.now();
    const bytes = [...drip];
    const timer = setInterval(() => {
      const byte = bytes.shift();
      if (byte !== undefined) client.send(byte);
    }, 100);
    try {
      await within(5_000, 'the deadline', () => client.ended);
    } finally {
      clearInterval(timer);
    }
    return performance.now() - begin;
  }

  // A record that announces 16 KiB of ClientHello.
  const hello = `\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03${'x'.repeat(60)}`;

  const stalls = [
    { what: 'a handshake that never comes', server: 'pop3', first: 'STLS\r\n', drip: '' },
    { what: 'a handshake that drips', server: 'pop3', first: 'STLS\r\n', drip: hello },
    { what: 'implicit TLS that never comes', server: 'pop3s', first: '', drip: '' },
    { what: 'implicit TLS that drips', server: 'pop3s', first: '', drip: hello },
    { what: 'half a command', server: 'pop3', first: 'US', drip: '' },
    { what: 'a command that drips', server: 'pop3', first: 'U', drip: 'x'.repeat(60) },
  ];

  test.each(stalls)('$what is ended, and harms nobody', async ({ server, first, drip }) => {
    const patient = await LineClient.connectWithStls(impatient.port('pop3'), certificate.cert);
    await logIn(patient);
    const client = await LineClient.connect(impatient.port(server));
    if (server === 'pop3') await client.reply();
    client.send(first);
    if (first === 'STLS\r\n') expect(await client.reply()).toMatch(/^\+OK/);
    const ms = await lifetime(client, drip);
    expect(ms).toBeGreaterThan(300);
    expect(ms).toBeLessThan(2_000);
    await readAndQuit(patient);
  });
});

describe('connections that break', () => {
  test('clients that leave early take their server connections along', async () => {
    const relay = await startRelay(dovecot.port);
    onTestFinished(() => relay.stop());
    const watched = await start({ pop3: {}, pop3s: { options: { tls: 'implicit' } } }, relay.port);
    const port = watched.port('pop3');
    for (let n = 0; n < 20; n++) {
      (await LineClient.connect(port)).reset();
      (await LineClient.connect(watched.port('pop3s'))).destroy();
      const greeted = await LineClient.connect(port);
      await greeted.reply();
      greeted.destroy();
      const started = await LineClient.connect(port);
      await started.reply();
      await started.ask('STLS');
      started.send('\x16\x03\x01');
      started.reset();
      const reading = await LineClient.connectWithStls(port, certificate.cert);
      await logIn(reading);
      await reading.ask('RETR 2');
      reading.reset();
    }
    const last = await LineClient.connectWithStls(port, certificate.cert);
    await logIn(last);
    await readAndQuit(last);
    expect(relay.accepted()).toBeGreaterThan(60);
    await within(5_000, 'the server connections to end', () => relay.idle());
    await watched.stop();
  });

  test('a server that is down', async () => {
    const nobody = await freePort();
    const alone = await start({ pop3: {}, pop3s: { options: { tls: 'implicit' } } }, nobody);
    const client = await LineClient.connect(alone.port('pop3'));
    await within(3_000, 'the connection to end', () => client.ended);
    expect(client.unread).toBe('');
    await alone.log.waitFor(new RegExp(`127\\.0\\.0\\.1\\D+${nobody}.*ECONNREFUSED`));
    const secure = await LineClient.connect(alone.port('pop3s'));
    await within(3_000, 'the connection to end', async () => {
      await secure.startTls(certificate.cert).catch(() => undefined);
      await secure.ended;
    });
    await alone.stop();
  });
});

if (hasIpv6Loopback()) {
  test('a virtual server on IPv6', async () => {
    const six = await start({ pop3: { listen: '[::1]:0' } });
    const client = await LineClient.connect(six.port('pop3'), '::1');
    await client.reply();
    await client.ask('STLS');
    await client.startTls(certificate.cert);
    await logIn(client);
    await readAndQuit(client);
    await six.stop();
  });
}

describe('SIGTERM', () => {
  /** Waits until nobody accepts connections on the port any more. */
  async function refused(port: number): Promise<void> {
    for (;;) {
      try {
        (await LineClient.connect(port)).destroy();
      } catch (error) {
        // One that waits to be accepted when the listener closes is reset.
        const { code } = error as { code?: string };
        expect(code).toMatch(/^ECONN(REFUSED|RESET)$/);
        if (code === 'ECONNREFUSED') return;
      }
    }
  }

  test('lets open sessions finish and accepts no new ones', async () => {
    const leaving = await start({ pop3: {} });
    const port = leaving.port('pop3');
    const early = await LineClient.connect(port);
    await early.reply();
    const busy = await LineClient.connectWithStls(port, certificate.cert);
    await logIn(busy);
    leaving.process.kill('SIGTERM');
    await within(5_000, 'new connections to be refused', () => refused(port));
    expect(await early.ask('STLS')).toMatch(/^\+OK/);
    await early.startTls(certificate.cert);
    await logIn(early);
    await readAndQuit(early);
    expect(leaving.process.over).toBe(false);
    await readAndQuit(busy);
    expect(await within(5_000, 'the exit', () => leaving.process.ended)).toBe(0);
  });

  test('a second one ends open sessions too', async () => {
    const leaving = await start({ pop3: {} });
    const client = await LineClient.connectWithStls(leaving.port('pop3'), certificate.cert);
    leaving.process.kill('SIGTERM');
    await within(5_000, 'new connections to be refused', () => refused(leaving.port('pop3')));
    leaving.process.kill('SIGTERM');
    expect(await within(5_000, 'the exit', () => leaving.process.ended)).toBe(0);
    await client.ended;
  });
});
