import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Mailbox, startMailbox } from '../../../../src/cli/demo/mailbox.ts';
import { sampleMails } from '../../../../src/cli/demo/sample-mails.ts';

const run = promisify(execFile);

let seen: string[] = [];
let mailbox: Mailbox;
beforeEach(async () => {
  seen = [];
  mailbox = await startMailbox({ onCommand: (line) => seen.push(line) });
});
afterEach(() => mailbox.close());

async function open(port = mailbox.port): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

async function everything(socket: Socket): Promise<string> {
  return Buffer.concat(await socket.toArray()).toString('latin1');
}

/** Sends the segments one by one and returns all that comes back. */
async function converse(segments: readonly (string | Uint8Array)[]): Promise<string> {
  const socket = await open();
  const answer = everything(socket);
  for (const segment of segments) {
    await new Promise((sent) => socket.write(segment, sent));
    await turn();
  }
  const text = await answer;
  socket.end();
  return text;
}

const SESSION = 'CAPA\r\nUSER alice\r\nPASS demo\r\nRETR 2\r\nQUIT\r\n';

describe('a session over a socket', () => {
  it('is answered in full', async () => {
    const text = await converse([SESSION]);
    expect(text).toMatch(/^\+OK The demo mailbox is ready\r\n\+OK/);
    expect(text).toContain('..This line begins with a dot.');
    expect(text).toMatch(/\r\n\.\r\n\+OK goodbye\r\n$/);
    expect(seen).toEqual(['CAPA', 'USER alice', 'PASS (hidden)', 'RETR 2', 'QUIT']);
  });

  it('is the same wherever it is cut', async () => {
    const whole = await converse([SESSION]);
    for (let cut = 1; cut < SESSION.length; cut++) {
      expect(await converse([SESSION.slice(0, cut), SESSION.slice(cut)])).toBe(whole);
    }
    expect(await converse([...SESSION])).toBe(whole);
  });

  it('is the same with bare line feeds', async () => {
    expect(await converse([SESSION.replaceAll('\r', '')])).toBe(await converse([SESSION]));
  });

  it('is answered to a client that has already sent FIN', async () => {
    const socket = await open();
    socket.end('USER alice\r\nPASS demo\r\nRETR 1\r\nSTA');
    const text = await everything(socket);
    expect(text).toContain('Your ship is in');
    expect(text).toMatch(/\r\n\.\r\n$/);
  });

  it('ends behind QUIT, whatever follows', async () => {
    const text = await converse([`QUIT\r\n${'NOOP\r\n'.repeat(20_000)}`]);
    expect(text).toMatch(/goodbye\r\n$/);
    expect(seen).toEqual(['QUIT']);
  });
});

describe('limits', () => {
  it.each([
    ['without an end', `USER ${'a'.repeat(5000)}`],
    ['with one', `USER ${'a'.repeat(5000)}\r\nNOOP\r\n`],
  ])('ends the session on a line too long %s', async (_, line) => {
    const text = await converse([line]);
    expect(text).toMatch(/-ERR the line is too long\r\n$/);
    expect(seen).toEqual([]);
  });

  it('does not read on while the client does not take the replies', async () => {
    const socket = await open();
    socket.pause();
    const flood = Buffer.from(`USER a\r\nPASS demo\r\n${'RETR 1\r\n'.repeat(200_000)}`);
    socket.write(flood);
    // The kernel's buffers are full on both ways when nothing moves for some turns.
    let before = -1;
    for (let still = 0; still < 200; still++) {
      await turn();
      if (seen.length !== before) still = 0;
      before = seen.length;
    }
    expect(seen.length).toBeLessThan(200_000);
    socket.destroy();
  });

  it('survives bytes that are no POP3', async () => {
    const text = await converse([Buffer.from([0x16, 3, 1, 0, 5, 0, 0xff, 10, 13, 10]), 'QUIT\r\n']);
    expect(text).toMatch(/-ERR unknown command\r\n-ERR unknown command\r\n\+OK goodbye\r\n$/);
    expect(seen).toEqual(['(unknown command)', '(unknown command)', 'QUIT']);
  });

  it('drops a silent client', async () => {
    const impatient = await startMailbox({ idleMs: 50 });
    try {
      const socket = await open(impatient.port);
      expect(await everything(socket)).toMatch(/^\+OK .*\r\n$/);
    } finally {
      await impatient.close();
    }
  });

  it('serves 50 at once and turns the next away, until one goes', async () => {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => open()));
    await Promise.all(sockets.map((socket) => once(socket, 'data')));
    expect(await everything(await open())).toBe('');
    const [first] = sockets;
    if (first) first.end('QUIT\r\n');
    if (first) await once(first, 'close');
    expect(await converse(['QUIT\r\n'])).toMatch(/goodbye/);
    for (const socket of sockets) socket.destroy();
  });

  it('survives a reset', async () => {
    const socket = await open();
    socket.write('USER alice\r\n');
    await once(socket, 'data');
    socket.resetAndDestroy();
    expect(await converse(['QUIT\r\n'])).toMatch(/goodbye/);
  });
});

it('close() ends open sessions', async () => {
  const other = await startMailbox();
  const socket = await open(other.port);
  await once(socket, 'data');
  const closed = once(socket, 'close');
  await other.close();
  socket.resume().end();
  await closed;
  await expect(open(other.port)).rejects.toThrow('ECONNREFUSED');
});

describe.skipIf(!hasCurl())('curl', () => {
  const curl = (path: string, ...options: string[]) => {
    const url = `pop3://127.0.0.1:${mailbox.port}/${path}`;
    return run('curl', ['-sS', '--max-time', '10', '-u', 'alice:demo', ...options, url]);
  };

  it.each(sampleMails.map(({ text }, i) => [i + 1, text] as const))(
    'fetches mail %i byte for byte',
    async (number, text) => {
      expect((await curl(String(number))).stdout).toBe(text);
    },
  );

  it('lists with AUTH PLAIN, with and without an initial response', async () => {
    const list = sampleMails.map(({ text }, i) => `${i + 1} ${text.length}\r\n`).join('');
    for (const options of [[], ['--sasl-ir']]) {
      expect((await curl('', ...options)).stdout).toBe(list);
    }
    expect(seen).toContain('AUTH PLAIN response (user alice)');
    expect(seen).toContain('AUTH PLAIN (user alice)');
  });

  it('is refused with a wrong password', async () => {
    await expect(curl('1', '-u', 'alice:wrong')).rejects.toMatchObject({ code: 67 });
  });
});

function hasCurl(): boolean {
  try {
    return execFileSync('curl', ['--version']).includes('pop3');
  } catch {
    return false;
  }
}
