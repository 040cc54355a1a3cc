import { describe, expect, test } from 'vitest';
import { client, everyCut, expires, server } from '../../../src/testing/index.ts';
import { ruleFrom } from './rule-from.ts';

/** A rule that sees the client's segments, from the server's connection on. */
function onSegment(body: string) {
  return ruleFrom(`
    when('SERVER_CONNECTED', () => clientside(() => TCP.collect()));
    when('CLIENT_DATA', (c) => { ${body} });`);
}

describe('finds a rule', () => {
  test('that takes a segment for a line', async () => {
    const rule = await onSegment(`
      if (TCP.payload() === 'hi\\n') TCP.payload.replace(0, 2, 'HI');
      TCP.release();
      TCP.collect();`);
    expect(() => everyCut(rule, {}, [client('hi\n'), server.receives('HI\n')])).toThrow(
      'with every byte by itself: step 2, server.receives("HI\\n"): the server got "hi\\n"',
    );
  });

  test('that fails at one place only', async () => {
    const rule = await onSegment(`
      if (TCP.payload.length() === 4) reject();
      TCP.release();
      TCP.collect();`);
    expect(() => everyCut(rule, {}, [client('hello'), server.receives('hello')])).toThrow(
      'with step 1, client("hello"), cut after 1 bytes: ',
    );
  });

  test('that takes a segment for one line at most', async () => {
    const rule = await onSegment(`
      const end = TCP.payload.indexOf('\\n') + 1;
      if (end === 0) return;
      TCP.release(end);
      TCP.collect();`);
    const steps = [client('a\n'), client('b\n'), server.receives('a\nb\n')];
    expect(() => everyCut(rule, {}, steps)).toThrow(
      'with the segments joined: step 3, server.receives("a\\nb\\n"): the server got "a\\n"',
    );
  });

  test('that splices at the wrong time, though each step is met', async () => {
    const rule = await onSegment(`
      const whole = TCP.payload.length() === 2;
      TCP.release();
      if (!whole) TCP.collect();`);
    expect(() => everyCut(rule, {}, [client('ab'), server.receives('ab')])).toThrow(
      /^with every byte by itself the outcome is\n.*"spliced": false.*instead of\n.*"spliced": true/s,
    );
  });

  test('that is wrong as it is', async () => {
    const rule = await onSegment('TCP.release();');
    expect(() => everyCut(rule, {}, [client('a'), server.receives('b')])).toThrow(
      /^step 2, server.receives/,
    );
  });
});

describe('a rule that reads lines', () => {
  test('passes, and the outcome is that of the conversation as written', async () => {
    const rule = await onSegment(`
      const end = TCP.payload().lastIndexOf('\\n') + 1;
      TCP.release(end);
      TCP.collect();`);
    const outcome = everyCut(rule, {}, [
      client('one\ntw'),
      server.receives('one\n'),
      client('o\n'),
      client('three\n'),
      server('yes\n'),
      server('no\n'),
      server.receives('two\nthree\n'),
      client.receives('yes\nno\n'),
      client('gone'),
      client.ends(),
      expires('collect'),
      server.seesEnd(),
    ]);
    expect(outcome.server.received).toEqual(['one\ntwo\nthree\n']);
    expect(rule.instance.liveSessions).toBe(0);
  });

  test('is run in every way of cutting and joining', async () => {
    const rule = await onSegment(`
      log('segment ' + TCP.payload());
      TCP.release();
      TCP.collect();`);
    const seen: string[] = [];
    const open = rule.instance.open.bind(rule.instance);
    const spied = {
      ...rule,
      instance: {
        ...rule.instance,
        events: rule.instance.events,
        open: () => {
          seen.push('|');
          const session = open();
          return {
            run: (...[run, settled]: Parameters<typeof session.run>) => {
              const { payload } = run.flow?.client ?? {};
              if (run.event === 'CLIENT_DATA')
                seen.push(Buffer.from(payload?.bytes() ?? []).toString());
              return session.run(run, settled);
            },
            close: () => session.close(),
          };
        },
      },
    };
    everyCut(spied, {}, [client('abc'), client('d'), server.receives('abcd')]);
    expect(seen.join(' ')).toBe('| abc d | abcd | a b c d | a bc d | ab c d');
  });
});
