import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { formatProblem, type LoadResult, loadConfig } from '../../../src/config/index.ts';

interface CertificateOptions {
  /** In openssl's notation. */
  readonly subject?: string;
  readonly algorithm?: 'EC' | 'RSA' | 'ED25519';
  /** Of an RSA key; 2048 if nothing else is said. */
  readonly bits?: number;
  readonly issuer?: string;
  readonly extensions?: readonly string[];
}

/** A temporary folder with a configuration and what belongs to it. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'portreeve-config-'));

  at(name: string): string {
    return join(this.path, name);
  }

  read(name: string): string {
    return readFileSync(this.at(name), 'utf8');
  }

  write(name: string, content: string | Uint8Array): string {
    const path = this.at(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  }

  openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.path, stdio: 'pipe', timeout: 20_000 });
  }

  /**
   * A key (P-256 if nothing else is said) and a certificate for it, self-signed or by an `issuer`
   * that was made before; `extensions` are openssl's, such as `subjectAltName=DNS:a.test`.
   */
  certificate(name: string, options: CertificateOptions = {}): void {
    const { subject = `/CN=${name}`, algorithm = 'EC', bits = 2048, issuer } = options;
    const kinds = { EC: 'ec_paramgen_curve:P-256', RSA: `rsa_keygen_bits:${bits}`, ED25519: '' };
    const kind = kinds[algorithm] === '' ? [] : ['-pkeyopt', kinds[algorithm]];
    this.openssl('genpkey', '-algorithm', algorithm, ...kind, '-out', `${name}.key`);
    const by = issuer === undefined ? [] : ['-CA', `${issuer}.crt`, '-CAkey', `${issuer}.key`];
    const more = (options.extensions ?? []).flatMap((extension) => ['-addext', extension]);
    const request = ['-key', `${name}.key`, '-subj', subject, '-days', '30', ...by, ...more];
    this.openssl('req', '-x509', ...request, '-out', `${name}.crt`);
  }

  load(config: unknown, env: NodeJS.ProcessEnv = {}): Promise<LoadResult> {
    const text = typeof config === 'string' ? config : JSON.stringify(config, undefined, 2);
    return loadConfig(this.write('portreeve.json', text), env);
  }

  /** The problems of a configuration, formatted, with paths relative to the folder. */
  async problems(config: unknown, env: NodeJS.ProcessEnv = {}): Promise<string[]> {
    const { problems } = await this.load(config, env);
    return problems.map((problem) => formatProblem(problem).replaceAll(`${this.path}/`, ''));
  }

  async warnings(config: unknown): Promise<string[]> {
    const { warnings } = await this.load(config);
    return warnings.map((warning) => formatProblem(warning).replaceAll(`${this.path}/`, ''));
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
