import { describe, expect, it } from 'vitest';
import { collect, does, inTurn, Playbook, release, replace, tls } from './playbook.ts';

const HELLO = '\x16\x03\x01\x00\x05';

/** A flow whose client may ask for another layer (`+`), or for one less (`-`). */
function layered() {
  const onData = inTurn(
    ...(Array.from('abcdef', () => (run) => {
      const held = String.fromCharCode(...run.payload('client'));
      if (held.startsWith('+') || held.startsWith('-')) {
        run.emit(replace('client', 0, 1, ''));
        run.emit(tls(held.startsWith('+')));
        if (held.startsWith('-')) run.emit(collect('client'));
      } else {
        run.emit(release('client'));
        run.emit(collect('client'));
      }
    }) as Parameters<typeof inTurn>),
  );
  return new Playbook({
    rules: {
      SERVER_CONNECTED: does(collect('client')),
      CLIENT_DATA: onData,
      CLIENTSSL_HANDSHAKE: does(collect('client')),
      CLIENTSSL_DATA: onData,
    },
  }).open();
}

/** One with so many layers. */
function withLayers(count: number): Playbook {
  const play = layered();
  for (let layer = 0; layer < count; layer += 1) {
    expect(play.data('client', '+')).toContain('startTls client');
    expect(play.secured()).toContain('rules CLIENTSSL_HANDSHAKE');
  }
  return play;
}

describe('TLS inside TLS', () => {
  it('has as many layers as were enabled', () => {
    const play = withLayers(3);
    expect([play.flow.client.tls, play.flow.client.depth]).toEqual(['secured', 3]);
    expect(play.data('client', 'USER')).toEqual(['rules CLIENTSSL_DATA', 'write server USER']);
  });

  it('takes the beginning of a handshake that came inside the layer below', () => {
    const play = withLayers(1);
    expect(play.data('client', `+${HELLO}`)).toContain(`startTls client ${HELLO}`);
  });

  it('has the barrier between any two layers', () => {
    const play = withLayers(2);
    const lines = play.data('client', '+USER eve');
    expect(lines).toContain('reset client');
    expect(lines.join()).not.toContain('startTls');
    expect(play.logs).toEqual(['the client sent plaintext behind the command that starts TLS']);
  });

  it('is taken off layer by layer', () => {
    const play = withLayers(2);
    expect(play.data('client', '-')).toContain('stopTls client');
    play.unsecured();
    expect([play.flow.client.tls, play.flow.client.depth]).toEqual(['secured', 1]);
    expect(play.data('client', 'USER')[0]).toBe('rules CLIENTSSL_DATA');
    expect(play.data('client', '-')).toContain('stopTls client');
    play.unsecured();
    expect([play.flow.client.tls, play.flow.client.depth]).toEqual(['none', 0]);
    expect(play.data('client', 'USER')[0]).toBe('rules CLIENT_DATA');
  });

  it('has the barrier also when a layer is taken off', () => {
    const play = withLayers(2);
    expect(play.data('client', '-USER eve')).toContain('reset client');
    expect(play.logs[0]).toContain('data inside TLS');
  });

  it('fails as a whole: a handshake inside is not a way back', () => {
    const play = withLayers(1);
    play.data('client', '+');
    expect(play.closed('client', 'unknown CA')).toContain('reset server');
  });

  it('leaves the layer below when a rule changes its mind in the same event', () => {
    const play = new Playbook({
      clientTls: true,
      rules: { CLIENTSSL_HANDSHAKE: does(tls(true), tls(false)) },
    });
    play.accepted();
    expect(play.secured()).toEqual([
      'clearTimer handshake',
      'rules CLIENTSSL_HANDSHAKE',
      'select web',
    ]);
    expect([play.flow.client.tls, play.flow.client.depth]).toEqual(['secured', 1]);
  });

  it('can be begun with the server, too', () => {
    const play = new Playbook({
      serverTls: true,
      rules: { SERVERSSL_HANDSHAKE: inTurn(does(tls(true, 'server')), does()) },
    }).open();
    expect(play.secured('server')).toContain('startTls server');
    expect(play.secured('server')).toContain('splice');
    expect(play.flow.server.depth).toBe(2);
  });
});
