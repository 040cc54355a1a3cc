import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { quote } from '../core/text.ts';
import { certificateNames } from './certificate-names.ts';
import { readNamedFile } from './files.ts';
import { loadOcsp } from './ocsp.ts';
import { readCertificates, readPemFile, warnOfDates } from './pem.ts';
import { type Pkcs12Trouble, readPkcs12 } from './pkcs12.ts';
import type { CertificateDocument } from './schema.ts';
import type { ConfigSource, Path } from './source.ts';
import type { TlsIdentity } from './types.ts';
import { label } from './validate.ts';

export interface LoadedIdentity {
  readonly identity: TlsIdentity;
  /** Where the certificate is in the configuration. */
  readonly path: Path;
  readonly keyType: string | undefined;
}

/** A key with its certificate, and what else was found with them. */
interface Pair {
  readonly key: KeyObject;
  readonly leaf: X509Certificate;
  readonly chain: readonly X509Certificate[];
  readonly path: Path;
}

/** Reads a certificate with its key. Without a result, a problem was reported. */
export async function loadIdentity(
  document: CertificateDocument,
  owner: Path,
  source: ConfigSource,
): Promise<LoadedIdentity | undefined> {
  if (!isComplete(document, owner, source)) return undefined;
  const { cert, key, pkcs12 } = document;
  const pair =
    cert !== undefined && key !== undefined
      ? await readPair({ ...document, cert, key }, owner, source)
      : await readPkcs12Pair(pkcs12 ?? '', document.passphrase, owner, source);
  if (pair === undefined) return undefined;
  const { leaf, chain } = pair;
  const issuer = chain.find((certificate) => leaf.checkIssued(certificate));
  const stapled = await loadOcsp(document.ocsp, { leaf, issuer }, [...owner, 'ocsp'], source);
  if (stapled === undefined) return undefined;
  const identity = {
    names: certificateNames(leaf),
    material: {
      cert: [leaf, ...chain].map(String).join(''),
      key: String(pair.key.export({ type: 'pkcs8', format: 'pem' })),
    },
    leaf: String(leaf),
    ...(issuer === undefined ? {} : { issuer: String(issuer) }),
    ...stapled,
  };
  return { identity, path: pair.path, keyType: pair.key.asymmetricKeyType };
}

function isComplete(document: CertificateDocument, owner: Path, source: ConfigSource): boolean {
  const { cert, key, pkcs12 } = document;
  if (pkcs12 !== undefined) {
    const extra = (['cert', 'key', 'chain'] as const).filter((k) => document[k] !== undefined);
    for (const name of extra) {
      const message = `${label([...owner, name])} does not go with 'pkcs12'`;
      source.problemAtKey([...owner, name], message, 'leave one of them away');
    }
    return extra.length === 0;
  }
  if (cert !== undefined && key !== undefined) return true;
  let missing = "neither 'cert' and 'key' nor 'pkcs12'";
  if (key !== undefined) missing = "no 'cert'";
  if (cert !== undefined) missing = "no 'key'";
  source.problemAtKey(owner, `${label(owner)} has ${missing}`);
  return false;
}

type PemDocument = CertificateDocument & { readonly cert: string; readonly key: string };

async function readPair(
  document: PemDocument,
  owner: Path,
  source: ConfigSource,
): Promise<Pair | undefined> {
  const path = [...owner, 'cert'];
  const chainPath = [...owner, 'chain'];
  const certificates = await readCertificates(document.cert, path, source);
  const chain =
    document.chain === undefined ? [] : await readCertificates(document.chain, chainPath, source);
  const key = await readKey(document, owner, source);
  if (certificates === undefined || chain === undefined || key === undefined) return undefined;
  const match = certificates.findIndex((certificate) => certificate.checkPrivateKey(key));
  const [leaf, ...others] = certificates;
  if (match !== 0 || leaf === undefined) {
    const hint = `it belongs to certificate ${match + 1} of the file: put that first`;
    const message = 'the key does not belong to the certificate';
    source.problem([...owner, 'key'], message, match > 0 ? hint : undefined);
    return undefined;
  }
  for (const certificate of certificates) warnOfDates(certificate, path, source);
  for (const certificate of chain) warnOfDates(certificate, chainPath, source);
  return { key, leaf, chain: [...others, ...chain], path };
}

async function readKey(
  { key, passphrase }: PemDocument,
  owner: Path,
  source: ConfigSource,
): Promise<KeyObject | undefined> {
  const path = [...owner, 'key'];
  const found = await readPemFile('private key', key, path, source);
  if (found === undefined) return undefined;
  const [pem] = found.blocks;
  try {
    return createPrivateKey({ key: pem, passphrase });
  } catch (error) {
    const file = quote(found.file);
    if (!/BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(pem)) {
      source.problem(path, `${file} has a damaged private key in it`);
    } else if (passphrase === undefined) {
      source.problem(path, `the key ${file} is encrypted`, PASSPHRASE_HINT);
    } else if (error instanceof Error && 'code' in error && error.code === UNSUPPORTED) {
      const hint = 'openssl pkcs8 -topk8 -provider legacy -provider default encrypts it anew';
      source.problem(path, `the key ${file} is encrypted in a way no longer supported`, hint);
    } else {
      source.problem([...owner, 'passphrase'], `the passphrase does not open the key ${file}`);
    }
    return undefined;
  }
}

const PASSPHRASE_HINT = 'set "passphrase", best from an environment variable';

/** Node's name for an algorithm that only OpenSSL's legacy provider has. */
const UNSUPPORTED = 'ERR_OSSL_EVP_UNSUPPORTED';

async function readPkcs12Pair(
  written: string,
  passphrase: string | undefined,
  owner: Path,
  source: ConfigSource,
): Promise<Pair | undefined> {
  const path = [...owner, 'pkcs12'];
  const named = await readNamedFile('PKCS#12 file', written, path, source);
  if (named === undefined) return undefined;
  const { file, bytes } = named;
  const content = readPkcs12(bytes, passphrase ?? '');
  if (content === 'passphrase' && passphrase !== undefined) {
    const message = `the passphrase does not open ${quote(file)}`;
    source.problem([...owner, 'passphrase'], message);
    return undefined;
  }
  if (typeof content === 'string') {
    const { is, hint } = pkcs12Troubles[content];
    source.problem(path, `${quote(file)} ${is}`, hint);
    return undefined;
  }
  const { key, certificates } = content;
  const leaf = certificates.find((certificate) => certificate.checkPrivateKey(key));
  if (leaf === undefined) {
    source.problem(path, `no certificate in ${quote(file)} belongs to the key`);
    return undefined;
  }
  const chain = inOrder(leaf, certificates);
  for (const certificate of [leaf, ...chain]) warnOfDates(certificate, path, source);
  return { key, leaf, chain, path };
}

const pkcs12Troubles: Readonly<
  Record<Pkcs12Trouble, { readonly is: string; readonly hint?: string }>
> = {
  malformed: { is: 'is not PKCS#12', hint: 'PEM goes into "cert" and "key"' },
  unsupported: {
    is: 'is encrypted in a way no longer supported',
    hint: 'openssl pkcs12 -legacy -nodes -in OLD -out NEW.pem makes PEM of it, for "cert" and "key"',
  },
  passphrase: { is: 'is encrypted', hint: PASSPHRASE_HINT },
  keyless: { is: 'has no private key in it' },
};

/** From the one that issued the leaf on; PKCS#12 has no order. What does not belong is left out. */
function inOrder(
  leaf: X509Certificate,
  certificates: readonly X509Certificate[],
): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const left = new Set(certificates);
  left.delete(leaf);
  for (let last = leaf; ; ) {
    const next = [...left].find((certificate) => last.checkIssued(certificate));
    if (next === undefined) return chain;
    left.delete(next);
    chain.push(next);
    last = next;
  }
}
