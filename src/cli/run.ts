import { loadConfig } from '../config/index.ts';
import type { Logger } from '../core/logger.ts';
import type { LogLevel } from '../core/types.ts';
import type { Engine } from '../engine/index.ts';
import { exitCodes } from './exit-codes.ts';
import { createLogger, type LogFormat } from './logger.ts';
import {
  describeListeners,
  exitOnUnexpectedError,
  firstOf,
  serveUntil,
  startEngine,
} from './service.ts';

/** The options of `portreeve run`. What is absent is taken from the configuration. */
export interface RunOptions {
  readonly watch: boolean;
  readonly logLevel?: LogLevel;
  readonly logFormat?: LogFormat;
}

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** `portreeve run`: serves until a signal. Returns the exit code. */
export async function run(file: string, options: RunOptions): Promise<number> {
  const stop = firstOf(STOP_SIGNALS);
  const starting = start(file, options);
  // Also while it starts: unheeded, the signal would end the process. The engine logs the outcome.
  process.on('SIGHUP', () => void reload(starting));
  const { engine, logger } = await starting;
  if (typeof engine === 'number') return engine;
  process.stdout.write(`${describeListeners(engine)}ready\n`);
  await serveUntil(stop, STOP_SIGNALS, engine, logger);
  return exitCodes.fine;
}

async function start(
  file: string,
  options: RunOptions,
): Promise<{ engine: Engine | number; logger: Logger }> {
  const logger = await createRunLogger(file, options);
  exitOnUnexpectedError(logger);
  return { engine: await startEngine(file, { logger, watch: options.watch }), logger };
}

async function reload(starting: ReturnType<typeof start>): Promise<void> {
  const { engine } = await starting;
  if (typeof engine !== 'number') await engine.reload();
}

/** A configuration with mistakes is no reason to complain here: starting the engine tells them. */
async function createRunLogger(file: string, options: RunOptions): Promise<Logger> {
  const { config } = await loadConfig(file);
  return createLogger({
    level: options.logLevel ?? config?.log.level ?? 'info',
    format: options.logFormat ?? config?.log.format ?? 'auto',
  });
}
