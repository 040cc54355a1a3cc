// Reloads an engine many times, each time with another rule, while connections come, stay and go.
// Prints what the process holds along the way as one line of JSON. Arguments: folder, reloads, warm-up.
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Engine } from '../../../dist/engine/index.js';

const [folder = '', reloads = '0', warmUp = '0'] = process.argv.slice(2);
const OPEN_AT_A_TIME = 8;
const CONNECT_EVERY = 5;

const silent = () => undefined;
const logger = {
  level: 'info',
  error: (message, fields) => console.error(message, fields),
  warn: (message, fields) => console.error(message, fields),
  info: silent,
  debug: silent,
  flush: () => Promise.resolve(),
};

function save(version) {
  writeFileSync(
    join(folder, 'rule.js'),
    `// ${'padding '.repeat(500)}
when('SERVER_CONNECTED', () => clientside(() => TCP.collect()));
when('CLIENT_DATA', () => {
  TCP.payload.replace(0, 0, 'version ${version}: ');
  TCP.release();
  TCP.collect();
});
`,
  );
}

async function ask(client, text) {
  client.write(text);
  const [answer] = await once(client, 'data');
  return String(answer);
}

/** A connection that must have got the rule of this version, and keep it. */
async function open(port, version) {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const expected = `version ${version}: x`;
  const check = async () => {
    const answer = await ask(socket, 'x');
    if (answer !== expected) throw new Error(`${answer} instead of ${expected}`);
  };
  await check();
  return { socket, check };
}

async function holds() {
  // Memory that is free is told from memory that is kept only after the collector has run, twice:
  // what the first run finds may hold what lies outside the heap.
  for (let i = 0; i < 2; i++) {
    globalThis.gc?.();
    await nextTurn();
  }
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  return { rss, heapUsed, external, arrayBuffers, files: readdirSync('/proc/self/fd').length };
}

const echo = createServer((socket) => socket.on('error', silent).pipe(socket));
await once(echo.listen(0, '127.0.0.1'), 'listening');
const config = join(folder, 'portreeve.json');
writeFileSync(
  config,
  JSON.stringify({
    virtualServers: { main: { listen: '127.0.0.1:0', pool: 'echo', rules: ['./rule.js'] } },
    pools: { echo: { members: [`127.0.0.1:${echo.address().port}`] } },
  }),
);
save(0);
const engine = await Engine.start(config, { logger, watch: false });
const [{ port }] = engine.listeners;

const connections = [];
const samples = [];
for (let version = 1; version <= Number(reloads); version++) {
  save(version);
  if (!(await engine.reload())) throw new Error(`reload ${version} was refused`);
  if (version % CONNECT_EVERY === 0) {
    connections.push(await open(port, version));
    if (connections.length > OPEN_AT_A_TIME) connections.shift().socket.destroy();
  }
  if (version === Number(warmUp)) samples.push(await holds());
}
for (const { check } of connections) await check();
samples.push(await holds());
process.stdout.write(`${JSON.stringify(samples)}\n`);
for (const { socket } of connections) socket.destroy();
await engine.stop();
echo.close();
