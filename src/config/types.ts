import type { LogLevel } from '../core/types.ts';

/** A configuration that was checked: defaults filled in, references resolved, deeply frozen. */
export interface Config {
  /** Absolute path of the file it was read from. */
  readonly file: string;
  readonly virtualServers: readonly VirtualServerConfig[];
  readonly pools: ReadonlyMap<string, PoolConfig>;
  readonly clientSsl: ReadonlyMap<string, ClientSslProfile>;
  readonly serverSsl: ReadonlyMap<string, ServerSslProfile>;
  readonly log: {
    readonly level: LogLevel;
    /** `auto`: text on a terminal, JSON elsewhere. */
    readonly format: 'text' | 'json' | 'auto';
  };
  readonly reload: {
    /** What happens to the open connections of a virtual server that a reload has changed. */
    readonly connections: 'keep' | 'drain' | 'close';
  };
  /** Milliseconds that open connections get to end by themselves: on SIGTERM, and on reload with `drain`. */
  readonly drainTimeout: number;
}

export interface VirtualServerConfig {
  readonly name: string;
  /** Undefined where only rules lead to it (`"listen": "none"`). */
  readonly listen: ListenAddress | undefined;
  readonly clientSsl?: ClientSslProfile;
  readonly serverSsl?: ServerSslProfile;
  readonly pool?: PoolConfig;
  /** In the order in which handlers of equal priority run. */
  readonly rules: readonly RuleRef[];
  /** Client connections open at a time; 0: no limit. */
  readonly connectionLimit: number;
  readonly tcp: TcpProfile;
}

export interface ListenAddress {
  /** An IP address without brackets, or a name; empty: all addresses. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

export interface RuleRef {
  /** As the configuration calls it: a bundled rule's name, or a path. */
  readonly name: string;
  /** Absolute path of the rule's file. */
  readonly path: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Timeouts in milliseconds, limits in bytes. */
export interface TcpProfile {
  readonly connectTimeout: number;
  readonly handshakeTimeout: number;
  readonly collectTimeout: number;
  readonly idleTimeout: number;
  readonly lingerTimeout: number;
  readonly handlerTimeout: number;
  readonly collectLimit: number;
  readonly queueLimit: number;
}

export interface PoolConfig {
  readonly name: string;
  /** At least one; none twice. */
  readonly members: readonly PoolMember[];
  readonly balancing: 'round-robin';
}

export interface PoolMember {
  /** An IP address without brackets, or a name that is looked up for each connection. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

export type TlsVersion = 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';

/** A certificate (chain) with its key, proven to belong together. */
export interface TlsIdentity {
  /**
   * The DNS names in lower case (a first label may be `*`) and the IP addresses that the
   * certificate is for: those of subjectAltName; the common name only where there is none.
   */
  readonly names: readonly string[];
  /** PEM: the leaf first, then the chain; the key decrypted, in PKCS#8. */
  readonly material: { readonly cert: string; readonly key: string };
  /** PEM. */
  readonly leaf: string;
  /** PEM, if it was found in the chain. */
  readonly issuer?: string;
  /**
   * Stapled to handshakes: a response from a file (DER in Base64), or one fetched from the
   * responder that the certificate names.
   */
  readonly ocsp?: { readonly response: string } | 'fetch';
}

/** What both sides have of TLS. */
export interface TlsParameters {
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** OpenSSL's notation, names of TLS 1.2 and 1.3 in one list. */
  readonly ciphers: string;
  /** Names of protocols in order of preference; empty: ALPN is not taken part in. */
  readonly alpn: readonly string[];
  /** Whether TLS can be taken off a connection again, which costs speed. */
  readonly detachable: boolean;
}

/** TLS with clients. */
export interface ClientSslProfile extends TlsParameters {
  readonly name: string;
  /**
   * At least one. The first serves clients that give no name and, unless `strictSni`, names that no
   * certificate has.
   */
  readonly identities: readonly TlsIdentity[];
  readonly strictSni: boolean;
  readonly clientCertificate: 'none' | 'request' | 'require';
  /** Authorities that client certificates are verified against; PEM. */
  readonly ca?: string;
  /** PEM. */
  readonly crl?: string;
  readonly sessionTickets: boolean;
  /** Seconds. */
  readonly sessionTimeout: number;
  /**
   * 48 bytes each in Base64. The first one makes tickets, all of them read tickets. Absent: made at
   * the start and rotated.
   */
  readonly ticketKeys?: readonly string[];
}

/** TLS with servers. */
export interface ServerSslProfile extends TlsParameters {
  readonly name: string;
  /** Whether the server's certificate must be good. */
  readonly verify: boolean;
  /** PEM; absent: the authorities that the system trusts. */
  readonly ca?: string;
  /** PEM. */
  readonly crl?: string;
  /**
   * Sent as SNI and demanded of the certificate; absent: the member's host as the pool writes it.
   */
  readonly serverName?: string;
  /** Shown when the server asks for a certificate. */
  readonly identity?: TlsIdentity;
}

/** A mistake and its place. Lines and columns count from 1, columns in UTF-16 units. */
export interface ConfigProblem {
  readonly message: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** What to do about it, such as the nearest valid name. */
  readonly hint?: string;
}

interface LoadFindings {
  /** What the operator should hear of, though it does not keep the configuration from running. */
  readonly warnings: readonly ConfigProblem[];
  /** Absolute paths of what decides over this result: the configuration, certificates, keys, missing files. */
  readonly files: readonly string[];
}

export type LoadResult =
  | (LoadFindings & { readonly config: Config; readonly problems: readonly [] })
  | (LoadFindings & { readonly config: undefined; readonly problems: readonly ConfigProblem[] });
