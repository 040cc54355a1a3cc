import { describe, expect, it } from 'vitest';
import { collect, does, Playbook, release, respond, type Script, tls } from './playbook.ts';

const HELLO = '\x16\x03\x01\x00\x05hello';

/** A flow that has asked for the ClientHello. */
function asking(rules: NonNullable<Script['rules']>) {
  const play = new Playbook({ clientTls: true, rules });
  expect(play.accepted()).toEqual(['startTls client asks', 'setTimer handshake']);
  return play;
}

describe('CLIENTSSL_CLIENTHELLO', () => {
  it('runs before the handshake goes on', () => {
    const play = asking({ CLIENTSSL_CLIENTHELLO: does(), CLIENTSSL_HANDSHAKE: does() });
    expect(play.flow.client.tls).toBe('hello');
    expect(play.hello()).toEqual(['rules CLIENTSSL_CLIENTHELLO', 'acceptTls']);
    expect(play.flow.client.tls).toBe('handshake');
    expect(play.secured()).toEqual([
      'clearTimer handshake',
      'rules CLIENTSSL_HANDSHAKE',
      'select web',
    ]);
  });

  it('is not asked for when nobody handles it', () => {
    const play = new Playbook({ clientTls: true, rules: { CLIENTSSL_HANDSHAKE: does() } });
    expect(play.accepted()).toEqual(['startTls client', 'setTimer handshake']);
  });

  it('is not asked for when it was disabled', () => {
    const off = { type: 'event', event: 'CLIENTSSL_CLIENTHELLO', enabled: false } as const;
    const play = new Playbook({
      clientTls: true,
      rules: { CLIENT_ACCEPTED: does(off), CLIENTSSL_CLIENTHELLO: does() },
    });
    expect(play.accepted()).toContain('startTls client');
  });

  it('is not asked of servers', () => {
    const play = new Playbook({ serverTls: true, rules: { CLIENTSSL_CLIENTHELLO: does() } });
    play.accepted();
    play.selected();
    expect(play.connected()).toContain('startTls server');
  });

  it('has the handshake wait for a suspended handler', () => {
    const play = asking({ CLIENTSSL_CLIENTHELLO: () => 'suspend' });
    expect(play.hello()).toEqual(['rules CLIENTSSL_CLIENTHELLO', 'setTimer handler']);
    expect(play.resume()).toEqual(['clearTimer handler', 'acceptTls']);
  });

  it('counts in the time of the handshake', () => {
    const play = asking({ CLIENTSSL_CLIENTHELLO: () => 'suspend' });
    play.hello();
    expect(play.timer('handshake')).toEqual(
      expect.arrayContaining(['log info', 'abandonRules', 'reset client']),
    );
    expect(play.closed('client')).toEqual(['done']);
  });

  it('may choose the server', () => {
    const server = { address: '10.0.0.9', port: 443 };
    const play = asking({ CLIENTSSL_CLIENTHELLO: does({ type: 'node', server }) });
    play.hello();
    expect(play.secured()).toContain('connect 10.0.0.9:443');
  });

  it('may choose whether the client has to show a certificate', () => {
    const play = asking({
      CLIENTSSL_CLIENTHELLO: does({ type: 'clientCertificate', mode: 'require' }),
    });
    expect(play.hello()).toEqual([
      'rules CLIENTSSL_CLIENTHELLO',
      'clientCertificate require',
      'acceptTls',
    ]);
  });

  it('runs for each handshake', () => {
    const rules = {
      CLIENTSSL_CLIENTHELLO: does(),
      CLIENTSSL_HANDSHAKE: does(tls(true)),
    };
    const play = asking(rules);
    play.hello();
    expect(play.secured()).toContain('startTls client asks');
    expect(play.hello()).toContain('acceptTls');
  });
});

describe('SSL.disable in CLIENTSSL_CLIENTHELLO', () => {
  it('lets the hello go on to the server as it came', () => {
    const play = asking({ CLIENTSSL_CLIENTHELLO: does(tls(false)) });
    expect(play.hello()).toEqual([
      'rules CLIENTSSL_CLIENTHELLO',
      'clearTimer handshake',
      'stopTls client',
      'select web',
    ]);
    expect(play.data('client', HELLO)).toEqual([]);
    play.selected();
    expect(play.connected()).toEqual(['clearTimer connect', `write server ${HELLO}`, 'splice']);
  });

  it('has it go on also when the connection was spliced before it came', () => {
    const play = new Playbook({
      rules: {
        SERVER_CONNECTED: does(collect('client')),
        CLIENT_DATA: does(tls(true)),
        CLIENTSSL_CLIENTHELLO: does(tls(false)),
      },
    }).open();
    play.data('client', HELLO);
    expect(play.hello()).toEqual(expect.arrayContaining(['stopTls client', 'splice']));
    expect(play.data('client', HELLO)).toEqual([`write server ${HELLO}`]);
  });

  it('may collect it', () => {
    const play = asking({
      CLIENTSSL_CLIENTHELLO: does(tls(false), collect('client')),
      CLIENT_DATA: does(release('client')),
    });
    expect(play.hello()).toContain('read client on');
    expect(play.data('client', HELLO)).toEqual([
      'rules CLIENT_DATA',
      'select web',
      'read client off',
    ]);
  });

  it('leaves the layer below as it is', () => {
    const play = asking({
      CLIENTSSL_CLIENTHELLO: (run) => {
        if (run.flow?.client.depth === 1) run.emit(tls(false));
      },
      CLIENTSSL_HANDSHAKE: does(tls(true)),
    });
    play.hello();
    play.secured();
    expect(play.hello()).toContain('stopTls client');
    expect([play.flow.client.tls, play.flow.client.depth]).toEqual(['secured', 1]);
  });

  it('may come from another event while the hello is awaited', () => {
    const play = new Playbook({
      rules: {
        SERVER_CONNECTED: does(collect('client')),
        CLIENT_DATA: does(tls(true)),
        CLIENTSSL_CLIENTHELLO: does(),
        SERVER_CLOSED: does(tls(false)),
      },
    }).open();
    play.data('client', HELLO.slice(0, 2));
    expect(play.closed('server')).toContain('stopTls client');
    expect(play.hello()).toEqual([]);
  });
});

describe('while the hello is awaited', () => {
  it.each([
    ['ended', 'the connection was ended'],
    ['closed', 'the connection was closed'],
    ['refused', 'not a ClientHello'],
  ] as const)('a client that has %s it fails', (how, reason) => {
    const play = asking({ CLIENTSSL_CLIENTHELLO: does(), CLIENT_CLOSED: does() });
    if (how === 'ended') play.ended('client', true);
    else if (how === 'closed') play.closed('client');
    else play.tlsRefused('client', reason);
    expect(play.logs).toEqual([`the TLS handshake with the client failed: ${reason}`]);
    if (how !== 'closed') expect(play.closed('client').at(-1)).toBe('done');
    expect(play.hello()).toEqual([]);
  });

  it('TCP.close gives TLS up', () => {
    const play = asking({
      CLIENTSSL_CLIENTHELLO: does({ type: 'close', side: 'client' }),
    });
    expect(play.hello()).toEqual(
      expect.arrayContaining(['clearTimer handshake', 'end client', 'setTimer linger']),
    );
    expect(play.closed('client')).toEqual(['done']);
    expect(play.logs).toEqual([]);
  });

  it('bytes of the server wait', () => {
    const play = new Playbook({
      rules: {
        SERVER_CONNECTED: does(collect('client')),
        CLIENT_DATA: does(respond('client', 'go'), tls(true)),
        CLIENTSSL_CLIENTHELLO: does(),
      },
    }).open();
    play.data('client', HELLO);
    expect(play.data('server', 'hi')).toEqual([]);
    expect(play.hello()).toEqual(['rules CLIENTSSL_CLIENTHELLO', 'acceptTls']);
    expect(play.secured()).toContain('write client hi');
  });
});

describe('CLIENTSSL_CLIENTCERT', () => {
  const rules = { CLIENTSSL_CLIENTCERT: does(), CLIENTSSL_HANDSHAKE: does() };

  it('comes before CLIENTSSL_HANDSHAKE, with the handshake complete', () => {
    const play = new Playbook({ clientTls: true, rules });
    play.accepted();
    expect(play.secured('client', true)).toEqual([
      'clearTimer handshake',
      'rules CLIENTSSL_CLIENTCERT',
      'rules CLIENTSSL_HANDSHAKE',
      'select web',
    ]);
  });

  it('does not come when no certificate was asked for', () => {
    const play = new Playbook({ clientTls: true, rules });
    play.accepted();
    expect(play.secured('client', false)).not.toContain('rules CLIENTSSL_CLIENTCERT');
  });

  it('may end the connection before anything else is heard of it', () => {
    const play = new Playbook({
      clientTls: true,
      rules: { ...rules, CLIENTSSL_CLIENTCERT: does({ type: 'reject' }) },
    });
    play.accepted();
    const lines = play.secured('client', true);
    expect(lines).toContain('reset client');
    expect(lines).not.toContain('rules CLIENTSSL_HANDSHAKE');
  });
});

describe('an end that TLS was not told of', () => {
  it.each([true, false])('is passed on as it came: truncated %s', (truncated) => {
    const end = (side: string) => `end ${side}${truncated ? ' truncated' : ''}`;
    const before = new Playbook({ rules: { SERVER_CONNECTED: does(collect('server')) } }).open();
    expect(before.ended('client', truncated)).toContain(end('server'));
    expect(before.ended('server', truncated)).toContain(end('client'));
    const spliced = new Playbook().open();
    expect(spliced.ended('server', truncated)).toContain(end('client'));
  });

  it('waits for TLS of the other side, and is passed on as it came', () => {
    const play = new Playbook({ serverTls: true }).open();
    play.ended('client', true);
    expect(play.secured('server')).toContain('end server truncated');
  });

  it('is none when a rule closes', () => {
    const close = { type: 'close', side: 'client' } as const;
    const play = new Playbook({ rules: { SERVER_CONNECTED: does(close) } });
    play.accepted();
    play.selected();
    expect(play.connected()).toEqual(expect.arrayContaining(['end client', 'end server']));
  });
});
