import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { Pop3Session } from './pop3-session.ts';

/** Octets of a line without its LF. Commands have 255 (RFC 2449, 4); SASL responses may be longer. */
const MAX_LINE = 1024;
const MAX_CONNECTIONS = 50;
/** RFC 1939, 3 wants ten minutes at least. */
const IDLE_MS = 10 * 60 * 1000;
/** How long a client may take to close after the last reply. */
const LINGER_MS = 2000;
const LF = 0x0a;

/** A running demo mailbox. */
export interface Mailbox {
  readonly port: number;
  /** Ends all connections at once and stops listening. */
  close(): Promise<void>;
}

/**
 * Starts a POP3 server without TLS on a free port of 127.0.0.1, with a few sample mails for every
 * user whose password is `demo`.
 *
 * @param options.onCommand - told of each line that arrives, as the client wrote it but without
 * passwords; one character an octet, from 0x20 on except 0x7F
 * @param options.idleMs - how long a silent client is kept, in milliseconds (ten minutes)
 */
export async function startMailbox(
  options: { readonly onCommand?: (line: string) => void; readonly idleMs?: number } = {},
): Promise<Mailbox> {
  const { onCommand = () => {}, idleMs = IDLE_MS } = options;
  const sockets = new Set<Socket>();
  // Half open: a client may send all its commands and FIN, and still wants the replies.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.setTimeout(idleMs, () => socket.destroy());
    void serve(socket, new Pop3Session(onCommand));
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function serve(socket: Socket, session: Pop3Session): Promise<void> {
  try {
    // The pipeline reads on only when the client takes the replies.
    await pipeline(converse(socket, session), socket);
  } catch {
    // The client is gone, or was idle for too long.
    socket.destroy();
    return;
  }
  // To close with input unread would be a reset, and could cost the client the last reply.
  socket.setTimeout(LINGER_MS);
  socket.resume();
}

async function* converse(socket: Socket, session: Pop3Session): AsyncGenerator<Buffer> {
  yield Buffer.from(session.greeting, 'latin1');
  for await (const line of readLines(socket)) {
    if (line === undefined) {
      yield Buffer.from('-ERR the line is too long\r\n');
      return;
    }
    yield Buffer.from(session.handle(line), 'latin1');
    if (session.ended) return;
  }
}

/** The lines without their ends (CRLF or LF), one character an octet; undefined: one was too long. */
async function* readLines(socket: Socket): AsyncGenerator<string | undefined> {
  let held = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    held = Buffer.concat([held, chunk as Buffer]);
    for (let end = held.indexOf(LF); end >= 0; end = held.indexOf(LF)) {
      if (end > MAX_LINE) break;
      yield held.toString('latin1', 0, end).replace(/\r$/, '');
      held = held.subarray(end + 1);
    }
    if (held.length > MAX_LINE) {
      yield undefined;
      return;
    }
  }
}
