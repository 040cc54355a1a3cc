import type { LogLevel } from './types.ts';

/**
 * Facts beside a message. Some names have a meaning for who reads the log:
 *
 * - `virtualServer`: a name
 * - `client`, `server`: `address:port`
 * - `excerpt`: lines of a rule's source with a mark, shown as they stand
 *
 * Values under `password` and `passphrase` are never written.
 */
export type LogFields = Readonly<Record<string, unknown>>;

type Log = (message: string, fields?: LogFields) => void;

/** Where the program tells what happens. Never throws. Messages and fields may hold any text. */
export interface Logger {
  /** Messages of lesser levels cost next to nothing; ask before building dear fields. */
  readonly level: LogLevel;
  readonly error: Log;
  readonly warn: Log;
  readonly info: Log;
  readonly debug: Log;
  /** Settles when all that was logged before is handed to the operating system. */
  flush(): Promise<void>;
}
