import { freePort, startServer } from '../process.ts';
import { ServerFolder } from './server-folder.ts';

/** The host that the server serves, and its only user. */
export const xmpp = { host: 'example.com', user: 'alice', password: 'correct horse' } as const;

export interface Prosody {
  /** For clients. */
  readonly port: number;
  /** For other servers. */
  readonly serverPort: number;
  stop(): Promise<unknown>;
}

/** Starts prosody without TLS, for {@link xmpp}. */
export async function startProsody(): Promise<Prosody> {
  const folder = await ServerFolder.make();
  const port = await freePort();
  const serverPort = await freePort();
  folder.folder('data/example%2ecom/accounts');
  folder.file(
    `data/example%2ecom/accounts/${xmpp.user}.dat`,
    `return { ["password"] = "${xmpp.password}" };\n`,
  );
  const config = folder.file(
    'prosody.cfg.lua',
    `data_path = "${folder.path}/data"
pidfile = "${folder.path}/pid"
log = { { levels = { min = "info" }, to = "console" } }
modules_enabled = { "saslauth", "dialback" }
modules_disabled = { "offline", "s2s_auth_certs" }
authentication = "internal_plain"
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
s2s_require_encryption = false
interfaces = { "127.0.0.1" }
c2s_ports = { ${port} }
s2s_ports = { ${serverPort} }
VirtualHost "${xmpp.host}"
`,
  );
  const server = await startServer(
    'prosody',
    ['-F', '--config', config],
    serverPort,
    folder.processOptions,
  );
  // It opens its ports one after the other, in any order.
  await server.stdout.waitFor("Activated service 'c2s'");
  return { port, serverPort, stop: () => server.stop() };
}
