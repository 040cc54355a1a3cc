import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  client,
  conversation,
  loadRule,
  loadRules,
  logs,
  server,
} from '../../../src/testing/index.ts';
import { ruleFile, ruleFrom } from './rule-from.ts';

describe('loadRule', () => {
  test('takes a path or a URL, and options', async () => {
    const file = ruleFile(`when('SERVER_CONNECTED', () => log(options.greeting ?? 'none'));`);
    const named = await loadRule(pathToFileURL(file), { options: { greeting: 'hello' } });
    conversation(named, {}, [logs('info: hello')]);
    conversation(await loadRule(file), {}, [logs('info: none')]);
  });

  test('runs RULE_INIT, which may log', async () => {
    const rule = await ruleFrom(`
      let word = 'early';
      when('RULE_INIT', () => {
        log('debug', 'begin');
        word = 'late';
      });
      when('SERVER_CONNECTED', () => TCP.respond(word));`);
    expect(rule.logs).toEqual(['debug: begin']);
    conversation(rule, {}, [server.receives('late'), client.receivesNothing()]);
  });

  test('says what is wrong, and where', async () => {
    const source = `when('CLIENT_ACCEPTED', () => {});\nwhen('CLIENT_EXCEPTED', () => {});\n`;
    await expect(ruleFrom(source)).rejects.toThrow(
      /^the rule cannot be loaded\n.*rule-\d+\.js:2:\d+: .*there is no event .*CLIENT_EXCEPTED.*\n.*\n.*\^/,
    );
    await expect(ruleFrom(`when('RULE_INIT', () => { throw new Error('no'); });`)).rejects.toThrow(
      /:1:\d+: in RULE_INIT: Error: no/,
    );
    await expect(loadRule('/nowhere/rule.js')).rejects.toThrow('/nowhere/rule.js cannot be read');
  });
});

test('loadRules loads the rules of one virtual server, in their order', async () => {
  const says = `when('SERVER_CONNECTED', (c) => {
    c.words = [...(c.words ?? []), options.word];
    log(c.words.join());
  });`;
  const rules = ['a', 'b'].map((word) => ({ file: ruleFile(says), options: { word } }));
  conversation(await loadRules(rules), {}, [logs(/^info: a$/), logs(/^info: a,b$/)]);
});
