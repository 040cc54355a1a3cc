// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how configurations refer to the environment
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../../src/config/index.ts';
import { Folder } from './folder.ts';

const folder = new Folder();
beforeAll(() => {
  folder.certificate('mail');
  folder.write('rules/audit.js', '');
  folder.write('typed.ts', '');
});
afterAll(() => folder.remove());

/** A configuration with one virtual server of these keys. */
function serving(keys: object, rest: object = {}) {
  const pools = { p: { members: ['127.0.0.1:110'] } };
  return { virtualServers: { v: { listen: '127.0.0.1:0', pool: 'p', ...keys } }, pools, ...rest };
}

async function loaded(config: unknown, env?: NodeJS.ProcessEnv) {
  const result = await folder.load(config, env);
  expect(result.problems).toEqual([]);
  if (result.config === undefined) throw new Error('no configuration');
  return result.config;
}

test('a configuration with everything in it', async () => {
  const result = await folder.load(`{
    // Comments and trailing commas are fine.
    "$schema": "./portreeve.schema.json",
    "virtualServers": {
      "pop3": {
        "listen": "[::1]:1110", "clientSsl": "mail", "serverSsl": "inside", "tcp": "quick", "pool": "dovecot",
        "rules": ["./rules/audit.js", { "rule": "typed.ts", "options": { "tls": ["a", { "b": null }] } }],
        "connectionLimit": 100,
      },
      "inner": { "listen": "none", "pool": "dovecot" },
    },
    "pools": { "dovecot": { "members": ["127.0.0.1:10110", "[::1]:110", "mail.example.com:110"], "balancing": "round-robin" } },
    "profiles": {
      "clientSsl": { "mail": { "cert": "mail.crt", "key": "mail.key", "minVersion": "TLSv1.3" } },
      "serverSsl": { "inside": { "verify": false } },
      "tcp": { "quick": { "connectTimeout": "500ms", "idleTimeout": "2h", "collectTimeout": 1500, "collectLimit": "64KiB", "queueLimit": 4096 } },
    },
    "log": { "level": "debug", "format": "json" },
    "reload": { "connections": "drain" },
    "drainTimeout": "1m", /* the end */
  }`);
  expect(result.problems).toEqual([]);
  expect(result.warnings).toEqual([]);
  const names = ['portreeve.json', 'mail.crt', 'mail.key'];
  expect(result.files).toEqual(names.map((name) => folder.at(name)));
  const pool = {
    name: 'dovecot',
    members: [
      { host: '127.0.0.1', port: 10110 },
      { host: '::1', port: 110 },
      { host: 'mail.example.com', port: 110 },
    ],
    balancing: 'round-robin',
  };
  const tls = {
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    ciphers: expect.stringMatching(/^TLS_AES_128_GCM_SHA256:/),
    alpn: [],
    detachable: false,
  };
  const cert = folder.read('mail.crt');
  const key = expect.stringMatching(/^-----BEGIN PRIVATE KEY-----\n/);
  const mail = {
    name: 'mail',
    ...tls,
    minVersion: 'TLSv1.3',
    identities: [{ names: ['mail'], material: { cert, key }, leaf: cert }],
    strictSni: false,
    clientCertificate: 'none',
    sessionTickets: true,
    sessionTimeout: 3600,
  };
  const inside = { name: 'inside', ...tls, verify: false };
  const defaults = {
    connectTimeout: 5000,
    handshakeTimeout: 10_000,
    collectTimeout: 30_000,
    idleTimeout: 300_000,
    lingerTimeout: 5000,
    handlerTimeout: 30_000,
    collectLimit: 1_048_576,
    queueLimit: 262_144,
  };
  expect(result.config).toEqual({
    file: folder.at('portreeve.json'),
    virtualServers: [
      {
        name: 'pop3',
        listen: { host: '::1', port: 1110 },
        clientSsl: mail,
        serverSsl: inside,
        pool,
        rules: [
          { name: './rules/audit.js', path: folder.at('rules/audit.js'), options: {} },
          {
            name: 'typed.ts',
            path: folder.at('typed.ts'),
            options: { tls: ['a', { b: null }] },
          },
        ],
        connectionLimit: 100,
        tcp: {
          ...defaults,
          connectTimeout: 500,
          idleTimeout: 7_200_000,
          collectTimeout: 1500,
          collectLimit: 65_536,
          queueLimit: 4096,
        },
      },
      { name: 'inner', listen: undefined, pool, rules: [], connectionLimit: 0, tcp: defaults },
    ],
    pools: new Map([['dovecot', pool]]),
    clientSsl: new Map([['mail', mail]]),
    serverSsl: new Map([['inside', inside]]),
    log: { level: 'debug', format: 'json' },
    reload: { connections: 'drain' },
    drainTimeout: 60_000,
  });
});

test('defaults', async () => {
  const config = await loaded(serving({}));
  expect(config.log).toEqual({ level: 'info', format: 'auto' });
  expect(config.reload).toEqual({ connections: 'keep' });
  expect(config.drainTimeout).toBe(30_000);
  expect(config.virtualServers[0]?.connectionLimit).toBe(0);
});

test('the configuration is frozen through and through, and shares what is referred to', async () => {
  const options = { list: [{}] };
  const config = await loaded(serving({ rules: [{ rule: './rules/audit.js', options }] }));
  const [server] = config.virtualServers;
  expect(server?.pool).toBe(config.pools.get('p'));
  const list = server?.rules[0]?.options.list;
  const parts = [config, config.log, server, server?.tcp, server?.pool?.members[0], list];
  expect(parts.every((part) => Object.isFrozen(part))).toBe(true);
});

test('a bundled rule is found in the package', async () => {
  const config = await loaded(serving({ rules: ['pop3-starttls'] }));
  const path = fileURLToPath(new URL('../../../rules/pop3-starttls.js', import.meta.url));
  expect(config.virtualServers[0]?.rules).toEqual([{ name: 'pop3-starttls', path, options: {} }]);
});

describe('addresses to listen on', () => {
  test.each([
    ['127.0.0.1:1110', '127.0.0.1', 1110],
    [':1110', '', 1110],
    ['*:1110', '', 1110],
    ['[::]:0', '::', 0],
    ['[fe80::1%lo]:65535', 'fe80::1%lo', 65535],
    ['localhost:1', 'localhost', 1],
    ['my_host.example.:25', 'my_host.example.', 25],
  ])('%s', async (listen, host, port) => {
    const config = await loaded(serving({ listen }));
    expect(config.virtualServers[0]?.listen).toEqual({ host, port });
  });

  test('that do not collide', async () => {
    const listens = [
      '127.0.0.1:25',
      '127.0.0.2:25',
      '[::1]:25',
      '*:26',
      '0.0.0.0:27',
      '[::1]:27',
      ':0',
      ':0',
      'none',
      'none',
    ];
    const servers = listens.map((listen, i) => [`v${i}`, { listen, pool: 'p' }]);
    await loaded({ ...serving({}), virtualServers: Object.fromEntries(servers) });
  });
});

describe('the environment', () => {
  test('goes into strings, also next to each other, and is not looked at again', async () => {
    const rules = [
      { rule: '${DIR}/audit.js', options: { a: ['${A}${B}', 'x${EMPTY}y'], '${A}': '$A ${_}' } },
    ];
    const env = { DIR: './rules', A: '${B}', B: 'b"\\', EMPTY: '', PORT: '26', _: '$&' };
    const config = await loaded(serving({ listen: '127.0.0.1:${PORT}', rules }), env);
    expect(config.virtualServers[0]?.listen?.port).toBe(26);
    expect(config.virtualServers[0]?.rules[0]?.options).toEqual({
      a: ['${B}b"\\', 'xy'],
      '${A}': '$A $&',
    });
  });

  test('$${ stands for ${', async () => {
    const rules = [{ rule: './rules/audit.js', options: { a: '$${A} $$${A} $$ $ {' } }];
    const config = await loaded(serving({ rules }), { A: '1' });
    expect(config.virtualServers[0]?.rules[0]?.options).toEqual({ a: '${A} $${A} $$ $ {' });
  });
});

test('options are plain data: a key named __proto__ is one like any other', async () => {
  const text = JSON.stringify(serving({ rules: [{ rule: './rules/audit.js', options: {} }] }));
  const hostile = text.replace('"options":{}', '"options":{"__proto__":{"polluted":1}}');
  const config = await loaded(hostile);
  expect(Object.keys(config.virtualServers[0]?.rules[0]?.options ?? {})).toEqual(['__proto__']);
  expect('polluted' in {}).toBe(false);
});

test('names that objects have by nature are names like any other', async () => {
  const config = await loaded({
    virtualServers: { constructor: { listen: ':0', pool: 'toString', tcp: 'valueOf' } },
    pools: { toString: { members: ['a:1'] } },
    profiles: { tcp: { valueOf: {} } },
  });
  expect(config.virtualServers[0]?.pool?.name).toBe('toString');
});

test('a byte order mark is passed over', async () => {
  const text = `\uFEFF${JSON.stringify(serving({}))}`;
  await loaded(text);
});

describe('files that are no configuration', () => {
  async function messages(path: string) {
    const { problems, files } = await loadConfig(path);
    expect(files).toEqual([path]);
    return problems.map(({ message, line, column }) => `${line}:${column} ${message}`);
  }

  test('missing', async () => {
    const path = folder.at('no.json');
    expect(await messages(path)).toEqual([`1:1 configuration file '${path}' does not exist`]);
    const below = join(folder.at('typed.ts'), 'no.json');
    expect(await messages(below)).toEqual([`1:1 configuration file '${below}' does not exist`]);
  });

  test('a folder', async () => {
    expect(await messages(folder.path)).toEqual([
      `1:1 configuration file '${folder.path}' is a folder`,
    ]);
  });

  test('a device', async () => {
    expect(await messages('/dev/zero')).toEqual([
      "1:1 configuration file '/dev/zero' is not a regular file",
    ]);
  });

  test('not text', async () => {
    const path = folder.write('binary.json', Uint8Array.of(0x7b, 0xff, 0x7d));
    expect(await messages(path)).toEqual([`1:1 configuration file '${path}' is not UTF-8 text`]);
  });

  test('far too large', async () => {
    const path = folder.write('large.json', ' '.repeat(4 * 1024 * 1024 + 1));
    expect(await messages(path)).toEqual([`1:1 configuration file '${path}' is larger than 4 MiB`]);
  });
});
