import { test } from 'vitest';
import { client, everyCut, loadRule, server, spliced } from '../../src/testing/index.ts';

test('the client does not see what the server is', async () => {
  const rule = await loadRule(new URL('hide-banner.js', import.meta.url));
  everyCut(rule, {}, [
    server('+OK Dovecot (Debian) ready.\r\n'),
    client.receives('+OK ready\r\n'),
    spliced(),
    client('QUIT\r\n'),
    server.receives('QUIT\r\n'),
  ]);
});
