import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/index.ts';
import type { Peer } from '../net/peer.ts';
import { ask, EngineLab, line } from './engine-lab.ts';

/**
 * Numbers the connections of one sandbox and the lines of each connection, and does harm when it
 * is told to.
 */
const RULE = `let connections = 0;
const hoard = [];
when('SERVER_CONNECTED', (c) => {
  c.number = ++connections;
  c.lines = 0;
  clientside(() => TCP.collect());
});
when('CLIENT_DATA', (c) => {
  if (TCP.payload() === 'hoard\\n') for (;;) hoard.push(new Uint8Array(1 << 20).fill(1));
  if (TCP.payload() === 'throw\\n') throw new Error('on purpose');
  c.lines += 1;
  TCP.payload.replace(0, 0, 'connection ' + c.number + ' line ' + c.lines + ' ');
  TCP.release();
  TCP.collect();
});
`;

let lab: EngineLab;
beforeEach(() => {
  lab = new EngineLab();
});
afterEach(() => lab.close());

async function start(): Promise<Engine> {
  const echo = await lab.server('one');
  lab.write('rule.js', RULE);
  return lab.start({
    virtualServers: { main: { listen: '127.0.0.1:0', pool: 'servers', rules: ['./rule.js'] } },
    pools: { servers: { members: [`127.0.0.1:${echo}`] } },
  });
}

async function greeted(engine: Engine): Promise<Peer> {
  const client = await lab.client({ engine });
  expect(await line(client)).toBe('one');
  return client;
}

describe('a rule that fails', () => {
  it('loses its own connection only, and the sandbox stays', async () => {
    const engine = await start();
    const bystander = await greeted(engine);
    expect(await ask(bystander, 'a')).toBe('connection 1 line 1 a');
    const culprit = await greeted(engine);
    culprit.socket.write('throw\n');
    await culprit.untilClosed();
    expect(culprit.error).toBe('ECONNRESET');
    expect(lab.logger.lines[0]).toMatch(
      /^error: rule \.\/rule\.js failed in CLIENT_DATA at .*:10:\d+: Error: on purpose/,
    );
    expect(await ask(bystander, 'b')).toBe('connection 1 line 2 b');
    expect(await ask(await greeted(engine), 'c')).toBe('connection 3 line 1 c');
    expect(lab.logger.with('the sandbox is replaced')).toHaveLength(0);
  });

  it('and spoils its sandbox gets a new one for the connections to come', async () => {
    const engine = await start();
    const bystander = await greeted(engine);
    expect(await ask(bystander, 'a')).toBe('connection 1 line 1 a');
    const culprit = await greeted(engine);
    culprit.socket.write('hoard\n');
    await culprit.untilClosed();
    await lab.logger.untilLogged('warn: the sandbox is replaced after a fault of its rules');
    expect(await ask(bystander, 'b')).toBe('connection 1 line 2 b');
    await untilReplaced(engine);
    expect(await ask(bystander, 'c')).toBe('connection 1 line 3 c');
    expect(lab.logger.with('the sandbox is replaced')).toHaveLength(1);
    expect(lab.logger.with('rule ./rule.js failed in CLIENT_DATA')).toHaveLength(1);
  });

  it('is replaced from what it was made of, whatever the file says now', async () => {
    const engine = await start();
    lab.write('rule.js', 'not a rule at all (');
    const culprit = await greeted(engine);
    culprit.socket.write('hoard\n');
    await culprit.untilClosed();
    await lab.logger.untilLogged('the sandbox is replaced');
    await untilReplaced(engine);
    expect(lab.logger.with('do not load any more')).toHaveLength(0);
  });

  it('time after time is replaced time after time', async () => {
    const engine = await start();
    for (let turn = 1; turn <= 3; turn++) {
      const culprit = await greeted(engine);
      culprit.socket.write('hoard\n');
      await culprit.untilClosed();
      await lab.logger.until(
        () => lab.logger.with('the sandbox is replaced').length === turn,
        'the replacement',
      );
      await untilReplaced(engine);
    }
  });
});

/** New connections come to the old sandbox until the new one is loaded. */
async function untilReplaced(engine: Engine): Promise<void> {
  for (;;) {
    const client = await greeted(engine);
    const answer = await ask(client, 'x');
    client.socket.destroy();
    if (answer === 'connection 1 line 1 x') return;
  }
}
