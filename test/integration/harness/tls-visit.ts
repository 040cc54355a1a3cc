import { join } from 'node:path';
import { RunningProcess, temporaryFolder } from './process.ts';
import type { Issued } from './tls-authority.ts';

/** What `openssl s_client` is to do. It connects to 127.0.0.1 and verifies nothing. */
export interface VisitTask {
  readonly port: number;
  /** The name it asks for (SNI). */
  readonly name: string;
  readonly version: 'TLSv1.2' | 'TLSv1.3';
  /** What the server behind says first. */
  readonly greeting: string;
  /** A session to resume: the file of an earlier visit. */
  readonly session?: string;
  /** Shown when the server asks for a certificate. */
  readonly certificate?: Issued;
  /** Further arguments. */
  readonly more?: readonly string[];
}

export interface Visit {
  readonly resumed: boolean;
  /** The file with the session, for a later visit. */
  readonly session: string;
  /** All that s_client says. */
  readonly text: string;
}

/**
 * Connects with `openssl s_client`, waits for the greeting, and leaves.
 * @throws Error when the connection ends before
 */
export async function visit(task: VisitTask): Promise<Visit> {
  const { port, name, version, greeting, session, certificate, more = [] } = task;
  const kept = join(temporaryFolder(), 'session.pem');
  const client = new RunningProcess('openssl', [
    ...['s_client', '-connect', `127.0.0.1:${port}`, '-servername', name, '-sess_out', kept],
    version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3',
    ...(session === undefined ? [] : ['-sess_in', session]),
    ...(certificate ? ['-cert', certificate.certFile, '-key', certificate.keyFile] : []),
    ...more,
  ]);
  try {
    // Tickets come before it.
    await client.stdout.waitFor(greeting);
    client.stdin?.write('Q\n');
    await client.ended;
    const { text } = client.stdout;
    const [, how] = /^(New|Reused), TLSv1/m.exec(text) ?? [];
    if (how === undefined) throw new Error(`no word about the session\n${client.transcript()}`);
    return { resumed: how === 'Reused', session: kept, text };
  } finally {
    await client.stop();
  }
}
