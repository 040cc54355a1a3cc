import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { formatProblem, type LoadResult, loadConfig } from '../../../src/config/index.ts';

/** A temporary folder with a configuration and what belongs to it. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'portreeve-config-'));

  at(name: string): string {
    return join(this.path, name);
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

  /** A P-256 key and a self-signed certificate for it. */
  certificate(name: string): void {
    this.openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
    const subject = ['-subj', `/CN=${name}`, '-days', '30'];
    this.openssl('req', '-x509', '-key', `${name}.key`, ...subject, '-out', `${name}.crt`);
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
