import { execFile, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { ocspRequest } from '../../../src/net/ocsp-certificate.ts';

const run = promisify(execFile);

/** A certificate with its key, in files that have its name. */
export interface Issued {
  readonly name: string;
  readonly certificate: X509Certificate;
}

export interface Leaf {
  readonly certificate: X509Certificate;
  readonly issuer: X509Certificate;
}

interface IssueOptions {
  /** Hexadecimal, upper case. */
  readonly serial?: string;
  /** Lines of OpenSSL's configuration. */
  readonly extensions?: readonly string[];
  readonly days?: number;
  /** For `openssl genpkey`. */
  readonly key?: readonly string[];
}

const EC_KEY = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'];

/** Serials that every responder here knows, by the state it attests. Others are unknown to it. */
export const SERIAL = { good: '80C0FFEE', revoked: '0BAD', unknown: '7777' } as const;

/** Certificates and OCSP responses, made by OpenSSL in a temporary folder. */
export class OcspLab {
  private readonly ends: (() => Promise<void>)[] = [];
  private count = 0;

  private constructor(private readonly folder: string) {}

  static async open(): Promise<OcspLab> {
    const lab = new OcspLab(await mkdtemp(join(tmpdir(), 'portreeve-ocsp-')));
    const lines = [
      `V\t400101000000Z\t\t${SERIAL.good}\tunknown\t/CN=good`,
      `R\t400101000000Z\t250101000000Z,keyCompromise\t${SERIAL.revoked}\tunknown\t/CN=revoked`,
    ];
    await writeFile(lab.file('index.txt'), `${lines.join('\n')}\n`);
    return lab;
  }

  /** Ends what runs, and removes the folder. */
  async close(): Promise<void> {
    for (const end of this.ends) await end();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** A self-signed authority. */
  async authority(commonName: string, key: readonly string[] = EC_KEY): Promise<Issued> {
    const name = this.newName();
    await this.newKey(name, key);
    const files = ['-key', `${name}.key`, '-out', `${name}.pem`];
    await this.openssl('req', '-x509', ...files, '-subj', `/CN=${commonName}`, '-days', '30');
    return this.issued(name);
  }

  async issue(commonName: string, by: Issued, options: IssueOptions = {}): Promise<Issued> {
    const { serial = '01', extensions = [], days = 20, key = EC_KEY } = options;
    const name = this.newName();
    await this.newKey(name, key);
    const request = ['-key', `${name}.key`, '-subj', `/CN=${commonName}`, '-out', `${name}.csr`];
    await this.openssl('req', '-new', ...request);
    await writeFile(this.file(`${name}.cnf`), `${extensions.join('\n')}\n`);
    const signer = ['-CA', `${by.name}.pem`, '-CAkey', `${by.name}.key`];
    const what = ['-set_serial', `0x${serial}`, '-days', `${days}`, '-extfile', `${name}.cnf`];
    const files = ['-in', `${name}.csr`, '-out', `${name}.pem`];
    await this.openssl('x509', '-req', ...files, ...signer, ...what);
    return this.issued(name);
  }

  /** A server's certificate that names a responder at that port of this machine. */
  async leaf(authority: Issued, port: number, serial: string = SERIAL.good): Promise<Leaf> {
    const extensions = [`authorityInfoAccess = OCSP;URI:http://127.0.0.1:${port}/ocsp`];
    const { certificate } = await this.issue('leaf.test', authority, { serial, extensions });
    return { certificate, issuer: authority.certificate };
  }

  /** The request that OpenSSL makes, without a nonce. */
  async request({ certificate, issuer }: Leaf, hash: string): Promise<Buffer> {
    const name = this.newName();
    await writeFile(this.file(`${name}.leaf`), certificate.toString());
    await writeFile(this.file(`${name}.issuer`), issuer.toString());
    const of = [`-${hash}`, '-issuer', `${name}.issuer`, '-cert', `${name}.leaf`, '-no_nonce'];
    await this.openssl('ocsp', ...of, '-reqout', `${name}.req`);
    return readFile(this.file(`${name}.req`));
  }

  /** What OpenSSL answers to our request, with further options `args` of `openssl ocsp`. */
  respond(
    { certificate, issuer }: Leaf,
    authority: Issued,
    signer: Issued,
    ...args: readonly string[]
  ): Promise<Buffer> {
    return this.respondTo(ocspRequest(certificate, issuer), authority, signer, ...args);
  }

  async respondTo(
    request: Buffer,
    authority: Issued,
    signer: Issued,
    ...args: readonly string[]
  ): Promise<Buffer> {
    const name = this.newName();
    await writeFile(this.file(`${name}.req`), request);
    const files = ['-reqin', `${name}.req`, '-respout', `${name}.resp`];
    await this.openssl('ocsp', ...this.responderArgs(authority, signer), ...files, ...args);
    return readFile(this.file(`${name}.resp`));
  }

  /** Starts `openssl ocsp` as a server. @returns its port */
  async responder(
    authority: Issued,
    signer: Issued,
    ...args: readonly string[]
  ): Promise<{ readonly port: number; readonly stop: () => Promise<void> }> {
    const all = ['ocsp', '-port', '0', ...this.responderArgs(authority, signer), ...args];
    const child = spawn('openssl', all, {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 60_000,
    });
    const ended = once(child, 'close');
    const stop = async () => {
      child.kill('SIGKILL');
      await ended;
    };
    this.ends.push(stop);
    for await (const line of createInterface(child.stdout)) {
      const port = /^ACCEPT .*:(\d+)/.exec(line)?.[1];
      if (port !== undefined) return { port: Number(port), stop };
    }
    throw new Error('openssl ocsp ended before it listened');
  }

  /** An HTTP server of the test's own. @returns its port */
  async httpServer(listener: RequestListener): Promise<{ port: number; server: Server }> {
    const server = createServer(listener).listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.ends.push(async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    });
    return { port: (server.address() as AddressInfo).port, server };
  }

  /** Runs `openssl` in the folder. */
  async openssl(...args: readonly string[]): Promise<string> {
    const { stdout } = await run('openssl', args, { cwd: this.folder, timeout: 30_000 });
    return stdout;
  }

  file(name: string): string {
    return join(this.folder, name);
  }

  private responderArgs(authority: Issued, signer: Issued): readonly string[] {
    const keys = ['-rsigner', `${signer.name}.pem`, '-rkey', `${signer.name}.key`];
    return ['-index', 'index.txt', '-CA', `${authority.name}.pem`, ...keys];
  }

  private newName(): string {
    this.count += 1;
    return `n${this.count}`;
  }

  private async newKey(name: string, key: readonly string[]): Promise<void> {
    await this.openssl('genpkey', ...key, '-out', `${name}.key`);
  }

  private async issued(name: string): Promise<Issued> {
    return { name, certificate: new X509Certificate(await readFile(this.file(`${name}.pem`))) };
  }
}
