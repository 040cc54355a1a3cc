import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import { readClientHello } from '../../../src/net/client-hello.ts';

/** What a client sends until it waits for an answer. `start` makes it connect to the port. */
export async function capture(start: (port: number) => void): Promise<Buffer> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  start((server.address() as AddressInfo).port);
  const [socket] = await once(server, 'connection');
  let sent = Buffer.alloc(0);
  for await (const chunk of socket) {
    sent = Buffer.concat([sent, chunk]);
    if (readClientHello(sent).type !== 'incomplete') break;
  }
  server.close();
  return sent;
}

/** The ClientHello of a client of Node with these options. */
export function helloOfNode(options: ConnectionOptions): Promise<Buffer> {
  return capture((port) => {
    connect({ port, host: '127.0.0.1', servername: 'www.example.test', ...options }).on(
      'error',
      () => {},
    );
  });
}

/** A handshake message in records of at most `size` bytes of it. */
export function inRecords(message: Uint8Array, size = 2 ** 14): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const fragment = message.subarray(at, at + size);
    records.push(Buffer.from([0x16, 3, 1]), uint(2, fragment.length), Buffer.from(fragment));
  }
  return Buffer.concat(records);
}

/** The handshake message in the one record of a hello. */
export function messageOf(hello: Uint8Array): Uint8Array {
  return hello.subarray(5);
}

export interface HelloParts {
  readonly version?: number;
  readonly sessionId?: Uint8Array;
  readonly suites?: Uint8Array;
  readonly compressions?: Uint8Array;
  /** Type and body; undefined leaves out the whole block. */
  readonly extensions?: readonly (readonly [number, Uint8Array])[] | undefined;
  /** Behind all the rest, inside of the message. */
  readonly rest?: Uint8Array;
}

/** A ClientHello message made by hand. */
export function messageWith(parts: HelloParts): Buffer {
  const extensions = parts.extensions?.map(([type, body]) =>
    Buffer.concat([uint(2, type), vector(2, body)]),
  );
  const body = Buffer.concat([
    uint(2, parts.version ?? 0x0303),
    Buffer.alloc(32, 7),
    vector(1, parts.sessionId ?? Buffer.alloc(0)),
    vector(2, parts.suites ?? Buffer.from([0x13, 0x01])),
    vector(1, parts.compressions ?? Buffer.from([0])),
    extensions === undefined ? Buffer.alloc(0) : vector(2, ...extensions),
    parts.rest ?? Buffer.alloc(0),
  ]);
  return Buffer.concat([Buffer.from([1]), vector(3, body)]);
}

/** Contents with their length in front, in `prefix` bytes. */
export function vector(prefix: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([uint(prefix, content.length), content]);
}

export function uint(size: number, value: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUIntBE(value, 0, size);
  return bytes;
}

/** The body of server_name with these names of type host_name. */
export function serverNames(...names: readonly string[]): Buffer {
  const entry = (name: string) => Buffer.concat([uint(1, 0), vector(2, Buffer.from(name))]);
  return vector(2, ...names.map(entry));
}
