import {
  createDecipheriv,
  createHash,
  createPrivateKey,
  type KeyObject,
  pbkdf2Sync,
  X509Certificate,
} from 'node:crypto';
import { contextTag, DerReader, onlyElement, TAG } from '../core/der.ts';
import { toPem } from '../core/pem.ts';

// PKCS#12 (RFC 7292) is taken apart here, not by `tls.createSecureContext({ pfx })`: that trusts the
// authorities in the file for the certificates of peers, too, whatever `ca` says.

/** Object identifiers. */
const ids = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  keyBag: '1.2.840.113549.1.12.10.1.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  sha1TripleDes: '1.2.840.113549.1.12.1.3',
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
} as const;

/** Of PBKDF2 (RFC 8018 appendix B.1.2). */
const hashes: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.7': 'sha1',
  '1.2.840.113549.2.9': 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
};

const ciphers: Readonly<Record<string, { readonly name: string; readonly keyBytes: number }>> = {
  '1.2.840.113549.3.7': { name: 'des-ede3-cbc', keyBytes: 24 },
  '2.16.840.1.101.3.4.1.2': { name: 'aes-128-cbc', keyBytes: 16 },
  '2.16.840.1.101.3.4.1.22': { name: 'aes-192-cbc', keyBytes: 24 },
  '2.16.840.1.101.3.4.1.42': { name: 'aes-256-cbc', keyBytes: 32 },
};

/** Some seconds of work. Files are made with thousands. */
const MAX_ITERATIONS = 5_000_000;

/**
 * Why there is no key: `malformed`: it is no PKCS#12, or not in DER; `unsupported`: it is encrypted
 * in another way than AES or 3DES; `passphrase`: that does not open it; `keyless`: it has no key.
 */
export type Pkcs12Trouble = 'malformed' | 'unsupported' | 'passphrase' | 'keyless';

export interface Pkcs12 {
  readonly key: KeyObject;
  /** In the order of the file. */
  readonly certificates: readonly X509Certificate[];
}

class Pkcs12Error extends Error {
  constructor(readonly trouble: Pkcs12Trouble) {
    super(trouble);
  }
}

/**
 * The first private key and all certificates. The checksum over the file is not looked at: whether
 * the passphrase is right shows where it decrypts, and whether key and certificate are a pair is
 * for the caller to prove.
 */
export function readPkcs12(bytes: Buffer, passphrase: string): Pkcs12 | Pkcs12Trouble {
  try {
    const bags = safeContents(bytes, passphrase).flatMap(bagsIn);
    const keys = bags.filter(({ id }) => id === ids.keyBag || id === ids.shroudedKeyBag);
    const certificates = bags.filter(({ id }) => id === ids.certificateBag).flatMap(certificateOf);
    const [key] = keys;
    return key === undefined ? 'keyless' : { key: keyOf(key, passphrase), certificates };
  } catch (error) {
    if (error instanceof Pkcs12Error) return error.trouble;
    if (error instanceof RangeError) return 'malformed';
    throw error;
  }
}

/** The parts of the authenticated safe, decrypted. */
function safeContents(bytes: Buffer, passphrase: string): Uint8Array[] {
  const pfx = new DerReader(bytes).inside(TAG.sequence);
  if (pfx.takeNumber() !== 3) throw new RangeError('not version 3');
  const safe = pfx.inside(TAG.sequence);
  if (safe.takeObjectIdentifier() !== ids.data) throw new RangeError('not under a passphrase');
  const wrapped = safe.inside(contextTag(0)).take(TAG.octetString);
  const parts = new DerReader(wrapped.content).inside(TAG.sequence).takeAll(TAG.sequence);
  return parts.map((part) => {
    const reader = new DerReader(part.content);
    const id = reader.takeObjectIdentifier();
    const content = reader.inside(contextTag(0));
    if (id === ids.data) return content.take(TAG.octetString).content;
    if (id === ids.encryptedData) return decrypted(content, passphrase);
    throw new Pkcs12Error('unsupported');
  });
}

interface Bag {
  readonly id: string;
  readonly content: Uint8Array;
}

function bagsIn(contents: Uint8Array): Bag[] {
  const bags = new DerReader(contents).inside(TAG.sequence).takeAll(TAG.sequence);
  return bags.map((bag) => {
    const reader = new DerReader(bag.content);
    return { id: reader.takeObjectIdentifier(), content: reader.take(contextTag(0)).content };
  });
}

function certificateOf({ content }: Bag): X509Certificate[] {
  const bag = new DerReader(content).inside(TAG.sequence);
  if (bag.takeObjectIdentifier() !== ids.x509Certificate) return [];
  const der = bag.inside(contextTag(0)).take(TAG.octetString).content;
  try {
    return [new X509Certificate(toPem(der))];
  } catch {
    throw new RangeError('not a certificate');
  }
}

function keyOf({ id, content }: Bag, passphrase: string): KeyObject {
  const secret = id === ids.shroudedKeyBag ? { passphrase } : {};
  try {
    return createPrivateKey({ key: Buffer.from(content), format: 'der', type: 'pkcs8', ...secret });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const unsupported = code === 'ERR_OSSL_EVP_UNSUPPORTED' || id === ids.keyBag;
    throw new Pkcs12Error(unsupported ? 'unsupported' : 'passphrase');
  }
}

/** Identifier octet. */
const ENCRYPTED_CONTENT = 0x80;

/** EncryptedData of RFC 5652 section 8. */
function decrypted(content: DerReader, passphrase: string): Buffer {
  const data = content.inside(TAG.sequence);
  data.takeNumber();
  const info = data.inside(TAG.sequence);
  info.takeObjectIdentifier();
  const { cipher, key, iv } = keyMaterial(info.inside(TAG.sequence), passphrase);
  const encrypted = info.take(ENCRYPTED_CONTENT).content;
  try {
    const decipher = createDecipheriv(cipher, key, iv);
    const plain = Buffer.concat([decipher.update(encrypted), decipher.final()]);
    // One of 256 wrong keys leaves good padding, but not a sequence of this length.
    onlyElement(plain, TAG.sequence);
    return plain;
  } catch {
    throw new Pkcs12Error('passphrase');
  }
}

interface KeyMaterial {
  readonly cipher: string;
  readonly key: Buffer;
  readonly iv: Uint8Array;
}

function keyMaterial(algorithm: DerReader, passphrase: string): KeyMaterial {
  const id = algorithm.takeObjectIdentifier();
  const parameters = algorithm.inside(TAG.sequence);
  if (id === ids.pbes2) return pbes2(parameters, passphrase);
  if (id !== ids.sha1TripleDes) throw new Pkcs12Error('unsupported');
  const salt = readSalt(parameters);
  const rounds = iterations(parameters);
  return {
    cipher: 'des-ede3-cbc',
    key: derived({ use: 1, passphrase, salt, rounds, length: 24 }),
    iv: derived({ use: 2, passphrase, salt, rounds, length: 8 }),
  };
}

/** RFC 8018 section 6.2, with PBKDF2. */
function pbes2(parameters: DerReader, passphrase: string): KeyMaterial {
  const derivation = parameters.inside(TAG.sequence);
  if (derivation.takeObjectIdentifier() !== ids.pbkdf2) throw new Pkcs12Error('unsupported');
  const pbkdf2 = derivation.inside(TAG.sequence);
  const salt = readSalt(pbkdf2);
  const rounds = iterations(pbkdf2);
  pbkdf2.takeIf(TAG.integer); // length of the key
  const hash = pbkdf2.isAtEnd ? 'sha1' : hashes[pbkdf2.inside(TAG.sequence).takeObjectIdentifier()];
  const encryption = parameters.inside(TAG.sequence);
  const cipher = ciphers[encryption.takeObjectIdentifier()];
  if (hash === undefined || cipher === undefined) throw new Pkcs12Error('unsupported');
  const key = pbkdf2Sync(passphrase, salt, rounds, cipher.keyBytes, hash);
  return { cipher: cipher.name, key, iv: encryption.take(TAG.octetString).content };
}

function iterations(parameters: DerReader): number {
  const count = parameters.takeNumber();
  if (count < 1 || count > MAX_ITERATIONS) throw new Pkcs12Error('unsupported');
  return count;
}

interface Derivation {
  /** 1: a key, 2: an initialization vector. */
  readonly use: 1 | 2;
  readonly passphrase: string;
  readonly salt: Uint8Array;
  readonly rounds: number;
  readonly length: number;
}

/** Each round goes over all of it. */
const LONGEST_SALT = 1024;
/** Of SHA-1. */
const BLOCK_BYTES = 64;
const DIGEST_BYTES = 20;

/** RFC 7292 appendix B.2, with SHA-1. */
function derived({ use, passphrase, salt, rounds, length }: Derivation): Buffer {
  const password = Buffer.from(`${passphrase}\0`, 'utf16le').swap16();
  const blocks = [...blocksOf(salt), ...blocksOf(password)];
  const result: Buffer[] = [];
  for (let have = 0; have < length; have += DIGEST_BYTES) {
    let digest = Buffer.concat([Buffer.alloc(BLOCK_BYTES, use), ...blocks]);
    for (let round = 0; round < rounds; round++) {
      digest = createHash('sha1').update(digest).digest();
    }
    result.push(digest);
    const addend = toNumber(Buffer.alloc(BLOCK_BYTES, digest)) + 1n;
    for (const block of blocks) {
      const sum = BigInt.asUintN(8 * BLOCK_BYTES, toNumber(block) + addend);
      block.write(sum.toString(16).padStart(2 * BLOCK_BYTES, '0'), 'hex');
    }
  }
  return Buffer.concat(result).subarray(0, length);
}

/** @throws RangeError when it is so long that only hostile files have it */
function readSalt(parameters: DerReader): Uint8Array {
  const { content } = parameters.take(TAG.octetString);
  if (content.length > LONGEST_SALT) throw new RangeError('the salt is too long');
  return content;
}

/** The bytes repeated until they fill blocks; none stay none. */
function blocksOf(bytes: Uint8Array): Buffer[] {
  const count = Math.ceil(bytes.length / BLOCK_BYTES);
  const filled = Buffer.alloc(count * BLOCK_BYTES, bytes);
  return Array.from({ length: count }, (_, i) =>
    filled.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES),
  );
}

function toNumber(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString('hex')}`);
}
