import { beforeAll, expect, test } from 'vitest';
import { LineClient } from './harness/line-client.ts';
import { startEcho } from './harness/network.ts';
import { type Portreeve, placeInLog, startPortreeve } from './harness/portreeve.ts';
import { within } from './harness/process.ts';

// A rule that goes wrong costs the connection that it was running for, and no other one.

const BYSTANDERS = 200;

const faults = {
  exception: `() => { throw new Error('on purpose'); }`,
  loop: '() => { for (;;); }',
  recursion: '() => { const deeper = (n) => 1 + deeper(n + 1); deeper(0); }',
  memory: '() => { const hoard = []; for (;;) hoard.push(new Uint8Array(1 << 20).fill(1)); }',
  regex: "() => /(a+)+$/.test('a'.repeat(64) + '!')",
} as const;

type Fault = keyof typeof faults;

const rule = `const faults = {
${Object.entries(faults)
  .map(([name, code]) => `  ${name}: ${code},`)
  .join('\n')}
};
when('SERVER_CONNECTED', (c) => {
  c.lines = 0;
  clientside(() => TCP.collect());
});
when('CLIENT_DATA', (c) => {
  faults[TCP.payload().trim()]?.();
  c.lines += 1;
  TCP.payload.replace(0, 0, c.lines + ' ');
  TCP.release();
  TCP.collect();
});
`;

let portreeve: Portreeve;

beforeAll(async () => {
  const echo = await startEcho();
  portreeve = await startPortreeve(
    {
      virtualServers: {
        echo: { listen: '127.0.0.1:0', pool: 'echo', rules: ['./faults.js'] },
      },
      pools: { echo: { members: [`127.0.0.1:${echo.port}`] } },
    },
    { 'faults.js': rule },
  );
  return async () => {
    await portreeve.stop();
    await echo.stop();
  };
});

/** A connection that exchanges line after line, each one numbered by the rule. */
class Bystander {
  /** Settles when it is told to stop; fails at the first wrong answer. */
  readonly finished: Promise<void>;
  private exchanged = 0;
  private stopping = false;
  private wake: () => void = () => undefined;

  constructor(private readonly client: LineClient) {
    this.finished = this.work();
    this.finished.catch(() => undefined); // Reported to whoever waits.
  }

  /** Waits until two more lines came back: the second one was sent after this call. */
  async goOn(): Promise<void> {
    const goal = this.exchanged + 2;
    while (this.exchanged < goal) {
      await Promise.race([
        this.finished,
        new Promise<void>((resolve) => {
          this.wake = resolve;
        }),
      ]);
    }
  }

  stop(): Promise<void> {
    this.stopping = true;
    return this.finished;
  }

  private async work(): Promise<void> {
    while (!this.stopping) {
      const expected = `${this.exchanged + 1} line`;
      const answer = await this.client.ask('line');
      if (answer !== expected) throw new Error(`${answer} instead of ${expected}`);
      this.exchanged += 1;
      this.wake();
    }
    this.client.destroy();
  }
}

/** The line of faults.js on which a fault stands, from 1. */
function lineOf(fault: Fault): number {
  return rule.split('\n').findIndex((line) => line.includes(faults[fault])) + 1;
}

test('faults of a rule hurt only their own connection', async () => {
  const port = portreeve.port('echo');
  const clients = await Promise.all(
    Array.from({ length: BYSTANDERS }, () => LineClient.connect(port)),
  );
  const bystanders = clients.map((client) => new Bystander(client));
  const everybody = () => Promise.all(bystanders.map((one) => one.goOn()));
  await everybody();
  for (const fault of Object.keys(faults) as Fault[]) {
    const logged = portreeve.log.text.length;
    const culprit = await LineClient.connect(port);
    expect(await culprit.ask('good')).toBe('1 good');
    culprit.send(`${fault}\r\n`);
    expect(await within(5_000, `${fault} to be ended`, () => culprit.ended)).toBe('reset');
    await within(5_000, `all to go on after ${fault}`, everybody);
    const line = await portreeve.log.waitFor(placeInLog('faults.js', lineOf(fault)), logged);
    expect(line).toContain('CLIENT_DATA');
  }
  await Promise.all(bystanders.map((one) => one.stop()));
});
