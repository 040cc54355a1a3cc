// Measures Portreeve beside its peers: see README.md.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { measure, measureMemory, prepare } from './measure.mjs';
import { cores, killEverything, startTool } from './processes.mjs';
import { printMemory, printSandbox, printScenario } from './report.mjs';
import { memory, scenarios } from './scenarios.mjs';

const names = [...scenarios.map(({ name }) => name), 'sandbox', 'memory'];

function readOptions() {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, rounds: { type: 'string' }, secs: { type: 'string' } },
  });
  const only = values.only?.split(',') ?? names;
  const unknown = only.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new TypeError(`--only: no scenario ${unknown}`);
  const rounds = Number(values.rounds ?? 5);
  const seconds = Number(values.secs ?? 2);
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 100)) {
    throw new TypeError('--rounds: a whole number from 1 to 100');
  }
  if (!(seconds >= 0.1 && seconds <= 60)) throw new TypeError('--secs: 0.1 to 60');
  return { only, rounds, seconds };
}

/** The handlers run in a process of their own, on the proxy's core; a quarter of a round for each variant. */
async function measureSandbox(folder, { rounds, seconds }) {
  const script = fileURLToPath(new URL('sandbox.mjs', import.meta.url));
  const args = [folder, rounds, seconds / 4].map(String);
  const limitMs = 30_000 + rounds * seconds * 10_000;
  const child = startTool(cores.proxy, [process.execPath, script, ...args], limitMs);
  const output = await text(child.stdout);
  if (output === '') throw new Error('the sandbox benchmark failed');
  return JSON.parse(output);
}

async function main(options) {
  const wanted = (name) => options.only.includes(name);
  const started = Date.now();
  const where = cores.load === undefined ? 'not pinned' : `cores ${cores.proxy} and ${cores.load}`;
  console.log(`${options.rounds} rounds of ${options.seconds} s, ${where}`);
  const folder = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
  chmodSync(folder, 0o711); // some peers drop to users of their own
  process.on('exit', () => {
    killEverything();
    rmSync(folder, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  const setup = options.only.some((name) => name !== 'sandbox') ? prepare(folder) : undefined;
  for (const scenario of scenarios.filter(({ name }) => wanted(name))) {
    printScenario(scenario, await measure(setup, scenario, options));
  }
  if (wanted('sandbox')) printSandbox(await measureSandbox(folder, options));
  if (wanted('memory')) printMemory(memory, await measureMemory(setup, memory, options));
  console.log(`\n${((Date.now() - started) / 1000).toFixed(0)} s`);
}

try {
  await main(readOptions());
} catch (error) {
  console.error(error.message);
  process.exit(error instanceof TypeError ? 2 : 1);
}
