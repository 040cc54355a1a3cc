/** What one instance may use. Every number is a hard bound, not a hint. */
export interface SandboxLimits {
  /** The largest guest memory, in pages of 64 KiB; at least 256, which the build needs. */
  readonly memoryPages: number;
  /** Stack of a running handler, in bytes. Above 64 KiB deep built-ins can overflow the host's own. */
  readonly stackBytes: number;
  /** Stack while rule source is parsed and evaluated, in bytes. */
  readonly loadStackBytes: number;
  /** Work for each entry, in ticks of 10,000 loop turns, calls or backtracks. Deterministic. */
  readonly ticksPerEvent: number;
  /** Time for each entry, in milliseconds. A pause of the process counts as half of it at most. */
  readonly deadlineMs: number;
  /** Ticks and deadline times this while rules load and in RULE_INIT. */
  readonly loadFactor: number;
  /** Promise jobs for each entry. */
  readonly jobsPerEntry: number;
  /** Awaited commands under way for each connection. */
  readonly waitsPerSession: number;
  /** How long a RULE_INIT handler may await, in milliseconds. */
  readonly initMs: number;
}

export const defaultLimits: SandboxLimits = {
  memoryPages: 384,
  stackBytes: 64 * 1024,
  loadStackBytes: 32 * 1024,
  ticksPerEvent: 20,
  deadlineMs: 50,
  loadFactor: 10,
  jobsPerEntry: 256,
  waitsPerSession: 64,
  initMs: 5_000,
};

/** The largest source file of a rule or of a module that it imports, in bytes. */
export const MAX_SOURCE_BYTES = 1024 * 1024;
/** The most files that the rules of one instance may consist of. */
export const MAX_SOURCE_FILES = 64;
/** The most handlers of one instance. */
export const MAX_HANDLERS = 1_000;
