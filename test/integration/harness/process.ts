import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { OutputLog } from './output-log.ts';
import { programs } from './programs.ts';

/** Servers stand outside the search path of an ordinary user. */
const searchPath = `${process.env.PATH ?? ''}:/usr/sbin:/usr/local/sbin:/sbin:/usr/bin:/bin`;

const STOP_MS = 5_000;
const POLL_MS = 3;

export interface ProcessOptions {
  readonly folder?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Run as this user; only root can. */
  readonly uid?: number;
  readonly gid?: number;
}

const running = new Set<RunningProcess>();
const folders = new Set<string>();

/** A program in a process group of its own, so that its children end with it. */
export class RunningProcess {
  readonly stdout = new OutputLog();
  readonly stderr = new OutputLog();
  /** Settles when the program and its output have ended: its exit code, or its signal. */
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly stdin: ChildProcess['stdin'];
  private readonly child: ChildProcess;
  private isOver = false;

  constructor(
    readonly program: string,
    args: readonly string[],
    options: ProcessOptions = {},
  ) {
    this.child = spawn(program, args, {
      detached: true,
      cwd: options.folder,
      env: { ...process.env, LC_ALL: 'C.UTF-8', ...options.env, PATH: searchPath },
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.gid ?? options.uid }),
    });
    this.stdin = this.child.stdin;
    this.stdin?.on('error', () => undefined); // It ended before it read everything.
    this.child.stdout?.on('data', (chunk: Buffer) => this.stdout.append(chunk));
    this.child.stderr?.on('data', (chunk: Buffer) => this.stderr.append(chunk));
    this.ended = this.watch();
    this.ended.catch(() => undefined); // Reported to whoever awaits it.
    running.add(this);
  }

  get over(): boolean {
    return this.isOver;
  }

  kill(signal: NodeJS.Signals): void {
    if (this.child.pid === undefined) return;
    try {
      process.kill(-this.child.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** SIGTERM to the program itself; SIGKILL to its whole group when that does not help. */
  async stop(): Promise<number | NodeJS.Signals> {
    if (!this.isOver) this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), STOP_MS);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
      this.kill('SIGKILL'); // Children that outlived it.
      running.delete(this);
    }
  }

  /** What it printed, for error messages. */
  transcript(): string {
    return `--- ${this.program}: stdout\n${this.stdout.tail()}\n--- stderr\n${this.stderr.tail()}`;
  }

  private async watch(): Promise<number | NodeJS.Signals> {
    try {
      const [code, signal] = (await once(this.child, 'close')) as [
        number | null,
        NodeJS.Signals | null,
      ];
      return code ?? signal ?? -1;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw missing(this.program);
    } finally {
      this.isOver = true;
      this.stdout.end();
      this.stderr.end();
    }
  }
}

function missing(program: string): Error {
  const debianPackage = programs[program] ?? program;
  return new Error(`${program} is not installed; on Debian: apt-get install ${debianPackage}`);
}

/** Starts a server and waits until its port accepts connections. */
export async function startServer(
  program: string,
  args: readonly string[],
  port: number,
  options: ProcessOptions = {},
): Promise<RunningProcess> {
  const server = new RunningProcess(program, args, options);
  const started = await within(10_000, `${program} to listen on port ${port}`, async () => {
    while (!server.over && !(await answers(port))) await delay(POLL_MS);
    return !server.over;
  }).catch(async (error: Error) => {
    await server.stop();
    throw new Error(`${error.message}\n${server.transcript()}`);
  });
  if (!started) {
    const code = await server.stop();
    throw new Error(`${program} ended with ${code} before it listened\n${server.transcript()}`);
  }
  return server;
}

export interface RunResult {
  readonly code: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, at most 50 seconds. Its output is bounded by {@link OutputLog}. */
export async function run(
  program: string,
  args: readonly string[],
  options: ProcessOptions & { readonly input?: string } = {},
): Promise<RunResult> {
  const child = new RunningProcess(program, args, options);
  child.stdin?.end(options.input ?? '');
  try {
    const code = await within(50_000, `${program} to end`, () => child.ended);
    return { code, stdout: child.stdout.text, stderr: child.stderr.text };
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${child.transcript()}`);
  } finally {
    await child.stop().catch(() => undefined);
  }
}

const given = new Set<number>();

/** A port that was free a moment ago. Never the same one twice: servers start at the same time. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  if (given.has(address.port)) return freePort();
  given.add(address.port);
  return address.port;
}

/** A new empty folder, removed when the test file is done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'portreeve-test-'));
  folders.add(folder);
  return folder;
}

/** Ends whatever a test file has left running and removes its folders. */
export async function cleanUp(): Promise<void> {
  await Promise.allSettled([...running].map((child) => child.stop()));
  removeFolders();
}

/** What the processes of a test have printed. */
export function transcripts(): string {
  return [...running].map((child) => child.transcript()).join('\n');
}

/** Lets go of processes that have ended by themselves. */
export function forgetEnded(): void {
  for (const child of running) if (child.over) running.delete(child);
}

/** Awaits `work`, at most `ms` milliseconds. */
export async function within<T>(ms: number, what: string, work: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms in vain for ${what}`)), ms);
  });
  try {
    return await Promise.race([work(), deadline]);
  } finally {
    clearTimeout(timer);
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function removeFolders(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
}

// The test worker itself is ended early: nothing may survive it.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  removeFolders();
});
