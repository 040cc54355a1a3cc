const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Octets in a line of 64 characters (RFC 7468, section 2). */
const LINE = 48;

/**
 * A certificate in PEM.
 *
 * `X509Certificate` of Node.js must be given this, never DER: it looks for PEM first, and finds it also
 * inside of DER, in a certificate that was issued with the PEM of another one in an extension.
 */
export function toPem(der: Uint8Array): string {
  let lines = '';
  for (let at = 0; at < der.length; at += LINE) lines += `${base64(der.subarray(at, at + LINE))}\n`;
  return `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`;
}

/** By hand: core uses nothing of its host. */
function base64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(at, at + 3);
    const group = (a << 16) | (b << 8) | c;
    for (const shift of [18, 12, 6, 0]) text += BASE64.charAt((group >> shift) & 0x3f);
  }
  const missing = (3 - (bytes.length % 3)) % 3;
  return text.slice(0, text.length - missing) + '='.repeat(missing);
}
