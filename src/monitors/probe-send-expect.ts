import type { Endpoint } from '../core/types.ts';
import { withConnection } from './connection.ts';
import { Expectation, encodeText } from './expect.ts';
import type { SendExpectMonitor } from './types.ts';

/** Whether what is expected comes. */
export async function probeSendExpect(
  server: Endpoint,
  { send, expect }: SendExpectMonitor,
  signal: AbortSignal,
): Promise<void> {
  const bytes = encodeText(send ?? '');
  const expectation = new Expectation(expect);
  await withConnection(server, signal, async (connection) => {
    if (bytes !== '') connection.send(bytes);
    await connection.until(expectation.name, (text) => expectation.isIn(text));
  });
}
