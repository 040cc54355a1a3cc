import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../../src/core/types.ts';
import {
  A,
  B,
  collect,
  disable,
  does,
  inTurn,
  Playbook,
  release,
  replace,
  respond,
  text,
} from './playbook.ts';

const node = (server: Endpoint) => ({ type: 'node', server }) as const;
const pool = (name: string, member?: Endpoint) =>
  ({ type: 'pool', pool: name, ...(member && { member }) }) as const;
const reselect = { type: 'reselect' } as const;
const reject = { type: 'reject' } as const;

describe('without rules', () => {
  it('chooses a server, connects and lets go', () => {
    const play = new Playbook();
    expect(play.accepted()).toEqual(['select web']);
    expect(play.selected()).toEqual(['connect 10.0.0.1:80', 'setTimer connect']);
    expect(play.connected()).toEqual(['clearTimer connect', 'splice']);
  });

  it('only hears of the closing after that', () => {
    const play = new Playbook().open();
    expect(play.closed('server')).not.toContain('done');
    expect(play.closed('client')).toEqual(['done']);
  });

  it('resets a client for whom there is no server', () => {
    const play = new Playbook();
    play.accepted();
    expect(play.nothingSelected()).toEqual(['log warn', 'reset client']);
    expect(play.logs).toEqual(['no server: web: no member is up']);
    expect(play.closed('client')).toEqual(['done']);
  });

  it('resets a client without a pool', () => {
    const play = new Playbook({ pool: undefined });
    expect(play.accepted()).toEqual(['log warn', 'reset client']);
    expect(play.logs[0]).toContain('the virtual server has no pool, and no rule chose one');
  });

  it('resets a client whose server refuses', () => {
    const play = new Playbook();
    play.accepted();
    play.selected();
    expect(play.connectFailed()).toEqual(['clearTimer connect', 'log warn', 'reset client']);
    expect(play.logs).toEqual(['no server: 10.0.0.1:80: ECONNREFUSED']);
  });
});

describe('the events of a connection', () => {
  it('come in order, the opening ones before any byte', () => {
    const rules = {
      CLIENT_ACCEPTED: does(collect('client')),
      CLIENT_DATA: does(release('client')),
      LB_SELECTED: does(),
      SERVER_CONNECTED: does(collect('server')),
      SERVER_DATA: does(release('server')),
      SERVER_CLOSED: does(),
      CLIENT_CLOSED: does(),
    };
    const play = new Playbook({ rules });
    expect(play.accepted()).toEqual(['rules CLIENT_ACCEPTED', 'read client on']);
    const selecting = play.data('client', 'hello');
    expect(selecting[0]).toBe('rules CLIENT_DATA');
    expect(selecting).toContain('select web');
    expect(play.selected()).toEqual([
      'rules LB_SELECTED',
      'connect 10.0.0.1:80',
      'setTimer connect',
    ]);
    const opened = play.connected();
    expect(opened.slice(0, 2)).toEqual(['clearTimer connect', 'rules SERVER_CONNECTED']);
    expect(opened).toContain('write server hello');
    expect(opened).not.toContain('splice');
    expect(play.data('server', 'hi')).toEqual(['rules SERVER_DATA', 'write client hi', 'splice']);
    expect(play.closed('server')).toContain('rules SERVER_CLOSED');
    expect(play.closed('client')).toEqual(['rules CLIENT_CLOSED', 'done']);
  });

  it('let a rule send to the server ahead of what the client sent', () => {
    const play = new Playbook({
      rules: {
        CLIENT_ACCEPTED: does(collect('client')),
        CLIENT_DATA: does(release('client')),
        SERVER_CONNECTED: does(respond('server', 'PROXY')),
      },
    });
    play.accepted();
    play.data('client', 'hello');
    play.selected();
    const written = play.connected().filter((line) => line.startsWith('write'));
    expect(written).toEqual(['write server PROXY', 'write server hello']);
  });
});

describe('the choice of a server', () => {
  it('is pool() where a rule calls it; the last one wins', () => {
    const play = new Playbook({ rules: { CLIENT_ACCEPTED: does(pool('a'), pool('b')) } });
    expect(play.accepted()).toEqual(['rules CLIENT_ACCEPTED', 'select b']);
  });

  it('needs no balancing with node(), and has no pool then', () => {
    const play = new Playbook({
      rules: { CLIENT_ACCEPTED: does(pool('a'), node(B)), LB_SELECTED: does() },
    });
    expect(play.accepted()).toEqual([
      'rules CLIENT_ACCEPTED',
      'rules LB_SELECTED',
      'connect 10.0.0.2:80',
      'setTimer connect',
    ]);
    expect(play.flow.selection).toEqual({ server: B });
  });

  it('is a member of a pool where the rule names it', () => {
    const play = new Playbook({ rules: { CLIENT_ACCEPTED: does(pool('a', B)) } });
    expect(play.accepted()).toContain('connect 10.0.0.2:80');
    expect(play.flow.selection).toEqual({ pool: 'a', server: B });
  });

  it('shows in LB_SELECTED, and is only the pool before', () => {
    const seen: unknown[] = [];
    const look = (run: { flow: Playbook['flow'] | unknown }) => {
      seen.push((run.flow as Playbook['flow']).selection);
    };
    const play = new Playbook({ rules: { CLIENT_ACCEPTED: look, LB_SELECTED: look } });
    play.accepted();
    play.selected();
    expect(seen).toEqual([{ pool: 'web' }, { pool: 'web', server: A }]);
  });

  it('can still change in LB_SELECTED', () => {
    const toNode = new Playbook({ rules: { LB_SELECTED: does(node(B)) } });
    toNode.accepted();
    expect(toNode.selected()).toContain('connect 10.0.0.2:80');

    const toPool = new Playbook({ rules: { LB_SELECTED: inTurn(does(pool('b')), does()) } });
    toPool.accepted();
    expect(toPool.selected()).toEqual(['rules LB_SELECTED', 'select b']);
    expect(toPool.selected(B, 'b')).toContain('connect 10.0.0.2:80');
  });

  it('is made again by the pool when LB_SELECTED asks for it', () => {
    const play = new Playbook({ rules: { LB_SELECTED: inTurn(does(reselect), does()) } });
    play.accepted();
    expect(play.selected()).toEqual(['rules LB_SELECTED', 'select web']);
    expect(play.selected(B)).toContain('connect 10.0.0.2:80');
  });

  it('is made again after a failure, with the failed members named', () => {
    const play = new Playbook({ rules: { LB_FAILED: does(reselect) } });
    play.accepted();
    play.selected(A);
    expect(play.connectFailed()).toEqual([
      'clearTimer connect',
      'log warn',
      'rules LB_FAILED',
      'select web not 10.0.0.1:80',
    ]);
    play.selected(B);
    expect(play.connectFailed()).toContain('select web not 10.0.0.1:80 not 10.0.0.2:80');
    play.selected(A);
    expect(play.connected()).toContain('splice');
  });

  it('may fall back to another pool, or to a node', () => {
    const toPool = new Playbook({ rules: { LB_FAILED: does(pool('sorry'), reselect) } });
    toPool.accepted();
    expect(toPool.nothingSelected()).toContain('select sorry');

    const toNode = new Playbook({ rules: { LB_FAILED: does(node(B), reselect) } });
    toNode.accepted();
    expect(toNode.nothingSelected()).toContain('connect 10.0.0.2:80');
  });

  it('gives up after eight reselects', () => {
    const play = new Playbook({ rules: { LB_FAILED: does(reselect) } });
    play.accepted();
    for (let turn = 0; turn < 8; turn += 1) {
      expect(play.nothingSelected()).toContain('select web');
    }
    expect(play.nothingSelected().slice(-2)).toEqual(['log warn', 'reset client']);
    expect(play.logs.at(-1)).toBe('LB.reselect was called more than 8 times');
  });

  it('tries a node that fails no more often than that', () => {
    const play = new Playbook({
      rules: { CLIENT_ACCEPTED: does(node(B)), LB_FAILED: does(reselect) },
    });
    let lines = play.accepted();
    for (let turn = 0; turn <= 8; turn += 1) {
      expect(lines).toContain('connect 10.0.0.2:80');
      lines = play.connectFailed();
    }
    expect(lines).toContain('reset client');
    expect(lines).not.toContain('connect 10.0.0.2:80');
  });

  it('gives up in LB_SELECTED too', () => {
    const again = new Playbook({ rules: { LB_SELECTED: does(node(B), reselect) } });
    const lines = [...again.accepted(), ...again.selected()];
    expect(lines).toContain('reset client');
    expect(lines.some((line) => line.startsWith('connect'))).toBe(false);

    const toPool = new Playbook({ rules: { LB_SELECTED: does(pool('b')) } });
    toPool.accepted();
    for (let turn = 0; turn < 8; turn += 1) expect(toPool.selected()).toContain('select b');
    expect(toPool.selected()).toContain('reset client');
  });

  it('fails for good without reselect, whatever pool LB_FAILED names', () => {
    const play = new Playbook({ rules: { LB_FAILED: does(pool('sorry')) } });
    play.accepted();
    expect(play.nothingSelected()).toEqual(['log warn', 'rules LB_FAILED', 'reset client']);
  });
});

describe('connecting', () => {
  it('fails when it takes too long, and the attempt is dropped', () => {
    const play = new Playbook({ rules: { LB_FAILED: does(reselect) } });
    play.accepted();
    play.selected();
    const lines = play.timer('connect');
    expect(lines).toContain('destroy server');
    expect(lines.slice(-2)).toEqual(['rules LB_FAILED', 'select web not 10.0.0.1:80']);
    expect(play.logs).toEqual(['no server: 10.0.0.1:80: the connection timed out']);
  });

  it('is given up when the client goes away', () => {
    const play = new Playbook({ rules: { CLIENT_CLOSED: does(), SERVER_CLOSED: does() } });
    play.accepted();
    play.selected();
    expect(play.closed('client')).toEqual([
      'clearTimer connect',
      'destroy server',
      'rules CLIENT_CLOSED',
      'done',
    ]);
    expect(play.connected()).toEqual([]);
  });

  it('does not begin for a client that has gone away', () => {
    const play = new Playbook({ rules: { LB_SELECTED: does(), CLIENT_CLOSED: does() } });
    play.accepted();
    expect(play.closed('client')).toEqual(['rules CLIENT_CLOSED', 'done']);
    expect(play.selected()).toEqual([]);
  });

  it('does not begin when the choice comes after the client was reset', () => {
    const play = new Playbook({ rules: { LB_SELECTED: does() } });
    play.accepted();
    expect(play.abort()).toContain('reset client');
    expect(play.selected()).toEqual([]);
    expect(play.closed('client')).toEqual(['done']);
  });

  it('that failed while a rule ended the flow is of no interest', () => {
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
    expect(play.connectFailed()).toEqual([]);
    expect(play.resume(does(reject))).not.toContain('rules LB_FAILED');
    expect(play.closed('client')).toEqual(['done']);
  });
});

describe('a rule that answers and closes', () => {
  const goodbye = [respond('client', '421 busy'), { type: 'close', side: 'client' }] as const;
  const closing = ['write client 421 busy', 'end client', 'setTimer linger', 'read client on'];

  it.each([false, true])('in CLIENT_ACCEPTED opens nothing (implicit TLS: %s)', (clientTls) => {
    const play = new Playbook({ clientTls, rules: { CLIENT_ACCEPTED: does(...goodbye) } });
    expect(play.accepted()).toEqual(['rules CLIENT_ACCEPTED', ...closing]);
    expect(play.data('client', 'ignored')).toEqual([]);
    expect(play.ended('client')).toEqual(['read client off']);
    expect(play.closed('client')).toContain('done');
  });

  it('in LB_SELECTED connects to nobody', () => {
    const play = new Playbook({ rules: { LB_SELECTED: does(...goodbye) } });
    play.accepted();
    expect(play.selected()).toEqual(['rules LB_SELECTED', ...closing]);
  });

  it('in LB_FAILED does not try again', () => {
    const play = new Playbook({ rules: { LB_FAILED: does(...goodbye) } });
    play.accepted();
    expect(play.nothingSelected()).toEqual(['log warn', 'rules LB_FAILED', ...closing]);
    expect(play.closed('client')).toContain('done');
  });

  it('in CLIENT_DATA before there is a server opens nothing', () => {
    const play = new Playbook({
      rules: {
        CLIENT_ACCEPTED: does(collect('client')),
        CLIENT_DATA: does(replace('client', 0, 9, ''), ...goodbye),
      },
    });
    play.accepted();
    const lines = play.data('client', 'QUIT');
    expect(lines).toContain('end client');
    expect(lines).not.toContain('select web');
  });

  it('while connecting gives the server up', () => {
    const play = new Playbook({
      rules: { LB_SELECTED: does(collect('client')), CLIENT_DATA: does(...goodbye) },
    });
    play.accepted();
    play.selected();
    const lines = play.data('client', 'QUIT');
    expect(lines).toContain('destroy server');
    expect(lines).not.toContain('select web');
    expect(play.closed('client')).toContain('done');
  });
});

describe('disabled events', () => {
  it('do not fire, and can be enabled again', () => {
    const play = new Playbook({
      rules: {
        CLIENT_ACCEPTED: does(disable('LB_SELECTED')),
        LB_SELECTED: does(),
        SERVER_CONNECTED: does(),
      },
    });
    play.accepted();
    expect(play.selected()).not.toContain('rules LB_SELECTED');
    expect(play.connected()).toContain('rules SERVER_CONNECTED');
  });

  it('all: none fires any more, and collected bytes go on', () => {
    const play = new Playbook({
      rules: {
        CLIENT_ACCEPTED: does(collect('client'), disable('all')),
        CLIENT_DATA: does(),
        LB_SELECTED: does(),
        SERVER_CONNECTED: does(),
        CLIENT_CLOSED: does(),
      },
    });
    play.accepted();
    expect(play.data('client', 'hello')).toContain('select web');
    expect(play.selected()).toEqual(['connect 10.0.0.1:80', 'setTimer connect']);
    expect(play.connected()).toEqual(['clearTimer connect', 'write server hello', 'splice']);
    play.closed('server');
    expect(play.closed('client')).toEqual(['done']);
  });

  it.each([
    ['reject', { type: 'reject' }],
    ['drop', { type: 'drop' }],
    ['TCP.close', { type: 'close', side: 'client' }],
  ] as const)('stay disabled when %s comes before: the idiom of iRules', (_name, end) => {
    const play = new Playbook({
      rules: { CLIENT_ACCEPTED: does(end, disable('all')), CLIENT_CLOSED: does() },
    });
    play.accepted();
    expect(play.closed('client')).not.toContain('rules CLIENT_CLOSED');
  });

  it('show the payload of each event to its handler', () => {
    const play = new Playbook({
      rules: { CLIENT_ACCEPTED: does(collect('client')), CLIENT_DATA: does(release('client')) },
    });
    play.accepted();
    play.data('client', 'hello');
    expect(play.seen).toEqual(['CLIENT_ACCEPTED', 'CLIENT_DATA hello']);
    expect(text(play.flow.client.payload.bytes())).toBe('');
  });
});
