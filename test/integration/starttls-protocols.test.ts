import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Certificate, makeCertificate } from './harness/certificate.ts';
import { mailbox, PASSWORD } from './harness/dovecot.ts';
import { makeMessage } from './harness/messages.ts';
import { type Portreeve, startPortreeve } from './harness/portreeve.ts';
import { run } from './harness/process.ts';
import { SClient } from './harness/s-client.ts';
import { eximUser } from './harness/servers/exim.ts';
import {
  handshakeResponse,
  mariadbUser,
  mysqlPacket,
  nativeProof,
} from './harness/servers/mariadb.ts';
import { IRC_SERVER } from './harness/servers/ngircd.ts';
import { newsgroup } from './harness/servers/nnrpd.ts';
import {
  type PlaintextServers,
  type Protocol,
  rules,
  startPlaintextServers,
} from './harness/servers/plaintext-servers.ts';
import { postgresMessage, postgresUser, startupMessage } from './harness/servers/postgres.ts';
import { xmpp } from './harness/servers/prosody.ts';
import { bindRequest, directory, SUCCESS, searchRequest } from './harness/servers/slapd.ts';
import { FTP_FILE } from './harness/servers/vsftpd.ts';

// Every protocol for which `openssl s_client` can start TLS, through the bundled rule for it, to a
// real server that has no TLS.

let certificate: Certificate;
let servers: PlaintextServers;
let portreeve: Portreeve;
const clients = new Set<SClient>();

beforeAll(async () => {
  [certificate, servers] = await Promise.all([makeCertificate(), startPlaintextServers()]);
  portreeve = await startPortreeve(configuration(servers.ports), {
    'cert.pem': certificate.cert,
    'key.pem': certificate.key,
  });
  return () => portreeve.stop();
});

afterEach(async () => {
  for (const client of clients) await client.stop();
  clients.clear();
});

function configuration(ports: Record<Protocol, number>): object {
  const names = Object.keys(rules) as Protocol[];
  const virtualServers = names.map((name) => [
    name,
    { listen: '127.0.0.1:0', clientSsl: 'tls', pool: name, rules: [rules[name]] },
  ]);
  const pools = names.map((name) => [name, { members: [`127.0.0.1:${ports[name]}`] }]);
  return {
    virtualServers: Object.fromEntries(virtualServers),
    pools: Object.fromEntries(pools),
    profiles: { clientSsl: { tls: { cert: 'cert.pem', key: 'key.pem' } } },
  };
}

/** Starts `openssl s_client`, and waits until it has TLS and the certificate is verified. */
async function openTls(starttls: Protocol, host?: string): Promise<SClient> {
  const task = { port: portreeve.port(starttls), ca: certificate.certFile, starttls };
  const client = new SClient(host === undefined ? task : { ...task, host });
  clients.add(client);
  await client.verified();
  return client;
}

function saslPlain(name: string, password: string): string {
  return Buffer.from(`\0${name}\0${password}`).toString('base64');
}

describe('openssl s_client -starttls', () => {
  test('knows nothing that is not tested here', async () => {
    const { stderr } = await run('openssl', ['s_client', '-starttls', 'help']);
    const known = stderr.match(/^\t\S+$/gm)?.map((line) => line.trim());
    expect(known).toContain('imap');
    expect(Object.keys(rules)).toEqual(expect.arrayContaining(known ?? []));
  });

  test('pop3', async () => {
    const client = await openTls('pop3');
    expect(await client.ask('USER dora\r\n', '\r\n')).toMatch(/^\+OK/);
    expect(await client.ask(`PASS ${PASSWORD}\r\n`, '\r\n')).toMatch(/^\+OK/);
    expect(await client.ask('STAT\r\n', '\r\n')).toMatch(/^\+OK 3 /);
    expect(await client.ask('QUIT\r\n', '\r\n')).toMatch(/^\+OK/);
    expect(await client.ended).toBe(0);
  });

  test('imap', async () => {
    const client = await openTls('imap');
    const capability = await client.ask('a CAPABILITY\r\n', /^a .*\r\n/m);
    expect(capability).not.toContain('STARTTLS');
    expect(await client.ask(`b LOGIN dora "${PASSWORD}"\r\n`, /^b .*\r\n/m)).toMatch(/^b OK/m);
    const selected = await client.ask('c SELECT INBOX\r\n', /^c .*\r\n/m);
    expect(selected).toMatch(/^\* 3 EXISTS\r$/m);
    expect(selected).toMatch(/^c OK/m);
    const fetched = await client.ask('d FETCH 3 BODY[]\r\n', /^d .*\r\n/m);
    expect(fetched).toContain(mailbox[2]);
    expect(await client.ask('e LOGOUT\r\n', /^e .*\r\n/m)).toMatch(/^\* BYE/m);
    expect(await client.ended).toBe(0);
  });

  test('smtp', async () => {
    const client = await openTls('smtp');
    const greeting = await client.ask('EHLO client.example\r\n', /^250 .*\r\n/m);
    expect(greeting).toMatch(/^250-AUTH PLAIN LOGIN\r$/m);
    expect(greeting).not.toContain('STARTTLS');
    const login = saslPlain(eximUser.name, eximUser.password);
    expect(await client.ask(`AUTH PLAIN ${login}\r\n`, '\r\n')).toMatch(/^235 /);
    expect(await client.ask('MAIL FROM:<porter@example.com>\r\n', '\r\n')).toMatch(/^250 /);
    expect(await client.ask('RCPT TO:<alice@example.com>\r\n', '\r\n')).toMatch(/^250 /);
    expect(await client.ask('DATA\r\n', '\r\n')).toMatch(/^354 /);
    const message = makeMessage('sent', 2_000);
    expect(await client.ask(`${dotted(message)}.\r\n`, '\r\n')).toMatch(/^250 /);
    expect(await servers.exim.nextMessage()).toBe(message);
    expect(await client.ask('QUIT\r\n', '\r\n')).toMatch(/^221 /);
    expect(await client.ended).toBe(0);
  });

  test('lmtp', async () => {
    const client = await openTls('lmtp');
    const greeting = await client.ask('LHLO client.example\r\n', /^250 .*\r\n/m);
    expect(greeting).not.toContain('STARTTLS');
    expect(await client.ask('MAIL FROM:<porter@example.com>\r\n', '\r\n')).toMatch(/^250 /);
    expect(await client.ask('RCPT TO:<alice@example.com>\r\n', '\r\n')).toMatch(/^250 /);
    expect(await client.ask('RCPT TO:<nobody@example.com>\r\n', '\r\n')).toMatch(/^550 /);
    expect(await client.ask('DATA\r\n', '\r\n')).toMatch(/^354 /);
    const message = makeMessage('delivered', 2_000);
    expect(await client.ask(`${dotted(message)}.\r\n`, '\r\n')).toMatch(/^250 .* Saved\r\n/);
    const [stored = ''] = servers.dovecot.delivered('alice@example.com');
    expect(stored).toContain(message.replaceAll('\r\n', '\n'));
    expect(await client.ask('QUIT\r\n', '\r\n')).toMatch(/^221 /);
    expect(await client.ended).toBe(0);
  });

  test('sieve', async () => {
    const client = await openTls('sieve');
    // After TLS the server shows its capabilities again (RFC 5804, section 2.2).
    const capabilities = await client.next(/^OK.*\r\n/m);
    expect(capabilities).toMatch(/^"SASL" "PLAIN LOGIN"\r$/m);
    expect(capabilities).not.toContain('STARTTLS');
    const login = saslPlain('dora', PASSWORD);
    expect(await client.ask(`AUTHENTICATE "PLAIN" "${login}"\r\n`, '\r\n')).toMatch(/^OK/);
    const script = 'keep;\r\n';
    const put = `PUTSCRIPT "mine" {${script.length}+}\r\n${script}\r\n`;
    expect(await client.ask(put, '\r\n')).toMatch(/^OK/);
    expect(await client.ask('LISTSCRIPTS\r\n', /^OK.*\r\n/m)).toMatch(/^"mine"\r$/m);
    expect(await client.ask('LOGOUT\r\n', '\r\n')).toMatch(/^OK/);
    expect(await client.ended).toBe(0);
  });

  test('ftp', async () => {
    const client = await openTls('ftp');
    expect(await client.ask('USER anonymous\r\n', '\r\n')).toMatch(/^230 /);
    expect(await client.ask('PWD\r\n', '\r\n')).toMatch(/^257 ".*\/files"/);
    expect(await client.ask('QUIT\r\n', '\r\n')).toMatch(/^221 /);
    expect(await client.ended).toBe(0);
  });

  test('nntp', async () => {
    const client = await openTls('nntp');
    expect(await client.ask('CAPABILITIES\r\n', '\r\n.\r\n')).not.toContain('STARTTLS');
    expect(await client.ask('DATE\r\n', '\r\n')).toMatch(/^111 \d{14}\r\n/);
    expect(await client.ask(`GROUP ${newsgroup.name}\r\n`, '\r\n')).toMatch(/^211 1 1 1 /);
    const body = await client.ask('BODY 1\r\n', '\r\n.\r\n');
    expect(body).toMatch(new RegExp(`^222 .*\r\n${newsgroup.body}\r\n`));
    expect(await client.ask('QUIT\r\n', '\r\n')).toMatch(/^205 /);
    expect(await client.ended).toBe(0);
  });

  test('irc', async () => {
    const client = await openTls('irc');
    client.send('NICK porter\r\nUSER porter 0 * :Porter\r\n');
    expect(await client.next(/ 376 .*\r\n/)).toContain(`:${IRC_SERVER} 001 porter :`);
    expect(await client.ask('PING here\r\n', /PONG .*\r\n/)).toContain('here');
    expect(await client.ask('QUIT\r\n', /ERROR .*\r\n/)).toContain('Closing connection');
    expect(await client.ended).toBe(0);
  });

  test('ldap', async () => {
    const client = await openTls('ldap');
    await client.ask(bindRequest(2), `\x61\x07${SUCCESS}`);
    const found = await client.ask(searchRequest(3), `\x65\x07${SUCCESS}`);
    expect(found).toContain(directory.base);
    expect(found).toContain(directory.description);
  });

  test('xmpp', async () => {
    const client = await openTls('xmpp', xmpp.host);
    const features = await client.ask(xmppStream('client', ''), '</stream:features>');
    expect(features).toContain('<mechanism>PLAIN</mechanism>');
    expect(features).not.toContain('starttls');
    const login = saslPlain(xmpp.user, xmpp.password);
    await client.ask(
      `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${login}</auth>`,
      /<success [^>]*>/,
    );
    const after = await client.ask(xmppStream('client', ''), '</stream:features>');
    expect(after).toContain('<bind ');
    await client.ask('</stream:stream>', '</stream:stream>');
  });

  test('xmpp-server', async () => {
    const client = await openTls('xmpp-server', xmpp.host);
    const names = "from='other.example' xmlns:db='jabber:server:dialback'";
    const features = await client.ask(xmppStream('server', names), '</stream:features>');
    expect(features).toContain('<dialback ');
    expect(features).not.toContain('starttls');
    const answer = await client.ask(
      `<db:verify from='other.example' to='${xmpp.host}' id='1'>0123456789abcdef</db:verify>`,
      /<db:verify [^>]*>/,
    );
    expect(answer).toMatch(/type='invalid'/);
    await client.ask('</stream:stream>', '</stream:stream>');
  });

  test('postgres', async () => {
    const client = await openTls('postgres');
    const asksForPassword = 'R\0\0\0\x08\0\0\0\x03';
    await client.ask(startupMessage(), asksForPassword);
    const readyForQuery = 'Z\0\0\0\x05I';
    await client.ask(postgresMessage('p', `${postgresUser.password}\0`), readyForQuery);
    const result = await client.ask(postgresMessage('Q', 'SELECT 6*7\0'), readyForQuery);
    const dataRow = 'D\0\0\0\x0c\0\x01\0\0\0\x0242';
    expect(result).toContain(dataRow);
    client.send(postgresMessage('X', ''));
    expect(await client.ended).toBe(0);
  });

  test('mysql', async () => {
    const client = await openTls('mysql');
    const authSwitch = '\xfemysql_native_password\0';
    // The server's greeting was 0, and the client's request for TLS 1.
    client.send(mysqlPacket(2, handshakeResponse()));
    const request = await client.bytes(4 + authSwitch.length + 21);
    expect(request[3]).toBe(3);
    expect(request.toString('latin1', 4, 4 + authSwitch.length)).toBe(authSwitch);
    client.send(mysqlPacket(4, nativeProof(request.subarray(-21, -1))));
    const welcome = await client.bytes(4 + 7);
    expect(welcome.subarray(3, 5)).toEqual(Buffer.of(5, 0));
    const row = mysqlPacket(4, Buffer.from('\x0242'));
    await client.ask(mysqlPacket(0, Buffer.from('\x03SELECT 6*7')), row.toString());
    client.send(mysqlPacket(0, Buffer.of(1)));
    expect(await client.ended).toBe(0);
  });

  test('telnet', async () => {
    const client = await openTls('telnet');
    const doOldEnviron = '\xff\xfd\x24';
    const doFlowControl = '\xff\xfd\x21';
    client.send(refusals(await client.next(doOldEnviron)));
    client.send(refusals(await client.next(doFlowControl)));
    // The terminal repeats what is typed, and `cat` what it has read.
    await client.ask('hello\r\0', /hello\r\n.*hello\r\n/s);
  });
});

describe('other clients', () => {
  const host = 'localhost';

  function curl(args: readonly string[], input = ''): ReturnType<typeof run> {
    const common = ['-q', '--silent', '--show-error', '--noproxy', '*', '--max-time', '20'];
    return run('curl', [...common, '--cacert', certificate.certFile, ...args], { input });
  }

  test('curl reads mail by IMAP', async () => {
    const url = `imap://${host}:${portreeve.port('imap')}/INBOX;MAILINDEX=3`;
    const result = await curl(['--ssl-reqd', '--user', `dora:${PASSWORD}`, url]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toBe(mailbox[2]);
  });

  test('curl sends mail by SMTP', async () => {
    const message = makeMessage('sent by curl', 2_000);
    const args = [
      ...['--ssl-reqd', '--upload-file', '-', '--user', `${eximUser.name}:${eximUser.password}`],
      ...['--mail-from', 'porter@example.com', '--mail-rcpt', 'alice@example.com'],
      `smtp://${host}:${portreeve.port('smtp')}/client.example`,
    ];
    const result = await curl(args, message);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(await servers.exim.nextMessage()).toBe(message);
  });

  test('curl reads a file by FTP, with TLS for commands alone', async () => {
    const url = `ftp://${host}:${portreeve.port('ftp')}/hello.txt`;
    const result = await curl(['--ftp-ssl-control', url]);
    expect(result).toMatchObject({ code: 0, stderr: '', stdout: FTP_FILE });
  });

  test('psql logs in by SCRAM-SHA-256', async () => {
    const { name, password, scramDatabase } = postgresUser;
    const settings = [
      ...[`host=${host}`, 'hostaddr=127.0.0.1', `port=${portreeve.port('postgres')}`],
      ...[`user=${name}`, `dbname=${scramDatabase}`],
      ...['sslmode=verify-full', `sslrootcert=${certificate.certFile}`],
    ];
    const query = ['--no-psqlrc', '--tuples-only', '--no-align', '--command', 'SELECT 6*7'];
    const result = await run('psql', [settings.join(' '), ...query], {
      env: { PGPASSWORD: password },
    });
    expect(result).toMatchObject({ code: 0, stderr: '', stdout: '42\n' });
  });

  test('mariadb logs in by mysql_native_password', async () => {
    const result = await run('mariadb', [
      ...['--no-defaults', '--protocol=tcp', `--host=${host}`],
      ...[`--port=${portreeve.port('mysql')}`, `--user=${mariadbUser.name}`],
      ...[`--password=${mariadbUser.password}`, `--ssl-ca=${certificate.certFile}`],
      ...['--ssl-verify-server-cert', '--skip-column-names', '--execute=SELECT 6*7'],
    ]);
    expect(result).toMatchObject({ code: 0, stderr: '', stdout: '42\n' });
  });

  test('ldapsearch finds the entry', async () => {
    const result = await run(
      'ldapsearch',
      [
        // Not localhost, for which OpenLDAP looks for the machine's name in the certificate.
        ...['-x', '-ZZ', '-LLL', '-H', `ldap://127.0.0.1:${portreeve.port('ldap')}`],
        ...['-D', directory.admin, '-w', directory.password],
        ...['-b', directory.base, '-s', 'base', 'description'],
      ],
      { env: { LDAPTLS_CACERT: certificate.certFile } },
    );
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toContain(`description: ${directory.description}\n`);
  });
});

/** As SMTP sends a message (RFC 5321, section 4.5.2). */
function dotted(message: string): string {
  return message.replaceAll(/^\./gm, '..');
}

/** A stream header (RFC 6120, section 4.2). */
function xmppStream(kind: 'client' | 'server', attributes: string): string {
  return `<?xml version='1.0'?><stream:stream xmlns='jabber:${kind}'
    xmlns:stream='http://etherx.jabber.org/streams' to='${xmpp.host}' version='1.0' ${attributes}>`;
}

/** WONT for every DO, and DONT for every WILL (RFC 854). */
function refusals(requests: string): string {
  return [...requests.matchAll(/\xff([\xfb\xfd])(.)/gs)]
    .map(([, verb, option]) => `\xff${verb === '\xfb' ? '\xfe' : '\xfc'}${option}`)
    .join('');
}
