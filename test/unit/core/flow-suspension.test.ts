import { describe, expect, it } from 'vitest';
import { A, B, collect, disable, does, inTurn, Playbook, release, respond } from './playbook.ts';

const reject = { type: 'reject' } as const;

/** A connected flow whose first CLIENT_DATA handler awaits something. */
function suspended(more: ConstructorParameters<typeof Playbook>[0] = {}): Playbook {
  const play = new Playbook({
    ...more,
    rules: {
      SERVER_CONNECTED: does(collect('client')),
      CLIENT_DATA: inTurn(() => 'suspend', does(release('client'), collect('client'))),
      SERVER_CLOSED: does(),
      CLIENT_CLOSED: does(),
      ...more.rules,
    },
  }).open();
  expect(play.data('client', 'first')).toEqual([
    'rules CLIENT_DATA',
    'read client off',
    'read server off',
    'setTimer handler',
  ]);
  return play;
}

const goOn = does(release('client'), collect('client'));

describe('a suspended handler', () => {
  it('holds everything else up, which then happens in order', () => {
    const play = suspended();
    expect(play.data('client', 'second')).toEqual([]);
    expect(play.data('server', 'news')).toEqual([]);
    expect(play.data('client', 'third')).toEqual([]);
    expect(play.ended('server')).toEqual([]);
    const lines = play.resume(goOn);
    expect(lines.filter((line) => /^(write|end|rules)/.test(line))).toEqual([
      'write server first',
      'rules CLIENT_DATA',
      'write server second',
      'write client news',
      'rules CLIENT_DATA',
      'write server third',
      'end client',
    ]);
  });

  it('is not spliced past what waited', () => {
    const play = suspended();
    play.data('client', 'second');
    play.data('server', 'news');
    play.ended('client');
    const lines = play.resume(does(disable('CLIENT_DATA'), release('client')));
    expect(lines.filter((line) => /^(write|end|splice)/.test(line))).toEqual([
      'write server first',
      'write server second',
      'write client news',
      'end server',
    ]);
  });

  it('has its timer cleared and the reading resumed when it ends', () => {
    const play = suspended();
    const lines = play.resume(goOn);
    expect(lines).toEqual([
      'clearTimer handler',
      'write server first',
      'read client on',
      'read server on',
    ]);
  });

  it('applies its actions at the end, those of before the suspension too', () => {
    const play = suspended({
      rules: {
        CLIENT_DATA: (run) => {
          run.emit(respond('client', 'wait'));
          return 'suspend';
        },
      },
    });
    expect(play.resume(does(respond('client', 'now')))).toEqual(
      expect.arrayContaining(['write client wait', 'write client now']),
    );
  });

  it('may suspend again for the next event', () => {
    const play = suspended({ rules: { CLIENT_DATA: () => 'suspend' } });
    play.data('client', 'second');
    const lines = play.resume(goOn);
    expect(lines).toContain('clearTimer handler');
    expect(lines.slice(lines.indexOf('rules CLIENT_DATA'))).toContain('setTimer handler');
    expect(play.resume(goOn)).toContain('write server second');
  });

  it('lets the connection close only when it ends', () => {
    const play = suspended();
    expect(play.closed('client')).toEqual([]);
    expect(play.closed('server')).toEqual([]);
    expect(play.resume(goOn).filter((line) => /^(rules|done)/.test(line))).toEqual([
      'rules SERVER_CLOSED',
      'rules CLIENT_CLOSED',
      'done',
    ]);
  });

  it('that takes longer than allowed is abandoned, and the connection reset', () => {
    const play = suspended();
    expect(play.timer('handler').filter((line) => !line.includes('collect'))).toEqual([
      'log error',
      'clearTimer handler',
      'abandonRules',
      'reset client',
      'reset server',
    ]);
    expect(play.logs).toEqual([
      'a handler of CLIENT_DATA was suspended for longer than the handlerTimeout',
    ]);
    const lines = [...play.closed('client'), ...play.closed('server')];
    expect(lines).toEqual(['done']);
  });

  it('is abandoned by an abort, and no rule runs after that', () => {
    const play = suspended();
    play.closed('client');
    play.data('server', 'news');
    const lines = play.abort();
    expect(lines).toContain('abandonRules');
    expect([...lines, ...play.closed('server')].filter((line) => line.startsWith('rules'))).toEqual(
      [],
    );
    expect(play.closed('server')).toEqual([]);
  });

  it('is abandoned by the idle timer', () => {
    const play = suspended();
    expect(play.timer('idle')).toContain('abandonRules');
  });

  it('that fails resets the connection, and applies nothing', () => {
    const play = suspended();
    const lines = play.resume((run) => {
      run.emit(respond('client', 'never'));
      return 'fail';
    });
    expect(lines.slice(0, 4)).toEqual([
      'clearTimer handler',
      'ruleError',
      'reset client',
      'reset server',
    ]);
    expect(lines).not.toContain('abandonRules');
    expect([...play.closed('server'), ...play.closed('client')]).toEqual([
      'rules SERVER_CLOSED',
      'rules CLIENT_CLOSED',
      'done',
    ]);
  });

  it('may reject: what waited finds a closed flow', () => {
    const play = suspended();
    play.data('client', 'second');
    play.data('server', 'news');
    const lines = play.resume(does(reject));
    expect(lines).toContain('reset client');
    expect(lines.some((line) => /^(write|rules)/.test(line))).toBe(false);
  });

  it('of CLIENT_ACCEPTED keeps the connection from going on', () => {
    const play = new Playbook({ clientTls: true, rules: { CLIENT_ACCEPTED: () => 'suspend' } });
    expect(play.accepted()).toEqual(['rules CLIENT_ACCEPTED', 'setTimer handler']);
    expect(play.resume()).toEqual(['clearTimer handler', 'startTls client', 'setTimer handshake']);
  });

  it('of CLIENT_CLOSED keeps the flow until it ends', () => {
    const play = suspended({ rules: { CLIENT_CLOSED: () => 'suspend' } });
    play.resume(goOn);
    play.closed('server');
    expect(play.closed('client')).toEqual(['rules CLIENT_CLOSED', 'setTimer handler']);
    expect(play.resume()).toEqual(['clearTimer handler', 'done']);
  });

  it('of CLIENT_CLOSED is not abandoned for a linger timer that has nothing to wait for', () => {
    const play = suspended({ rules: { CLIENT_CLOSED: () => 'suspend' } });
    play.resume(goOn);
    expect(play.closed('server')).toContain('setTimer linger');
    const lines = play.closed('client');
    const ignored = lines.includes('clearTimer linger') || play.timer('linger').length === 0;
    expect(ignored).toBe(true);
  });

  it('survives a connect timer: LB_FAILED comes when it has ended', () => {
    const play = new Playbook({
      rules: {
        LB_SELECTED: does(collect('client')),
        CLIENT_DATA: () => 'suspend',
        LB_FAILED: does(),
      },
    });
    play.accepted();
    play.selected();
    play.data('client', 'x');
    const late = play.timer('connect');
    expect(late).not.toContain('rules LB_FAILED');
    const lines = play.resume(does(collect('client')));
    expect(lines).toContain('rules LB_FAILED');
    expect([...late, ...lines]).toContain('destroy server');
  });

  it('does not mix up a server that came too late with the next one', () => {
    const play = new Playbook({
      rules: {
        LB_SELECTED: does(collect('client')),
        CLIENT_DATA: () => 'suspend',
        LB_FAILED: does({ type: 'reselect' }),
        SERVER_CLOSED: does(),
      },
    });
    play.accepted();
    play.selected(A);
    play.data('client', 'x');
    play.connected();
    play.closed('server', 'ECONNRESET');
    const lines = [...play.timer('connect'), ...play.resume(goOn)];
    if (lines.includes('rules LB_FAILED')) {
      expect(lines).not.toContain('rules SERVER_CLOSED');
      play.selected(B);
      expect(play.connected()).toContain('write server x');
    } else {
      expect(lines).toContain('reset client');
      expect(lines).toContain('rules SERVER_CLOSED');
    }
  });

  it.each([
    ['connected', (play: Playbook) => play.connected()],
    ['failed', (play: Playbook) => play.connectFailed()],
  ])('does not take a first server that %s for the next one', (_how, outcome) => {
    const play = new Playbook({
      rules: {
        LB_SELECTED: inTurn(does(collect('client')), does()),
        CLIENT_DATA: () => 'suspend',
        LB_FAILED: does({ type: 'node', server: B }, { type: 'reselect' }),
        SERVER_CONNECTED: does(respond('server', 'hello')),
      },
    });
    play.accepted();
    play.selected(A);
    play.data('client', 'x');
    outcome(play);
    const lines = [...play.timer('connect'), ...play.resume(goOn)];
    if (lines.includes('connect 10.0.0.2:80')) {
      expect(lines).not.toContain('rules SERVER_CONNECTED');
      expect(lines.filter((line) => line === 'rules LB_FAILED')).toHaveLength(1);
      expect(play.connected()).toContain('write server hello');
    } else {
      expect(lines).toContain('write server hello');
    }
  });

  it('does not touch a spliced connection', () => {
    const play = new Playbook({
      rules: {
        SERVER_CONNECTED: does(collect('client')),
        CLIENT_DATA: does(release('client')),
        SERVER_CLOSED: () => 'suspend',
      },
    }).open();
    expect(play.data('client', 'x')).toContain('splice');
    const lines = [...play.closed('server'), ...play.resume()];
    expect(lines.some((line) => line.startsWith('read'))).toBe(false);
  });
});

describe('a handler that fails at once', () => {
  it('resets both sides and is told', () => {
    const play = new Playbook({ rules: { SERVER_CONNECTED: () => 'fail' } });
    play.accepted();
    play.selected();
    expect(play.connected()).toEqual([
      'clearTimer connect',
      'rules SERVER_CONNECTED',
      'ruleError',
      'reset client',
      'reset server',
    ]);
  });

  it('in CLIENT_CLOSED is told, and the flow is over', () => {
    const play = new Playbook({ rules: { CLIENT_CLOSED: () => 'fail' } });
    play.accepted();
    expect(play.closed('client')).toEqual(['rules CLIENT_CLOSED', 'ruleError', 'done']);
  });

  it('leaves the events that follow to their handlers', () => {
    const play = new Playbook({
      rules: { CLIENT_ACCEPTED: () => 'fail', CLIENT_CLOSED: does(disable('all')) },
    });
    expect(play.accepted()).toEqual(['rules CLIENT_ACCEPTED', 'ruleError', 'reset client']);
    expect(play.closed('client')).toEqual(['rules CLIENT_CLOSED', 'done']);
  });
});
