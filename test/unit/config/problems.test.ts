// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how configurations refer to the environment
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Folder } from './folder.ts';

const folder = new Folder();
beforeAll(() => {
  folder.certificate('mail');
  folder.write('audit.js', '');
});
afterAll(() => folder.remove());

/** A configuration whose line 2 holds the keys of virtual server `v`, and line 3 the other keys. */
function config(server: string, rest = '"pools": { "p": { "members": ["a:1"] } }'): string {
  return `{ "virtualServers": { "v": {\n${server}\n} },\n${rest}\n}`;
}

const good = '"listen": ":1", "pool": "p"';

interface Case {
  readonly name: string;
  readonly text: string;
  readonly problems: readonly string[];
}

function cases(title: string, list: readonly Case[]): void {
  describe(title, () => {
    test.each(list)('$name', async ({ text, problems }) => {
      const found = await folder.problems(text, { EMPTY: '', SECRET: 'hunter2' });
      expect(found).toEqual(problems.map((problem) => `portreeve.json:${problem}`));
    });
  });
}

cases('syntax', [
  { name: 'empty file', text: '', problems: ['1:1: not valid JSON: value expected'] },
  {
    name: 'only the first error of many',
    text: '{\n  "a": tru,\n  "b" 1, ]',
    problems: ['2:8: not valid JSON: invalid symbol'],
  },
  {
    name: 'missing comma',
    text: '{\r\n  "a": 1\r\n  "b": 2 }',
    problems: ['3:3: not valid JSON: comma expected'],
  },
  {
    name: 'something behind the end',
    text: '{} {}',
    problems: ['1:4: not valid JSON: end of file expected'],
  },
  {
    name: 'unfinished',
    text: '{ "a": [',
    problems: ['1:9: not valid JSON: close bracket expected'],
  },
  {
    name: 'duplicate keys, wherever they are',
    text: '{ "a": [{ "b": 1,\n "b": 2 }],\n "a": 3, "\\u0061": 4 }',
    problems: [
      "2:2: key 'b' is there twice",
      "3:2: key 'a' is there twice",
      "3:10: key 'a' is there twice",
    ],
  },
  {
    name: 'endless nesting',
    text: '['.repeat(100_000),
    problems: ['1:65: nested deeper than 64 levels'],
  },
  {
    name: 'brackets in strings and comments are not nesting',
    text: `["${'['.repeat(100)}", /* ${'['.repeat(100)} */ 1]`,
    problems: ['1:1: the configuration must be an object'],
  },
]);

cases('environment', [
  {
    name: 'unknown variables, each with its place',
    text: config('"listen": "${HOST}:${PORT}",\n"pool": "${EMPTY}${P}"'),
    problems: [
      "2:11: environment variable 'HOST' is not set",
      "2:11: environment variable 'PORT' is not set",
      "3:9: environment variable 'P' is not set",
    ],
  },
  {
    name: 'not a variable',
    text: config('"listen": "${HOST:-x}", "pool": "${P"'),
    problems: [
      '2:11: "${" must be followed by the name of an environment variable and "}"; "$${" stands for a plain "${"',
      '2:33: "${" must be followed by the name of an environment variable and "}"; "$${" stands for a plain "${"',
    ],
  },
  {
    name: 'nothing is left of a string',
    text: config('"listen": ":1", "pool": "${EMPTY}"'),
    problems: ["2:25: 'pool' of virtual server 'v' must be the name of a pool"],
  },
]);

cases('form', [
  { name: 'not an object', text: '[]', problems: ['1:1: the configuration must be an object'] },
  {
    name: 'no virtual servers',
    text: '{\n}',
    problems: ["1:1: the configuration has no 'virtualServers'"],
  },
  {
    name: 'not one virtual server',
    text: '{ "virtualServers": {} }',
    problems: ["1:21: 'virtualServers' must be an object with at least one virtual server"],
  },
  {
    name: 'unknown key with a near one',
    text: config(`${good}, "clientSSL": "mail"`),
    problems: ["2:30: unknown key 'clientSSL' in virtual server 'v'; did you mean 'clientSsl'?"],
  },
  {
    name: 'unknown keys with none near',
    text: config(
      `${good}, "snat": "automap", "persistence": "x"`,
      '"dataGroups": {}, "monitors": {}',
    ),
    problems: [
      "2:30: unknown key 'snat' in virtual server 'v'",
      "2:49: unknown key 'persistence' in virtual server 'v'",
      "4:1: unknown key 'dataGroups' in the configuration",
      "4:19: unknown key 'monitors' in the configuration",
    ],
  },
  {
    name: 'unknown keys deeper down',
    text: config(
      `${good}, "rules": [{ "rule": "./audit.js", "option": {} }]`,
      '"pools": { "p": { "member": ["a:1"] } }, "profiles": { "http": {}, "tcp": { "t": { "idle": 1 } } }, "log": { "levle": "info" }',
    ),
    problems: [
      "2:64: unknown key 'option' in 'rules[0]' of virtual server 'v'; did you mean 'options'?",
      "4:19: unknown key 'member' in pool 'p'; did you mean 'members'?",
      "4:56: unknown key 'http' in 'profiles'",
      "4:84: unknown key 'idle' in tcp profile 't'",
      "4:110: unknown key 'levle' in 'log'; did you mean 'level'?",
    ],
  },
  {
    name: 'a misspelt key is not also missing',
    text: config(
      '"lisen": ":1", "pool": "p"',
      '"profiles": { "clientSsl": { "m": { "crt": "x" } } }',
    ),
    problems: [
      "2:1: unknown key 'lisen' in virtual server 'v'; did you mean 'listen'?",
      "4:37: unknown key 'crt' in client-ssl profile 'm'; did you mean 'cert'?",
    ],
  },
  {
    name: 'no listen',
    text: config('"pool": "p"'),
    problems: ["1:23: virtual server 'v' has no 'listen'"],
  },
  {
    name: 'wrong types, one problem each',
    text: config(
      '"listen": 110, "pool": ["p"], "rules": "./audit.js", "connectionLimit": "5"',
      '"pools": [], "profiles": null, "log": { "level": 1 }',
    ),
    problems: [
      '2:11: \'listen\' of virtual server \'v\' must be an address such as "127.0.0.1:110", "[::1]:110" or "*:110", or "none"',
      "2:24: 'pool' of virtual server 'v' must be the name of a pool",
      "2:40: 'rules' of virtual server 'v' must be a list",
      "2:73: 'connectionLimit' of virtual server 'v' must be a whole number from 0 to 10000000",
      "4:10: 'pools' must be an object",
      "4:26: 'profiles' must be an object",
      '4:50: \'log.level\' must be one of "error", "warn", "info", "debug"',
    ],
  },
  {
    name: 'rules that are none',
    text: config(
      `${good}, "rules": [1, "", { "rule": "" }, {}, { "rule": "./audit.js", "options": [] }]`,
    ),
    problems: [
      '2:40: \'rules[0]\' of virtual server \'v\' must be a rule: a bundled name, a path such as "./rule.js", or { "rule": …, "options": … }',
      '2:43: \'rules[1]\' of virtual server \'v\' must be a rule: a bundled name, a path such as "./rule.js", or { "rule": …, "options": … }',
      "2:57: 'rules[2].rule' of virtual server 'v' must be a rule",
      "2:63: 'rules[3]' of virtual server 'v' has no 'rule'",
      "2:102: 'rules[4].options' of virtual server 'v' must be an object",
    ],
  },
  {
    name: 'numbers out of bounds',
    text: config(
      `${good}, "connectionLimit": -1`,
      '"drainTimeout": 3600001, "profiles": { "tcp": { "t": { "idleTimeout": 0, "collectLimit": 1.5 } } }',
    ),
    problems: [
      "2:49: 'connectionLimit' of virtual server 'v' must be a whole number from 0 to 10000000",
      '4:17: \'drainTimeout\' must be a duration from 0ms to 1h, such as "30s", or a number of milliseconds',
      "4:71: 'idleTimeout' of tcp profile 't' must be a duration from 1ms to 168h, such as \"5m\", or a number of milliseconds",
      "4:90: 'collectLimit' of tcp profile 't' must be a size from 1B to 16MiB, such as \"1MiB\", or a number of bytes",
    ],
  },
  {
    name: 'values that are not among the choices',
    text: config(
      good,
      '"log": { "level": "inf", "format": "" }, "reload": { "connections": "Close" }, "pools": { "p": { "members": [], "balancing": "least" } }',
    ),
    problems: [
      '4:19: \'log.level\' must be one of "error", "warn", "info", "debug"; did you mean \'info\'?',
      '4:36: \'log.format\' must be one of "text", "json", "auto"',
      '4:69: \'reload.connections\' must be one of "keep", "drain", "close"; did you mean \'close\'?',
      "4:109: 'members' of pool 'p' must be a list of at least one address",
      "4:126: 'balancing' of pool 'p' must be \"round-robin\"",
    ],
  },
  {
    name: 'names',
    text: `{ "virtualServers": { "a b": { "listen": ":1" }, "": {} },\n"pools": { "p/\\u001b[31m": {}, "${'x'.repeat(100)}": { "members": ["a:1"] } } }`,
    problems: [
      "1:23: name 'a b' in 'virtualServers' must be 1 to 64 letters, digits, '.', '_' or '-'",
      "1:50: name '' in 'virtualServers' must be 1 to 64 letters, digits, '.', '_' or '-'",
      "1:50: virtual server '' has no 'listen'",
      "2:12: name 'p/\\x1b[31m' in 'pools' must be 1 to 64 letters, digits, '.', '_' or '-'",
      "2:12: pool 'p/\\x1b[31m' has no 'members'",
      `2:32: name '${'x'.repeat(77)}...' in 'pools' must be 1 to 64 letters, digits, '.', '_' or '-'`,
    ],
  },
]);

cases('meaning', [
  {
    name: 'unknown names with the nearest one',
    text: config(
      '"listen": ":1", "pool": "dovcot", "clientSsl": "Mail", "tcp": "zzz"',
      '"pools": { "dovecot": { "members": ["a:1"] } }, "profiles": { "clientSsl": { "mail": { "cert": "mail.crt", "key": "mail.key" } } }',
    ),
    problems: [
      "2:25: there is no pool 'dovcot'; did you mean 'dovecot'?",
      "2:48: there is no client-ssl profile 'Mail'; did you mean 'mail'?",
      "2:63: there is no tcp profile 'zzz'",
    ],
  },
  {
    name: 'neither pool nor rules',
    text: config('"listen": ":1", "rules": []'),
    problems: ["1:23: virtual server 'v' has neither a pool nor rules: it could never connect"],
  },
  {
    name: 'rules that are not there',
    text: config(
      `${good}, "rules": ["./adit.js", "audit.js", "nope/nope", { "rule": "../portreeve-none/x", "options": {} }, "/"]`,
    ),
    problems: [
      "2:40: rule file 'adit.js' does not exist",
      '2:65: there is no bundled rule \'nope/nope\'; a rule of your own is a path, such as "./rule.js"',
      `2:88: rule file '${folder.path.replace(/[^/]+$/, 'portreeve-none/x')}' does not exist`,
      "2:128: rule file '/' is a folder",
    ],
  },
  {
    name: 'quantities',
    text: config(
      good,
      '"pools": { "p": { "members": ["a:1"] } }, "drainTimeout": "2h", "profiles": { "tcp": { "t": { "idleTimeout": "0s", "queueLimit": "999999999999MiB" } } }',
    ),
    problems: [
      '4:59: \'drainTimeout\' must be a duration from 0ms to 1h, such as "30s", or a number of milliseconds',
      "4:110: 'idleTimeout' of tcp profile 't' must be a duration from 1ms to 168h, such as \"5m\", or a number of milliseconds",
      "4:130: 'queueLimit' of tcp profile 't' must be a size from 1KiB to 64MiB, such as \"256KiB\", or a number of bytes",
    ],
  },
  {
    name: 'members',
    text: config(
      good,
      '"pools": { "p": { "members": [\n"a:1",\n"a",\n":1",\n"*:1",\n"a:0",\n"a:65536",\n"::1",\n"::1:x",\n"[a]:1",\n"300.0.0.1:1",\n"a b:1",\n"-a:1",\n"A:1",\n"[0:0::1]:5", "[::1]:5", "[::ffff:1.2.3.4]:5", "1.2.3.4:5"] } }',
    ),
    problems: [
      '6:1: \'a\' is not an address: it must end in a port, as in "127.0.0.1:110"',
      "7:1: ':1' is not an address: it has no host",
      "8:1: '*:1' is not an address: it has no host",
      "9:1: 'a:0' is not an address: the port must be a number from 1 to 65535",
      "10:1: 'a:65536' is not an address: the port must be a number from 1 to 65535",
      '11:1: \'::1\' is not an address: an IPv6 address goes into brackets, as in "[::1]:110"',
      "12:1: '::1:x' is not an address: the port must be a number from 1 to 65535",
      "13:1: '[a]:1' is not an address: the host is neither an IP address nor a name",
      "14:1: '300.0.0.1:1' is not an address: the host is neither an IP address nor a name",
      "15:1: 'a b:1' is not an address: the host is neither an IP address nor a name",
      "16:1: '-a:1' is not an address: the host is neither an IP address nor a name",
      "17:1: 'A:1' is a member of pool 'p' already",
      "18:15: '[::1]:5' is a member of pool 'p' already",
      "18:48: '1.2.3.4:5' is a member of pool 'p' already",
    ],
  },
  {
    name: 'addresses to listen on',
    text: config('"listen": "127.0.0.1:50000-50100", "pool": "p"'),
    problems: [
      "2:11: '127.0.0.1:50000-50100' is not an address to listen on: the port must be a number from 0 to 65535",
    ],
  },
]);

describe('two virtual servers on one address', () => {
  test.each([
    ['127.0.0.1:25', '127.0.0.1:25'],
    ['[::1]:25', '[0:0:0:0:0:0:0:1]:25'],
    ['*:25', ':25'],
    ['127.0.0.1:25', '*:25'],
    ['[::]:25', '127.0.0.1:25'],
    ['0.0.0.0:25', '127.0.0.1:25'],
    ['0.0.0.0:25', '[::]:25'],
    ['localhost:25', 'LOCALHOST:25'],
  ])('%s and %s', async (a, b) => {
    const servers = `"v1": { "listen": "${a}", "pool": "p" }, "v2": {\n"listen": "${b}", "pool": "p" }`;
    const text = `{ "virtualServers": { ${servers} }, "pools": { "p": { "members": ["a:1"] } } }`;
    expect(await folder.problems(text)).toEqual([
      "portreeve.json:2:11: virtual server 'v1' listens on this address already",
    ]);
  });
});

test('a rule file that is missing is to be watched', async () => {
  const { files } = await folder.load(config(`${good}, "rules": ["./later.js"]`));
  expect(files).toEqual([folder.at('portreeve.json'), folder.at('later.js')]);
});
