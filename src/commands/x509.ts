import { createHash, X509Certificate } from 'node:crypto';
import { certificateFields } from '../core/certificate-fields.ts';
import { TAG } from '../core/der.ts';
import { toPem } from '../core/pem.ts';
import { type CommandSpec, command } from './spec.ts';
import { verifyText } from './verify-result.ts';
import { extensionsText, hexPairs, signatureName } from './x509-text.ts';

const certificateParam = { name: 'certificate', type: 'binary' } as const;

/** More than this is not parsed. Certificates have one or two KiB. */
const MOST_BYTES = 64 * 1024;

/** Parsing takes some 100 µs, and rules ask several things of one certificate in a row. */
let last: { readonly bytes: Uint8Array; readonly certificate: X509Certificate } | undefined;

function parse(bytes: Uint8Array): X509Certificate {
  if (bytes.length > MOST_BYTES) throw new RangeError('there are too many bytes');
  if (last !== undefined && Buffer.compare(last.bytes, bytes) === 0) return last.certificate;
  // DER begins with this octet; with any other one Node.js reads the bytes as PEM or not at all.
  const certificate = new X509Certificate(bytes[0] === TAG.sequence ? toPem(bytes) : bytes);
  last = { bytes, certificate };
  return certificate;
}

/**
 * Shows something of a certificate, DER or PEM.
 *
 * @throws TypeError when it is not one
 */
function show<T>(name: string, bytes: Uint8Array, what: (certificate: X509Certificate) => T): T {
  try {
    return what(parse(bytes));
  } catch {
    throw new TypeError(`${name}: this is not a certificate`);
  }
}

/**
 * A name as RFC 2253 writes it. Node.js writes a line for each part, escaped as there, the least
 * specific first.
 */
function nameText(lines: string | undefined): string {
  const parts = lines?.split('\n').map((part) => part.split(' + ').reverse().join('+'));
  return parts?.reverse().join(',') ?? '';
}

/** The most specific commonName of the subject, as it is; empty if there is none. */
function commonName(certificate: X509Certificate): string {
  const names: string | readonly string[] | undefined = certificate.toLegacyObject().subject?.CN;
  return (typeof names === 'string' ? names : names?.at(-1)) ?? '';
}

function serialText({ serialNumber }: X509Certificate): string {
  const sign = serialNumber.startsWith('-') ? '-' : '';
  const digits = serialNumber.slice(sign.length).toLowerCase();
  return `${sign}${digits.padStart(digits.length + (digits.length % 2), '0')}`.replace(
    /[0-9a-f]{2}(?=.)/g,
    '$&:',
  );
}

/** Undefined for keys that Node.js does not know. */
function publicKeyOf(certificate: X509Certificate) {
  try {
    return certificate.publicKey;
  } catch {
    return undefined;
  }
}

function keyType(certificate: X509Certificate): string {
  const type = publicKeyOf(certificate)?.asymmetricKeyType;
  if (type === 'rsa' || type === 'rsa-pss') return 'RSA';
  return type === 'dsa' || type === 'ec' ? type.toUpperCase() : 'unknown';
}

/** Undefined if it is not RSA. */
function rsaBits(certificate: X509Certificate): number | undefined {
  const isRsa = keyType(certificate) === 'RSA';
  return isRsa ? publicKeyOf(certificate)?.asymmetricKeyDetails?.modulusLength : undefined;
}

/** A command that says something of a certificate in a text. */
function textCommand(
  name: string,
  doc: string,
  what: (certificate: X509Certificate) => string,
): CommandSpec {
  return command(
    `X509.${name}`,
    {
      tcl: `X509::${name}`,
      params: [certificateParam],
      returns: 'string',
      validIn: 'any',
      doc,
    },
    (_run, certificate) => show(`X509.${name}`, certificate, what),
  );
}

/** Certificates are DER, as `SSL.cert` gives them, or PEM, of which the first counts. */
export const x509Commands: readonly CommandSpec[] = [
  command(
    'X509.subject',
    {
      tcl: 'X509::subject',
      params: [
        certificateParam,
        { name: 'part', type: 'string', optional: true, values: ['commonName'] },
      ],
      returns: 'string',
      validIn: 'any',
      doc: 'The subject of a certificate (DER as `SSL.cert` gives it, or PEM) as RFC 2253 writes it: `CN=www.example.com,O=Example\\, Inc.,C=US`; empty if it has none. With `commonName` only the text of its last `CN`, not escaped. Throws TypeError when it is not a certificate, or longer than 64 KiB, as all of `X509` do. (Later versions of iRules put a space behind the comma and quotes around some values.)',
    },
    (_run, certificate, part) =>
      show('X509.subject', certificate, (shown) =>
        part === undefined ? nameText(shown.subject) : commonName(shown),
      ),
  ),
  textCommand('issuer', 'The issuer of a certificate, written like `X509.subject`.', ({ issuer }) =>
    nameText(issuer),
  ),
  textCommand(
    'serial_number',
    'The serial number of a certificate in pairs of lower case hexadecimal digits: `1a:03:c4`.',
    serialText,
  ),
  textCommand(
    'not_valid_before',
    'From when on a certificate is valid, such as `Nov 20 10:00:00 2026 GMT`.',
    ({ validFrom }) => validFrom,
  ),
  textCommand(
    'not_valid_after',
    'Until when a certificate is valid, such as `Nov 20 10:00:00 2027 GMT`.',
    ({ validTo }) => validTo,
  ),
  command(
    'X509.version',
    {
      tcl: 'X509::version',
      params: [certificateParam],
      returns: 'integer',
      validIn: 'any',
      doc: 'The version of a certificate: 3 for nearly all of them.',
    },
    (_run, certificate) =>
      show('X509.version', certificate, ({ raw }) => certificateFields(raw).version),
  ),
  command(
    'X509.hash',
    {
      tcl: 'X509::hash',
      params: [
        certificateParam,
        { name: 'algorithm', type: 'string', optional: true, values: ['md5', 'sha256'] },
      ],
      returns: 'string',
      validIn: 'any',
      doc: 'The fingerprint of a certificate in pairs of upper case hexadecimal digits: `0A:1B:…`. MD5 by default, as in iRules. Two certificates with the same MD5 can be made: decide by `sha256` who somebody is.',
    },
    (_run, certificate, algorithm = 'md5') => {
      const der = show('X509.hash', certificate, ({ raw }) => raw);
      return hexPairs(createHash(algorithm).update(der).digest());
    },
  ),
  textCommand(
    'signature_algorithm',
    'The algorithm with which a certificate was signed, by its OpenSSL name: `sha256WithRSAEncryption`, `ecdsa-with-SHA256`; the object identifier of a rare one.',
    ({ raw }) => signatureName(certificateFields(raw).signatureAlgorithm),
  ),
  textCommand(
    'subject_public_key_type',
    'The type of the public key in a certificate: `RSA`, `DSA`, `EC` or `unknown`.',
    keyType,
  ),
  command(
    'X509.subject_public_key_RSA_bits',
    {
      tcl: 'X509::subject_public_key_RSA_bits',
      params: [certificateParam],
      returns: 'integer',
      validIn: 'any',
      doc: 'The length in bits of the RSA key in a certificate. Throws TypeError for another type of key.',
    },
    (_run, certificate) => {
      const name = 'X509.subject_public_key_RSA_bits';
      const bits = show(name, certificate, rsaBits);
      if (bits === undefined) throw new TypeError(`${name}: the public key is not an RSA key`);
      return bits;
    },
  ),
  textCommand(
    'subject_public_key',
    'The public key in a certificate: its SubjectPublicKeyInfo (RFC 5280) as DER, in lower case hexadecimal digits.',
    ({ raw }) => Buffer.from(certificateFields(raw).publicKey).toString('hex'),
  ),
  textCommand(
    'extensions',
    'The extensions of a certificate as OpenSSL prints them, each with a title such as `X509v3 Subject Alternative Name: ` and its value in the lines below; `(no extensions)` without any. A name in `Subject Alternative Name` with a comma in it is in quotes: `DNS:"a\\u002c DNS:b"`. Extensions that few certificates have are shown as hexadecimal digits.',
    (certificate) => extensionsText(certificateFields(certificate.raw).extensions, certificate),
  ),
  textCommand('whole', 'A certificate as PEM.', ({ raw }) => toPem(raw)),
  command(
    'X509.pem2der',
    {
      tcl: 'X509::pem2der',
      params: [{ name: 'pem', type: 'binary' }],
      returns: 'binary',
      validIn: 'any',
      doc: 'The first certificate in a PEM text as DER.',
    },
    (_run, pem) => show('X509.pem2der', pem, ({ raw }) => raw),
  ),
  command(
    'X509.verify_cert_error_string',
    {
      tcl: 'X509::verify_cert_error_string',
      params: [{ name: 'code', type: 'integer' }],
      returns: 'string',
      validIn: 'any',
      doc: 'What OpenSSL calls a result of `SSL.verify_result`: `ok` for 0, `certificate has expired` for 10.',
    },
    (_run, code) => verifyText(code),
  ),
];
