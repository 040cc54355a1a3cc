import { describe, expect, it } from 'vitest';
import {
  collect,
  does,
  type Handler,
  inTurn,
  Playbook,
  release,
  replace,
  respond,
  type Script,
  tls,
} from './playbook.ts';

const HELLO = '\x16\x03\x01\x00\x05';
const close = { type: 'close', side: 'server' } as const;

const writes = (lines: readonly string[]) => lines.filter((line) => line.startsWith('write'));
const startsTls = (lines: readonly string[]) => lines.some((line) => line.startsWith('startTls'));

/** A flow with a server-ssl profile that has come to the handshake with the server. */
function handshake(rules: Script['rules'] = {}) {
  return new Playbook({ serverTls: true, rules }).open();
}

describe('implicit TLS with the server', () => {
  it('starts after SERVER_CONNECTED, and bytes flow when it is up', () => {
    const play = new Playbook({
      serverTls: true,
      rules: { SERVER_CONNECTED: does(), SERVERSSL_HANDSHAKE: does() },
    });
    play.accepted();
    play.selected();
    expect(play.connected()).toEqual([
      'clearTimer connect',
      'rules SERVER_CONNECTED',
      'startTls server',
      'setTimer handshake',
    ]);
    expect(play.secured('server')).toEqual([
      'clearTimer handshake',
      'rules SERVERSSL_HANDSHAKE',
      'splice',
    ]);
    expect([play.flow.server.tls, play.flow.server.depth]).toEqual(['secured', 1]);
  });

  it('starts once the client has gone through its own', () => {
    const play = new Playbook({ clientTls: true, serverTls: true });
    expect(play.accepted()).toEqual(['startTls client', 'setTimer handshake']);
    expect(play.secured()).toEqual(['clearTimer handshake', 'select web']);
    play.selected();
    expect(play.connected()).toContain('startTls server');
    expect(play.secured('server')).toEqual(['clearTimer handshake', 'splice']);
  });

  it('has the bytes of the client wait', () => {
    const play = new Playbook({
      serverTls: true,
      rules: { CLIENT_ACCEPTED: does(collect('client')), CLIENT_DATA: does(release('client')) },
    });
    play.accepted();
    play.data('client', 'early');
    play.selected();
    expect(writes(play.connected())).toEqual([]);
    expect(play.secured('server')).toEqual([
      'clearTimer handshake',
      'write server early',
      'splice',
    ]);
  });

  it('reads nobody meanwhile', () => {
    const play = new Playbook({
      serverTls: true,
      rules: { LB_SELECTED: does(collect('client')), CLIENT_DATA: does(release('client')) },
    });
    play.accepted();
    expect(play.selected()).toContain('read client on');
    const lines = play.connected();
    expect(lines).toContain('read client off');
    expect(lines).not.toContain('read server on');
  });

  it('fires no data event meanwhile, and the due one afterwards', () => {
    const play = handshake({
      SERVER_CONNECTED: does(collect('client')),
      CLIENT_DATA: does(release('client')),
    });
    // A segment that was under way when reading stopped.
    expect(play.data('client', 'NOOP')).toEqual(['setTimer collect']);
    expect(play.secured('server')).toEqual([
      'clearTimer handshake',
      'rules CLIENT_DATA',
      'write server NOOP',
      'clearTimer collect',
      'splice',
    ]);
  });

  it('does not start when a rule disables it, before or after the server is connected', () => {
    for (const event of ['CLIENT_ACCEPTED', 'SERVER_CONNECTED'] as const) {
      const play = new Playbook({
        serverTls: true,
        rules: { [event]: does(tls(false, 'server')) },
      });
      play.accepted();
      play.selected();
      const lines = play.connected();
      expect(lines).toContain('splice');
      expect(startsTls(lines)).toBe(false);
    }
  });

  it('starts without a profile that starts it when CLIENT_ACCEPTED enables it', () => {
    const play = new Playbook({ rules: { CLIENT_ACCEPTED: does(tls(true, 'server')) } });
    play.accepted();
    play.selected();
    expect(play.connected()).toContain('startTls server');
  });

  it('fires SERVERSSL_DATA for what is collected inside', () => {
    const play = handshake({
      SERVERSSL_HANDSHAKE: does(collect('server', 3)),
      SERVERSSL_DATA: does(release('server')),
      SERVER_DATA: does(release('server')),
    });
    expect(play.secured('server')).toContain('read server on');
    expect(play.data('server', 'ab')).toEqual([]);
    expect(play.data('server', 'c')).toEqual([
      'rules SERVERSSL_DATA',
      'write client abc',
      'splice',
    ]);
  });

  it('waits for the members that are tried before', () => {
    const play = new Playbook({
      serverTls: true,
      rules: { LB_FAILED: does({ type: 'reselect' }) },
    });
    play.accepted();
    play.selected();
    expect(play.connectFailed()).toContain('select web not 10.0.0.1:80');
    play.selected();
    expect(play.connected()).toContain('startTls server');
  });
});

describe('STARTTLS towards the server', () => {
  /** As a rule does it: plaintext first, with the client held back. */
  function upstream(onData: Handler) {
    const play = new Playbook({
      serverTls: true,
      rules: {
        SERVER_CONNECTED: does(tls(false, 'server'), collect('client'), collect('server')),
        SERVER_DATA: onData,
        CLIENT_DATA: does(release('client')),
        CLIENT_CLOSED: does(),
      },
    });
    return play.open();
  }

  const ask = does(replace('server', 0, 99, ''), respond('server', 'STLS'), collect('server'));
  const start = does(replace('server', 0, 4, ''), tls(true, 'server'));

  it('goes by plaintext to TLS', () => {
    const play = upstream(inTurn(ask, start));
    expect(play.data('server', '+OK ready')).toEqual(['rules SERVER_DATA', 'write server STLS']);
    expect(play.data('server', '+OK\n')).toEqual([
      'rules SERVER_DATA',
      'startTls server',
      'setTimer handshake',
      'read client off',
    ]);
    expect(play.secured('server')).toContain('clearTimer handshake');
    expect(play.data('client', 'USER')).toContain('write server USER');
  });

  it.each([
    ['data', '+EVIL'],
    ['what looks like TLS', HELLO],
  ])('refuses %s behind the answer', (_what, injected) => {
    const play = upstream(inTurn(ask, start));
    play.data('server', '+OK ready');
    const lines = play.data('server', `+OK\n${injected}`);
    expect(lines.slice(1, 4)).toEqual(['log warn', 'reset client', 'reset server']);
    expect(startsTls(lines)).toBe(false);
    expect(play.logs).toEqual(['the server sent plaintext behind the answer that lets begin TLS']);
  });

  it('refuses data that waited while rules ran', () => {
    const play = upstream(inTurn(ask, () => 'suspend'));
    play.data('server', '+OK ready');
    play.data('server', '+OK\n');
    expect(play.data('server', HELLO)).toEqual([]);
    const lines = play.resume(start);
    expect(lines).toContain('reset server');
    expect(writes(lines)).toEqual([]);
    expect(startsTls(lines)).toBe(false);
  });

  it('refuses a server that has ended the connection', () => {
    const play = upstream(inTurn(ask, () => 'suspend'));
    play.data('server', '+OK ready');
    play.data('server', '+OK\n');
    play.ended('server');
    const lines = play.resume(start);
    expect(lines).toContain('startTls server');
    expect(lines).toContain('reset client');
    expect(play.logs).toEqual([
      'the TLS handshake with the server failed: the connection was ended',
    ]);
  });
});

describe('a collect on a server side that is to speak TLS', () => {
  const rules = (onData: Handler): Script['rules'] => ({
    SERVER_CONNECTED: does(collect('server')),
    SERVER_DATA: onData,
  });

  it('has TLS wait, and the bytes of the client', () => {
    const play = handshake(rules(does(replace('server', 0, 99, ''), release('server'))));
    expect(startsTls(play.data('client', 'USER'))).toBe(false);
    expect(play.data('server', '+OK')).toEqual([
      'rules SERVER_DATA',
      'startTls server',
      'setTimer handshake',
    ]);
    expect(writes(play.secured('server'))).toEqual(['write server USER']);
  });

  it('has no byte of the client go past the flow', () => {
    expect(handshake(rules(does())).flow.client.reading).toBe('off');
    const play = new Playbook({
      rules: {
        SERVER_CONNECTED: does(collect('server', 1)),
        SERVER_DATA: does(tls(true, 'server'), collect('server')),
      },
    }).open();
    expect(play.flow.client.reading).toBe('direct');
    play.data('server', 'x');
    expect(play.flow.client.reading).toBe('off');
  });

  it('does not wait for a server that has ended', () => {
    const play = handshake(rules(does()));
    expect(play.ended('server')).toContain('reset client');
    expect(play.logs).toEqual(['the server ended the connection before the TLS handshake']);
  });

  it('has the end of the client wait', () => {
    const play = handshake(rules(does(replace('server', 0, 99, ''), release('server'))));
    expect(play.ended('client')).toEqual([]);
    expect(play.data('server', '+OK')).toContain('startTls server');
    expect(play.secured('server')).toContain('end server');
  });

  it('has nothing of the server go inside TLS', () => {
    const play = handshake(rules(does(release('server'))));
    expect(play.data('server', '+OK')).toEqual([
      'rules SERVER_DATA',
      'log warn',
      'reset client',
      'reset server',
    ]);
  });

  it('ends where nobody handles its event', () => {
    const play = handshake({ SERVER_CONNECTED: does(collect('server')) });
    expect(play.data('server', '+OK')).toContain('reset server');
    expect(play.logs[0]).toContain('plaintext');
  });
});

describe('during the handshake with the server', () => {
  it('its end, its error and its close reset the client', () => {
    for (const [event, error] of [
      ['ended', 'the connection was ended'],
      ['closed', 'the connection was closed'],
      ['error', 'CERT_HAS_EXPIRED'],
      ['refused', 'unknown CA'],
    ] as const) {
      const play = handshake({ SERVER_CLOSED: does(), CLIENT_CLOSED: does() });
      const lines = {
        ended: () => play.ended('server'),
        closed: () => play.closed('server'),
        error: () => play.closed('server', error),
        refused: () => play.tlsRefused('server', error),
      }[event]();
      expect(lines).toContain('reset client');
      expect(lines).toContain('clearTimer handshake');
      expect(play.logs).toEqual([`the TLS handshake with the server failed: ${error}`]);
      if (event === 'ended' || event === 'refused') play.closed('server');
      expect(play.closed('client').slice(-2)).toEqual(['rules CLIENT_CLOSED', 'done']);
    }
  });

  it('is a warning, as it is no fault of the client', () => {
    expect(handshake().closed('server', 'CERT_HAS_EXPIRED')).toContain('log warn');
  });

  it('is bounded by the handshake timer', () => {
    const play = handshake();
    expect(play.timer('handshake').slice(0, 3)).toEqual([
      'log warn',
      'reset client',
      'reset server',
    ]);
    expect(play.logs[0]).toContain('handshakeTimeout');
  });

  it('the end of the client waits', () => {
    const play = handshake();
    expect(play.ended('client')).toEqual([]);
    expect(play.secured('server')).toContain('end server');
  });

  it('a client that fails resets the server, and only that is told', () => {
    const play = handshake({ SERVER_CLOSED: does() });
    expect(play.closed('client', 'ECONNRESET')).toEqual([
      'log debug',
      'reset server',
      'clearTimer handshake',
    ]);
    expect(play.closed('server')).toEqual(['rules SERVER_CLOSED', 'done']);
    expect(play.logs).toHaveLength(1);
  });

  it('nothing follows from one that was done when the rules ended the flow', () => {
    const play = new Playbook({
      rules: {
        LB_SELECTED: does(collect('client')),
        CLIENT_DATA: does(tls(true)),
        CLIENTSSL_HANDSHAKE: does(),
        SERVER_CONNECTED: () => 'suspend',
      },
    });
    play.accepted();
    play.selected();
    play.data('client', HELLO);
    play.connected();
    expect(play.secured()).toEqual([]);
    const lines = play.resume(does({ type: 'reject' }));
    expect(lines).not.toContain('rules CLIENTSSL_HANDSHAKE');
    expect(play.flow.client.depth).toBe(0);
  });

  it('TCP.close of a rule gives it up', () => {
    const play = new Playbook({
      serverTls: true,
      rules: {
        LB_SELECTED: does(collect('client')),
        CLIENT_DATA: does(tls(true)),
        SERVER_CONNECTED: does(close),
      },
    });
    play.accepted();
    play.selected();
    play.data('client', HELLO);
    const lines = play.connected();
    expect(lines).toEqual(expect.arrayContaining(['end client', 'end server', 'setTimer linger']));
    expect(startsTls(lines)).toBe(false);
    play.closed('client');
    expect(play.closed('server')).toEqual(['done']);
    expect(play.logs).toEqual([]);
  });
});

describe('both sides enabled in one event', () => {
  const enableBoth = () =>
    new Playbook({
      rules: {
        SERVER_CONNECTED: does(collect('client')),
        CLIENT_DATA: does(replace('client', 0, 99, ''), tls(true, 'server'), tls(true)),
        CLIENTSSL_HANDSHAKE: does(),
        SERVERSSL_HANDSHAKE: does(),
      },
    }).open();

  it('begin one behind the other, the client first', () => {
    const play = enableBoth();
    const lines = play.data('client', 'go');
    expect(lines.filter((line) => line.startsWith('startTls'))).toEqual(['startTls client']);
    expect(play.secured()).toEqual([
      'clearTimer handshake',
      'rules CLIENTSSL_HANDSHAKE',
      'startTls server',
      'setTimer handshake',
    ]);
    expect(play.secured('server')).toEqual([
      'clearTimer handshake',
      'rules SERVERSSL_HANDSHAKE',
      'splice',
    ]);
  });

  it('have what the server sends meanwhile refused', () => {
    const play = enableBoth();
    play.data('client', 'go');
    play.data('server', 'late');
    expect(play.secured()).toEqual(expect.arrayContaining(['reset client', 'reset server']));
    expect(play.logs).toEqual(['the server sent plaintext behind the answer that lets begin TLS']);
  });
});
