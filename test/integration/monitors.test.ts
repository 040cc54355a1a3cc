import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import {
  type LoginMonitor,
  MonitorSet,
  type MonitorSettings,
  type MonitorStatus,
  probe,
} from '../../src/monitors/index.ts';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import { type Dovecot, PASSWORD, startDovecot } from './harness/dovecot.ts';
import { type MailPorts, portsOf } from './harness/mail-grid.ts';
import { within } from './harness/process.ts';
import { type Exim, eximUser, startExim } from './harness/servers/exim.ts';
import { startVsftpd, type Vsftpd } from './harness/servers/vsftpd.ts';

// Monitors log in to real servers, in plaintext, by STARTTLS and inside implicit TLS.

const timing = { interval: 50, timeout: 20_000, rise: 1, fall: 2, timeUntilUp: 0, jitter: 0 };

let certificate: Certificate;
let dovecot: Dovecot;
let exim: Exim;
let vsftpd: Vsftpd;
let ports: MailPorts;

beforeAll(async () => {
  certificate = await makeCertificate();
  [dovecot, exim, vsftpd] = await Promise.all([
    startDovecot({ protocols: ['pop3', 'imap'], tls: certificate }),
    startExim(certificate),
    startVsftpd(),
  ]);
  ports = portsOf(dovecot, exim);
});

function monitor(
  type: LoginMonitor['type'],
  tls: LoginMonitor['tls'],
  settings: Partial<LoginMonitor> = {},
): LoginMonitor {
  const login = { user: eximUser.name, password: PASSWORD };
  return { ...timing, type, tls, verify: true, ca: certificate.cert, login, ...settings };
}

function look(port: number, settings: MonitorSettings): Promise<void> {
  return probe({ address: '127.0.0.1', port }, settings, AbortSignal.timeout(settings.timeout));
}

describe.each(['pop3', 'imap', 'smtp'] as const)('%s', (type) => {
  describe.each(['none', 'starttls', 'implicit'] as const)('tls: %s', (tls) => {
    const port = () => ports[type][tls === 'none' ? 'plain' : tls];

    test('logs in', async () => {
      await look(port(), monitor(type, tls));
      if (type !== 'smtp') expect(await dovecot.nextLogin()).toBe(eximUser.name);
    });

    test('fails with a wrong password, which it does not tell', async () => {
      const login = { user: eximUser.name, password: 'wrong horse' };
      const failure = await look(port(), monitor(type, tls, { login })).catch(String);
      expect(failure).toMatch(
        /the answer to (PASS was '-ERR \[AUTH\]|LOGIN was 'a NO \[AUTHENTICATIONFAILED\]|AUTH PLAIN was '535)/,
      );
      expect(failure).not.toContain('horse');
    });
  });

  test('verifies name and age of the certificate', async () => {
    const port = ports[type].starttls;
    const named = monitor(type, 'starttls', { serverName: 'mail.example.com' });
    await expect(look(port, named)).rejects.toThrow('is not for mail.example.com');
    const aged = monitor(type, 'starttls', { minDays: 3 });
    await expect(look(port, aged)).rejects.toThrow('which is within 3 days');
  });
});

describe('ftp', () => {
  test('logs in', async () => {
    const login = { user: 'anonymous', password: 'monitor@example.com' };
    await look(vsftpd.port, monitor('ftp', 'none', { login }));
  });

  test('fails for a user who may not, and without AUTH TLS', async () => {
    await expect(look(vsftpd.port, monitor('ftp', 'none'))).rejects.toThrow(
      /the answer to (USER|PASS) was '530 /,
    );
    await expect(look(vsftpd.port, monitor('ftp', 'starttls'))).rejects.toThrow(
      /the answer to AUTH was '5\d\d /,
    );
  });
});

describe('the other monitors', () => {
  test('tcp and tcp-half-open', async () => {
    await look(ports.pop3.plain, { ...timing, type: 'tcp' });
    await look(ports.pop3.plain, { ...timing, type: 'tcp-half-open' });
  });

  test('tls', async () => {
    await look(ports.imap.implicit, {
      ...{ ...timing, type: 'tls', verify: true, ca: certificate.cert, minDays: 1 },
    });
  });

  test('send-expect', async () => {
    const hello = { ...timing, type: 'send-expect', send: 'EHLO [127.0.0.1]\\r\\n' } as const;
    await look(exim.port, { ...hello, expect: { pattern: '^250[ -]AUTH PLAIN', flags: 'm' } });
  });
});

test('a monitor sees that a server stops', async () => {
  const server = await startVsftpd();
  const monitors = new MonitorSet();
  onTestFinished(() => monitors.close());
  const login = { user: 'anonymous', password: '' };
  const settings = monitor('ftp', 'none', { login });
  const heard: MonitorStatus[] = [];
  let wake = () => {};
  const next = (count: number) =>
    within(20_000, 'a change', async () => {
      while (heard.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    });
  monitors.watch({ address: '127.0.0.1', port: server.port }, settings, (status) => {
    heard.push(status);
    wake();
  });
  await next(1);
  await server.stop();
  await next(2);
  expect(heard.map(({ state }) => state)).toEqual(['up', 'down']);
  expect(heard[1]?.reason).toBe('no connection: ECONNREFUSED');
});
