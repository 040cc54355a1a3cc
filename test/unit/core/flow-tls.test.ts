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
  tls,
} from './playbook.ts';

const HELLO = '\x16\x03\x01\x00\x05';
const close = { type: 'close', side: 'client' } as const;

/** Which sides the flow reads from, as the lines of a conversation leave it. */
function reading(lines: readonly string[], before = { client: false, server: false }) {
  const state = { ...before };
  for (const line of lines) {
    const [what, side, how] = line.split(' ');
    if (what === 'read' && (side === 'client' || side === 'server')) state[side] = how === 'on';
    if (what === 'startTls') state.client = false;
  }
  return state;
}

const writes = (lines: readonly string[]) => lines.filter((line) => line.startsWith('write'));

/** A connected flow in plaintext, whose client's lines go through `onData`. */
function starttls(onData: Handler, more: ConstructorParameters<typeof Playbook>[0] = {}) {
  const rules = {
    CLIENT_ACCEPTED: does(tls(false)),
    SERVER_CONNECTED: does(collect('client')),
    CLIENT_DATA: onData,
    ...more.rules,
  };
  return new Playbook({ clientTls: true, ...more, rules }).open();
}

const upgrade = does(
  respond('client', '+OK'),
  replace('client', 0, 6, ''),
  release('client'),
  tls(true),
);

describe('implicit TLS', () => {
  it('starts after CLIENT_ACCEPTED, and everything else waits for it', () => {
    const play = new Playbook({
      clientTls: true,
      rules: { CLIENT_ACCEPTED: does(), CLIENTSSL_HANDSHAKE: does() },
    });
    expect(play.accepted()).toEqual([
      'rules CLIENT_ACCEPTED',
      'startTls client',
      'setTimer handshake',
    ]);
    expect(play.secured()).toEqual([
      'clearTimer handshake',
      'rules CLIENTSSL_HANDSHAKE',
      'select web',
    ]);
    play.selected();
    expect(play.connected()).toContain('splice');
  });

  it('needs no rules', () => {
    const play = new Playbook({ clientTls: true });
    expect(play.accepted()).toEqual(['startTls client', 'setTimer handshake']);
    expect(play.secured()).toEqual(['clearTimer handshake', 'select web']);
  });

  it('does not start when CLIENT_ACCEPTED disables it', () => {
    const play = new Playbook({ clientTls: true, rules: { CLIENT_ACCEPTED: does(tls(false)) } });
    expect(play.accepted()).toEqual(['rules CLIENT_ACCEPTED', 'select web']);
    play.selected();
    expect(play.connected()).toContain('splice');
  });

  it('starts all the same when a rule disables and enables it', () => {
    const play = new Playbook({
      clientTls: true,
      rules: { CLIENT_ACCEPTED: does(tls(false), tls(true)) },
    });
    expect(play.accepted()).toContain('startTls client');
  });

  it('has too long a handshake reset', () => {
    const play = new Playbook({ clientTls: true });
    play.accepted();
    expect(play.timer('handshake').slice(0, 2)).toEqual(['log info', 'reset client']);
    expect(play.logs[0]).toContain('handshakeTimeout');
  });

  it('that fails ends the flow', () => {
    const play = new Playbook({ clientTls: true, rules: { CLIENT_CLOSED: does() } });
    play.accepted();
    const lines = play.closed('client', 'wrong version number');
    expect(lines.slice(-2)).toEqual(['rules CLIENT_CLOSED', 'done']);
    expect(lines).not.toContain('reset client');
  });

  describe('after a collect', () => {
    const sniff = (onData: Handler) => {
      const rules = { CLIENT_ACCEPTED: does(collect('client')), CLIENT_DATA: onData };
      const play = new Playbook({ clientTls: true, rules });
      expect(play.accepted()).toEqual(['rules CLIENT_ACCEPTED', 'read client on']);
      return play;
    };

    it('starts with the released bytes as its beginning', () => {
      const play = sniff(does(release('client')));
      const lines = play.data('client', HELLO);
      expect(lines).toContain(`startTls client ${HELLO}`);
      expect(writes(lines)).toEqual([]);
    });

    it('puts parts released one by one together', () => {
      const play = sniff(
        inTurn(does(release('client', 1), collect('client')), does(release('client'))),
      );
      play.data('client', HELLO.slice(0, 3));
      expect(play.data('client', HELLO.slice(3))).toContain(`startTls client ${HELLO}`);
    });

    it('removes what the rule removed', () => {
      const play = sniff(does(replace('client', 0, 6, ''), release('client')));
      expect(play.data('client', `PROXY\n${HELLO}`)).toContain(`startTls client ${HELLO}`);
    });

    it('does not start on bytes that are not TLS', () => {
      const play = sniff(does(release('client')));
      expect(play.data('client', 'USER bob')).toEqual([
        'rules CLIENT_DATA',
        'log warn',
        'reset client',
      ]);
    });

    it('starts when SSL.enable is called, as without a profile that starts it', () => {
      const play = sniff(does(tls(true)));
      expect(play.data('client', HELLO)).toContain(`startTls client ${HELLO}`);
    });

    it.each([
      ['before', [tls(false), release('client')]],
      ['after', [release('client'), tls(false)]],
    ])('can be disabled %s the release: the bytes go to the server', (_when, actions) => {
      const play = sniff(does(...actions));
      const lines = play.data('client', 'USER bob');
      expect(lines).toContain('select web');
      play.selected();
      expect(writes(play.connected())).toEqual(['write server USER bob']);
    });

    it('can be disabled after a part was released', () => {
      const play = sniff(
        inTurn(does(release('client', 2), collect('client')), does(tls(false), release('client'))),
      );
      play.data('client', 'US');
      play.data('client', 'ER');
      play.selected();
      expect(writes(play.connected()).join('').replaceAll('write server ', '')).toBe('USER');
    });

    it('holds no more than the collectLimit for TLS', () => {
      const rules = {
        CLIENT_ACCEPTED: does(collect('client')),
        CLIENT_DATA: does(release('client'), collect('client')),
      };
      const play = new Playbook({ clientTls: true, collectLimit: 8, rules });
      let lines = play.accepted();
      for (let turn = 0; turn < 3; turn += 1) lines = lines.concat(play.data('client', HELLO));
      const stopped = ['startTls client', 'reset client', 'read client off'];
      expect(lines.some((line) => stopped.some((stop) => line.startsWith(stop)))).toBe(true);
    });
  });
});

describe('TLS that a rule enables later', () => {
  it('starts behind the answer, and no server byte or read comes in between', () => {
    const play = starttls(upgrade);
    expect(play.data('client', 'STLS\r\n')).toEqual([
      'rules CLIENT_DATA',
      'write client +OK',
      'startTls client',
      'setTimer handshake',
      'read server off',
    ]);
    expect(reading(play.data('server', 'early')).client).toBe(false);
    const lines = play.secured();
    expect(lines[0]).toBe('clearTimer handshake');
    expect(lines).toContain('write client early');
  });

  it('starts behind the answer whatever the order of the calls', () => {
    const play = starttls(does(tls(true), replace('client', 0, 6, ''), respond('client', '+OK')));
    const lines = play.data('client', 'STLS\r\n');
    expect(lines.indexOf('write client +OK')).toBeLessThan(lines.indexOf('startTls client'));
    expect(lines).toContain('startTls client');
  });

  it('never reads the client itself during the handshake', () => {
    const play = starttls(upgrade);
    const before = reading([], { client: true, server: true });
    let state = reading(play.data('client', 'STLS\r\n'), before);
    expect(state).toEqual({ client: false, server: false });
    state = reading(play.data('server', 'x'), state);
    state = reading(play.ended('server'), state);
    expect(state.client).toBe(false);
  });

  it('can collect again once it is secured, as CLIENTSSL_DATA', () => {
    const play = starttls(upgrade, {
      rules: {
        CLIENTSSL_HANDSHAKE: does(collect('client')),
        CLIENTSSL_DATA: does(release('client'), collect('client')),
      },
    });
    play.data('client', 'STLS\r\n');
    expect(play.secured()).toContain('read client on');
    expect(play.data('client', 'USER bob')).toEqual([
      'rules CLIENTSSL_DATA',
      'write server USER bob',
    ]);
  });

  it('lets the bytes after it go on untouched when nobody collects', () => {
    const play = starttls(upgrade);
    play.data('client', 'STLS\r\n');
    expect(play.secured()).toEqual(['clearTimer handshake', 'splice']);
  });

  it('keeps one deadline over command, upgrade and handshake', () => {
    const play = starttls(
      inTurn(does(), does(replace('client', 0, 6, ''), respond('client', '+OK'), tls(true))),
    );
    expect(play.data('client', 'ST')).toContain('setTimer collect');
    const lines = play.data('client', 'LS\r\n');
    expect(lines.filter((line) => line.endsWith('collect'))).toEqual([]);
    expect(play.timer('collect')).toContain('reset client');
  });

  it('ends that deadline when it is secured', () => {
    const play = starttls(inTurn(does(), does(replace('client', 0, 6, ''), tls(true))));
    play.data('client', 'ST');
    play.data('client', 'LS\r\n');
    expect(play.secured()).toContain('clearTimer collect');
  });
});

describe('the epoch barrier', () => {
  const eat = does(respond('client', '+OK'), replace('client', 0, 6, ''), tls(true));

  it('takes a first record that came with the command', () => {
    const play = starttls(eat);
    expect(play.data('client', `STLS\r\n${HELLO}`)).toContain(`startTls client ${HELLO}`);
  });

  it.each(['\x16', '\x16\x03'])('takes the beginning of one: %j', (part) => {
    const play = starttls(eat);
    expect(play.data('client', `STLS\r\n${part}`)).toContain(`startTls client ${part}`);
  });

  it.each(['USER eve\r\n', '\r\n', '\x17\x03\x03', '\x16\x02'])('refuses %j', (injected) => {
    const play = starttls(eat);
    const lines = play.data('client', `STLS\r\n${injected}`);
    expect(lines.slice(-3)).toEqual(['log warn', 'reset client', 'reset server']);
    expect(lines.some((line) => line.startsWith('startTls'))).toBe(false);
    expect(lines.some((line) => line.startsWith('write server'))).toBe(false);
    expect(play.logs[0]).toContain('plaintext');
  });

  it('lets what was released before go to the server', () => {
    const play = starttls(
      does(release('client', 6), replace('client', 0, 6, ''), tls(true), respond('client', '+OK')),
    );
    const lines = play.data('client', `NOOP\r\nSTLS\r\n${HELLO}`);
    expect(writes(lines)).toEqual(['write server NOOP\r\n', 'write client +OK']);
    expect(lines).toContain(`startTls client ${HELLO}`);
  });

  it('lets it go also when the server is not there yet', () => {
    const play = new Playbook({
      rules: {
        CLIENT_ACCEPTED: does(collect('client')),
        CLIENT_DATA: does(release('client', 3), replace('client', 0, 6, ''), tls(true)),
      },
    });
    play.accepted();
    expect(play.data('client', 'EHLSTLS\r\n')).toContain('startTls client');
    play.secured();
    play.selected();
    expect(writes(play.connected())).toEqual(['write server EHL']);
  });

  it('also stands for bytes that waited behind a suspended handler', () => {
    const play = starttls(() => 'suspend');
    play.data('client', 'STLS\r\n');
    play.data('client', 'USER eve\r\n');
    const lines = play.resume(eat);
    expect(writes(lines)).not.toContain('write server USER eve\r\n');
    expect(lines).toContain('reset client');
    expect(writes(play.secured())).toEqual([]);
  });

  it('takes a record that waited behind a suspended handler', () => {
    const play = starttls(() => 'suspend');
    play.data('client', 'STLS\r\n');
    play.data('client', HELLO);
    const lines = play.resume(eat);
    expect(lines).toContain(`startTls client ${HELLO}`);
    expect(writes(lines)).toEqual(['write client +OK']);
  });
});

describe('during the handshake', () => {
  it('the server is connected to only when it is over', () => {
    const play = new Playbook({
      rules: { LB_SELECTED: does(collect('client')), CLIENT_DATA: does(tls(true)) },
    });
    play.accepted();
    play.selected();
    play.data('client', HELLO);
    expect(play.connected()).toEqual(['clearTimer connect']);
    expect(play.secured()).toEqual(['clearTimer handshake', 'splice']);
  });

  it('what the server sent is held, also what it collected', () => {
    const play = starttls(upgrade, {
      rules: {
        SERVER_CONNECTED: does(collect('client'), collect('server', 3)),
        SERVER_DATA: does(release('server')),
      },
    });
    play.data('server', 'a');
    play.data('client', 'STLS\r\n');
    expect(play.data('server', 'bc')).toEqual([]);
    expect(play.secured()).toEqual(
      expect.arrayContaining(['rules SERVER_DATA', 'write client abc']),
    );
  });

  it('the FIN of the server is held', () => {
    const play = starttls(upgrade);
    play.data('client', 'STLS\r\n');
    expect(play.data('server', 'bye')).toEqual([]);
    expect(play.ended('server')).toEqual([]);
    const lines = play.secured();
    expect(lines.indexOf('write client bye')).toBeGreaterThan(0);
    expect(lines.indexOf('end client')).toBeGreaterThan(lines.indexOf('write client bye'));
  });

  it('the FIN of the server is held behind its bytes before the handshake, too', () => {
    const play = starttls(inTurn(does(tls(true), collect('client')), does(release('client'))));
    play.data('client', '\x16');
    expect(play.data('server', 'bye')).not.toContain('write client bye');
    expect(play.ended('server')).not.toContain('end client');
    play.data('client', HELLO.slice(1));
    const lines = play.secured();
    expect(lines.indexOf('write client bye')).toBeGreaterThan(0);
    expect(lines.indexOf('end client')).toBeGreaterThan(lines.indexOf('write client bye'));
  });

  it('a server that closes is handled, and the client ended afterwards', () => {
    const play = starttls(upgrade, { rules: { SERVER_CLOSED: does() } });
    play.data('client', 'STLS\r\n');
    expect(play.closed('server')).toEqual(['rules SERVER_CLOSED']);
    const lines = play.secured();
    expect(lines).toContain('end client');
    expect(lines).toContain('setTimer linger');
  });

  it('a client that goes away takes its timer with it, and the server is reset', () => {
    const play = starttls(upgrade);
    play.data('client', 'STLS\r\n');
    expect(play.closed('client')).toEqual(['log info', 'clearTimer handshake', 'reset server']);
    expect(play.logs).toEqual([
      'the TLS handshake with the client failed: the connection was closed',
    ]);
    expect(play.closed('server')).toContain('done');
  });

  it('an error of the client resets the server', () => {
    const play = starttls(upgrade);
    play.data('client', 'STLS\r\n');
    expect(play.closed('client', 'no shared cipher')).toContain('reset server');
  });

  it('an error of the server resets the client', () => {
    const play = starttls(upgrade);
    play.data('client', 'STLS\r\n');
    expect(play.closed('server', 'ECONNRESET')).toContain('reset client');
  });

  it('an abort resets both', () => {
    const play = starttls(upgrade);
    play.data('client', 'STLS\r\n');
    expect(play.abort().slice(0, 3)).toEqual(['log info', 'reset client', 'reset server']);
  });
});

describe('TLS does not start', () => {
  it('on a connection that a rule closes in the same event', () => {
    const play = starttls(does(replace('client', 0, 6, ''), tls(true), close));
    const lines = play.data('client', 'STLS\r\n');
    expect(lines).toContain('end client');
    expect(lines).not.toContain('startTls client');
  });

  it('on a connection that a rule has seen end', () => {
    const play = starttls(upgrade, { rules: { SERVER_CONNECTED: does(collect('client')) } });
    play.ended('server');
    const lines = play.data('client', 'STLS\r\n');
    expect(lines.some((line) => line.startsWith('startTls'))).toBe(false);
    expect(lines).toContain('reset client');
    expect(play.logs).toEqual(['TLS on the client side was changed behind its end']);
  });
});

describe('the end of the server', () => {
  it('waits for TLS that is to start', () => {
    const play = starttls(inTurn(does(tls(true), collect('client')), does(release('client'))));
    play.data('client', '\x16');
    expect(play.ended('server')).not.toContain('end client');
    expect(play.data('client', HELLO.slice(1))).toContain(`startTls client ${HELLO}`);
    expect(play.secured()).toContain('end client');
  });
});
