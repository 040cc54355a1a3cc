import { readFile } from 'node:fs/promises';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { DemoOptions } from './demo.ts';
import { exitCodes } from './exit-codes.ts';
import { logFormats, logLevels } from './logger.ts';
import type { RunOptions } from './run.ts';

const EXAMPLES = `
Examples:
  portreeve demo                      see it work; nothing to set up
  portreeve check portreeve.json      find mistakes in a configuration and its rules
  portreeve run portreeve.json        serve, and reload whenever a file is saved
  portreeve run --log-level debug portreeve.json

Exit codes: 0 fine, 1 failed, 2 bad usage or bad configuration.`;

/**
 * The command line.
 *
 * @param args - without node and the script
 * @returns the exit code; there may be handles open, so the process should be made to exit
 */
export async function main(args: readonly string[]): Promise<number> {
  let code: number = exitCodes.fine;
  const program = createProgram(await version(), (result) => {
    code = result;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Thrown for --help and --version also, with 0.
    return error.exitCode === 0 ? exitCodes.fine : exitCodes.mistake;
  }
  return code;
}

/** Commands are loaded when they are called, so that `--help` does not wait for the sandbox. */
function createProgram(version: string, exitWith: (code: number) => void): Command {
  const program = new Command('portreeve')
    .description('A scriptable traffic manager: virtual servers, events and sandboxed rules.')
    .version(version)
    .addHelpText('after', EXAMPLES)
    .showHelpAfterError('Try "portreeve --help".')
    .exitOverride();

  program
    .command('run')
    .description('serve what a configuration describes, until SIGTERM')
    .argument('<file>', 'the configuration')
    .option('--no-watch', 'do not reload when a file has changed (SIGHUP still reloads)')
    .addOption(
      new Option('--log-level <level>', "instead of the configuration's").choices(logLevels),
    )
    .addOption(
      new Option('--log-format <format>', "instead of the configuration's").choices(logFormats),
    )
    .action(async (file: string, options: RunOptions) => {
      const { run } = await import('./run.ts');
      exitWith(await run(file, options));
    });

  program
    .command('check')
    .description('look for mistakes in configurations and their rules')
    .argument('<files...>', 'the configurations')
    .action(async (files: string[]) => {
      const { check } = await import('./check.ts');
      exitWith(await check(files));
    });

  program
    .command('demo')
    .description('show TLS for a mailbox that has none, with everything built in')
    .option('--port <port>', 'of POP3 with STLS (default: 1110, or a free one)', parsePort)
    .option('--tls-port <port>', 'of POP3 over TLS (default: 1995, or a free one)', parsePort)
    .action(async (options: DemoOptions) => {
      const { demo } = await import('./demo.ts');
      exitWith(await demo(options));
    });

  return program;
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new InvalidArgumentError('It must be 1 to 65535.');
  return port;
}

async function version(): Promise<string> {
  // As far from `src/cli` as from `dist/cli`.
  const manifest = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
