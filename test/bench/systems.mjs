// How Portreeve and its peers are started. Each function takes what the run decides, { listen, backend,
// auth, cert, folder } (ports and paths; the key is in `cert` too), and returns { command, files,
// packages }: the command line, the files to write into its folder first, and what Debian calls it.
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

/** A client-ssl profile `c` with the certificate, for `portreeve`. */
export function clientSsl({ cert }) {
  return { clientSsl: { c: { cert, key: cert } } };
}

/** One thread, default buffers; room for the idle connections. `bind` follows the address. */
export function haproxy(
  { listen, backend },
  { global = [], bind = '', proxy = [], files = {} } = {},
) {
  const config = [
    'global',
    ...['nbthread 1', 'maxconn 5000', ...global].map((line) => `  ${line}`),
    'listen proxy',
    ...[
      'mode tcp',
      'timeout connect 10s',
      'timeout client 5m',
      'timeout server 5m',
      `bind 127.0.0.1:${listen} backlog 4096 ${bind}`,
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

/** nginx streams. `modules` are loaded beside `stream`; `listens` and `server` go into the server block. */
export function nginx(
  { listen, backend, folder },
  { modules = [], stream = '', listens = '', server = '', files = {} } = {},
) {
  const block = `stream {
  ${stream}
  server {
    listen 127.0.0.1:${listen} backlog=4096 ${listens};
    proxy_pass 127.0.0.1:${backend};
    ${server}
  }
}
`;
  return startNginx(folder, ['stream', ...modules], block, files);
}

/** What terminates TLS in nginx. */
export function nginxTls({ cert }) {
  return `ssl_certificate ${cert};
    ssl_certificate_key ${cert};
    ssl_protocols TLSv1.2 TLSv1.3;`;
}

/** nginx as a mail proxy. It asks an HTTP server, on the port `auth`, for each session's backend. */
export function nginxImap(context) {
  const block = `mail {
  auth_http 127.0.0.1:${context.auth}/;
  imap_capabilities IMAP4rev1;
  server {
    listen 127.0.0.1:${context.listen} backlog=4096;
    protocol imap;
    starttls on;
    ${nginxTls(context)}
  }
}
`;
  return startNginx(context.folder, ['mail'], block);
}

/** One worker. */
function startNginx(folder, modules, block, files = {}) {
  const loads = modules.map((name) => `load_module modules/ngx_${name}_module.so;`);
  const config = `${loads.join('\n')}
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr crit;
events { worker_connections 16000; }
${block}`;
  const packages = ['nginx', ...modules.map((m) => `libnginx-mod-${m.replace('_', '-')}`)];
  return {
    command: ['nginx', '-e', 'stderr', '-c', `${folder}/nginx.conf`],
    files: { 'nginx.conf': config, ...files },
    packages: packages.join(' '),
  };
}

/**
 * TLS, one thread a connection; no waiting for the peer's close at the end. At level `err` it would
 * log every one of these ends. With a `protocol` it speaks STARTTLS.
 */
export function stunnel({ listen, backend, cert }, protocol) {
  const config = `foreground = yes
pid =
debug = crit
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[proxy]
${protocol === undefined ? '' : `protocol = ${protocol}`}
accept = 127.0.0.1:${listen}
connect = 127.0.0.1:${backend}
cert = ${cert}
key = ${cert}
TIMEOUTclose = 0
`;
  return {
    command: ['stunnel', 'stunnel.conf'],
    files: { 'stunnel.conf': config },
    packages: 'stunnel4',
  };
}

/**
 * Dovecot with its own TLS: the whole server, not a proxy. One login process for all connections, and
 * one process for each user who is logged in, used again. Any name may log in; nobody has a mailbox.
 */
export function dovecot({ listen, cert, folder }) {
  const config = `base_dir = ${folder}/run
log_path = /dev/stderr
info_log_path = /dev/null
protocols = imap
ssl = required
ssl_cert = <${cert}
ssl_key = <${cert}
mail_location = maildir:${folder}/mail
mail_max_userip_connections = 0
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=${folder}/home
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = ${listen}
  }
  inet_listener imaps {
    port = 0
  }
  service_count = 0
  process_min_avail = 1
  process_limit = 1
}
service imap {
  service_count = 0
  process_limit = 100
}
`;
  return {
    command: ['dovecot', '-F', '-c', 'dovecot.conf'],
    files: { 'dovecot.conf': config },
    packages: 'dovecot-imapd',
  };
}
