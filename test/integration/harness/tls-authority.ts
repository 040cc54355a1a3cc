import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunningProcess, run, temporaryFolder } from './process.ts';

/** What a certificate is for. */
export interface CertificateRequest {
  /** DNS names; the first one is the common name as well. */
  readonly names: readonly [string, ...string[]];
  /** Of its responder. */
  readonly ocspUrl?: string;
  /** It was good until long ago. */
  readonly expired?: boolean;
  /** Its key is RSA of 2048 bits, not EC. */
  readonly rsa?: boolean;
}

/** A certificate with its key: in PEM, and the files that hold them. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

const CONFIG = `
[ca]
default_ca = test
[test]
database = index.txt
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
rand_serial = yes
default_md = sha256
default_days = 2
default_crl_days = 2
unique_subject = no
copy_extensions = copy
policy = any
[any]
commonName = supplied
`;

const RSA_KEY = ['-newkey', 'rsa:2048', '-nodes'];
const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
/** A date long ago, as `openssl ca` wants it. */
const LONG_AGO = ['-startdate', '20200101000000Z', '-enddate', '20210101000000Z'];

/** A certificate authority with all that it has to do: issue, revoke, and answer for it. */
export class Authority {
  private count = 0;

  private constructor(
    private readonly folder: string,
    /** Its certificate, in PEM. */
    readonly cert: string,
  ) {}

  /** @param name - the common name of the root */
  static async make(name: string): Promise<Authority> {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'ca.conf'), CONFIG);
    writeFileSync(join(folder, 'index.txt'), '');
    const files = ['-keyout', 'ca.key', '-out', 'ca.pem'];
    await openssl(folder, [
      'req',
      '-x509',
      ...EC_KEY,
      '-subj',
      `/CN=${name}`,
      '-days',
      '2',
      ...files,
    ]);
    return new Authority(folder, readFileSync(join(folder, 'ca.pem'), 'utf8'));
  }

  /** The file of its certificate. */
  get certFile(): string {
    return join(this.folder, 'ca.pem');
  }

  async issue(request: CertificateRequest): Promise<Issued> {
    const { names, ocspUrl, expired = false, rsa = false } = request;
    this.count += 1;
    const file = (kind: string): string => `${this.count}.${kind}`;
    const alternatives = names.map((name) => `DNS:${name}`).join(',');
    const responder = `authorityInfoAccess=OCSP;URI:${ocspUrl}`;
    await openssl(this.folder, [
      ...['req', '-new', ...(rsa ? RSA_KEY : EC_KEY), '-subj', `/CN=${names[0]}`],
      ...['-addext', `subjectAltName=${alternatives}`],
      ...(ocspUrl === undefined ? [] : ['-addext', responder]),
      ...['-keyout', file('key'), '-out', file('csr')],
    ]);
    const dates = expired ? LONG_AGO : [];
    await this.ca(['-notext', '-in', file('csr'), '-out', file('pem'), ...dates]);
    const [certFile, keyFile] = [file('pem'), file('key')].map((name) => join(this.folder, name));
    if (certFile === undefined || keyFile === undefined) throw new Error('no files');
    return {
      cert: readFileSync(certFile, 'utf8'),
      key: readFileSync(keyFile, 'utf8'),
      certFile,
      keyFile,
    };
  }

  /** Revokes a certificate and answers the new revocation list, in PEM. */
  async revoke({ certFile }: Issued): Promise<string> {
    await this.ca(['-revoke', certFile]);
    await this.ca(['-gencrl', '-out', 'crl.pem']);
    return readFileSync(join(this.folder, 'crl.pem'), 'utf8');
  }

  /** An OCSP response about a certificate, in DER. */
  async ocspResponse({ certFile }: Issued): Promise<Buffer> {
    const question = [
      '-issuer',
      'ca.pem',
      '-cert',
      certFile,
      '-no_nonce',
      '-reqout',
      'question.der',
    ];
    await openssl(this.folder, ['ocsp', ...question]);
    const files = ['-reqin', 'question.der', '-respout', 'answer.der'];
    await openssl(this.folder, ['ocsp', ...RESPONDER, ...files]);
    return readFileSync(join(this.folder, 'answer.der'));
  }

  /** Runs an OCSP responder over HTTP. A connection that asks nothing would be its end. */
  async startResponder(port: number): Promise<RunningProcess> {
    const args = ['ocsp', ...RESPONDER, '-port', String(port)];
    const responder = new RunningProcess('openssl', args, { folder: this.folder });
    await responder.stdout.waitFor('ACCEPT');
    return responder;
  }

  private async ca(args: readonly string[]): Promise<void> {
    await openssl(this.folder, ['ca', '-config', 'ca.conf', '-batch', ...args]);
  }
}

const RESPONDER = [
  ...['-index', 'index.txt', '-CA', 'ca.pem', '-rsigner', 'ca.pem', '-rkey', 'ca.key'],
  ...['-ndays', '1'],
];

async function openssl(folder: string, args: readonly string[]): Promise<void> {
  const result = await run('openssl', args, { folder });
  if (result.code !== 0) throw new Error(`openssl ${args[0]}: ${result.stderr}`);
}
