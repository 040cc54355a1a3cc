import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority, issueCertificate } from '../net/certificate.ts';
import { startMailbox } from './demo/mailbox.ts';
import { exitCodes } from './exit-codes.ts';
import { createLogger } from './logger.ts';
import {
  describeListeners,
  exitOnUnexpectedError,
  firstOf,
  serveUntil,
  startEngine,
} from './service.ts';

/** The options of `portreeve demo`. Without a port the usual one is taken, or else a free one. */
export interface DemoOptions {
  readonly port?: number;
  readonly tlsPort?: number;
}

const USUAL_PORT = 1110;
const USUAL_TLS_PORT = 1995;
const HOST = '127.0.0.1';
/** SIGHUP too: the demo ends with its terminal. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** `portreeve demo`: TLS before a mailbox that has none, until a signal. Returns the exit code. */
export async function demo(options: DemoOptions): Promise<number> {
  const stop = firstOf(STOP_SIGNALS);
  const logger = createLogger({ level: 'debug', format: 'text', stream: process.stdout });
  exitOnUnexpectedError(logger);
  const folder = await mkdtemp(join(tmpdir(), 'portreeve-demo-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const port = options.port ?? (await freePort(USUAL_PORT));
  const tlsPort = options.tlsPort ?? (await freePort(USUAL_TLS_PORT));
  const mailbox = await startMailbox({
    onCommand: (line) => logger.info(`the mailbox saw: ${line}`),
  });
  try {
    const config = demoConfig({ port, tlsPort, mailboxPort: mailbox.port });
    const { file, authorityFile } = await writeFiles(folder, config);
    process.stdout.write(introduction(file, config, mailbox.port));
    const engine = await startEngine(file, { logger, watch: true });
    if (typeof engine === 'number') return exitCodes.failed;
    process.stdout.write(describeListeners(engine));
    process.stdout.write(suggestions(demoCommands({ port, tlsPort, authorityFile })));
    await serveUntil(stop, STOP_SIGNALS, engine, logger);
    return exitCodes.fine;
  } finally {
    await mailbox.close();
  }
}

/** The port, if nobody has it, else a free one. */
async function freePort(wanted: number): Promise<number> {
  const server = createServer().listen(wanted, HOST);
  await once(server, 'listening').catch(async () => {
    server.listen(0, HOST);
    await once(server, 'listening');
  });
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The text of portreeve.json. */
function demoConfig(ports: {
  readonly port: number;
  readonly tlsPort: number;
  readonly mailboxPort: number;
}): string {
  return `{
  "virtualServers": {
    "pop3": {
      "listen": "${HOST}:${ports.port}",
      "clientSsl": "demo",
      "pool": "mailbox",
      "rules": [{ "rule": "pop3-starttls", "options": { "realm": "example.com" } }]
    },
    "pop3s": { "listen": "${HOST}:${ports.tlsPort}", "clientSsl": "demo", "pool": "mailbox" }
  },
  "pools": { "mailbox": { "members": ["${HOST}:${ports.mailboxPort}"] } },
  "profiles": { "clientSsl": { "demo": { "cert": "cert.pem", "key": "key.pem" } } }
}
`;
}

async function writeFiles(
  folder: string,
  config: string,
): Promise<{ file: string; authorityFile: string }> {
  const authority = createAuthority('Portreeve demo');
  const { certPem, keyPem } = issueCertificate({ authority, names: ['localhost', HOST] });
  const file = join(folder, 'portreeve.json');
  const authorityFile = join(folder, 'ca.pem');
  await Promise.all([
    writeFile(file, config),
    writeFile(authorityFile, authority.certPem),
    writeFile(join(folder, 'cert.pem'), certPem),
    writeFile(join(folder, 'key.pem'), keyPem, { mode: 0o600 }),
  ]);
  return { file, authorityFile };
}

/** Three shell commands, each of which fetches a mail over TLS, with what it shows. */
function demoCommands(where: {
  readonly port: number;
  readonly tlsPort: number;
  readonly authorityFile: string;
}): readonly { readonly shows: string; readonly command: string }[] {
  const { port, tlsPort } = where;
  const ca = shellQuote(where.authorityFile);
  const session = 'USER bob\\r\\nPASS demo\\r\\nRETR 3\\r\\nQUIT\\r\\n';
  const client = `openssl s_client -quiet -starttls pop3 -connect ${HOST}:${port} -CAfile ${ca}`;
  return [
    {
      shows: 'TLS begins with STLS, and the mailbox sees alice@example.com: the rule at work',
      command: `curl --ssl-reqd --cacert ${ca} -u alice:demo pop3://${HOST}:${port}/1`,
    },
    {
      shows: 'TLS from the first byte, no rule',
      command: `curl --cacert ${ca} -u alice:demo pop3s://${HOST}:${tlsPort}/2`,
    },
    {
      shows: 'the conversation itself',
      command: `printf '${session}' | ${client} -verify_return_error`,
    },
  ];
}

function shellQuote(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function introduction(file: string, config: string, mailboxPort: number): string {
  return `A mailbox that knows no TLS listens on ${HOST}:${mailboxPort}. Portreeve gives it TLS, with this
configuration (${file}; edit it and save, and it is reloaded):

${config}
`;
}

function suggestions(commands: ReturnType<typeof demoCommands>): string {
  const list = commands.map(({ shows, command }) => `  # ${shows}\n  ${command}\n\n`).join('');
  return `\nTry in another terminal:\n\n${list}Ctrl+C ends the demo. What happens:\n\n`;
}
