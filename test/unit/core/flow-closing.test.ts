import { describe, expect, it } from 'vitest';
import { collect, does, enable, inTurn, Playbook, release, respond } from './playbook.ts';

const close = { type: 'close', side: 'client' } as const;
const reject = { type: 'reject' } as const;
const drop = { type: 'drop' } as const;

/** A connected flow that is not spliced, because the client's bytes pass through a rule. */
function open(rules: ConstructorParameters<typeof Playbook>[0] = {}): Playbook {
  return new Playbook({
    ...rules,
    rules: {
      SERVER_CONNECTED: does(collect('client')),
      CLIENT_DATA: does(release('client'), collect('client')),
      SERVER_CLOSED: does(),
      CLIENT_CLOSED: does(),
      ...rules.rules,
    },
  }).open();
}

describe('half-close', () => {
  it('of the client lets the server answer', () => {
    const play = open();
    play.data('client', 'GET');
    expect(play.ended('client')).toEqual(['end server', 'read client off']);
    expect(play.data('server', 'answer')).toEqual(['write client answer']);
    expect(play.ended('server')).toEqual(['end client', 'read server off']);
    expect(play.closed('server')).toEqual(['rules SERVER_CLOSED']);
    expect(play.closed('client')).toEqual(['rules CLIENT_CLOSED', 'done']);
  });

  it('of the server lets the client go on', () => {
    const play = open();
    expect(play.ended('server')).toEqual(['end client', 'read server off']);
    expect(play.data('client', 'more')).toEqual(['rules CLIENT_DATA', 'write server more']);
    expect(play.ended('client')).toEqual(['end server', 'read client off']);
    play.closed('client');
    expect(play.closed('server')).toEqual(['rules SERVER_CLOSED', 'rules CLIENT_CLOSED', 'done']);
  });

  it('before there is a server reaches it behind the bytes', () => {
    const play = new Playbook({
      rules: { CLIENT_ACCEPTED: does(collect('client')), CLIENT_DATA: does(release('client')) },
    });
    play.accepted();
    play.data('client', 'GET');
    expect(play.ended('client')).not.toContain('end client');
    play.selected();
    const lines = play.connected();
    expect(lines.filter((line) => line.startsWith('write') || line.startsWith('end'))).toEqual([
      'write server GET',
      'end server',
    ]);
    expect(lines).not.toContain('splice');
    expect(play.data('server', 'answer')).toEqual(['write client answer']);
  });

  it('waits for what a rule holds, until the collect timer', () => {
    const play = open({ rules: { CLIENT_DATA: does(collect('client', 99)) } });
    play.data('client', 'half a li');
    expect(play.ended('client')).toEqual(['read client off']);
    const lines = play.timer('collect');
    expect(lines).toContain('end server');
    expect(lines.some((line) => /^(write|reset|log)/.test(line))).toBe(false);
  });

  it('comes behind what a rule lets go later', () => {
    const play = open({
      rules: {
        SERVER_CONNECTED: does(collect('client'), collect('server')),
        CLIENT_DATA: does(),
        SERVER_DATA: does(release('server'), release('client')),
      },
    });
    play.data('client', 'QUIT');
    expect(play.ended('client')).not.toContain('end server');
    const lines = play.data('server', '+OK');
    expect(lines.slice(lines.indexOf('write server QUIT'))).toContain('end server');
  });

  it('of the server with held bytes goes on without them', () => {
    const play = open({
      rules: { SERVER_CONNECTED: does(collect('server', 99)), SERVER_DATA: does() },
    });
    play.data('server', 'half');
    expect(play.ended('server')).toEqual(['end client', 'read server off']);
  });

  it('of a client that is collected from, without a server, ends it', () => {
    const play = new Playbook({
      rules: { CLIENT_ACCEPTED: does(collect('client')), CLIENT_DATA: does() },
    });
    play.accepted();
    play.data('client', 'half a li');
    const lines = play.ended('client');
    expect(lines).toContain('end client');
    expect(lines).toContain('clearTimer collect');
    expect(lines).not.toContain('select web');
    expect(play.closed('client')).toEqual(['done']);
  });

  it('that comes with the last bytes comes behind their event', () => {
    const play = new Playbook({
      rules: { CLIENT_ACCEPTED: () => 'suspend', CLIENT_DATA: does(release('client')) },
    });
    play.accepted();
    play.data('client', 'GET');
    play.ended('client');
    expect(play.resume(does(collect('client')))).toEqual(
      expect.arrayContaining(['rules CLIENT_DATA', 'select web']),
    );
    play.selected();
    const lines = play.connected();
    expect(lines.indexOf('end server')).toBeGreaterThan(lines.indexOf('write server GET'));
  });
});

describe('a closed side', () => {
  it('server: the client gets FIN, is read until it ends, and is waited for only so long', () => {
    const play = open();
    expect(play.closed('server')).toEqual(['rules SERVER_CLOSED', 'end client', 'setTimer linger']);
    expect(play.data('client', 'too late')).toEqual([]);
    expect(play.timer('linger')).toEqual(['destroy client']);
    expect(play.closed('client')).toEqual(['rules CLIENT_CLOSED', 'done']);
  });

  it('client: the same towards the server, and SERVER_CLOSED still comes first', () => {
    const play = open();
    expect(play.closed('client')).toEqual(
      expect.arrayContaining(['end server', 'setTimer linger']),
    );
    expect(play.data('server', 'too late')).toEqual([]);
    expect(play.closed('server')).toEqual(['rules SERVER_CLOSED', 'rules CLIENT_CLOSED', 'done']);
  });

  it('is told only once', () => {
    const play = open();
    play.closed('server');
    expect(play.closed('server')).toEqual([]);
    play.closed('client');
    expect(play.closed('client')).toEqual([]);
    expect(play.abort()).toEqual([]);
  });

  it('lets a rule say something to the client in SERVER_CLOSED', () => {
    const play = open({ rules: { SERVER_CLOSED: does(respond('client', 'the server left')) } });
    expect(play.closed('server').slice(0, 3)).toEqual([
      'rules SERVER_CLOSED',
      'write client the server left',
      'end client',
    ]);
  });

  it('fires CLIENT_CLOSED once, whatever it enables', () => {
    const play = open({
      rules: { CLIENT_CLOSED: does(enable('all'), enable('CLIENT_CLOSED')) },
    });
    play.closed('server');
    expect(play.closed('client')).toEqual(['rules CLIENT_CLOSED', 'done']);
  });

  it('orders nothing for it in CLIENT_CLOSED', () => {
    const play = open({
      rules: { CLIENT_CLOSED: does(respond('client', 'x'), close, reject, drop) },
    });
    play.closed('server');
    expect(play.closed('client')).toEqual(['rules CLIENT_CLOSED', 'done']);
  });
});

describe('RST', () => {
  it.each([
    ['client', 'server'],
    ['server', 'client'],
  ] as const)('of the %s resets the %s', (side, other) => {
    const play = open();
    const lines = play.closed(side, 'ECONNRESET');
    expect(lines).toContain(`reset ${other}`);
    expect(lines).not.toContain('setTimer linger');
    expect(lines.some((line) => line.startsWith('end'))).toBe(false);
    expect(play.closed(other)).toContain('done');
  });

  it('of the client ends the flow at every stage', () => {
    const stages: ((play: Playbook) => void)[] = [
      (play) => play.accepted(),
      (play) => play.data('client', 'x'),
      (play) => play.selected(),
    ];
    for (let stage = 1; stage <= stages.length; stage += 1) {
      const play = new Playbook({
        rules: { CLIENT_ACCEPTED: does(collect('client')), CLIENT_DATA: does(release('client')) },
      });
      for (const step of stages.slice(0, stage)) step(play);
      expect(play.closed('client', 'ECONNRESET').at(-1)).toBe('done');
    }
  });

  it.each(['client', 'server'] as const)('of the %s after splice', (side) => {
    const play = new Playbook().open();
    const other = side === 'client' ? 'server' : 'client';
    expect(play.closed(side, 'ECONNRESET')).toContain(`reset ${other}`);
    expect(play.closed(other)).toEqual(['done']);
  });

  it('of the server does not cost the client the answer that TCP.close ends with', () => {
    const play = open({ rules: { CLIENT_DATA: does(respond('client', 'BYE'), close) } });
    expect(play.data('client', 'QUIT')).toEqual(
      expect.arrayContaining(['write client BYE', 'end client', 'end server']),
    );
    expect(play.closed('server', 'ECONNRESET')).not.toContain('reset client');
    expect(play.closed('client')).toContain('done');
  });

  it('leaves no data event for a side that it closed', () => {
    const play = open({ rules: { CLIENT_DATA: inTurn(() => 'suspend', does()) } });
    play.data('client', 'a');
    play.closed('server', 'ECONNRESET');
    play.data('client', 'b');
    const lines = play.resume(does(collect('client')));
    expect(lines.slice(lines.indexOf('reset client'))).not.toContain('rules CLIENT_DATA');
    expect(play.closed('client')).toContain('done');
  });
});

describe('TCP.close', () => {
  it('sends FIN to both behind everything, and discards what still comes', () => {
    const play = open({
      rules: {
        CLIENT_DATA: does(release('client', 2), respond('client', 'BYE'), close),
      },
    });
    expect(play.data('client', 'QUIT')).toEqual([
      'rules CLIENT_DATA',
      'write server QU',
      'write client BYE',
      'end client',
      'end server',
      'setTimer linger',
      'read server on',
    ]);
    expect(play.data('server', 'late')).toEqual([]);
    expect(play.data('client', 'late')).toEqual([]);
    play.ended('client');
    play.ended('server');
    play.closed('client');
    expect(play.closed('server')).toEqual(['rules SERVER_CLOSED', 'rules CLIENT_CLOSED', 'done']);
  });

  it('keeps a later respond from being sent', () => {
    const play = open({ rules: { CLIENT_DATA: does(close, respond('client', 'late')) } });
    expect(play.data('client', 'x')).not.toContain('write client late');
  });

  it('is destroyed when the peers do not end', () => {
    const play = open({ rules: { CLIENT_DATA: does(close) } });
    play.data('client', 'x');
    expect(play.timer('linger')).toEqual(['destroy client', 'destroy server']);
    play.closed('server');
    expect(play.closed('client').at(-1)).toBe('done');
  });
});

describe('reject and drop', () => {
  it.each([
    ['reject', reject, 'reset'],
    ['drop', drop, 'destroy'],
  ] as const)('%s ends both sides at once', (_name, action, effect) => {
    const play = open({ rules: { CLIENT_DATA: does(action, respond('client', 'late')) } });
    expect(play.data('client', 'x').slice(0, 3)).toEqual([
      'rules CLIENT_DATA',
      `${effect} client`,
      `${effect} server`,
    ]);
    expect(play.closed('client')).toEqual([]);
    expect(play.closed('server')).toEqual(['rules SERVER_CLOSED', 'rules CLIENT_CLOSED', 'done']);
  });

  it.each([
    ['reject', reject, 'reset'],
    ['drop', drop, 'destroy'],
  ] as const)('%s in CLIENT_ACCEPTED opens nothing', (_name, action, effect) => {
    const play = new Playbook({ clientTls: true, rules: { CLIENT_ACCEPTED: does(action) } });
    expect(play.accepted()).toEqual(['rules CLIENT_ACCEPTED', `${effect} client`]);
    expect(play.closed('client')).toEqual(['done']);
  });

  it('reject in LB_SELECTED and LB_FAILED connects to nobody', () => {
    const play = new Playbook({ rules: { LB_SELECTED: does(reject), LB_FAILED: does(reject) } });
    play.accepted();
    expect(play.selected()).toEqual(['rules LB_SELECTED', 'reset client']);
    const failing = new Playbook({ rules: { LB_FAILED: does(reject) } });
    failing.accepted();
    expect(failing.nothingSelected().slice(1)).toEqual(['rules LB_FAILED', 'reset client']);
  });

  it('lets what was said before it go first', () => {
    const play = open({ rules: { CLIENT_DATA: does(respond('client', 'no'), reject) } });
    expect(play.data('client', 'x').slice(1, 3)).toEqual(['write client no', 'reset client']);
  });
});

describe('abort', () => {
  const stages: readonly [string, (play: Playbook) => void, readonly string[]][] = [
    ['accepted', (play) => play.accepted(), ['reset client']],
    [
      'connecting',
      (play) => {
        play.accepted();
        play.selected();
      },
      ['reset client', 'clearTimer connect', 'destroy server'],
    ],
    ['connected', (play) => play.open(), ['reset client', 'reset server']],
    [
      'half-closed',
      (play) => {
        play.open();
        play.ended('client');
      },
      ['reset client', 'reset server'],
    ],
    [
      'the server closed',
      (play) => {
        play.open();
        play.closed('server');
      },
      ['reset client'],
    ],
  ];

  it.each(stages)('%s: resets what is open', (_name, prepare, effects) => {
    const play = new Playbook({
      rules: { SERVER_CONNECTED: does(collect('client')), CLIENT_DATA: does() },
    });
    prepare(play);
    expect(play.abort()).toEqual(['log info', ...effects]);
    expect(play.logs).toContain('the engine stops');
    const lines = [...play.closed('server'), ...play.closed('client')];
    expect(lines.filter((line) => line === 'done')).toEqual(['done']);
  });

  it('spliced: resets both', () => {
    const play = new Playbook().open();
    expect(play.abort()).toEqual(['log info', 'reset client', 'reset server']);
  });

  it('after done: nothing', () => {
    const play = new Playbook();
    play.accepted();
    play.closed('client');
    expect(play.abort()).toEqual([]);
  });
});

describe('timers', () => {
  it('idle resets both sides', () => {
    const play = open();
    expect(play.timer('idle')).toEqual(['log info', 'reset client', 'reset server']);
    expect(play.logs).toEqual(['no data for longer than the idleTimeout']);
  });

  it('idle also ends a spliced flow', () => {
    const play = new Playbook().open();
    expect(play.timer('idle')).toEqual(['log info', 'reset client', 'reset server']);
  });

  it('connect has no meaning once connected', () => {
    const play = open();
    expect(play.timer('connect')).toEqual([]);
  });

  it('handler has no meaning when none runs', () => {
    const play = open();
    expect(play.timer('handler')).toEqual([]);
  });
});
