import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { Endpoint } from '../../../src/core/types.ts';
import { type MonitorSettings, type MonitorTiming, probe } from '../../../src/monitors/index.ts';
import type { KeyPair } from '../net/pki.ts';
import { Watched } from '../net/watched.ts';

export const timing: MonitorTiming = {
  interval: 5_000,
  timeout: 2_000,
  rise: 1,
  fall: 3,
  timeUntilUp: 0,
  jitter: 0,
};

/** A deadline that passes while a test waits, and leaves time to connect; milliseconds. */
export const SOON = 250;

/** A server on a free port of 127.0.0.1 that ends with the test; it counts what is open. */
export class TestServer extends Watched {
  accepted = 0;
  open = 0;
  readonly errors: string[] = [];
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    readonly endpoint: Endpoint,
  ) {
    super();
  }

  /** @param tls - with it, TLS begins with the first byte */
  static async start(serve: (socket: Socket) => void, tls?: KeyPair): Promise<TestServer> {
    const onConnection = (socket: Socket) => {
      socket.on('error', () => undefined);
      // Else it would not notice the end behind what it has not read.
      socket.resume();
      serve(socket);
    };
    const server =
      tls === undefined
        ? createServer({ noDelay: true }, onConnection)
        : createTlsServer({ ...tls, noDelay: true }, onConnection);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { address, port } = server.address() as AddressInfo;
    const lab = new TestServer(server, { address, port });
    server.on('connection', (socket: Socket) => lab.watch(socket));
    onTestFinished(() => lab.stop());
    return lab;
  }

  untilClosed(): Promise<void> {
    return this.until(() => this.accepted > 0 && this.open === 0, 'the close');
  }

  /** Frees the port. */
  async stop(): Promise<void> {
    if (!this.server.listening) return;
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  protected story(): string {
    return `${this.accepted} accepted, ${this.open} open`;
  }

  private watch(socket: Socket): void {
    this.accepted += 1;
    this.open += 1;
    this.sockets.add(socket);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.errors.push(error.code ?? error.message);
    });
    socket.on('close', () => {
      this.open -= 1;
      this.sockets.delete(socket);
      this.changed();
    });
    this.changed();
  }
}

/** What a server says to a line; undefined: nothing. */
export type Answers = (line: string) => string | undefined;

/** Where TLS begins: behind an answer that ends with this. */
export const THEN_TLS = '<TLS>';

/**
 * Speaks a protocol of lines.
 *
 * @param pair - for TLS that begins behind {@link THEN_TLS}
 * @param heard - takes every line
 */
export function speakLines(
  greeting: string,
  answers: Answers,
  pair?: KeyPair,
  heard: string[] = [],
): (socket: Socket) => void {
  return (socket) => {
    socket.write(greeting);
    listen(socket, (line) => {
      heard.push(line);
      const answer = answers(line);
      if (answer === undefined) return;
      const [plain = ''] = answer.split(THEN_TLS);
      socket.write(plain, 'latin1');
      if (plain === answer || pair === undefined) return;
      socket.removeAllListeners('data');
      const tls = new TLSSocket(socket, { isServer: true, ...pair });
      tls.on('error', () => undefined);
      speakLines('', answers, pair, heard)(tls);
    });
  };
}

function listen(socket: Socket, onLine: (line: string) => void): void {
  let held = '';
  socket.on('data', (chunk: Buffer) => {
    held += chunk.toString('latin1');
    const lines = held.split('\r\n');
    held = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}

/** Probes with a deadline, and answers what the probe says; '' when it passes. */
export async function outcome(
  server: Endpoint,
  settings: MonitorSettings,
  timeout = settings.timeout,
): Promise<string> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeout);
  try {
    await probe(server, settings, controller.signal);
    return '';
  } catch (error) {
    return (error as Error).message;
  } finally {
    clearTimeout(timer);
  }
}
