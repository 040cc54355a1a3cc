import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import { type Dovecot, mailbox, startDovecot } from './harness/dovecot.ts';
import {
  imapReaders,
  type MailTask,
  pop3Readers,
  smtpSenders,
  useImaplib,
} from './harness/mail-clients.ts';
import {
  type Cell,
  cell,
  cells,
  Deliveries,
  gridConfig,
  isTls,
  type MailPorts,
  type MailProtocol,
  portsOf,
  userIn,
  virtualServerName,
} from './harness/mail-grid.ts';
import { makeMessage, sha256 } from './harness/messages.ts';
import { startRelay } from './harness/network.ts';
import { type Portreeve, startPortreeve } from './harness/portreeve.ts';
import { type Exim, startExim } from './harness/servers/exim.ts';

// Mail through Portreeve, with TLS in every way on both sides: real clients that verify Portreeve's
// certificate, and real servers whose certificate Portreeve verifies. What arrives must be, byte for
// byte, what was sent.

const SIZE = 5 * 1024 * 1024;
const digests = mailbox.map(sha256);
const small = makeMessage('small', 2_000);

/** What clients trust. */
let own: Certificate;
/** What servers show. */
let servers: Certificate;
let dovecot: Dovecot;
let exim: Exim;
let portreeve: Portreeve;
let deliveries: Deliveries;

beforeAll(async () => {
  [own, servers] = await Promise.all([makeCertificate(), makeCertificate()]);
  [dovecot, exim] = await Promise.all([
    startDovecot({ protocols: ['pop3', 'imap'], tls: servers }),
    startExim(servers),
  ]);
  deliveries = new Deliveries(exim);
  portreeve = await start(portsOf(dovecot, exim), servers, cells);
  return () => portreeve.stop();
});

/** Starts a Portreeve that trusts servers with one certificate. */
function start(ports: MailPorts, trusted: Certificate, some: readonly Cell[]): Promise<Portreeve> {
  return startPortreeve(gridConfig(ports, some), {
    'cert.pem': own.cert,
    'key.pem': own.key,
    'server.pem': trusted.cert,
  });
}

function task(protocol: MailProtocol, one: Cell, through = portreeve): MailTask {
  const port = through.port(virtualServerName(protocol, one));
  return { security: one.client, port, ca: own.certFile, user: userIn(one) };
}

/** As `test.each` shows them whole. */
function named(some: readonly Cell[]): (readonly [string, Cell])[] {
  return some.map((one) => [one.name, one]);
}

describe.concurrent.each(Object.entries(pop3Readers))('POP3, %s', (_client, read) => {
  test.each(named(cells))('%s', async (_name, one) => {
    expect(await read(task('pop3', one))).toEqual(digests);
  });
});

describe.concurrent.each(Object.entries(imapReaders))('IMAP, %s', (_client, read) => {
  test.each(named(cells))('%s', async (_name, one) => {
    expect(await read(task('imap', one))).toEqual(digests);
  });
});

describe.concurrent('IMAP, imaplib', () => {
  test.each(named(cells))('%s', async (_name, one) => {
    const name = `${one.client}-${one.server}`;
    const message = makeMessage(name, SIZE);
    const { inbox, appended } = await useImaplib(task('imap', one), name, message);
    expect(inbox).toEqual(digests);
    expect(appended).toEqual([sha256(message)]);
  });
});

describe.concurrent.each(Object.entries(smtpSenders))('SMTP, %s', (client, send) => {
  test.each(named(cells))('%s', async (_name, one) => {
    const subject = `${client}-${one.client}-${one.server}`;
    const message = makeMessage(subject, SIZE);
    await send(task('smtp', one), message);
    expect(sha256(await deliveries.take(subject))).toBe(sha256(message));
  });
});

type Visit = (work: MailTask) => Promise<unknown>;

/** Every client, and something that it does. */
const clients: readonly (readonly [MailProtocol, string, Visit])[] = [
  ['pop3', 'poplib', pop3Readers.poplib],
  ['pop3', 'curl', pop3Readers.curl],
  ['imap', 'imaplib', (work) => useImaplib(work, 'small', small)],
  ['imap', 'curl', imapReaders.curl],
  ['imap', 'mbsync', imapReaders.mbsync],
  ['smtp', 'smtplib', (work) => smtpSenders.smtplib(work, small)],
  ['smtp', 'curl', (work) => smtpSenders.curl(work, small)],
  ['smtp', 'swaks', (work) => smtpSenders.swaks(work, small)],
];

describe.concurrent.each(clients)('%s, %s verifies the certificate', (protocol, _client, visit) => {
  test.each(named([cell('starttls', 'plain'), cell('implicit', 'plain')]))('%s', async (_, one) => {
    const stranger = await makeCertificate();
    const work = { ...task(protocol, one), ca: stranger.certFile };
    await expect(visit(work)).rejects.toThrow(/certificate/i);
  });
});

describe('towards the server', () => {
  test('one whose certificate is not known is refused', async () => {
    const secure = [cell('plain', 'starttls'), cell('plain', 'implicit')];
    const wary = await start(portsOf(dovecot, exim), own, secure);
    for (const one of secure) {
      const visits = clients.map(([protocol, , visit]) => visit(task(protocol, one, wary)));
      for (const { status } of await Promise.allSettled(visits)) expect(status).toBe('rejected');
    }
    await wary.stop();
    const failures = wary.log.text.match(/with the server failed: DEPTH_ZERO_SELF_SIGNED_CERT/g);
    expect(failures).toHaveLength(secure.length * clients.length);
  });

  test('after STARTTLS there is no plaintext', async () => {
    const ports = portsOf(dovecot, exim);
    const [pop3, imap, smtp] = await Promise.all([
      startRelay(ports.pop3.starttls),
      startRelay(ports.imap.starttls),
      startRelay(ports.smtp.starttls),
    ]);
    const one = cell('plain', 'starttls');
    const watched = await start(
      {
        pop3: { ...ports.pop3, starttls: pop3.port },
        imap: { ...ports.imap, starttls: imap.port },
        smtp: { ...ports.smtp, starttls: smtp.port },
      },
      servers,
      [one],
    );
    onTestFinished(async () => {
      await watched.stop();
      for (const relay of [pop3, imap, smtp]) await relay.stop();
    });
    // Each of these makes one connection.
    await pop3Readers.poplib(task('pop3', one, watched));
    await useImaplib(task('imap', one, watched), 'small', small);
    await smtpSenders.smtplib(task('smtp', one, watched), small);
    expectTlsBehind('STLS\r\n', pop3.received());
    expectTlsBehind('a STARTTLS\r\n', imap.received());
    expectTlsBehind('EHLO [127.0.0.1]\r\nSTARTTLS\r\n', smtp.received());
  });

  function expectTlsBehind(plain: string, heard: string): void {
    expect(heard.slice(0, plain.length)).toBe(plain);
    expect(isTls(heard.slice(plain.length))).toBe(true);
  }
});
