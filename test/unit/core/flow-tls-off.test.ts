import { describe, expect, it } from 'vitest';
import {
  collect,
  does,
  type Handler,
  Playbook,
  release,
  replace,
  respond,
  type Script,
  tls,
} from './playbook.ts';

const HELLO = '\x16\x03\x01\x00\x05';
const close = { type: 'close', side: 'client' } as const;

const writes = (lines: readonly string[]) => lines.filter((line) => line.startsWith('write'));

/** A flow whose client speaks TLS, and whose lines go through `onData`. */
function secured(onData: Handler, rules: Script['rules'] = {}) {
  const play = new Playbook({
    clientTls: true,
    rules: { SERVER_CONNECTED: does(collect('client')), CLIENTSSL_DATA: onData, ...rules },
  });
  play.accepted();
  play.secured();
  play.selected();
  play.connected();
  return play;
}

/** What a rule orders that handles FTP's CCC. */
const ccc = [
  replace('client', 0, 4, ''),
  respond('client', '200'),
  tls(false),
  collect('client'),
] as const;
const takeOff = does(...ccc);

describe('TLS that a rule takes off', () => {
  it('goes behind the answer; plaintext is data of CLIENT_DATA', () => {
    const play = secured(takeOff, { CLIENT_DATA: does(release('client')) });
    expect(play.data('client', 'CCC\n')).toEqual([
      'rules CLIENTSSL_DATA',
      'write client 200',
      'stopTls client',
      'setTimer handshake',
      'read server off',
    ]);
    expect(play.flow.client.tls).toBe('closing');
    expect(play.unsecured()).toEqual(['clearTimer handshake', 'read client on', 'read server on']);
    expect([play.flow.client.tls, play.flow.client.depth]).toEqual(['none', 0]);
    expect(play.data('client', 'USER')).toEqual([
      'rules CLIENT_DATA',
      'write server USER',
      'splice',
    ]);
  });

  it('goes behind the answer whatever the order of the calls', () => {
    const play = secured(does(tls(false), replace('client', 0, 4, ''), respond('client', '200')));
    const lines = play.data('client', 'CCC\n');
    expect(lines.indexOf('stopTls client')).toBeGreaterThan(lines.indexOf('write client 200'));
  });

  it('lets what was released before go to the server', () => {
    const play = secured(does(release('client', 4), replace('client', 0, 4, ''), tls(false)));
    expect(play.data('client', 'NOP\nCCC\n')).toEqual(
      expect.arrayContaining(['write server NOP\n', 'stopTls client']),
    );
  });

  it('leaves the connection to itself when nobody collects', () => {
    const play = secured(does(replace('client', 0, 4, ''), tls(false)));
    play.data('client', 'CCC\n');
    expect(play.unsecured()).toEqual(['clearTimer handshake', 'splice']);
  });

  it('may have no connection to a server, which is chosen afterwards', () => {
    const play = new Playbook({
      clientTls: true,
      rules: { CLIENTSSL_HANDSHAKE: does(tls(false)) },
    });
    play.accepted();
    expect(play.secured()).toEqual([
      'clearTimer handshake',
      'rules CLIENTSSL_HANDSHAKE',
      'stopTls client',
      'setTimer handshake',
    ]);
    expect(play.unsecured()).toEqual(['clearTimer handshake', 'select web']);
  });

  it('cannot be taken off behind the end of the connection', () => {
    const play = secured(takeOff);
    expect(play.ended('server')).toContain('end client');
    expect(play.data('client', 'CCC\n')).toContain('reset client');
    expect(play.logs).toEqual(['TLS on the client side was changed behind its end']);
  });

  it('is kept when the same event enables it again', () => {
    const play = secured(does(tls(false), tls(true), release('client')));
    expect(play.data('client', 'NOOP')).toEqual([
      'rules CLIENTSSL_DATA',
      'write server NOOP',
      'splice',
    ]);
    expect([play.flow.client.tls, play.flow.client.depth]).toEqual(['secured', 1]);
  });

  it('may begin again, three times round', () => {
    const rules = {
      CLIENT_DATA: does(replace('client', 0, 9, ''), respond('client', 'on'), tls(true)),
      CLIENTSSL_HANDSHAKE: does(collect('client')),
    };
    const play = secured(takeOff, rules);
    for (let round = 0; round < 3; round += 1) {
      expect(play.data('client', 'CCC\n')).toContain('stopTls client');
      expect(play.unsecured()).toContain('read client on');
      expect(play.data('client', `AUTH TLS\n${HELLO}`)).toEqual(
        expect.arrayContaining(['write client on', `startTls client ${HELLO}`]),
      );
      expect(play.secured()).toContain('rules CLIENTSSL_HANDSHAKE');
    }
    expect(play.flow.client.depth).toBe(1);
  });

  it('can be the one of the server', () => {
    const play = new Playbook({
      serverTls: true,
      rules: {
        SERVERSSL_HANDSHAKE: does(collect('server')),
        SERVERSSL_DATA: does(replace('server', 0, 4, ''), tls(false, 'server'), collect('server')),
        SERVER_DATA: does(release('server')),
      },
    }).open();
    play.secured('server');
    expect(play.data('server', '200\n')).toContain('stopTls server');
    expect(play.unsecured('server')).toContain('read server on');
    expect(play.data('server', '220')).toEqual(['rules SERVER_DATA', 'write client 220', 'splice']);
  });
});

describe('the epoch barrier when TLS is taken off', () => {
  const lost = ['log warn', 'reset client', 'reset server'];
  const reason = 'the client sent data inside TLS behind the command that ends it';

  it('refuses bytes that are held', () => {
    const play = secured(takeOff);
    const lines = play.data('client', 'CCC\nUSER eve');
    expect(lines.slice(2, 5)).toEqual(lost);
    expect(lines).not.toContain('stopTls client');
    expect(play.logs).toEqual([reason]);
  });

  it('does not let a skip take them', () => {
    const play = secured(does(replace('client', 0, 4, ''), tls(false), collect('client', 1, 3)));
    const lines = play.data('client', 'CCC\nEVE');
    expect(writes(lines)).toEqual([]);
    expect(lines).toContain('reset client');
  });

  it('counts a skip in what comes outside', () => {
    const play = secured(does(replace('client', 0, 4, ''), tls(false), collect('client', 1, 3)), {
      CLIENT_DATA: does(),
    });
    play.data('client', 'CCC\n');
    play.unsecured();
    expect(play.data('client', 'abcd')).toEqual([
      'rules CLIENT_DATA',
      'write server abc',
      'setTimer collect',
    ]);
  });

  it('refuses bytes that come inside TLS meanwhile', () => {
    const play = secured(takeOff);
    play.data('client', 'CCC\n');
    expect(play.data('client', 'USER eve').slice(0, 3)).toEqual(lost);
    expect(play.logs).toEqual([reason]);
  });

  it('refuses bytes that waited behind a suspended handler', () => {
    const play = secured(() => 'suspend');
    play.data('client', 'CCC\n');
    play.data('client', 'USER eve');
    const lines = play.resume(takeOff);
    expect(writes(lines)).toEqual(['write client 200']);
    expect(lines).toContain('reset client');
  });

  it('is for both sides', () => {
    const play = secured(does(), {
      SERVER_CONNECTED: does(tls(true, 'server')),
      SERVERSSL_HANDSHAKE: does(collect('server')),
      SERVERSSL_DATA: does(tls(false, 'server')),
    });
    play.secured('server');
    expect(play.data('server', '200')).toContain('reset server');
    expect(play.logs[0]).toContain('the server sent data inside TLS');
  });
});

describe('while TLS is taken off', () => {
  const rules = { SERVER_CLOSED: does(), CLIENT_CLOSED: does() };

  function closing(more: Script['rules'] = {}) {
    const play = secured(takeOff, { ...rules, ...more });
    play.data('client', 'CCC\n');
    return play;
  }

  it('bytes and end of the server wait, and go outside of it', () => {
    const play = closing();
    expect(play.data('server', 'hi')).toEqual([]);
    expect(play.ended('server')).toEqual([]);
    const lines = play.unsecured();
    expect(lines.indexOf('end client')).toBeGreaterThan(lines.indexOf('write client hi'));
    expect(lines).toContain('write client hi');
  });

  it('the end of TLS is not the end of the client', () => {
    const play = closing();
    expect(play.ended('client')).toEqual([]);
    expect(play.unsecured()).toContain('read client on');
    expect(play.ended('client')).toContain('end server');
  });

  /** TLS is taken off by an answer of the server, behind an end of the client. */
  function endedBefore(truncated: boolean) {
    const play = secured(does(), {
      SERVER_CONNECTED: does(collect('client'), collect('server')),
      SERVER_DATA: does(release('server'), ...ccc),
    });
    play.data('client', 'CCC\n');
    expect(play.ended('client', truncated)).not.toContain('end server');
    return { play, lines: play.data('server', '200') };
  }

  it('an end of TLS that came before counts as that of the layer', () => {
    const { play, lines } = endedBefore(false);
    expect(lines).toContain('stopTls client');
    expect(lines).not.toContain('end server');
    expect(play.unsecured()).toContain('read client on');
  });

  it('an end of the connection that came before is a failure', () => {
    const { play, lines } = endedBefore(true);
    expect(lines).toContain('reset client');
    expect(lines).not.toContain('stopTls client');
    expect(play.logs).toEqual(['taking TLS off the client side failed: the connection was ended']);
  });

  it('the end of the connection is a failure', () => {
    const play = closing();
    expect(play.ended('client', true)).toContain('reset server');
    expect(play.logs).toEqual(['taking TLS off the client side failed: the connection was ended']);
  });

  it('an end of the connection that waited for rules is a failure', () => {
    const play = secured(() => 'suspend');
    play.data('client', 'CCC\n');
    play.ended('client', true);
    expect(play.resume(takeOff)).toContain('reset client');
    expect(play.logs).toEqual(['taking TLS off the client side failed: the connection was ended']);
  });

  it('a close and an error reset the server', () => {
    for (const error of [undefined, 'ECONNRESET']) {
      const play = closing();
      const lines = play.closed('client', error);
      expect(lines).toContain('reset server');
      expect(lines).toContain('clearTimer handshake');
      expect(play.closed('server').at(-1)).toBe('done');
    }
  });

  it('the time is bounded', () => {
    const play = closing();
    expect(play.timer('handshake').slice(0, 3)).toEqual([
      'log info',
      'reset client',
      'reset server',
    ]);
    expect(play.logs).toEqual([
      'taking TLS off the client side failed: it took longer than the handshakeTimeout',
    ]);
  });

  it('the server may go away', () => {
    const play = closing();
    expect(play.closed('server')).toEqual(['rules SERVER_CLOSED']);
    expect(play.unsecured()).toEqual(expect.arrayContaining(['end client', 'setTimer linger']));
  });

  it('FIN of TCP.close goes behind it', () => {
    const play = closing({ SERVER_CLOSED: does(close) });
    const lines = play.closed('server');
    expect(lines).toContain('setTimer linger');
    expect(lines).not.toContain('end client');
    expect(play.unsecured()).toEqual(['clearTimer handshake', 'end client', 'read client on']);
    expect(play.closed('client').at(-1)).toBe('done');
  });

  it('TCP.close of the same event ends the connection inside TLS', () => {
    const play = secured(does(replace('client', 0, 4, ''), tls(false), close));
    const lines = play.data('client', 'CCC\n');
    expect(lines).toEqual(expect.arrayContaining(['end client', 'end server']));
    expect(lines).not.toContain('stopTls client');
    play.closed('server');
    expect(play.closed('client')).toContain('done');
    expect(play.logs).toEqual([]);
  });
});
