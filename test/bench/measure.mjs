// One run of a scenario: starts all systems, lets them take turns, and collects the figures.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  cores,
  freePort,
  isRunning,
  listens,
  pause,
  startServer,
  startTool,
  stop,
  usage,
} from './processes.mjs';

const SETTLE_MS = 50;

/** Compiles the generator and the backends and makes a certificate with its key, all in `folder`. */
export function prepare(folder) {
  for (const [name, ...libraries] of [['load', '-lssl', '-lcrypto'], ['backend']]) {
    const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
    must('cc', ['-O2', '-o', join(folder, name), source, ...libraries], 'gcc libssl-dev');
  }
  const cert = join(folder, 'cert.pem');
  const request = 'req -x509 -nodes -days 2 -subj /CN=localhost -newkey ec';
  const curve = ['-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  must('openssl', [...request.split(' '), ...curve, '-keyout', cert, '-out', cert], 'openssl');
  return { folder, cert };
}

function must(command, args, packages) {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 60_000 });
  if (status === 0) return;
  throw new Error(`cannot run ${command} (Debian: ${packages})\n${stderr ?? ''}`);
}

/** Starts one system in its own folder. Undefined, with a line that says why, when a peer does not listen. */
async function startSystem(setup, scenario, name, start, backend) {
  const folder = join(setup.folder, scenario, name);
  mkdirSync(folder, { recursive: true });
  const listen = await freePort();
  const context = { cert: setup.cert, folder, listen, backend: backend.port, auth: backend.auth };
  const { command, files, packages } = start(context);
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  const child = startServer(cores.proxy, command, folder);
  if (await listens(child, listen)) return { name, child, port: listen, pid: child.pid };
  await stop(child);
  const said = readFileSync(join(folder, 'log'), 'utf8').trim().slice(-400);
  if (packages === undefined) throw new Error(`${scenario}: ${name} does not start. ${said}`);
  console.log(`${scenario}: ${name} does not start and is left out (Debian: ${packages}). ${said}`);
  return undefined;
}

function linesOf(child) {
  return createInterface(child.stdout)[Symbol.asyncIterator]();
}

async function startBackend(setup, kind) {
  const child = startTool(cores.load, [join(setup.folder, 'backend'), kind]);
  const { value } = await linesOf(child).next();
  if (value === undefined) throw new Error(`the backend ${kind} failed`);
  const [port, auth] = value.split(' ').map(Number);
  return { child, port, auth };
}

/** Starts the generator, and resolves when it is ready to count. */
async function startLoad(setup, args) {
  const child = startTool(cores.load, [join(setup.folder, 'load'), ...args.map(String)]);
  const lines = linesOf(child);
  if ((await lines.next()).value !== 'ready') throw new Error(`the generator failed: ${args}`);
  return { child, lines };
}

/** Lets the generator count; its result, a JSON object. */
async function finishLoad({ child, lines }) {
  child.stdin.end('\n');
  const { value } = await lines.next();
  if (value === undefined) throw new Error('the generator ended without a result');
  return JSON.parse(value);
}

async function measureOnce(setup, system, backend, load, seconds) {
  const filled = load.map((arg) => ({ PORT: system.port, SECONDS: seconds })[arg] ?? arg);
  const generator = await startLoad(setup, filled);
  const before = usage(system.pid).cpu;
  const backendBefore = usage(backend.child.pid).cpu;
  const result = await finishLoad(generator);
  const cpu = usage(system.pid).cpu - before;
  const otherCpu = result.cpu + usage(backend.child.pid).cpu - backendBefore;
  if (!isRunning(system.child)) throw new Error(`${system.name} ended while it was measured`);
  await pause(SETTLE_MS);
  return { ...result, cpu, otherCpu };
}

/**
 * Runs one scenario. All systems are up at once, idle ones cost nothing; they take turns within each
 * round, and a first round is thrown away.
 * @returns by load, then by system: the samples of all rounds.
 */
export async function measure(setup, scenario, { rounds, seconds }) {
  const backend = await startBackend(setup, scenario.backend);
  const systems = [];
  for (const [name, start] of Object.entries(scenario.systems)) {
    const system = await startSystem(setup, scenario.name, name, start, backend);
    if (system) systems.push(system);
  }
  const samples = {};
  for (const [loadName, load] of Object.entries(scenario.loads)) {
    const bySystem = Object.fromEntries(systems.map(({ name }) => [name, []]));
    samples[loadName] = bySystem;
    for (let round = 0; round <= rounds; round++) {
      for (const [turn] of systems.entries()) {
        const system = systems[(turn + round) % systems.length];
        const sample = await measureOnce(setup, system, backend, load, seconds);
        if (round > 0) bySystem[system.name].push(sample);
      }
    }
  }
  for (const { child } of [...systems, backend]) await stop(child);
  return samples;
}

/** Opens idle connections through a fresh process of each system. Samples in bytes a connection. */
export async function measureMemory(setup, memory, { rounds }) {
  const backend = await startBackend(setup, 'echo');
  const samples = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, start] of Object.entries(memory.systems)) {
      if (round > 0 && !samples[name]) continue;
      const system = await startSystem(setup, 'memory', name, start, backend);
      if (!system) continue;
      const warmUp = ['sessions', system.port, 1, 0.5, 'echo'];
      await finishLoad(await startLoad(setup, warmUp));
      const base = await settledMemory(system.pid);
      const load = await startLoad(setup, ['idle', system.port, memory.connections]);
      const grown = await settledMemory(system.pid);
      const { units, failed, problem } = await finishLoad(load);
      await stop(system.child);
      samples[name] ??= [];
      samples[name].push({ base, bytes: (grown - base) / units, failed, problem });
    }
  }
  await stop(backend.child);
  return samples;
}

/** Resident memory, read until it stands still for a moment, for at most three seconds. */
async function settledMemory(pid) {
  let last = usage(pid).memory;
  for (let tries = 0; tries < 10; tries++) {
    await pause(300);
    const now = usage(pid).memory;
    if (now === last) break;
    last = now;
  }
  return last;
}
