import { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import { LineClient } from './harness/line-client.ts';
import { startEcho } from './harness/network.ts';
import { certificateFiles } from './harness/pop3.ts';
import { type Portreeve, placeInLog, startPortreeve } from './harness/portreeve.ts';
import { within } from './harness/process.ts';

/** From the moment a file is saved until new connections see it. */
const RELOAD_MS = 1_000;

/** A rule that puts a word in front of whatever the client sends. */
function rule(word: string): string {
  return `when('SERVER_CONNECTED', () => clientside(() => TCP.collect()));
when('CLIENT_DATA', () => {
  TCP.payload.replace(0, 0, '${word} ');
  TCP.release();
  TCP.collect();
});
`;
}

let portreeve: Portreeve;
let certificate: Certificate;

beforeEach(async () => {
  certificate = await makeCertificate();
  const echo = await startEcho();
  const config = {
    virtualServers: {
      ruled: { listen: '127.0.0.1:0', pool: 'echo', rules: ['./rules/prefix.js'] },
      secure: { listen: '127.0.0.1:0', pool: 'echo', clientSsl: 'mail' },
    },
    pools: { echo: { members: [`127.0.0.1:${echo.port}`] } },
    profiles: { clientSsl: { mail: { cert: 'cert.pem', key: 'key.pem' } } },
  };
  const files = { ...certificateFiles(certificate), 'rules/prefix.js': rule('one') };
  portreeve = await startPortreeve(config, files);
  return async () => {
    await portreeve.stop();
    await echo.stop();
  };
});

/** A connection whose first exchange is over: its rules are chosen. */
async function openSession(): Promise<LineClient> {
  const client = await LineClient.connect(portreeve.port('ruled'));
  await client.ask('hello');
  return client;
}

/** What a new connection gets. */
async function firstWord(): Promise<string | undefined> {
  const client = await LineClient.connect(portreeve.port('ruled'));
  const [word] = (await client.ask('hello')).split(' ');
  client.destroy();
  return word;
}

describe('a rule file', () => {
  const broken = [
    ['a syntax error', `${rule('two')}const = 1;\n`],
    ['an error at load time', `${rule('two')}undefinedName();\n`],
  ] as const;

  test.each(broken)('saved with %s changes nothing', async (_what, content) => {
    const open = await openSession();
    portreeve.save('rules/prefix.js', content);
    await portreeve.log.waitFor(placeInLog('prefix.js', 7));
    expect(await open.ask('still there')).toBe('one still there');
    expect(await firstWord()).toBe('one');
  });

  test('saved anew serves new connections, while open ones finish on the old', async () => {
    const open = await openSession();
    portreeve.save('rules/prefix.js', rule('two'));
    await within(RELOAD_MS, 'the new rule', async () => {
      while ((await firstWord()) !== 'two');
    });
    expect(await open.ask('still there')).toBe('one still there');
  });

  test('mended after an error is taken', async () => {
    portreeve.save('rules/prefix.js', 'const = 1;\n');
    await portreeve.log.waitFor(placeInLog('prefix.js', 1));
    portreeve.save('rules/prefix.js', rule('two'));
    await within(RELOAD_MS, 'the new rule', async () => {
      while ((await firstWord()) !== 'two');
    });
  });
});

describe('a certificate', () => {
  function fingerprintServed(): Promise<string> {
    return new Promise((resolve, reject) => {
      // Only looked at here; that clients verify it is for the tests of the mail clients.
      const socket = connect({ port: portreeve.port('secure'), rejectUnauthorized: false });
      socket.on('error', reject);
      socket.on('secureConnect', () => {
        resolve(socket.getPeerCertificate().fingerprint256);
        socket.destroy();
      });
    });
  }

  test('that changes is served, while open connections go on', async () => {
    expect(await fingerprintServed()).toBe(fingerprint(certificate.cert));
    const open = await LineClient.connect(portreeve.port('secure'));
    await open.startTls(certificate.cert);
    const renewed = await makeCertificate();
    portreeve.save('key.pem', renewed.key);
    portreeve.save('cert.pem', renewed.cert);
    await within(RELOAD_MS, 'the new certificate', async () => {
      while ((await fingerprintServed()) !== fingerprint(renewed.cert));
    });
    expect(await open.ask('still there')).toBe('still there');
  });

  test('that is broken changes nothing', async () => {
    portreeve.save('cert.pem', 'not a certificate\n');
    await portreeve.log.waitFor('cert.pem');
    expect(await fingerprintServed()).toBe(fingerprint(certificate.cert));
  });
});

function fingerprint(pem: string): string {
  return new X509Certificate(pem).fingerprint256;
}
