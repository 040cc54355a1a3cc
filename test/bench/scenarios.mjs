// What is measured: the work, the systems that do it, and how their figures are named.
import { readFileSync } from 'node:fs';
import {
  clientSsl,
  dovecot,
  haproxy,
  nginx,
  nginxImap,
  nginxTls,
  portreeve,
  stunnel,
} from './systems.mjs';

const lineRule = readFileSync(new URL('line.js', import.meta.url), 'utf8');

/** The same rewriting for HAProxy: a filter in Lua. It takes one line in each read for granted. */
const LINE_LUA = `local rewrite = { id = "rewrite" }
rewrite.__index = rewrite
function rewrite.new() return setmetatable({}, rewrite) end
function rewrite:start_analyze(txn, channel)
  if not channel:is_resp() then filter.register_data_filter(self, channel) end
end
function rewrite:tcp_payload(txn, channel)
  local data = channel:data(0, channel:input())
  local user, rest = string.match(data or "", "^USER ([^%s@]+)(\\r?\\n)$")
  if user then channel:set("USER " .. user .. "@realm" .. rest) end
end
core.register_filter("rewrite", rewrite, function(instance) return instance end)
`;

/** And for nginx, in njs, with the same limit. */
const LINE_NJS = `function rewrite(session) {
  session.on('upload', function (data, flags) {
    var user = /^USER ([^\\s@]+)(\\r?\\n)$/i.exec(data);
    session.send(user ? 'USER ' + user[1] + '@realm' + user[2] : data, flags);
  });
}
export default { rewrite };
`;

const SPLICE = {
  global: ['maxpipes 1000'],
  proxy: ['option splice-request', 'option splice-response'],
};

const plain = {
  portreeve: (context) => portreeve(context),
  haproxy: (context) => haproxy(context),
  nginx: (context) => nginx(context),
};

const secure = {
  portreeve: (context) =>
    portreeve(context, { rest: { clientSsl: 'c' }, profiles: clientSsl(context) }),
  haproxy: (context) => haproxy(context, { bind: `ssl crt ${context.cert}` }),
  nginx: (context) => nginx(context, { listens: 'ssl', server: nginxTls(context) }),
  stunnel: (context) => stunnel(context),
};

/** A bundled STARTTLS rule with a realm. */
const startTls = (rule) => (context) =>
  portreeve(context, {
    rest: { clientSsl: 'c', rules: [{ rule, options: { realm: 'realm' } }] },
    profiles: clientSsl(context),
  });

const GIGABYTES = { unit: 'GB', rate: 'GB/s', cpuUnit: 's', cpuScale: 1e9, rateScale: 1e-9 };
const MICROSECONDS = { cpuUnit: 'us', cpuScale: 1e6, rateScale: 1 };

/**
 * Each scenario: `loads` name the arguments of the load generator (PORT and SECONDS are filled in),
 * `systems` say how to start whom; the first is Portreeve, to which the others are compared.
 */
export const scenarios = [
  {
    name: 'pop3',
    title: 'POP3 sessions: CAPA, STLS, a full TLS 1.3 handshake, USER, PASS, QUIT',
    backend: 'pop3',
    unit: 'session',
    rate: 'sessions/s',
    ...MICROSECONDS,
    loads: { '32 at a time': ['sessions', 'PORT', 32, 'SECONDS', 'pop3'] },
    systems: {
      portreeve: startTls('pop3-starttls'),
      stunnel: (context) => stunnel(context, 'pop3'),
    },
  },
  {
    name: 'imap',
    title:
      'IMAP sessions: CAPABILITY, STARTTLS, a full TLS 1.3 handshake, CAPABILITY, LOGIN, LOGOUT',
    backend: 'imap',
    unit: 'session',
    rate: 'sessions/s',
    ...MICROSECONDS,
    loads: { '32 at a time': ['sessions', 'PORT', 32, 'SECONDS', 'imap'] },
    systems: {
      portreeve: startTls('imap-starttls'),
      'nginx-mail': nginxImap,
      'dovecot-itself': dovecot,
    },
  },
  {
    name: 'tls',
    title: 'TLS handshakes: connect, handshake, a line and its echo, close; no rules',
    backend: 'echo',
    unit: 'handshake',
    rate: 'handshakes/s',
    ...MICROSECONDS,
    loads: {
      'TLS 1.3, full': ['sessions', 'PORT', 32, 'SECONDS', 'tls', '1.3'],
      'TLS 1.3, resumed': ['sessions', 'PORT', 32, 'SECONDS', 'tls', '1.3', 'resumed'],
      'TLS 1.2, full': ['sessions', 'PORT', 32, 'SECONDS', 'tls', '1.2'],
      'TLS 1.2, resumed': ['sessions', 'PORT', 32, 'SECONDS', 'tls', '1.2', 'resumed'],
    },
    systems: secure,
  },
  {
    name: 'tls-bulk',
    title: 'Bulk bytes from server to client inside TLS 1.3, no rules',
    backend: 'source',
    ...GIGABYTES,
    loads: {
      '1 connection': ['bulk', 'PORT', 1, 'SECONDS', 'tls'],
      '64 connections': ['bulk', 'PORT', 64, 'SECONDS', 'tls'],
    },
    systems: secure,
  },
  {
    name: 'bulk',
    title: 'Bulk bytes from server to client, no rules',
    backend: 'source',
    ...GIGABYTES,
    loads: {
      '1 connection': ['bulk', 'PORT', 1, 'SECONDS'],
      '64 connections': ['bulk', 'PORT', 64, 'SECONDS'],
    },
    systems: { ...plain, 'haproxy-splice': (context) => haproxy(context, SPLICE) },
  },
  {
    name: 'connections',
    title: 'Short connections: connect, a line and its echo, close; no rules',
    backend: 'echo',
    unit: 'connection',
    rate: 'connections/s',
    ...MICROSECONDS,
    loads: { '64 at a time': ['sessions', 'PORT', 64, 'SECONDS', 'echo'] },
    systems: plain,
  },
  {
    name: 'ping-pong',
    title: 'Ping-pong: 64 bytes and their echo on held connections, no rules',
    backend: 'echo',
    unit: 'round trip',
    rate: 'round trips/s',
    ...MICROSECONDS,
    loads: {
      '64 connections': ['exchange', 'PORT', 64, 'SECONDS', 'x'.repeat(62), 'x'.repeat(62)],
    },
    systems: plain,
  },
  {
    name: 'line',
    title: 'A rule rewrites each line `USER x` to `USER x@realm` on held connections',
    backend: 'echo',
    unit: 'line',
    rate: 'lines/s',
    ...MICROSECONDS,
    loads: {
      '64 connections': ['exchange', 'PORT', 64, 'SECONDS', 'USER alice', 'USER alice@realm'],
    },
    systems: {
      portreeve: (context) =>
        portreeve(context, {
          rest: { rules: [{ rule: './line.js', options: { realm: 'realm' } }] },
          files: { 'line.js': lineRule },
        }),
      'haproxy-lua': (context) =>
        haproxy(context, {
          global: ['lua-load line.lua'],
          proxy: ['filter lua.rewrite'],
          files: { 'line.lua': LINE_LUA },
        }),
      'nginx-njs': (context) =>
        nginx(context, {
          modules: ['stream_js'],
          stream: `js_path ${context.folder}; js_import line from line.mjs;`,
          server: 'js_filter line.rewrite;',
          files: { 'line.mjs': LINE_NJS },
        }),
    },
  },
];

/** Resident memory that an idle proxied connection adds; the kernel's socket buffers are not in it. */
export const memory = {
  connections: 4000,
  systems: { portreeve: plain.portreeve, haproxy: plain.haproxy },
};
