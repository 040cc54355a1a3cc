import { describe, expect, it } from 'vitest';
import {
  collect,
  disable,
  does,
  enable,
  type Handler,
  inTurn,
  Playbook,
  release,
  replace,
  respond,
  text,
} from './playbook.ts';

/** A connected flow whose rules collect from the client. */
function collecting(onData: Handler, first = collect('client'), collectLimit = 1024): Playbook {
  const rules = { SERVER_CONNECTED: does(first), CLIENT_DATA: onData };
  return new Playbook({ rules, collectLimit }).open();
}

const held = (play: Playbook) => text(play.flow.client.payload.bytes());
const writes = (lines: readonly string[]) => lines.filter((line) => line.startsWith('write'));

describe('collect', () => {
  it('on the client delays the server until release', () => {
    const play = new Playbook({
      rules: {
        CLIENT_ACCEPTED: does(collect('client')),
        CLIENT_DATA: inTurn(does(), does(release('client'))),
      },
    });
    expect(play.accepted()).toEqual(['rules CLIENT_ACCEPTED', 'read client on']);
    expect(play.data('client', 'ab')).toEqual(['rules CLIENT_DATA', 'setTimer collect']);
    expect(play.data('client', 'cd')).toEqual([
      'rules CLIENT_DATA',
      'select web',
      'clearTimer collect',
      'read client off',
    ]);
    play.selected();
    expect(play.connected()).toEqual(['clearTimer connect', 'write server abcd', 'splice']);
  });

  it('on the client delays the server until release, also when it collects again', () => {
    const play = new Playbook({
      rules: {
        CLIENT_ACCEPTED: does(collect('client')),
        CLIENT_DATA: does(release('client'), collect('client')),
      },
    });
    play.accepted();
    expect(play.data('client', 'first')).toContain('select web');
    play.selected();
    expect(play.connected()).toContain('write server first');
    expect(writes(play.data('client', 'second'))).toEqual(['write server second']);
  });

  it('without a length shows every segment', () => {
    const play = collecting(does());
    play.data('client', 'a');
    play.data('client', 'b');
    play.data('client', 'c');
    expect(play.seen.slice(1)).toEqual(['CLIENT_DATA a', 'CLIENT_DATA ab', 'CLIENT_DATA abc']);
  });

  it('with a length waits for that many bytes', () => {
    const play = collecting(does(release('client')), collect('client', 4));
    expect(play.data('client', 'ab')).toEqual(['setTimer collect']);
    expect(play.data('client', 'cde')).toEqual([
      'rules CLIENT_DATA',
      'write server abcde',
      'clearTimer collect',
      'splice',
    ]);
  });

  it('with a length and a skip fires when the skip has passed, and when the length is held', () => {
    const play = collecting(does(), collect('client', 3, 2));
    expect(play.data('client', 'a')).toEqual(['write server a']);
    expect(writes(play.data('client', 'b'))).toEqual(['write server b']);
    play.data('client', 'cd');
    play.data('client', 'e');
    expect(play.seen.slice(1)).toEqual(['CLIENT_DATA', 'CLIENT_DATA cde']);
  });

  it('with a skip lets held bytes pass too', () => {
    const play = collecting(inTurn(does(collect('client', 9, 2)), does()));
    expect(writes(play.data('client', 'abcde'))).toEqual(['write server ab']);
    expect(held(play)).toBe('cde');
  });

  it('last wins within an event', () => {
    const rules = {
      SERVER_CONNECTED: does(collect('client', 9), collect('client', 2)),
      CLIENT_DATA: does(),
    };
    const play = new Playbook({ rules }).open();
    expect(play.data('client', 'ab')).toContain('rules CLIENT_DATA');
  });

  it('again in the handler looks for more in what is left', () => {
    const line = does(release('client', 3), collect('client', 3));
    const play = collecting(line, collect('client', 3));
    const lines = play.data('client', 'ab\ncd\nef');
    expect(writes(lines)).toEqual(['write server ab\n', 'write server cd\n']);
    expect(held(play)).toBe('ef');
  });

  it('again without taking bytes waits for the next segment', () => {
    const play = collecting(does(collect('client', 1)));
    expect(play.data('client', 'ab').filter((line) => line.startsWith('rules'))).toHaveLength(1);
    expect(play.data('client', 'c')).toContain('rules CLIENT_DATA');
  });

  it('again cannot fire for ever: bytes put back are no progress', () => {
    const play = collecting(
      does(replace('client', 0, 1, ''), collect('client', 1), replace('client', 0, 0, 'x')),
    );
    expect(play.data('client', 'a').filter((line) => line.startsWith('rules'))).toHaveLength(1);
  });

  it('without a handler for its event lets the bytes go', () => {
    const play = new Playbook({ rules: { SERVER_CONNECTED: does(collect('client')) } }).open();
    expect(play.data('client', 'hello')).toEqual(['write server hello', 'splice']);
  });

  it('of a disabled event lets the bytes go', () => {
    const play = collecting(does(disable('CLIENT_DATA')));
    play.data('client', 'ab');
    expect(writes(play.data('client', 'cd'))).toEqual(['write server abcd']);
  });

  it('goes on when its event is enabled again in time', () => {
    const rules = {
      SERVER_CONNECTED: does(collect('client'), disable('CLIENT_DATA'), enable('CLIENT_DATA')),
      CLIENT_DATA: does(),
    };
    const play = new Playbook({ rules }).open();
    expect(play.data('client', 'ab')).toContain('rules CLIENT_DATA');
  });

  it('holds the server back while the other direction flows', () => {
    const rules = {
      SERVER_CONNECTED: does(collect('server', 4)),
      SERVER_DATA: does(release('server')),
    };
    const play = new Playbook({ rules }).open();
    expect(play.data('client', 'ask')).toEqual(['write server ask']);
    expect(play.data('server', 'ab')).toEqual([]);
    expect(writes(play.data('server', 'cd'))).toEqual(['write client abcd']);
  });

  it('on both sides keeps them apart', () => {
    const rules = {
      SERVER_CONNECTED: does(collect('server'), collect('client')),
      SERVER_DATA: does(release('server')),
      CLIENT_DATA: does(release('client'), collect('client')),
    };
    const play = new Playbook({ rules }).open();
    expect(writes(play.data('server', 'hi'))).toEqual(['write client hi']);
    expect(writes(play.data('client', 'yo'))).toEqual(['write server yo']);
    expect(writes(play.data('server', 'free'))).toEqual(['write client free']);
    expect(play.data('client', 'still')).toContain('rules CLIENT_DATA');
  });
});

describe('release', () => {
  it('of all lets go and ends the collecting', () => {
    const play = collecting(does(release('client')));
    expect(play.data('client', 'abc')).toEqual(['rules CLIENT_DATA', 'write server abc', 'splice']);
  });

  it('of a part keeps the rest only if the event collects again', () => {
    const keeps = collecting(does(release('client', 2), collect('client')));
    expect(writes(keeps.data('client', 'abc'))).toEqual(['write server ab']);
    expect(held(keeps)).toBe('c');

    const frees = collecting(does(release('client', 2)));
    expect(writes(frees.data('client', 'abc')).join('')).toBe('write server abwrite server c');
  });

  it('in another event lets go what is held', () => {
    const rules = {
      SERVER_CONNECTED: does(collect('client'), collect('server')),
      CLIENT_DATA: does(),
      SERVER_DATA: does(release('client'), release('server')),
    };
    const play = new Playbook({ rules }).open();
    play.data('client', 'abc');
    expect(writes(play.data('server', 'x'))).toEqual(['write server abc', 'write client x']);
  });

  it('keeps its place among the responses', () => {
    const play = collecting(
      does(
        respond('server', '<'),
        release('client', 1),
        respond('server', '>'),
        replace('client', 0, 1, 'B'),
        release('client'),
        respond('client', 'ok'),
      ),
    );
    expect(writes(play.data('client', 'ab'))).toEqual([
      'write server <',
      'write server a',
      'write server >',
      'write server B',
      'write client ok',
    ]);
  });
});

describe('edits', () => {
  it('change what is released', () => {
    const play = collecting(does(replace('client', 5, 3, 'alice'), release('client')));
    expect(writes(play.data('client', 'USER bob\r\n'))).toEqual(['write server USER alice\r\n']);
  });

  it('are seen by the handlers behind, as the flow then applies them', () => {
    let seen = '';
    const play = collecting((run) => {
      run.emit(replace('client', 0, 1, 'XY'));
      run.emit(release('client', 1));
      seen = text(run.payload('client'));
      run.emit(collect('client'));
    });
    play.data('client', 'abc');
    expect(seen).toBe('Ybc');
    expect(held(play)).toBe('Ybc');
  });

  it('that are not released stay for the next event', () => {
    const play = collecting(inTurn(does(replace('client', 0, 1, 'X')), does()));
    play.data('client', 'ab');
    play.data('client', 'c');
    expect(play.seen.slice(1)).toEqual(['CLIENT_DATA ab', 'CLIENT_DATA Xbc']);
  });
});

describe('bounds', () => {
  it('reset a client that sends more than the collectLimit', () => {
    const play = collecting(does(), collect('client', 100), 8);
    expect(play.data('client', '12345678')).toEqual(['setTimer collect']);
    expect(play.data('client', '9')).toEqual([
      'log warn',
      'reset client',
      'reset server',
      'clearTimer collect',
    ]);
    expect(play.logs).toEqual([
      'the client sent more than the collectLimit of 8 bytes while a rule was collecting',
    ]);
  });

  it('do the same for a server', () => {
    const rules = { SERVER_CONNECTED: does(collect('server', 100)), SERVER_DATA: does() };
    const play = new Playbook({ rules, collectLimit: 8 }).open();
    expect(play.data('server', '123456789')).toEqual(['log warn', 'reset client', 'reset server']);
  });

  it('do not count bytes that pass', () => {
    const play = collecting(does(release('client'), collect('client')), collect('client'), 8);
    for (let turn = 0; turn < 10; turn += 1) {
      expect(play.data('client', '1234567')).toContain('write server 1234567');
    }
  });

  it('count bytes that were let go and have nowhere to go', () => {
    const rules = {
      LB_SELECTED: does(collect('client')),
      CLIENT_DATA: does(release('client'), collect('client')),
    };
    const play = new Playbook({ rules, collectLimit: 8 });
    play.accepted();
    play.selected();
    const lines = [...play.data('client', '12345678'), ...play.data('client', '12345678')];
    const stopped = lines.includes('read client off') || lines.includes('reset client');
    expect(stopped).toBe(true);
  });

  it('time a command that stays incomplete, from its first byte', () => {
    const play = collecting(does(release('client'), collect('client', 4)), collect('client', 4));
    expect(play.data('client', 'a')).toEqual(['setTimer collect']);
    expect(play.data('client', 'b')).toEqual([]);
    expect(play.data('client', 'cd')).toContain('clearTimer collect');
    play.data('client', 'x');
    expect(play.timer('collect').slice(0, 3)).toEqual(['log info', 'reset client', 'reset server']);
    expect(play.logs[0]).toContain('collectTimeout');
  });

  it('time each command for itself when a segment ends within the next one', () => {
    const line = does(release('client', 3), collect('client', 3));
    const play = collecting(line, collect('client', 3));
    expect(play.data('client', 'ab')).toEqual(['setTimer collect']);
    expect(play.data('client', '\nc')).toContain('setTimer collect');
  });
});
