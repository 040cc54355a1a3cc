// Starts, measures and ends the processes of a run. Linux only: it reads /proc.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';

const TICKS_A_SECOND = Number(spawnSync('getconf', ['CLK_TCK']).stdout);
const PAGE_BYTES = Number(spawnSync('getconf', ['PAGESIZE']).stdout);
const START_LIMIT_MS = 10_000;
const STOP_LIMIT_MS = 3_000;

/** The cores to pin to: the proxy's, and the one of generator and backend. Empty: do not pin. */
export const cores = twoCores();

function twoCores() {
  const status = readFileSync('/proc/self/status', 'utf8');
  const allowed = /^Cpus_allowed_list:\s*(.+)$/m.exec(status)?.[1] ?? '';
  const list = allowed.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  const [proxy, load] = list;
  if (load === undefined || spawnSync('taskset', ['-V']).error) return {};
  return { proxy, load };
}

/** The command line that runs `command` on a core; taskset replaces itself, so the pid stays. */
function pinned(core, command) {
  return core === undefined ? command : ['taskset', '-c', String(core), ...command];
}

const running = new Set();

/** Starts a server in the foreground; what it prints goes to the file `log` in its folder. */
export function startServer(core, command, folder) {
  const log = openSync(join(folder, 'log'), 'a');
  const [file, ...args] = pinned(core, command);
  const child = spawn(file, args, { cwd: folder, stdio: ['ignore', log, log] });
  closeSync(log);
  return track(child);
}

/** Starts a process that is talked to over stdin and stdout. It ends after `timeout` ms at the latest. */
export function startTool(core, command, timeout) {
  const [file, ...args] = pinned(core, command);
  const child = track(spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], timeout }));
  child.stdin.on('error', () => {}); // it ended early; its missing result tells
  return child;
}

function track(child) {
  running.add(child);
  child.on('error', () => running.delete(child));
  child.on('exit', () => running.delete(child));
  return child;
}

export function isRunning(child) {
  return running.has(child);
}

/** Resolves to true when the port takes connections, to false when the server ended or is too slow. */
export async function listens(child, port) {
  const end = Date.now() + START_LIMIT_MS;
  while (Date.now() < end && running.has(child)) {
    if (await connects(port)) return true;
    await pause(50);
  }
  return false;
}

function connects(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** Ends a process and its children, by force if it takes too long. */
export async function stop(child) {
  if (!running.has(child)) return;
  const pids = tree(child.pid, readProcesses());
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await Promise.race([ended, pause(STOP_LIMIT_MS)]);
  if (running.has(child)) killAll(pids);
  await ended;
}

/** For the end of this process, whatever its reason: nothing that was started stays behind. */
export function killEverything() {
  for (const child of running) killAll(tree(child.pid, readProcesses()));
}

function killAll(pids) {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  }
}

/** CPU seconds (user and system, with ended children) and resident bytes of a process and its children. */
export function usage(pid) {
  const processes = readProcesses();
  let ticks = 0;
  let pages = 0;
  for (const member of tree(pid, processes)) {
    ticks += processes.get(member)?.ticks ?? 0;
    pages += processes.get(member)?.pages ?? 0;
  }
  return { cpu: ticks / TICKS_A_SECOND, memory: pages * PAGE_BYTES };
}

function tree(pid, processes) {
  const pids = [pid];
  for (const parent of pids) {
    for (const [child, { ppid }] of processes) if (ppid === parent) pids.push(child);
  }
  return pids;
}

/** Parent, CPU time and resident pages of every process: proc(5), fields 4, 14 to 17 and 24 of stat. */
function readProcesses() {
  const processes = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      // The name in parentheses may hold spaces; field 3 begins behind it.
      const field = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number);
      const ticks = field[11] + field[12] + field[13] + field[14];
      processes.set(Number(name), { ppid: field[1], ticks, pages: field[21] });
    } catch {
      // it has ended meanwhile
    }
  }
  return processes;
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A port that nobody listens on, for servers that cannot choose their own. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
