import type { Logger } from '../core/logger.ts';
import { formatEndpoint } from '../core/types.ts';
import { Engine, type EngineOptions, EngineStartError } from '../engine/index.ts';
import { exitCodes } from './exit-codes.ts';
import { formatProblem } from './problems.ts';

/** Logs what nobody caught, and ends the process with 1: its state is not known any more. */
export function exitOnUnexpectedError(logger: Logger): void {
  // Also called for rejections that nobody handles.
  process.on('uncaughtException', (error) => {
    logger.error('unexpected error', { error });
    void logger.flush().finally(() => process.exit(1));
  });
}

/** Settles at the first of these signals, which from now on do not end the process by themselves. */
export function firstOf(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.on(signal, resolve);
  });
}

/** Starts an engine. Where it cannot start, the reasons go to standard error; answers the exit code. */
export async function startEngine(file: string, options: EngineOptions): Promise<Engine | number> {
  try {
    return await Engine.start(file, options);
  } catch (error) {
    if (!(error instanceof EngineStartError)) throw error;
    process.stderr.write(error.problems.map(formatProblem).join(''));
    return error.reason === 'configuration' ? exitCodes.mistake : exitCodes.failed;
  }
}

/** One line for each virtual server that listens: `pop3 listening on 127.0.0.1:1110`. */
export function describeListeners({ listeners }: Pick<Engine, 'listeners'>): string {
  return listeners
    .map(({ virtualServer, ...end }) => `${virtualServer} listening on ${formatEndpoint(end)}\n`)
    .join('');
}

/**
 * Keeps an engine running until one of the signals, then waits for its connections to end. A second
 * signal ends them at once.
 */
export async function serveUntil(
  stop: Promise<NodeJS.Signals>,
  signals: readonly NodeJS.Signals[],
  engine: Engine,
  logger: Logger,
): Promise<void> {
  const signal = await stop;
  logger.info(`${signal}: waiting for open connections to end; once more ends them at once`);
  for (const each of signals) process.on(each, () => void engine.stop());
  await engine.stop();
  await logger.flush();
}
