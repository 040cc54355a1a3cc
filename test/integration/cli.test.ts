import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { RunningProcess, run, temporaryFolder } from './harness/process.ts';

const program = resolve('bin/portreeve.js');

function portreeve(args: readonly string[], folder = temporaryFolder()): RunningProcess {
  return new RunningProcess(process.execPath, [program, ...args], { folder });
}

async function folderWith(config: object): Promise<string> {
  const folder = temporaryFolder();
  await writeFile(join(folder, 'portreeve.json'), JSON.stringify(config));
  return folder;
}

async function listen(port = 0): Promise<Server | undefined> {
  const server = createServer((socket) => socket.on('error', () => {})).listen(port, '127.0.0.1');
  // Somebody else's already: just as well for a test that wants the port to be taken.
  return once(server, 'listening').then(
    () => server,
    () => undefined,
  );
}

const plain = {
  virtualServers: { plain: { listen: '127.0.0.1:0', pool: 'nowhere' } },
  pools: { nowhere: { members: ['127.0.0.1:9'] } },
};

describe('run', () => {
  test('says where it listens, and ready last; SIGTERM ends it with 0', async () => {
    const child = portreeve(['run', 'portreeve.json'], await folderWith(plain));
    await child.stdout.waitFor(/^ready$/m);
    expect(child.stdout.text).toMatch(/^plain listening on 127\.0\.0\.1:[1-9]\d*\nready\n$/);
    expect(await child.stop()).toBe(0);
    expect(child.stderr.text).toContain('SIGTERM');
  });

  test('waits for an open connection, and a second signal does not', async () => {
    const backend = await listen();
    const address = backend?.address();
    if (address === null || typeof address !== 'object') throw new Error('no backend');
    const pools = { nowhere: { members: [`127.0.0.1:${address.port}`] } };
    const child = portreeve(['run', 'portreeve.json'], await folderWith({ ...plain, pools }));
    const ready = await child.stdout.waitFor(/^ready$/m);
    const accepted = once(backend as Server, 'connection');
    const client = connect(Number(/:(\d+)\n/.exec(ready)?.[1]), '127.0.0.1');
    client.on('error', () => {});
    await accepted;
    child.kill('SIGINT');
    await child.stderr.waitFor('SIGINT: waiting');
    expect(child.over).toBe(false);
    expect(client.destroyed).toBe(false);
    child.kill('SIGINT');
    expect(await child.ended).toBe(0);
    client.destroy();
    backend?.close();
  });

  test('SIGHUP does not end it', async () => {
    const child = portreeve(['run', 'portreeve.json'], await folderWith(plain));
    await child.stdout.waitFor(/^ready$/m);
    child.kill('SIGHUP');
    expect(await child.stop()).toBe(0);
  });

  test('SIGHUP does not end it while it starts, but is heeded afterwards', async () => {
    const { plain: server } = plain.virtualServers;
    const folder = await folderWith({
      ...plain,
      virtualServers: { plain: { ...server, rules: ['./slow.js'] } },
    });
    const rule =
      "when('RULE_INIT', () => { log('info', 'loading'); for (let i = 0; i < 1e5; i++); });";
    await writeFile(join(folder, 'slow.js'), rule);
    const child = portreeve(['run', 'portreeve.json', '--no-watch'], folder);
    await child.stderr.waitFor('loading');
    child.kill('SIGHUP');
    await child.stderr.waitFor('reloaded');
    expect(child.stdout.text).toContain('ready');
    expect(await child.stop()).toBe(0);
  });

  test('logs JSON in a pipe, and what the options say', async () => {
    const args = ['run', 'portreeve.json', '--no-watch', '--log-level', 'debug'];
    const child = portreeve(args, await folderWith(plain));
    await child.stdout.waitFor(/^ready$/m);
    expect(await child.stop()).toBe(0);
    for (const line of child.stderr.text.trimEnd().split('\n')) {
      expect(JSON.parse(line)).toHaveProperty('msg');
    }
  });

  test('ends with 2 and the place of the mistake', async () => {
    const folder = await folderWith({ virtualServers: { plain: { listn: '127.0.0.1:0' } } });
    const result = await run(process.execPath, [program, 'run', 'portreeve.json'], { folder });
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/portreeve\.json:1:\d+: .*listn/);
    expect(result.stdout).toBe('');
  });
});

describe('check', () => {
  test('finds nothing, or what is wrong with each file', async () => {
    const folder = await folderWith(plain);
    const check = (...files: string[]) =>
      run(process.execPath, [program, 'check', ...files], { folder });
    expect(await check('portreeve.json')).toMatchObject({
      code: 0,
      stdout: 'portreeve.json: fine\n',
    });
    const both = await check('missing.json', 'portreeve.json');
    expect(both.code).toBe(2);
    expect(both.stdout).toContain('missing.json: 1 problem\n');
    expect(both.stdout).toContain('portreeve.json: fine\n');
  });
});

describe('demo', () => {
  test('shows commands that work as they stand, and what the mailbox saw', async () => {
    const demo = portreeve(['demo']);
    const shown = await demo.stdout.waitFor(/^Ctrl\+C ends the demo\..*\n/m);
    const commands = [...shown.matchAll(/^ {2}# .*\n {2}(.*)$/gm)].map(
      ([, command = '']) => command,
    );
    expect(commands).toHaveLength(3);
    const mails = ['Your ship is in', 'Dots on the horizon', 'one penny'];
    for (const [i, mail] of mails.entries()) {
      const result = await run('sh', ['-c', commands[i] ?? '']);
      expect(result, result.stderr).toMatchObject({ code: 0 });
      expect(result.stdout).toContain(mail);
    }
    expect(demo.stdout.text).toMatch(/the mailbox saw: .*alice@example\.com/);
    expect(demo.stdout.text).toContain('the mailbox saw: USER bob@example.com');
    expect(demo.stdout.text).not.toMatch(/PASS demo\n|AGFsaWNl/);
    const folder = /\((\/.*)\/portreeve\.json;/.exec(shown)?.[1] ?? '';
    expect(existsSync(folder)).toBe(true);
    expect(await demo.stop()).toBe(0);
    expect(existsSync(folder)).toBe(false);
  });

  test('takes free ports when the usual ones are taken', async () => {
    const takers = await Promise.all([listen(1110), listen(1995)]);
    const demo = portreeve(['demo']);
    const shown = await demo.stdout.waitFor(/^Ctrl\+C ends the demo\..*\n/m);
    const ports = [...shown.matchAll(/^pop3s? listening on 127\.0\.0\.1:(\d+)$/gm)];
    expect(ports).toHaveLength(2);
    for (const [, port] of ports) expect(['1110', '1995']).not.toContain(port);
    expect(await demo.stop()).toBe(0);
    for (const taker of takers) taker?.close();
  });

  test('fails when a port that was asked for is taken', async () => {
    const taker = await listen();
    const address = taker?.address();
    if (address === null || typeof address !== 'object') throw new Error('no port');
    const result = await run(process.execPath, [program, 'demo', '--port', String(address.port)]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(String(address.port));
    taker?.close();
  });

  test('leaves nothing behind on a signal while it starts', async () => {
    const folder = temporaryFolder();
    const demo = new RunningProcess(process.execPath, [program, 'demo'], {
      folder,
      env: { TMPDIR: folder },
    });
    await demo.stdout.waitFor('listens on');
    demo.kill('SIGHUP');
    expect(await demo.ended).toBe(0);
    const left = await run('ls', ['-A', folder]);
    expect(left.stdout).toBe('');
  });
});
