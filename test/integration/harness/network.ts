import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';

/** A server inside the test. */
export interface TestServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** A server that passes everything on to another one, and remembers what clients sent. */
export interface Relay extends TestServer {
  /** All that arrived from clients, in the order of arrival. */
  received(): string;
  /** Connections that have been accepted so far. */
  accepted(): number;
  /** Waits until no connection is open. */
  idle(): Promise<void>;
}

/** Starts a server that sends back what it gets. */
export function startEcho(): Promise<TestServer> {
  return listen((client) => client.on('error', () => undefined).pipe(client));
}

/** Starts a relay to a port of 127.0.0.1. */
export async function startRelay(target: number): Promise<Relay> {
  const closing: Promise<unknown>[] = [];
  let received = '';
  const server = await listen((client) => {
    const upstream = connect(target, '127.0.0.1');
    client.on('data', (chunk) => {
      received += chunk.toString('latin1');
    });
    client.pipe(upstream).pipe(client);
    client.on('error', () => undefined).on('close', () => upstream.destroy());
    // Once the server is gone nothing reads the client any more, and its end would not be seen.
    upstream.on('error', () => client.destroy()).on('close', () => client.resume());
    closing.push(closed(client), closed(upstream));
  });
  return {
    ...server,
    received: () => received,
    accepted: () => closing.length / 2,
    idle: async () => {
      await Promise.all(closing);
    },
  };
}

async function listen(accept: (client: Socket) => void): Promise<TestServer> {
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    open.add(client);
    client.on('close', () => open.delete(client));
    accept(client);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      for (const client of open) client.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.on('close', () => resolve()));
}

/** True where ::1 exists. */
export function hasIpv6Loopback(): boolean {
  return Object.values(networkInterfaces())
    .flat()
    .some((network) => network?.address === '::1');
}
