import { describe, expect, it } from 'vitest';
import { commandTable } from '../../../src/commands/index.ts';
import { refusal } from '../../../src/commands/spec.ts';
import { ruleEventNames } from '../../../src/core/rule-events.ts';
import { specOf } from './call.ts';

const duplicates = (names: readonly string[]) =>
  names.filter((name, index) => names.indexOf(name) !== index);

describe('the command table', () => {
  it('has no name twice', () => {
    expect(commandTable.length).toBeGreaterThan(30);
    expect(duplicates(commandTable.map(({ name }) => name))).toEqual([]);
    expect(duplicates(commandTable.flatMap(({ tcl }) => tcl ?? []))).toEqual([]);
  });

  it.each(commandTable.map((spec) => [spec.name, spec] as const))(
    '%s is declared whole',
    (_name, spec) => {
      expect(spec.doc).toMatch(/^[A-Z`].{10,}[.)]$/s);
      expect(spec.name).toMatch(/^[A-Za-z]\w*(\.[a-z]\w*)*$/);
      expect(duplicates(spec.params.map(({ name }) => name))).toEqual([]);
      // An argument that must be given cannot follow one that may be left out.
      const firstOptional = spec.params.findIndex(({ optional }) => optional);
      if (firstOptional >= 0) {
        expect(spec.params.slice(firstOptional).every(({ optional }) => optional)).toBe(true);
      }
      for (const param of spec.params) {
        if (param.values !== undefined) expect(param.type).toBe('string');
        if (param.type === 'callback') expect(spec.how.kind).toBe('prelude');
      }
    },
  );

  it.each(commandTable.flatMap(({ name, tcl }) => (tcl === undefined ? [] : [[name, tcl]])))(
    '%s has the iRules name %s',
    (name, tcl) => {
      // An option's name is no part of ours: its value is an argument.
      const words = tcl?.replace(/ -[a-z]+$/, '');
      expect(words?.replaceAll('::', '.').replaceAll(' ', '.')).toBe(name);
    },
  );
});

describe('refusal', () => {
  it('names the events in which a command is valid', () => {
    expect(refusal(specOf('LB.reselect'), 'CLIENT_DATA')).toBe(
      'LB.reselect is not valid in CLIENT_DATA; it is valid in LB_SELECTED, LB_FAILED',
    );
    expect(refusal(specOf('LB.reselect'), 'LB_FAILED')).toBeUndefined();
    expect(refusal(specOf('pool'), 'SERVER_CONNECTED')).toBe(
      'pool is not valid in SERVER_CONNECTED; it is valid in CLIENT_ACCEPTED, CLIENT_DATA, CLIENTSSL_CLIENTHELLO, CLIENTSSL_CLIENTCERT, CLIENTSSL_HANDSHAKE, CLIENTSSL_DATA, LB_SELECTED, LB_FAILED',
    );
  });

  it('says that RULE_INIT has no connection', () => {
    expect(refusal(specOf('TCP.collect'), 'RULE_INIT')).toBe(
      'TCP.collect is not valid in RULE_INIT: there is no connection',
    );
  });

  it.each(commandTable.map((spec) => [spec.name, spec] as const))(
    '%s is allowed where its declaration says',
    (_name, spec) => {
      for (const event of ruleEventNames) {
        const allowed =
          spec.validIn === 'any' ||
          (spec.validIn === 'connection' ? event !== 'RULE_INIT' : spec.validIn.includes(event));
        expect(refusal(spec, event) === undefined).toBe(allowed);
      }
    },
  );
});
