import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { LogFields, Logger } from '../../../src/core/logger.ts';
import type { LogLevel } from '../../../src/core/types.ts';
import { Engine } from '../../../src/engine/index.ts';
import { Peer } from '../net/peer.ts';
import { Watched } from '../net/watched.ts';

/** Writes nothing, and remembers everything. */
export class RecordingLogger extends Watched implements Logger {
  readonly level = 'info';
  readonly lines: string[] = [];
  readonly fields: LogFields[] = [];
  readonly error = this.at('error');
  readonly warn = this.at('warn');
  readonly info = this.at('info');
  readonly debug = this.at('debug');

  flush(): Promise<void> {
    return Promise.resolve();
  }

  /** The lines that contain a text. */
  with(text: string): string[] {
    return this.lines.filter((line) => line.includes(text));
  }

  untilLogged(text: string): Promise<void> {
    return this.until(() => this.with(text).length > 0, `'${text}' in the log`);
  }

  protected story(): string {
    return `the log says: ${this.lines.join('\n')}`;
  }

  private at(level: LogLevel) {
    return (message: string, fields: LogFields = {}) => {
      this.lines.push(`${level}: ${message}`);
      this.fields.push(fields);
      this.changed();
    };
  }
}

/** A server that tells its name, and then sends back what it gets. */
class NamedServer {
  readonly sockets = new Set<Socket>();

  private constructor(private readonly server: Server) {}

  static async open(name: string): Promise<NamedServer> {
    const server = createServer({ noDelay: true }, (socket) => {
      opened.sockets.add(socket);
      socket.on('error', () => {}).on('close', () => opened.sockets.delete(socket));
      socket.write(`${name}\n`);
      socket.pipe(socket);
    });
    const opened = new NamedServer(server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return opened;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

/** What a configuration file may hold, as far as the tests need it. */
export type ConfigFile = Readonly<Record<string, unknown>>;

/** Engines, with a folder for their files, clients, and servers. */
export class EngineLab {
  readonly logger = new RecordingLogger();
  readonly folder = mkdtempSync(join(tmpdir(), 'portreeve-engine-'));
  private engines: Engine[] = [];
  private readonly servers: NamedServer[] = [];
  private readonly peers: Peer[] = [];

  write(name: string, content: string): string {
    const path = join(this.folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  }

  configure(config: ConfigFile): string {
    return this.write('portreeve.json', JSON.stringify(config, undefined, 2));
  }

  async start(config: ConfigFile): Promise<Engine> {
    const options = { logger: this.logger, watch: false };
    const engine = await Engine.start(this.configure(config), options);
    this.engines.push(engine);
    return engine;
  }

  /** Starts a named server; answers its port. */
  async server(name: string): Promise<number> {
    const server = await NamedServer.open(name);
    this.servers.push(server);
    return server.port;
  }

  /** A connection to a virtual server, or to a port. */
  async client(to: number | { engine: Engine; name?: string }): Promise<Peer> {
    const port = typeof to === 'number' ? to : portOf(to.engine, to.name);
    const peer = Peer.connect(port);
    this.peers.push(peer);
    await peer.until(() => !peer.socket.connecting, 'the connection');
    return peer;
  }

  async close(): Promise<void> {
    for (const peer of this.peers) peer.socket.destroy();
    for (const engine of this.engines) {
      const stopped = engine.stop();
      void engine.stop();
      await stopped;
    }
    for (const server of this.servers) server.close();
    rmSync(this.folder, { recursive: true });
  }
}

export function portOf(engine: Engine, name = 'main'): number {
  const listener = engine.listeners.find(({ virtualServer }) => virtualServer === name);
  if (listener === undefined) throw new Error(`${name} does not listen`);
  return listener.port;
}

/** Waits for the next line, which is the server's name or an echo, and takes it off. */
export async function line(peer: Peer): Promise<string> {
  await peer.until(() => peer.received.text.includes('\n', taken(peer)), 'a line');
  const start = taken(peer);
  const end = peer.received.text.indexOf('\n', start);
  positions.set(peer, end + 1);
  return peer.received.text.slice(start, end);
}

/** Sends a line and waits for the one that comes back. */
export function ask(peer: Peer, text: string): Promise<string> {
  peer.socket.write(`${text}\n`);
  return line(peer);
}

const positions = new WeakMap<Peer, number>();

function taken(peer: Peer): number {
  return positions.get(peer) ?? 0;
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** What becomes of an attempt to connect: undefined when it succeeds, else the system's code. */
export async function connectError(port: number): Promise<string | undefined> {
  const peer = Peer.connect(port);
  await peer.until(() => !peer.socket.connecting, 'an outcome');
  await peer.until(() => peer.socket.readyState === 'open' || peer.closed, 'an outcome');
  peer.socket.destroy();
  return peer.error;
}
