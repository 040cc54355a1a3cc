// What the sandbox costs: the same rules, events and commands, once in QuickJS and once as plain
// JavaScript in this process. Prints one JSON array. Arguments: a folder
// for the rules' files, rounds, seconds for each round and variant.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { commandTable } from '../../dist/commands/index.js';
import { Payload } from '../../dist/core/payload.js';
import { RuleRun } from '../../dist/core/rule-run.js';
import { buildRuleInstance } from '../../dist/sandbox/index.js';

const [folder, rounds, seconds] = process.argv.slice(2);
const OPTIONS = { realm: 'realm' };
const BATCH = 500;

const rules = [
  { name: 'an empty handler', source: "when('CLIENT_DATA', () => {});\n" },
  {
    name: 'release and collect',
    source: "when('CLIENT_DATA', () => { TCP.release(); TCP.collect(); });\n",
  },
  {
    name: 'rewrite `USER x`',
    source: readFileSync(new URL('line.js', import.meta.url), 'utf8'),
  },
];

const services = {
  virtualServer: 'bench',
  addresses: () => undefined,
  hasTlsProfile: () => false,
  hasPool: () => false,
  log: (_level, rule, message) => console.error(`${rule}: ${message}`),
  after: () => {
    throw new Error('no rule here waits');
  },
};

const held = new Payload();
held.append(Buffer.from('USER alice\r\n'));
const flow = {
  client: { open: true, tls: 'none', payload: held },
  server: { open: true, tls: 'none', payload: new Payload() },
  selection: {},
};

/** A function that fires CLIENT_DATA once, in the sandbox, and returns the recorded actions. */
async function inSandbox({ name, source }) {
  const path = join(folder, 'rule.js');
  writeFileSync(path, source);
  const rules = [{ name, path, options: OPTIONS }];
  const { instance, problems } = await buildRuleInstance({
    rules,
    commands: commandTable,
    services,
  });
  if (instance === undefined) throw new Error(JSON.stringify(problems));
  const session = instance.open();
  return () => {
    const run = new RuleRun('CLIENT_DATA', flow, services);
    const outcome = session.run(run, () => {});
    if (outcome.type !== 'done') throw new Error(JSON.stringify(outcome));
    return run.actions;
  };
}

/** The same without a sandbox: the rule is a function of this process and calls the commands directly. */
function inPlain({ source }) {
  const handlers = [];
  const connection = {};
  let run;
  const scope = commandsOver(() => run);
  scope.when = (event, handler) => {
    if (event === 'CLIENT_DATA') handlers.push(handler);
  };
  scope.clientside = (callback) => callback();
  scope.options = OPTIONS;
  new Function(...Object.keys(scope), `'use strict';\n${source}`)(...Object.values(scope));
  return () => {
    run = new RuleRun('CLIENT_DATA', flow, services);
    for (const handler of handlers) handler(connection);
    return run.actions;
  };
}

/** The command table as objects and functions: `TCP.payload` is a function with properties. */
function commandsOver(currentRun) {
  const scope = {};
  for (const { name, how, params, returns } of commandTable) {
    if (how.kind !== 'call') continue;
    const isBinary = params.map(({ type }) => type === 'binary');
    const call = (...args) => {
      const given = args.map((arg, i) => (isBinary[i] ? Buffer.from(arg, 'latin1') : arg));
      const result = how.run(currentRun(), ...given);
      return returns === 'binary' ? Buffer.from(result).latin1Slice() : result;
    };
    const path = name.split('.');
    const last = path.pop();
    let owner = scope;
    for (const part of path) {
      owner[part] ??= {};
      owner = owner[part];
    }
    Object.defineProperty(owner, last, { value: call, enumerable: true });
  }
  return scope;
}

/** CPU microseconds for one call, over `seconds`. */
function time(fire, seconds) {
  const end = performance.now() + seconds * 1000;
  const start = process.cpuUsage();
  let events = 0;
  while (performance.now() < end) {
    for (let i = 0; i < BATCH; i++) fire();
    events += BATCH;
  }
  const { user, system } = process.cpuUsage(start);
  return (user + system) / events;
}

/** Actions with their data as text: the two variants may use different byte arrays. */
function readable(actions) {
  return actions.map((action) =>
    'data' in action ? { ...action, data: Buffer.from(action.data).toString('latin1') } : action,
  );
}

const cases = [];
for (const rule of rules) {
  const variants = { sandbox: await inSandbox(rule), plain: inPlain(rule) };
  if (!isDeepStrictEqual(readable(variants.sandbox()), readable(variants.plain()))) {
    throw new Error(`${rule.name}: the two variants do not do the same`);
  }
  cases.push({ name: rule.name, variants, sandbox: [], plain: [] });
}
for (let round = 0; round <= Number(rounds); round++) {
  for (const { variants, ...samples } of cases) {
    for (const variant of ['sandbox', 'plain']) {
      const cost = time(variants[variant], Number(seconds));
      if (round > 0) samples[variant].push(cost);
    }
  }
}
console.log(JSON.stringify(cases.map(({ name, sandbox, plain }) => ({ name, sandbox, plain }))));
process.exit(0);
