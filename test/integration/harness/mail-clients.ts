import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Digests, readWithCurl, readWithPoplib, type Task } from './clients.ts';
import { mailbox, PASSWORD } from './dovecot.ts';
import type { Security } from './mail-grid.ts';
import { sha256 } from './messages.ts';
import { type RunResult, run, temporaryFolder } from './process.ts';

/** What a client is to do. All connect to this machine and verify the certificate. */
export interface MailTask {
  readonly security: Security;
  readonly port: number;
  /** The file of the certificate to trust. */
  readonly ca: string;
  readonly user: string;
}

/** Sender and recipient of what is sent. */
const SENDER = 'porter@example.com';
const RECIPIENT = 'alice@example.com';

/** Read all messages over POP3, in order. */
export const pop3Readers = { poplib: readPop3WithPoplib, curl: readPop3WithCurl };

/** Read all messages of INBOX over IMAP, in order. */
export const imapReaders = { curl: readImapWithCurl, mbsync: readImapWithMbsync };

/** Send a message, which must end with a line end. */
export const smtpSenders = {
  smtplib: sendWithSmtplib,
  curl: sendWithCurl,
  swaks: sendWithSwaks,
};

async function readPop3WithPoplib(task: MailTask): Promise<Digests> {
  const [session] = await readWithPoplib(pop3Task(task));
  return session?.messages ?? [];
}

async function readPop3WithCurl(task: MailTask): Promise<Digests> {
  const { digests } = await readWithCurl(pop3Task(task), mailbox.length);
  return digests;
}

function pop3Task({ security, ...rest }: MailTask): Task {
  return { ...rest, mode: security === 'starttls' ? 'stls' : security };
}

interface ImaplibSession {
  readonly inbox: Digests;
  /** What is in the new mailbox. */
  readonly appended: Digests;
}

/**
 * Python's imaplib: reads INBOX, adds the message to a new mailbox, and reads that.
 * @param name - of the new mailbox
 */
export async function useImaplib(
  task: MailTask,
  name: string,
  message: string,
): Promise<ImaplibSession> {
  const stdout = await python('imaplib-session.py', { ...task, mailbox: name }, message);
  return JSON.parse(stdout) as ImaplibSession;
}

async function readImapWithCurl(task: MailTask): Promise<Digests> {
  const digests: string[] = [];
  for (let number = 1; number <= mailbox.length; number++) {
    digests.push(sha256(await curl(task, 'imap', `INBOX;MAILINDEX=${number}`)));
  }
  return digests;
}

/** mbsync makes a maildir of the mailbox, and puts a header field of its own in. */
async function readImapWithMbsync(task: MailTask): Promise<Digests> {
  const folder = temporaryFolder();
  const types = { plain: 'None', starttls: 'STARTTLS', implicit: 'IMAPS' };
  const config = join(folder, 'mbsyncrc');
  writeFileSync(
    config,
    `IMAPStore server
Host localhost
Port ${task.port}
Timeout 20
User ${task.user}
Pass "${PASSWORD}"
AuthMechs LOGIN
SSLType ${types[task.security]}
SystemCertificates no
CertificateFile ${task.ca}

MaildirStore here
Inbox ${folder}/inbox

Channel mail
Far :server:INBOX
Near :here:INBOX
Create Near
Sync Pull
SyncState *
`,
  );
  const result = await run('mbsync', ['--config', config, '--verbose', 'mail'], {
    folder,
    env: { HOME: folder },
  });
  expectSuccess('mbsync', result);
  return maildir(join(folder, 'inbox')).map((message) => {
    return sha256(message.replace(/^X-TUID: .*\n/m, '').replaceAll('\n', '\r\n'));
  });
}

/** The messages of a maildir that mbsync has made, in the order of their numbers on the server. */
function maildir(path: string): string[] {
  const uid = (name: string): number => Number(/,U=(\d+)/.exec(name)?.[1]);
  return ['new', 'cur']
    .flatMap((part) => readdirSync(join(path, part)).map((name) => join(path, part, name)))
    .sort((one, other) => uid(one) - uid(other))
    .map((file) => readFileSync(file, 'latin1'));
}

async function sendWithSmtplib(task: MailTask, message: string): Promise<void> {
  await python('smtplib-session.py', { ...task, sender: SENDER, recipient: RECIPIENT }, message);
}

async function sendWithCurl(task: MailTask, message: string): Promise<void> {
  const options = ['--upload-file', '-', '--mail-from', SENDER, '--mail-rcpt', RECIPIENT];
  await curl(task, 'smtp', 'client.example', options, message);
}

async function sendWithSwaks(task: MailTask, message: string): Promise<void> {
  const tls = { plain: [], starttls: ['--tls'], implicit: ['--tls-on-connect'] }[task.security];
  const verify = ['--tls-verify', '--tls-ca-path', task.ca];
  const result = await run(
    'swaks',
    [
      ...['--server', '127.0.0.1', '--port', String(task.port), '--timeout', '20'],
      ...(tls.length === 0 ? [] : [...tls, ...verify]),
      ...['--auth', 'PLAIN,LOGIN', '--auth-user', task.user, '--auth-password', PASSWORD],
      ...['--helo', 'client.example', '--from', SENDER, '--to', RECIPIENT],
      ...['--data', '-', '--suppress-data'],
    ],
    { input: message.slice(0, -'\r\n'.length) }, // It adds a line end in any case.
  );
  expectSuccess('swaks', result);
}

/** Runs one of the Python scripts; answers what it prints. */
async function python(script: string, task: object, input: string): Promise<string> {
  const path = resolve('test/integration/clients', script);
  const argument = JSON.stringify({ ...task, host: 'localhost', password: PASSWORD });
  const result = await run('python3', [path, argument], { input });
  expectSuccess(script, result);
  return result.stdout;
}

/** Runs curl; answers what it has read. */
async function curl(
  task: MailTask,
  protocol: 'imap' | 'smtp',
  path: string,
  options: readonly string[] = [],
  input = '',
): Promise<string> {
  const scheme = task.security === 'implicit' ? `${protocol}s` : protocol;
  const result = await run(
    'curl',
    [
      ...['-q', '--silent', '--show-error', '--noproxy', '*', '--max-time', '20'],
      ...(task.security === 'starttls' ? ['--ssl-reqd'] : []),
      ...['--cacert', task.ca, '--user', `${task.user}:${PASSWORD}`, ...options],
      `${scheme}://localhost:${task.port}/${path}`,
    ],
    { input },
  );
  expectSuccess('curl', result);
  return result.stdout;
}

function expectSuccess(program: string, { code, stdout, stderr }: RunResult): void {
  if (code === 0) return;
  throw new Error(`${program} ended with ${code}\n${stdout.slice(-2_000)}${stderr.slice(-2_000)}`);
}
