import { readFile, writeFile } from 'node:fs/promises';
import { type Issued, OcspLab, SERIAL } from './ocsp-lab.ts';

/** A certificate with its key, PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

const RSA_KEY = ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'];

/** Certificates of every kind, made by OpenSSL. */
export class Pki {
  private constructor(
    readonly lab: OcspLab,
    /** Trusted by the tests, and the one that they do not know. */
    readonly authority: Issued,
    readonly stranger: Issued,
  ) {}

  static async open(): Promise<Pki> {
    const lab = await OcspLab.open();
    return new Pki(lab, await lab.authority('Tests'), await lab.authority('Stranger'));
  }

  close(): Promise<void> {
    return this.lab.close();
  }

  get ca(): string {
    return this.authority.certificate.toString();
  }

  /** A server's certificate for these names, DNS names or IP addresses. */
  async server(
    names: readonly string[],
    options: {
      readonly rsa?: boolean;
      readonly days?: number;
      readonly by?: Issued;
      readonly revoked?: boolean;
    } = {},
  ): Promise<KeyPair> {
    const list = names.map((name) => `${/^[\d.]+$/.test(name) ? 'IP' : 'DNS'}:${name}`);
    const { rsa = false, days = 20, by = this.authority, revoked = false } = options;
    return this.keyPair(
      await this.lab.issue('server', by, {
        days,
        ...(revoked && { serial: SERIAL.revoked }),
        extensions: [`subjectAltName=${list.join()}`, 'extendedKeyUsage=serverAuth'],
        ...(rsa && { key: RSA_KEY }),
      }),
    );
  }

  /** A client's certificate. */
  async client(state: 'good' | 'revoked' = 'good', by = this.authority): Promise<KeyPair> {
    const extensions = ['extendedKeyUsage=clientAuth'];
    return this.keyPair(await this.lab.issue(state, by, { serial: SERIAL[state], extensions }));
  }

  /** What the authority has revoked, PEM. */
  async crl(): Promise<string> {
    const { lab, authority } = this;
    const lines = ['[ca]', 'default_ca=d', '[d]', 'database=index.txt', 'default_md=sha256'];
    await writeFile(lab.file('crl.cnf'), `${lines.join('\n')}\n`);
    const signer = ['-keyfile', `${authority.name}.key`, '-cert', `${authority.name}.pem`];
    const files = ['-config', 'crl.cnf', '-out', 'crl.pem'];
    await lab.openssl('ca', '-gencrl', '-crldays', '7', ...files, ...signer);
    return readFile(lab.file('crl.pem'), 'utf8');
  }

  private async keyPair({ name, certificate }: Issued): Promise<KeyPair> {
    const key = await readFile(this.lab.file(`${name}.key`), 'utf8');
    return { cert: certificate.toString(), key };
  }
}
