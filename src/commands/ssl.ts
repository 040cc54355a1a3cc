import { X509Certificate } from 'node:crypto';
import { toPem } from '../core/pem.ts';
import type { HelloInfo, RuleRun, TlsInfo } from '../core/rule-run.ts';
import { flowOf, payloadCommands } from './payload.ts';
import { type CommandSpec, command } from './spec.ts';
import { namedSide, sideParam } from './tcp.ts';
import { verifyCode } from './verify-result.ts';

const HANDSHAKE_EVENTS = [
  'CLIENTSSL_CLIENTHELLO',
  'CLIENTSSL_CLIENTCERT',
  'CLIENTSSL_HANDSHAKE',
] as const;

const NOTHING: Uint8Array = new Uint8Array(0);

function setTls(run: RuleRun, name: string, sideName: string | undefined, enabled: boolean): void {
  const side = namedSide(run, sideName);
  const { tls } = flowOf(run)[side];
  const profile = run.services.tlsProfile(side);
  if (profile === undefined) {
    throw new Error(`${name}: the virtual server has no ${side}-ssl profile`);
  }
  if (tls === 'handshake' || tls === 'closing' || (tls === 'hello' && enabled)) {
    throw new Error(`${name}: TLS on the ${side} side is being changed`);
  }
  if (!enabled && tls === 'secured' && !profile.detachable) {
    throw new Error(
      `${name}: TLS has begun; set "detachable": true in the ${side}-ssl profile '${profile.name}' to take it off`,
    );
  }
  run.emit({ type: 'tls', side, enabled });
}

/** The current side's session; undefined without TLS. */
function session(run: RuleRun): TlsInfo | undefined {
  return flowOf(run)[run.side].depth > 0 ? run.services.tls(run.side) : undefined;
}

function hello(run: RuleRun, name: string): HelloInfo {
  const found = run.services.clientHello();
  if (found === undefined) throw new Error(`${name}: there is no ClientHello`);
  return found;
}

/** How many bits a cipher's key has, by its name in OpenSSL's notation. */
function cipherBits(name: string): number {
  const bits = /AES[-_]?(128|256)|(CHACHA20)|(3DES|DES-CBC3)|CAMELLIA(128|256)|ARIA(128|256)/.exec(
    name,
  );
  if (bits === null) return 0;
  if (bits[2] !== undefined) return 256;
  if (bits[3] !== undefined) return 168;
  return Number(bits[1] ?? bits[4] ?? bits[5]);
}

/** `TLSv1.3`; iRules leave the zero of `TLSv1.0` away, and so does OpenSSL. */
function cipherPart(info: TlsInfo, part: string): string {
  if (part === 'name') return info.cipher;
  return part === 'bits' ? String(cipherBits(info.cipher)) : info.protocol;
}

/** The issuer of a certificate in a chain, which may end before the root. */
function issuerIn(chain: readonly Uint8Array[], index: number): Uint8Array {
  const certificate = chain[index];
  if (certificate === undefined) return NOTHING;
  const above = chain[index + 1];
  if (above !== undefined) return above;
  const { subject, issuer } = new X509Certificate(toPem(certificate));
  return subject === issuer ? certificate : NOTHING;
}

const switching: readonly CommandSpec[] = [
  command(
    'SSL.enable',
    {
      tcl: 'SSL::enable',
      params: [sideParam],
      returns: 'void',
      validIn: 'connection',
      doc: 'Starts TLS on the current (or the named) side, behind everything sent to it; inside the TLS that is there already, if there is some. Needs a TLS profile for that side. Bytes of the client that came before and were not released are taken as the beginning of its handshake if they look like one; otherwise the connection is reset, because nothing received in plaintext may be read inside TLS. The server must not have sent anything behind its last answer.',
    },
    (run, side) => setTls(run, 'SSL.enable', side, true),
  ),
  command(
    'SSL.disable',
    {
      tcl: 'SSL::disable',
      params: [sideParam],
      returns: 'void',
      validIn: 'connection',
      doc: 'Keeps TLS from starting on the current (or the named) side, until `SSL.enable()`. Usually called in CLIENT_ACCEPTED. In CLIENTSSL_CLIENTHELLO the ClientHello goes on to the server as it came. After a handshake it takes the topmost layer of TLS off, behind everything sent, if the profile has `"detachable": true`; the peer must not send anything inside TLS behind the command that ends it. Call `TCP.collect()` right behind it (or `SSL.collect()` if there is TLS below) to see what comes then.',
    },
    (run, side) => setTls(run, 'SSL.disable', side, false),
  ),
  command(
    'SSL.renegotiate',
    {
      tcl: 'SSL::renegotiate',
      params: [sideParam],
      returns: 'void',
      validIn: 'connection',
      doc: 'Always an error: TLS 1.3 has no renegotiation, and RFC 9325 advises against it in TLS 1.2. Choose the policy for client certificates before the handshake, with `SSL.cert.mode()`.',
    },
    () => {
      throw new Error(
        'SSL.renegotiate: there is no renegotiation; call SSL.cert.mode() before the handshake',
      );
    },
  ),
];

const sessions: readonly CommandSpec[] = [
  command(
    'SSL.mode',
    {
      tcl: 'SSL::mode',
      params: [],
      returns: 'boolean',
      validIn: 'connection',
      doc: 'Whether the current side speaks TLS, or will as soon as it can.',
    },
    (run) => {
      const { tls, depth } = flowOf(run)[run.side];
      return depth > 0 || (tls !== 'none' && tls !== 'closing');
    },
  ),
  command(
    'SSL.cipher',
    {
      tcl: 'SSL::cipher',
      params: [{ name: 'part', type: 'string', values: ['name', 'bits', 'version'] }],
      returns: 'string',
      validIn: 'connection',
      doc: "The cipher of the current side: its `name` in OpenSSL's notation, the `bits` of its key, or the `version` of TLS such as `TLSv1.3`. Empty without TLS.",
    },
    (run, part) => {
      const info = session(run);
      return info === undefined ? '' : cipherPart(info, part);
    },
  ),
  command(
    'SSL.sessionid',
    {
      tcl: 'SSL::sessionid',
      params: [],
      returns: 'string',
      validIn: 'connection',
      doc: "The current side's session id in hexadecimal digits. Empty where there is none: sessions live in tickets.",
    },
    (run) => Buffer.from(session(run)?.sessionId ?? NOTHING).toString('hex'),
  ),
  command(
    'SSL.alpn',
    {
      tcl: 'SSL::alpn',
      params: [],
      returns: 'string',
      validIn: 'connection',
      doc: 'The protocol that the current side agreed on (RFC 7301). Empty: none.',
    },
    (run) => session(run)?.alpn ?? '',
  ),
  command(
    'SSL.sni.name',
    {
      tcl: 'SSL::sni name',
      params: [],
      returns: 'string',
      validIn: 'connection',
      doc: 'The name that the client asked for in its last ClientHello, in lower case; on the server side the one that the server was asked for. Empty: none.',
    },
    (run) => run.services.serverName(run.side) ?? '',
  ),
  command(
    'SSL.extensions',
    {
      tcl: 'SSL::extensions -type',
      params: [{ name: 'type', type: 'integer' }],
      returns: 'binary',
      validIn: HANDSHAKE_EVENTS,
      doc: "The body of the extension of that type in the client's ClientHello, such as 0 for server_name. Empty where it has none.",
    },
    (run, type) => hello(run, 'SSL.extensions').extension(type) ?? NOTHING,
  ),
  command(
    'SSL.extensions.exists',
    {
      tcl: 'SSL::extensions exists -type',
      params: [{ name: 'type', type: 'integer' }],
      returns: 'boolean',
      validIn: HANDSHAKE_EVENTS,
      doc: "Whether the client's ClientHello has an extension of that type.",
    },
    (run, type) => hello(run, 'SSL.extensions.exists').extension(type) !== undefined,
  ),
];

const certificates: readonly CommandSpec[] = [
  command(
    'SSL.cert',
    {
      tcl: 'SSL::cert',
      params: [{ name: 'index', type: 'integer' }],
      returns: 'binary',
      validIn: 'connection',
      doc: "A certificate of the current side's peer in DER, for the `X509` commands: 0 is its own, 1 the issuer of that, as far as they are known. Empty where there is none.",
    },
    (run, index) => session(run)?.certificates[index] ?? NOTHING,
  ),
  command(
    'SSL.cert.count',
    {
      tcl: 'SSL::cert count',
      params: [],
      returns: 'integer',
      validIn: 'connection',
      doc: "How many certificates are known of the current side's peer.",
    },
    (run) => session(run)?.certificates.length ?? 0,
  ),
  command(
    'SSL.cert.issuer',
    {
      tcl: 'SSL::cert issuer',
      params: [{ name: 'index', type: 'integer' }],
      returns: 'binary',
      validIn: 'connection',
      doc: 'The certificate that issued the one with that index, in DER. A root is its own issuer. Empty where it is not known.',
    },
    (run, index) => issuerIn(session(run)?.certificates ?? [], index),
  ),
  command(
    'SSL.cert.mode',
    {
      tcl: 'SSL::cert mode',
      params: [{ name: 'mode', type: 'string', values: ['ignore', 'request', 'require'] }],
      returns: 'void',
      validIn: ['CLIENT_ACCEPTED', 'CLIENT_DATA', 'CLIENTSSL_CLIENTHELLO', 'CLIENTSSL_DATA'],
      doc: 'Whether the client is asked for a certificate in its next handshake, in place of what the client-ssl profile says, which must have a `ca` unless the mode is `ignore`. With `require` a client without a good one is refused.',
    },
    (run, mode) =>
      run.emit({
        type: 'clientCertificate',
        mode: mode === 'ignore' ? 'none' : (mode as 'request' | 'require'),
      }),
  ),
  command(
    'SSL.verify_result',
    {
      tcl: 'SSL::verify_result',
      params: [],
      returns: 'integer',
      validIn: 'connection',
      doc: "What the verification of the peer's certificate has found, in OpenSSL's numbers: 0 is good, and `X509.verify_cert_error_string()` tells the others in words. 0 as well where there is no certificate: look at `SSL.cert.count()`.",
    },
    (run) => {
      const info = session(run);
      return info === undefined || info.certificates.length === 0
        ? 0
        : verifyCode(info.verifyError);
    },
  ),
];

export const sslCommands: readonly CommandSpec[] = [
  ...payloadCommands('SSL'),
  ...switching,
  ...sessions,
  ...certificates,
];
