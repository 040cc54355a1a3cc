import { describe, expect, test } from 'vitest';
import {
  client,
  conversation,
  expires,
  fails,
  logs,
  passes,
  type Step,
  server,
  spliced,
} from '../../../src/testing/index.ts';
import { ruleFrom } from './rule-from.ts';

const nothing = await ruleFrom('');
/** Answers each segment of the client, and lets the server see it in capitals. */
const shouting = await ruleFrom(`
  when('SERVER_CONNECTED', () => clientside(() => TCP.collect()));
  when('CLIENT_DATA', () => {
    TCP.respond('heard\\n');
    TCP.payload.replace(0, TCP.payload.length(), TCP.payload().toUpperCase());
    TCP.release();
    TCP.collect();
  });`);
/** TLS by the line \`TLS\`. */
const upgrading = await ruleFrom(`
  when('CLIENT_ACCEPTED', () => SSL.disable());
  when('SERVER_CONNECTED', () => clientside(() => TCP.collect()));
  when('CLIENT_DATA', () => {
    if (!TCP.payload().startsWith('TLS\\n')) return;
    TCP.payload.replace(0, 4, '');
    TCP.respond('go\\n');
    SSL.enable();
  });`);

const tls = { clientTls: true };

/** The first line of the error that a conversation ends with. */
function problem(rule: typeof nothing, steps: readonly Step[], setup = {}): string {
  try {
    conversation(rule, setup, steps);
  } catch (error) {
    return (error as Error).message.split('\n', 1)[0] ?? '';
  }
  return 'none';
}

describe('without handlers', () => {
  test('bytes and ends go through, and the outcome says what each peer saw', () => {
    const outcome = conversation(nothing, {}, [
      spliced(),
      client('hello '),
      client(Uint8Array.of(0, 255)),
      server.receives('hello \0\xff'),
      server('bye'),
      client.receives('b'),
      client.receives('ye'),
      client.receivesNothing(),
      server.ends(),
      client.seesEnd(),
      client.ends(),
      server.seesEnd(),
    ]);
    expect(outcome).toEqual({
      client: { received: ['bye'], ending: 'end' },
      server: { received: ['hello \0\xff'], ending: 'end' },
      spliced: true,
      errors: [],
    });
  });

  test('resets go through', () => {
    conversation(nothing, {}, [client.resets(), server.seesReset()]);
    conversation(nothing, {}, [server.resets(), client.seesReset()]);
  });
});

describe('a demand that is not met', () => {
  test.each<[string, Step[]]>([
    ['step 1, client.receives("x"): the client got nothing', [client.receives('x')]],
    [
      'step 2, server.receives("hallo"): the server got "hello": from byte 2 on "ello" instead of "allo"',
      [client('hello'), server.receives('hallo')],
    ],
    [
      'step 2, server.receives("hello!!"): the server got "hello": the last 2 are missing',
      [client('hello'), server.receives('hello!!')],
    ],
    [
      'step 2, server.receivesNothing(): the server got "\\n\\u0000\\xe9", which no step demands before',
      [client('\n\0\xe9'), server.receivesNothing()],
    ],
    ['step 1, client.seesEnd(): the connection of the client is still open', [client.seesEnd()]],
    ['step 2, client.seesEnd(): the client sees a reset', [server.resets(), client.seesEnd()]],
    ['step 1, client.startsTls(): TLS with the client was not started', [client.startsTls()]],
    ['step 1, client.failsTls(): TLS with the client was not started', [client.failsTls()]],
    ["step 1, expires('collect'): the collect timer is not running", [expires('collect')]],
    ['step 1, logs(/x/): no such line was logged', [logs(/x/)]],
    ['step 1, fails(x): no handler has failed', [fails('x')]],
    [
      'step 2, server.accepts(): no connection to a server is being opened',
      [server.accepts(), server.accepts()],
    ],
    [
      'step 2, server.refuses("no"): no connection to a server is being opened',
      [server.accepts(), server.refuses('no')],
    ],
    [
      'step 1, server.accepts("203.0.113.1:80"): the connection goes to 203.0.113.1:1024',
      [server.accepts('203.0.113.1:80')],
    ],
  ])('%s', (message, steps) => {
    expect(problem(nothing, steps)).toBe(message);
  });

  test('spliced()', () => {
    expect(problem(shouting, [spliced()])).toBe('step 1, spliced(): the connection is not spliced');
  });

  test('comes with a transcript', () => {
    const steps = [client('a'), server.receives('A'), client.receives('hard\n')];
    expect(() => conversation(shouting, {}, steps)).toThrow(
      [
        'step 3, client.receives("hard\\n"): the client got "heard\\n": from byte 2 on "eard\\n" instead of "ard\\n"',
        '',
        'client sends "a"',
        'client gets "heard\\n"',
        'server gets "A"',
      ].join('\n'),
    );
  });

  test('comes with the end of a long transcript, and long bytes are shortened', () => {
    const steps = Array.from({ length: 100 }, () => client('x'.repeat(1000)));
    const xs = 'x'.repeat(80);
    const sent = `client sends "${xs}" (840 more) "${xs}"`;
    expect(() => conversation(nothing, {}, steps)).toThrow(
      `\n\n(141 before)\n${sent}\nserver gets`,
    );
  });
});

describe('what no step demands', () => {
  test('bytes', () => {
    expect(problem(shouting, [client('a'), server.receives('A')])).toBe(
      'after the last step: the client got "heard\\n", which no step demands before',
    );
  });

  test('an ending', () => {
    expect(problem(nothing, [server.ends()])).toBe(
      'after the last step: the client sees FIN, which no step demands',
    );
  });

  test('an ending after another one', () => {
    expect(problem(nothing, [server.ends(), client.seesEnd(), server.resets()])).toBe(
      'after the last step: the client sees a reset, which no step demands',
    );
  });

  test('TLS', () => {
    expect(problem(nothing, [], tls)).toBe(
      'after the last step: TLS with the client was started, which no step demands',
    );
  });

  test('a handler that fails', async () => {
    const rule = await ruleFrom(`when('SERVER_CONNECTED', () => {\n  throw new Error('oh');\n});`);
    expect(problem(rule, [client.seesReset(), server.seesReset()])).toBe(
      'after the last step: a handler of SERVER_CONNECTED failed: Error: oh',
    );
    expect(problem(rule, [fails('no')])).toBe(
      'step 1, fails(no): the handler failed with: Error: oh',
    );
    expect(() => conversation(rule, {}, [])).toThrow('Error: oh (line 2, column');
    conversation(rule, {}, [fails(/oh$/), client.seesReset(), server.seesReset()]);
  });
});

describe('TLS', () => {
  const hello = '\x16\x03\x01';

  test('separates what is demanded before from what is demanded inside', () => {
    const steps = [client('TLS\n'), client.receives('go\n'), client.startsTls(), server('hi')];
    const outcome = conversation(upgrading, tls, [...steps, client.receives('hi')]);
    expect(outcome.client.received).toEqual(['go\n', 'hi']);
    expect(problem(upgrading, [client('TLS\n'), client.startsTls()], tls)).toBe(
      'step 2, client.startsTls(): the client got "go\\n", which no step demands before',
    );
    expect(problem(upgrading, [...steps, client.startsTls()], tls)).toBe(
      'step 5, client.startsTls(): TLS with the client is complete already',
    );
    expect(() => conversation(upgrading, tls, steps)).toThrow('client gets "hi" inside TLS');
  });

  test('gets the beginning of the handshake, however it arrives', () => {
    const start = [client(`TLS\n${hello}`), client('more'), client.receives('go\n')];
    conversation(upgrading, tls, [...start, client.startsTls(`${hello}more`)]);
    expect(problem(upgrading, [...start, client.startsTls()], tls)).toBe(
      'step 4, client.startsTls(): TLS was given "\\u0016\\u0003\\u0001more" of the handshake',
    );
  });

  test('fails by a step, by plaintext in the handshake, and by its end', () => {
    const start = [client('TLS\n'), client.receives('go\n')];
    const lost = [client.seesReset(), server.seesReset()];
    conversation(upgrading, tls, [...start, client.failsTls(), ...lost]);
    conversation(upgrading, tls, [...start, client('GET /'), ...lost]);
    conversation(upgrading, tls, [...start, client(hello), client.ends(), ...lost]);
    expect(problem(upgrading, [...start, client('GET /'), client.startsTls()], tls)).toBe(
      'step 4, client.startsTls(): TLS with the client has failed',
    );
  });
});

describe('the server', () => {
  const pools = { first: ['203.0.113.1:80', '[2001:db8::1]:81'], second: ['203.0.113.2:82'] };

  test('is the first member of the first pool, and the rule may choose another one', async () => {
    conversation(nothing, { pools }, [server.accepts('203.0.113.1:80')]);
    const rule = await ruleFrom(`when('CLIENT_ACCEPTED', () => pool('second'));`);
    conversation(rule, { pools }, [server.accepts('203.0.113.2:82')]);
    conversation(rule, {}, [fails("there is no pool 'second'"), client.seesReset()]);
  });

  test('may refuse, and be chosen again', async () => {
    const rule = await ruleFrom(`when('LB_FAILED', () => LB.reselect());`);
    conversation(rule, { pools }, [
      client('early'),
      server.refuses(),
      logs(/^warn: no server: 203\.0\.113\.1.* connection refused$/),
      server.accepts('[2001:db8::1]:81'),
      server.receives('early'),
    ]);
  });

  test('is missing from an empty pool', () => {
    conversation(nothing, { pools: { none: [] } }, [
      logs('the pool has no members'),
      client.seesReset(),
    ]);
  });

  test('a member must be address:port', () => {
    expect(() => conversation(nothing, { pools: { a: ['localhost'] } }, [])).toThrow(
      '"localhost" is not address:port',
    );
  });

  test('that is still being connected to is given up when the client goes', () => {
    expect(problem(nothing, [client.resets(), server.accepts()])).toBe(
      'step 2, server.accepts(): no connection to a server is being opened',
    );
  });
});

describe('time', () => {
  test('passes for after(), and events wait meanwhile', async () => {
    const rule = await ruleFrom(`
      when('SERVER_CONNECTED', () => TCP.collect());
      when('SERVER_DATA', async () => {
        await after(100);
        await after(50);
        TCP.release();
        TCP.collect();
      });`);
    conversation(rule, {}, [
      server('a'),
      server('b'),
      passes(149),
      client.receivesNothing(),
      passes(1),
      client.receives('a'),
      passes(1000),
      client.receives('b'),
    ]);
  });

  test('a suspended handler is forgotten when the connection ends', async () => {
    const rule = await ruleFrom(`
      when('SERVER_CONNECTED', async () => {
        await after(100);
        log('too late');
      });`);
    const end = [expires('handler'), client.seesReset(), server.seesReset(), passes(1000)];
    conversation(rule, {}, [...end, logs('suspended for longer')]);
    expect(problem(rule, [...end, logs('too late')])).toContain('no such line was logged');
  });

  test('a timer expires when the step says so', () => {
    conversation(upgrading, tls, [
      client('TL'),
      expires('collect'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('rules', () => {
  test('see the addresses, and log', async () => {
    const rule = await ruleFrom(`
      when('SERVER_CONNECTED', () => {
        log('warn', [IP.client_addr(), TCP.local_port('clientside'), IP.remote_addr()].join());
        log('twice');
        log('twice');
      });`);
    const setup = { clientAddress: '192.0.2.9', localPort: 995 };
    conversation(rule, setup, [
      logs('warn: 192.0.2.9,995,203.0.113.1'),
      logs('info: twice'),
      logs('info: twice'),
    ]);
    expect(problem(rule, [logs('twice'), logs('twice'), logs('twice')], setup)).toContain('step 3');
  });

  test('may drop the connection', async () => {
    const rule = await ruleFrom(`when('SERVER_CONNECTED', () => drop());`);
    conversation(rule, {}, [client.seesClose(), server.seesClose()]);
  });

  test('leave nothing behind, however a conversation ends', async () => {
    const rule = await ruleFrom(`when('CLIENT_ACCEPTED', (c) => { c.x = 1; });`);
    conversation(rule, {}, []);
    problem(rule, [client.receives('x')]);
    expect(rule.instance.liveSessions).toBe(0);
  });
});

test('bytes are bytes', () => {
  expect(() => client('\u0100')).toThrow('has a character above 0xFF, which is no byte');
  expect(() => client.receives('\u0100')).toThrow('has a character above 0xFF');
});
