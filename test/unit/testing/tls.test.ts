import { describe, expect, test } from 'vitest';
import {
  client,
  conversation,
  everyCut,
  fails,
  logs,
  type Rule,
  type Step,
  server,
  spliced,
} from '../../../src/testing/index.ts';
import { ruleFrom } from './rule-from.ts';

const HELLO = '\x16\x03\x01';
const nothing = await ruleFrom('');

/** TLS on by the line `ON`, off by the line `OFF`; other lines go on in brackets. */
const switching = await ruleFrom(`
  const collect = () => (SSL.mode() ? SSL : TCP).collect(1);
  const onData = () => {
    const io = SSL.mode() ? SSL : TCP;
    const end = io.payload.indexOf('\\n') + 1;
    if (end === 0) return;
    const line = io.payload(end - 1);
    io.payload.replace(0, end, line === 'ON' || line === 'OFF' ? '' : \`[\${line}]\`);
    if (line === 'ON') {
      io.respond('on\\n');
      SSL.enable();
    } else if (line === 'OFF') {
      io.respond('off\\n');
      SSL.disable();
      TCP.collect(1);
    } else {
      io.release(line.length + 2);
      io.collect(1);
    }
  };
  when('CLIENT_ACCEPTED', () => SSL.disable());
  when('SERVER_CONNECTED', () => clientside(collect));
  when('CLIENTSSL_HANDSHAKE', collect);
  when('CLIENT_DATA', onData);
  when('CLIENTSSL_DATA', onData);`);

/** Says what it learns of both sides' TLS. */
const telling = await ruleFrom(`
  const session = () => log([
    SSL.cipher('version'), SSL.cipher('name'), SSL.alpn(), SSL.sni.name(), SSL.sessionid(),
    SSL.cert.count(), SSL.cert(0), SSL.verify_result(),
  ].join(' '));
  when('CLIENTSSL_CLIENTHELLO', () => {
    log('hello ' + SSL.sni.name() + ' ' + SSL.extensions(16) + SSL.extensions.exists(17));
    if (SSL.sni.name() === 'inner.test') SSL.disable();
  });
  when('CLIENTSSL_CLIENTCERT', () => log('asked'));
  when('CLIENTSSL_HANDSHAKE', session);
  when('SERVERSSL_HANDSHAKE', session);`);

const both = { clientTls: true, serverTls: true };
const detachable = { clientTls: true, detachable: true };

function problem(rule: Rule, steps: readonly Step[], setup = {}): string {
  try {
    conversation(rule, setup, steps);
  } catch (error) {
    return (error as Error).message.split('\n', 1)[0] ?? '';
  }
  return 'none';
}

describe('TLS with the server', () => {
  test('is begun and completed by a step, and what follows is inside', () => {
    const outcome = conversation(nothing, { serverTls: true }, [
      client('early'),
      server.receivesNothing(),
      server.startsTls(),
      server.receives('early'),
      spliced(),
      server('hi'),
      client.receives('hi'),
    ]);
    expect(outcome.server.received).toEqual(['', 'early']);
  });

  test('waits for the connection, and for TLS with the client', () => {
    conversation(nothing, both, [
      client.startsTls(),
      server.accepts(),
      server.startsTls(),
      spliced(),
    ]);
    expect(problem(nothing, [server.startsTls()], both)).toBe(
      'step 1, server.startsTls(): TLS with the server was not started',
    );
  });

  test('fails by a step, and by what is no handshake', () => {
    const lost = [client.seesReset(), server.seesReset()];
    const setup = { serverTls: true };
    conversation(nothing, setup, [server.failsTls(), logs('TLS handshake failed'), ...lost]);
    conversation(nothing, setup, [server(HELLO), logs('not a TLS handshake'), ...lost]);
    conversation(nothing, setup, [server.ends(), logs('FIN while TLS'), ...lost]);
  });

  test('must be demanded', () => {
    expect(problem(nothing, [], { serverTls: true })).toBe(
      'after the last step: TLS with the server was started, which no step demands',
    );
  });
});

describe('TLS that is taken off', () => {
  test('may be put on again, however the bytes are cut', () => {
    const outcome = everyCut(switching, detachable, [
      client('a\n'),
      server.receives('[a]'),
      client('ON\n'),
      client.receives('on\n'),
      client.startsTls(),
      client('b\n'),
      server.receives('[b]'),
      client('OFF\n'),
      client.receives('off\n'),
      client.stopsTls(),
      client('c\n'),
      server.receives('[c]'),
      client('ON\n'),
      client.receives('on\n'),
      client(HELLO),
      client.startsTls(HELLO),
      client('d\n'),
      server.receives('[d]'),
    ]);
    expect(outcome.client.received).toEqual(['on\n', 'off\n', 'on\n', '']);
  });

  const upToOff = [
    client('ON\n'),
    client.receives('on\n'),
    client.startsTls(),
    client('OFF\n'),
    client.receives('off\n'),
  ];

  test('may end in one segment with plaintext', () => {
    conversation(switching, detachable, [
      ...upToOff,
      client.stopsTls('a\nb\n'),
      server.receives('[a][b]'),
    ]);
  });

  test('has what the server sends wait', () => {
    conversation(switching, detachable, [
      ...upToOff,
      server('late'),
      client.receivesNothing(),
      client.stopsTls(),
      client.receives('late'),
    ]);
  });

  test('has nothing more come inside', () => {
    conversation(switching, detachable, [
      ...upToOff,
      client('EVIL\n'),
      logs('sent data inside TLS behind the command that ends it'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });

  test('needs a profile that allows for it', () => {
    conversation(switching, { clientTls: true }, [
      ...upToOff.slice(0, 4),
      fails('set "detachable": true in the client-ssl profile'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });

  test('must be demanded, and have been ordered', () => {
    expect(problem(switching, upToOff, detachable)).toBe(
      'after the last step: TLS with the client is being taken off, which no step demands',
    );
    expect(problem(switching, [...upToOff, client.startsTls()], detachable)).toBe(
      'step 6, client.startsTls(): TLS with the client is being taken off',
    );
    expect(problem(switching, [client.stopsTls('rest')], detachable)).toBe(
      'step 1, client.stopsTls("rest"): TLS with the client is not being taken off',
    );
    const early = [...upToOff.slice(0, 2), client.stopsTls()];
    expect(problem(switching, early, detachable)).toBe(
      'step 3, client.stopsTls(): the TLS handshake with the client is not complete',
    );
    expect(problem(switching, [...upToOff.slice(0, 4), client.stopsTls()], detachable)).toBe(
      'step 5, client.stopsTls(): the client got "off\\n", which no step demands before',
    );
  });
});

describe('the ClientHello', () => {
  test('is seen by rules, and by the handshake', () => {
    conversation(telling, { clientTls: true }, [
      client.says({ serverName: 'outer.test', extensions: { 16: 'imap' } }),
      logs('info: hello outer.test imapfalse'),
      client.startsTls(),
      logs(/TLSv1\.3 TLS_AES_128_GCM_SHA256 {2}outer\.test {2}0 {2}0$/),
    ]);
  });

  test('goes on as data where a rule wants no TLS', () => {
    conversation(telling, { clientTls: true }, [
      client(HELLO),
      client.says({ serverName: 'inner.test' }),
      server.receives(HELLO),
      spliced(),
    ]);
  });

  test('must be demanded where a rule handles it, and only there', () => {
    expect(problem(telling, [client.startsTls()], { clientTls: true })).toBe(
      "step 1, client.startsTls(): the client's hello is awaited: client.says()",
    );
    expect(problem(telling, [], { clientTls: true })).toBe(
      'after the last step: TLS with the client was started, which no step demands',
    );
    const says = client.says({ serverName: 'a.test' });
    expect(problem(nothing, [says], { clientTls: true })).toBe(
      'step 1, client.says({"serverName":"a.test"}): no rule waits for the client\'s hello',
    );
    expect(problem(nothing, [client.says({})])).toBe(
      'step 1, client.says({}): TLS with the client was not started',
    );
  });

  test('may be none', () => {
    conversation(telling, { clientTls: true }, [
      client('GET /'),
      logs('not a TLS handshake'),
      client.seesReset(),
    ]);
  });
});

describe('a session that is played', () => {
  test('is what rules learn of it, on both sides', () => {
    conversation(telling, both, [
      client.says({}),
      client.startsTls('', {
        serverName: 'a.test',
        protocol: 'TLSv1.2',
        cipher: 'ECDHE-RSA-AES128-GCM-SHA256',
        alpn: 'pop3',
        sessionId: Uint8Array.of(0xa, 0xb),
        certificates: [Uint8Array.of(0x31, 0x32)],
        verifyError: 'CERT_HAS_EXPIRED',
      }),
      logs('asked'),
      logs('TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 pop3 a.test 0a0b 1 12 10'),
      server.startsTls('', { serverName: 'b.test', alpn: 'x' }),
      logs('TLSv1.3 TLS_AES_128_GCM_SHA256 x b.test  0  0'),
      spliced(),
    ]);
  });

  test('has CLIENTSSL_CLIENTCERT where the client was asked for a certificate', async () => {
    const asking = await ruleFrom(`
      when('CLIENT_ACCEPTED', () => SSL.cert.mode('request'));
      when('CLIENTSSL_CLIENTCERT', () => log('asked, ' + SSL.cert.count() + ' shown'));`);
    const setup = { clientTls: true };
    conversation(asking, setup, [client.startsTls(), logs('asked, 0 shown')]);
    const silent = await ruleFrom(`when('CLIENTSSL_CLIENTCERT', () => log('asked'));`);
    conversation(silent, setup, [client.startsTls('', { certificates: [] }), logs('asked')]);
    expect(problem(silent, [client.startsTls(), logs('asked')], setup)).toContain(
      'no such line was logged',
    );
  });
});

test('TLS inside TLS', async () => {
  const rule = await ruleFrom(`
    when('CLIENTSSL_HANDSHAKE', (c) => {
      c.layers = (c.layers ?? 0) + 1;
      if (c.layers < 3) SSL.enable();
    });`);
  const outcome = conversation(rule, { clientTls: true }, [
    client.startsTls(),
    client(HELLO),
    client.startsTls(HELLO),
    client.startsTls(),
    spliced(),
    server('hi'),
    client.receives('hi'),
  ]);
  expect(outcome.client.received).toEqual(['', '', '', 'hi']);
});
