/** When a monitor probes, and what its results amount to. All times are milliseconds. */
export interface MonitorTiming {
  /** From the start of a probe to the start of the next one; above 0. */
  readonly interval: number;
  /** What a whole probe may take, from connecting to the last answer; above 0. */
  readonly timeout: number;
  /** How many passes in a row bring a member up again; 1 or more. */
  readonly rise: number;
  /** How many failures in a row take a member down; 1 or more. */
  readonly fall: number;
  /** How long a member must have been passing before it counts as up; 0 or more. */
  readonly timeUntilUp: number;
  /** The share of the interval by which probes are spread at random, 0 to 1. */
  readonly jitter: number;
}

/** What the server's certificate must be like, where a monitor speaks TLS. */
export interface TlsRequirements {
  /** Whether the certificate must be for the server's name, and from an authority that is trusted. */
  readonly verify: boolean;
  /** The authorities that are trusted, in PEM. Absent: those that come with Node.js. */
  readonly ca?: string;
  /** Sent as SNI, and demanded of the certificate. Absent: the member's host, else its address. */
  readonly serverName?: string;
  /** A certificate that expires within so many days fails. Absent: it may expire. */
  readonly minDays?: number;
}

/**
 * What must come. A text, with the escapes of {@link encodeText}, anywhere in the bytes; or a regular
 * expression, for which each byte is one character, with flags out of `ims`.
 */
export type Expected = string | { readonly pattern: string; readonly flags?: string };

/** Passes when the port accepts a connection, which then ends with FIN. */
export interface TcpMonitor extends MonitorTiming {
  readonly type: 'tcp';
}

/**
 * Passes when the port accepts a connection, which then ends with RST. The name is the field's, but
 * Node.js cannot send a lone SYN: the connection does open, and the server may get to see it.
 */
export interface TcpHalfOpenMonitor extends MonitorTiming {
  readonly type: 'tcp-half-open';
}

/** Passes when what is expected is in the first 64 KiB that the server says. */
export interface SendExpectMonitor extends MonitorTiming {
  readonly type: 'send-expect';
  /** Sent when the connection is open, with the escapes of {@link encodeText}; absent: nothing. */
  readonly send?: string;
  readonly expect: Expected;
}

/** Passes when a TLS handshake succeeds with a certificate as it is required. */
export interface TlsMonitor extends MonitorTiming, TlsRequirements {
  readonly type: 'tls';
}

/** Passes when a request over HTTP/1.1 gets the response that is expected. */
export interface HttpMonitor extends MonitorTiming, TlsRequirements {
  readonly type: 'http';
  readonly tls: 'none' | 'implicit';
  readonly method: string;
  /** With its query, from the `/` on. */
  readonly path: string;
  /** The Host field. Absent: the member's host, or its address and port. */
  readonly host?: string;
  /** The least and the greatest status that passes. */
  readonly status: readonly [number, number];
  /** What must be in the first 64 KiB of the body; absent: anything. */
  readonly expect?: Expected;
}

/** Sent as UTF-8; neither may hold CR, LF or NUL. */
export interface Login {
  readonly user: string;
  readonly password: string;
}

/** Passes when the server greets, starts TLS if it is to, takes the log-in and says good-bye. */
export interface LoginMonitor extends MonitorTiming, TlsRequirements {
  readonly type: 'pop3' | 'imap' | 'smtp' | 'ftp';
  /** With `starttls` the probe fails where the server does not start TLS: there is no way back. */
  readonly tls: 'none' | 'starttls' | 'implicit';
  /** Absent: the session ends without one, as with an SMTP server that only takes mail in. */
  readonly login?: Login;
}

/** A monitor with all its settings. */
export type MonitorSettings =
  | TcpMonitor
  | TcpHalfOpenMonitor
  | SendExpectMonitor
  | TlsMonitor
  | HttpMonitor
  | LoginMonitor;

/** `unknown`: not probed yet, or passing but not for long enough. */
export type MonitorState = 'unknown' | 'up' | 'down';

/** What monitors say of a member. */
export interface Verdict {
  readonly state: MonitorState;
  /** Why it is down; '' where it is not. */
  readonly reason: string;
}

/** What one monitor says of a member. */
export interface MonitorStatus extends Verdict {
  /** When it came into this state, in milliseconds since 1970. */
  readonly since: number;
}
