import { describe, expect, it } from 'vitest';
import { Payload } from '../../../src/core/payload.ts';
import { type RuleEventName, ruleEventNames, ruleEvents } from '../../../src/core/rule-events.ts';
import {
  type FlowView,
  MAX_ACTION_BYTES,
  MAX_ACTIONS,
  RuleRun,
} from '../../../src/core/rule-run.ts';
import {
  bytes,
  collect,
  disable,
  enable,
  release,
  replace,
  respond,
  services,
  text,
} from './playbook.ts';

function flowHolding(client: string, server = ''): FlowView {
  const side = (held: string) => {
    const payload = new Payload();
    payload.append(bytes(held));
    return { open: true, tls: 'none', depth: 0, payload } as const;
  };
  return { client: side(client), server: side(server), selection: {} };
}

function runOf(event: RuleEventName, client = '', server = ''): RuleRun {
  return new RuleRun(event, flowHolding(client, server), services);
}

describe('RuleRun', () => {
  it.each(ruleEventNames)('%s begins on its side', (event) => {
    expect(runOf(event).side).toBe(ruleEvents[event].side ?? 'client');
  });

  it('has no payload in RULE_INIT', () => {
    const run = new RuleRun('RULE_INIT', undefined, services);
    expect(run.payloadLength('client')).toBe(0);
    expect(text(run.payload('server'))).toBe('');
  });

  it('records actions in order', () => {
    const run = runOf('CLIENT_DATA', 'abc');
    const actions = [respond('client', 'x'), release('client'), collect('client', 5)];
    for (const action of actions) run.emit(action);
    expect(run.actions).toEqual(actions);
  });

  describe('the payload as the handler has edited it', () => {
    it('shows a replacement, and leaves the real one alone', () => {
      const flow = flowHolding('USER bob\r\n');
      const run = new RuleRun('CLIENT_DATA', flow, services);
      run.emit(replace('client', 5, 3, 'alice'));
      expect(text(run.payload('client'))).toBe('USER alice\r\n');
      expect(run.payloadLength('client')).toBe(12);
      expect(text(flow.client.payload.bytes())).toBe('USER bob\r\n');
    });

    it('shows edits made after a read', () => {
      const run = runOf('CLIENT_DATA', 'abcdef');
      expect(text(run.payload('client'))).toBe('abcdef');
      run.emit(release('client', 2));
      expect(text(run.payload('client'))).toBe('cdef');
      run.emit(replace('client', 0, 1, 'XY'));
      expect(text(run.payload('client'))).toBe('XYdef');
      run.emit(release('client', 99));
      expect(text(run.payload('client'))).toBe('');
      expect(run.payloadLength('client')).toBe(0);
    });

    it('counts without a copy: the length agrees with the bytes whatever the edits', () => {
      const edits = [
        replace('client', 99, 99, 'xyz'),
        release('client', 4),
        replace('client', 2, 99, ''),
        replace('client', 0, 0, 'front'),
        release('client', 99),
        replace('client', 0, 5, 'new'),
      ];
      const run = runOf('CLIENT_DATA', 'abcdef');
      const counted = runOf('CLIENT_DATA', 'abcdef');
      for (const edit of edits) {
        run.emit(edit);
        counted.emit(edit);
        expect(counted.payloadLength('client')).toBe(run.payload('client').length);
      }
      expect(text(counted.payload('client'))).toBe('new');
    });

    it('keeps the sides apart', () => {
      const run = runOf('SERVER_DATA', 'client', 'server');
      run.emit(replace('server', 0, 6, 'S'));
      expect(text(run.payload('client'))).toBe('client');
      expect(text(run.payload('server'))).toBe('S');
    });

    it('hands out the held bytes themselves while there is no edit', () => {
      const flow = flowHolding('abc');
      const run = new RuleRun('CLIENT_DATA', flow, services);
      expect(run.payload('client')).toBe(flow.client.payload.bytes());
    });
  });

  describe('limits', () => {
    it('takes so many actions and no more', () => {
      const run = runOf('CLIENT_DATA');
      for (let count = 0; count < MAX_ACTIONS; count += 1) run.emit(collect('client'));
      expect(() => run.emit(collect('client'))).toThrow(RangeError);
      expect(run.actions).toHaveLength(MAX_ACTIONS);
    });

    it('takes so many bytes and no more', () => {
      const run = runOf('CLIENT_DATA');
      const half = new Uint8Array(MAX_ACTION_BYTES / 2);
      run.emit({ type: 'respond', side: 'client', data: half });
      run.emit({ type: 'replace', side: 'client', offset: 0, length: 0, data: half });
      expect(() => run.emit(respond('client', 'x'))).toThrow(
        'more than 1024 actions or 16 MiB of data in one event',
      );
      expect(run.actions).toHaveLength(2);
    });
  });

  describe('skipsRest', () => {
    it.each([
      ['the current event', disable('CLIENT_DATA'), true],
      ['all events', disable('all'), true],
      ['another event', disable('SERVER_DATA'), false],
      ['nothing, but enables the current one', enable('CLIENT_DATA'), false],
    ])('when a handler disables %s', (_what, action, skips) => {
      const run = runOf('CLIENT_DATA');
      run.emit(action);
      expect(run.skipsRest).toBe(skips);
    });
  });
});
