import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { OutputLog } from './output-log.ts';
import { RunningProcess, temporaryFolder } from './process.ts';

const PROGRAM = resolve('bin/portreeve.js');

export interface Portreeve {
  /** Where portreeve.json and the files beside it are. */
  readonly folder: string;
  /** Its log. */
  readonly log: OutputLog;
  readonly process: RunningProcess;
  /** The port on which a virtual server listens. */
  port(virtualServer: string): number;
  /** Writes a file beside portreeve.json, in place as most editors do. */
  save(name: string, content: string): void;
  /** SIGTERM; fails unless it then ends with exit code 0. */
  stop(): Promise<void>;
}

/**
 * Runs `portreeve run` in a folder of its own and waits until it is ready.
 * @param config - what becomes portreeve.json; let virtual servers listen on port 0
 * @param files - what to write beside it, by relative path
 */
export async function startPortreeve(
  config: object,
  files: Readonly<Record<string, string>> = {},
): Promise<Portreeve> {
  const folder = temporaryFolder();
  const save = (name: string, content: string): void => {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  };
  for (const [name, content] of Object.entries(files)) save(name, content);
  save('portreeve.json', JSON.stringify(config, undefined, 2));
  const child = new RunningProcess(process.execPath, [PROGRAM, 'run', 'portreeve.json'], {
    folder,
  });
  await child.stdout.waitFor(/^ready$/m).catch(async (error: Error) => {
    await child.stop();
    throw new Error(`portreeve did not get ready: ${error.message}\n${child.transcript()}`);
  });
  const ports = new Map<string, number>();
  for (const [, name = '', port] of child.stdout.text.matchAll(/^(\S+) listening on .*:(\d+)$/gm)) {
    ports.set(name, Number(port));
  }
  return {
    folder,
    log: child.stderr,
    process: child,
    save,
    port: (virtualServer) => {
      const port = ports.get(virtualServer);
      if (port === undefined) throw new Error(`${virtualServer} does not listen`);
      return port;
    },
    stop: async () => {
      const code = await child.stop();
      if (code !== 0) throw new Error(`portreeve ended with ${code}\n${child.transcript()}`);
    },
  };
}

/** Matches a log line that names a file and a line in it. */
export function placeInLog(file: string, line: number): RegExp {
  return new RegExp(`.*${file.replaceAll('.', '\\.')}(:|.*"line":)${line}\\b.*\\n`);
}
