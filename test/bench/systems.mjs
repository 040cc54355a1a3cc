// How Portreeve and its peers are started. Each function takes what the run decides, { listen, backend,
// cert, key, folder } (ports and paths), and returns { command, files, packages }: the command line, the files
// to write into its folder first, and what Debian calls it.
import { fileURLToPath } from 'node:url';

const entry = fileURLToPath(new URL('../../bin/portreeve.js', import.meta.url));

/** One virtual server `v` in front of one member. `rest` and `profiles` go into its configuration. */
export function portreeve({ listen, backend }, { rest = {}, profiles = {}, files = {} } = {}) {
  const config = {
    virtualServers: { v: { listen: `127.0.0.1:${listen}`, pool: 'b', ...rest } },
    pools: { b: { members: [`127.0.0.1:${backend}`] } },
    profiles,
  };
  return {
    command: [process.execPath, entry, 'run', 'config.json'],
    files: { 'config.json': JSON.stringify(config, null, 2), ...files },
  };
}

/** One thread, default buffers; room for the idle connections. */
export function haproxy({ listen, backend }, { global = [], proxy = [], files = {} } = {}) {
  const config = [
    'global',
    ...['nbthread 1', 'maxconn 5000', ...global].map((line) => `  ${line}`),
    'listen proxy',
    ...[
      'mode tcp',
      'timeout connect 10s',
      'timeout client 5m',
      'timeout server 5m',
      `bind 127.0.0.1:${listen} backlog 4096`,
      `server backend 127.0.0.1:${backend}`,
      ...proxy,
    ].map((line) => `  ${line}`),
  ];
  return {
    command: ['haproxy', '-db', '-f', 'haproxy.cfg'],
    files: { 'haproxy.cfg': `${config.join('\n')}\n`, ...files },
    packages: 'haproxy',
  };
}

/** One worker. `modules` are loaded beside `stream`; `server` goes into the server block. */
export function nginx(
  { listen, backend, folder },
  { modules = [], stream = '', server = '', files = {} } = {},
) {
  const loads = ['stream', ...modules].map((name) => `load_module modules/ngx_${name}_module.so;`);
  const config = `${loads.join('\n')}
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr crit;
events { worker_connections 16000; }
stream {
  ${stream}
  server {
    listen 127.0.0.1:${listen} backlog=4096;
    proxy_pass 127.0.0.1:${backend};
    ${server}
  }
}
`;
  const packages = [
    'nginx',
    ...['stream', ...modules].map((m) => `libnginx-mod-${m.replace('_', '-')}`),
  ];
  return {
    command: ['nginx', '-e', 'stderr', '-c', `${folder}/nginx.conf`],
    files: { 'nginx.conf': config, ...files },
    packages: packages.join(' '),
  };
}

/**
 * STARTTLS for POP3, one thread a connection; no waiting for the peer's close at the end. At level
 * `err` it would log every one of these ends.
 */
export function stunnelPop3({ listen, backend, cert, key }) {
  const config = `foreground = yes
pid =
debug = crit
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[pop3]
protocol = pop3
accept = 127.0.0.1:${listen}
connect = 127.0.0.1:${backend}
cert = ${cert}
key = ${key}
TIMEOUTclose = 0
`;
  return {
    command: ['stunnel', 'stunnel.conf'],
    files: { 'stunnel.conf': config },
    packages: 'stunnel4',
  };
}
