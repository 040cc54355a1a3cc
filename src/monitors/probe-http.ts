import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { type Endpoint, formatEndpoint } from '../core/types.ts';
import { type Connection, withConnection } from './connection.ts';
import { Expectation } from './expect.ts';
import type { HttpMonitor } from './types.ts';

/** The most of a body that is looked at, and of a header, in bytes. */
const MOST_BODY = 65_536;
const MOST_HEADER = 16_384;

/** Whether a request gets the response that is expected. */
export async function probeHttp(
  server: Endpoint,
  settings: HttpMonitor,
  signal: AbortSignal,
): Promise<void> {
  const { tls, status, expect } = settings;
  const [least, greatest] = status;
  const expectation = expect === undefined ? undefined : new Expectation(expect);
  await withConnection(server, signal, async (connection) => {
    if (tls === 'implicit') await connection.startTls(settings);
    const response = await connection.lend('response', (socket) => ask(socket, server, settings));
    const code = response.statusCode ?? 0;
    if (code < least || code > greatest) {
      throw new Error(`the status was ${code}, not ${least} to ${greatest}`);
    }
    if (expectation !== undefined) await findInBody(connection, response, expectation);
  });
}

function ask(socket: Socket, server: Endpoint, settings: HttpMonitor): Promise<IncomingMessage> {
  const { method, path, host = server.host ?? formatEndpoint(server) } = settings;
  return new Promise((resolve, reject) => {
    const question = request({
      createConnection: () => socket,
      method,
      path,
      headers: { Host: host, 'User-Agent': 'portreeve', Connection: 'close' },
      maxHeaderSize: MOST_HEADER,
    });
    question.on('response', resolve);
    question.on('upgrade', resolve);
    question.on('error', reject);
    question.end();
  });
}

async function findInBody(
  connection: Connection,
  response: IncomingMessage,
  expectation: Expectation,
): Promise<void> {
  const body = await connection.lend('body', () => readBody(response, expectation));
  if (expectation.isIn(body)) return;
  throw new Error(`the body was ${connection.shown(body)}, without ${expectation.name}`);
}

/** The body, as far as it must be read to find what is expected. One character a byte. */
async function readBody(response: IncomingMessage, expectation: Expectation): Promise<string> {
  let body = '';
  for await (const chunk of response as AsyncIterable<Buffer>) {
    body += chunk.toString('latin1', 0, MOST_BODY - body.length);
    if (body.length === MOST_BODY || expectation.isIn(body)) return body;
  }
  return body;
}
