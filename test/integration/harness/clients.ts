import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { PASSWORD } from './dovecot.ts';
import { sha256 } from './messages.ts';
import { RunningProcess, run, temporaryFolder } from './process.ts';

/** How a client gets TLS: not at all, by STLS, or from the first byte. */
export type Mode = 'plain' | 'stls' | 'implicit';

/** What a client is to do. All connect to `localhost` and verify the certificate. */
export interface Task {
  readonly mode: Mode;
  readonly port: number;
  /** The file of the certificate to trust. */
  readonly ca: string;
  readonly user: string;
}

/** The SHA-256 of each message that a client has read, in order. */
export type Digests = readonly string[];

interface PoplibSession {
  readonly before: Readonly<Record<string, readonly string[]>> | null;
  readonly capabilities: Readonly<Record<string, readonly string[]>>;
  readonly messages: Digests;
}

/** Python's poplib: one or more sessions at a time, USER and PASS. */
export async function readWithPoplib(task: Task, sessions = 1): Promise<readonly PoplibSession[]> {
  const script = resolve('test/integration/clients/poplib-session.py');
  const argument = { ...task, host: 'localhost', password: PASSWORD, sessions };
  const { code, stdout, stderr } = await run('python3', [script, JSON.stringify(argument)]);
  if (code !== 0) throw new Error(`poplib: ${stderr}`);
  const outcome = JSON.parse(stdout) as { results: PoplibSession[]; failures: string[] };
  if (outcome.failures.length > 0) throw new Error(`poplib: ${outcome.failures.join('\n')}`);
  return outcome.results;
}

/** curl: one session for each message, SASL. Returns also what the last session said. */
export async function readWithCurl(
  task: Task,
  count: number,
  options: readonly string[] = [],
): Promise<{ digests: Digests; dialogue: string }> {
  const scheme = task.mode === 'implicit' ? 'pop3s' : 'pop3';
  const digests: string[] = [];
  let dialogue = '';
  for (let number = 1; number <= count; number++) {
    const { code, stdout, stderr } = await run('curl', [
      ...['-q', '--verbose', '--silent', '--noproxy', '*', '--max-time', '20'],
      ...(task.mode === 'stls' ? ['--ssl-reqd'] : []),
      ...['--cacert', task.ca, '--user', `${task.user}:${PASSWORD}`, ...options],
      `${scheme}://localhost:${task.port}/${number}`,
    ]);
    if (code !== 0) throw new Error(`curl ended with ${code}\n${stderr}`);
    digests.push(sha256(stdout));
    dialogue = stderr;
  }
  return { digests, dialogue };
}

/**
 * fetchmail, which hands each message to a command. It puts its own header fields in, so the
 * digests are those of the bodies; it strips CR, so their line ends are LF.
 */
export async function readBodiesWithFetchmail(task: Task): Promise<Digests> {
  const folder = temporaryFolder();
  const ssl = { plain: "sslproto ''", stls: 'sslproto TLS1.2+', implicit: 'ssl sslproto TLS1.2+' };
  const trust = task.mode === 'plain' ? '' : `sslcertck sslcertfile "${task.ca}"`;
  writeFileSync(
    join(folder, 'rc'),
    `poll localhost protocol pop3 port ${task.port} timeout 20
  user "${task.user}" password "${PASSWORD}" is nobody here
  ${ssl[task.mode]} ${trust}
  keep fetchall no rewrite mda "cat > '${folder}'/message.$$"
`,
  );
  chmodSync(join(folder, 'rc'), 0o600);
  const { code, stdout, stderr } = await run(
    'fetchmail',
    ['--fetchmailrc', join(folder, 'rc'), '--nosyslog', '--nodetach', '--verbose'],
    { folder, env: { FETCHMAILHOME: folder } },
  );
  if (code !== 0) throw new Error(`fetchmail ended with ${code}\n${stdout}${stderr}`);
  return readdirSync(folder)
    .filter((name) => name.startsWith('message.'))
    .map((name) => readFileSync(join(folder, name), 'latin1'))
    .map((message) => sha256(bodyOf(message, '\n')));
}

/** What follows the header. */
export function bodyOf(message: string, newline: '\n' | '\r\n'): string {
  return message.slice(message.indexOf(newline + newline) + 2 * newline.length);
}

/** `openssl s_client`: a scripted session, USER and PASS, a command after each reply. */
export async function readWithOpenssl(task: Task, count: number): Promise<Digests> {
  const client = new RunningProcess('openssl', [
    ...['s_client', '-quiet', '-connect', `localhost:${task.port}`],
    ...['-CAfile', task.ca, '-verify_return_error', '-verify_hostname', 'localhost'],
    ...(task.mode === 'stls' ? ['-starttls', 'pop3'] : []),
  ]);
  let read = 0;
  const next = async (end: string): Promise<string> => {
    const text = await client.stdout.waitFor(end, read);
    read += text.length;
    return text;
  };
  const reply = async (): Promise<void> => {
    const line = await next('\r\n');
    if (!line.startsWith('+OK')) throw new Error(`the server said ${line}`);
  };
  const ask = (command: string): Promise<void> => {
    client.stdin?.write(`${command}\r\n`);
    return reply();
  };
  const digests: string[] = [];
  try {
    // After STLS there is no second greeting (RFC 2595 section 4).
    if (task.mode === 'implicit') await reply();
    await ask(`USER ${task.user}`);
    await ask(`PASS ${PASSWORD}`);
    for (let number = 1; number <= count; number++) {
      await ask(`RETR ${number}`);
      digests.push(sha256(undot(await next('\r\n.\r\n'))));
    }
    await ask('QUIT');
    const code = await client.ended;
    if (code !== 0) throw new Error(`openssl s_client ended with ${code}`);
    return digests;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${client.stderr.tail()}`);
  } finally {
    await client.stop().catch(() => undefined);
  }
}

/** A message as it is, from the lines that follow the status line of a RETR reply. */
export function undot(lines: string): string {
  return lines.slice(0, -'.\r\n'.length).replaceAll(/^\./gm, '');
}
