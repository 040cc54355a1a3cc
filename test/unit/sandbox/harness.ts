import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll } from 'vitest';
import {
  awaitedCommand,
  type CommandSpec,
  command,
  preludeCommand,
  type Settle,
} from '../../../src/commands/spec.ts';
import { Payload } from '../../../src/core/payload.ts';
import type { RuleEventName } from '../../../src/core/rule-events.ts';
import {
  type FlowView,
  type RuleError,
  RuleRun,
  type RuleServices,
  type RuleSession,
  type RunOutcome,
} from '../../../src/core/rule-run.ts';
import {
  buildRuleInstance,
  type LoadedRules,
  type RuleInstance,
  type SandboxLimits,
} from '../../../src/sandbox/index.ts';

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A temporary folder with these files; answers its path. */
export function folderWith(files: Record<string, string | Uint8Array>): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'portreeve-rules-')));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** What the test commands told the outside. */
export class World {
  readonly logs: string[] = [];
  readonly settles: Settle[] = [];
  cancelled = 0;

  readonly services: RuleServices = {
    virtualServer: 'test',
    addresses: () => undefined,
    tlsProfile: () => ({ name: 'tls', detachable: false }),
    tls: () => undefined,
    clientHello: () => undefined,
    serverName: () => undefined,
    hasPool: () => false,
    log: (level, rule, message) => this.logs.push(`${level} ${rule}: ${message}`),
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
  };

  readonly commands: readonly CommandSpec[] = [
    preludeCommand('when', { params: [], returns: 'void', validIn: 'any', doc: '' }),
    ...(['clientside', 'serverside'] as const).map((name) =>
      preludeCommand(name, { params: [], returns: 'boolean', validIn: 'connection', doc: '' }),
    ),
    command(
      'log',
      { params: [{ name: 'message', type: 'string' }], returns: 'void', validIn: 'any', doc: '' },
      (run, message) => run.services.log('info', run.rule, message),
    ),
    command(
      'TCP.payload',
      { params: [], returns: 'binary', validIn: 'connection', doc: '' },
      (run) => run.payload(run.side),
    ),
    command(
      'TCP.payload.length',
      { params: [], returns: 'integer', validIn: 'connection', doc: '' },
      (run) => run.payloadLength(run.side),
    ),
    command(
      'TCP.payload.bytes',
      { params: [], returns: 'bytes', validIn: 'connection', doc: '' },
      (run) => run.payload(run.side),
    ),
    command(
      'TCP.respond',
      {
        params: [{ name: 'data', type: 'binary' }],
        returns: 'void',
        validIn: 'connection',
        doc: '',
      },
      (run, data) => run.emit({ type: 'respond', side: run.side, data }),
    ),
    command(
      'TCP.collect',
      {
        params: [{ name: 'length', type: 'integer', optional: true }],
        returns: 'void',
        validIn: ['CLIENT_ACCEPTED', 'CLIENT_DATA'],
        doc: '',
      },
      (run, length) =>
        run.emit({ type: 'collect', side: run.side, ...(length !== undefined && { length }) }),
    ),
    command(
      'event.disable',
      { params: [], returns: 'void', validIn: 'connection', doc: '' },
      (run) => run.emit({ type: 'event', event: run.event, enabled: false }),
    ),
    command(
      'echo.text',
      { params: [{ name: 'text', type: 'string' }], returns: 'string', validIn: 'any', doc: '' },
      (_run, text) => text,
    ),
    command(
      'echo.binary',
      { params: [{ name: 'data', type: 'binary' }], returns: 'binary', validIn: 'any', doc: '' },
      (_run, data) => data,
    ),
    command(
      'echo.bytes',
      { params: [{ name: 'data', type: 'binary' }], returns: 'bytes', validIn: 'any', doc: '' },
      (_run, data) => data,
    ),
    command(
      'echo.integer',
      {
        params: [{ name: 'number', type: 'integer' }],
        returns: 'integer',
        validIn: 'any',
        doc: '',
      },
      (_run, number) => number,
    ),
    command(
      'echo.huge',
      { params: [], returns: 'integer', validIn: 'any', doc: '' },
      () => 2 ** 40,
    ),
    command('echo.yes', { params: [], returns: 'boolean', validIn: 'any', doc: '' }, () => true),
    command(
      'choose',
      {
        params: [
          { name: 'color', type: 'string', values: ['red', 'blue'] },
          { name: 'shade', type: 'string', optional: true },
        ],
        returns: 'string',
        validIn: 'any',
        doc: '',
      },
      (_run, color, shade) => `${color}/${shade}`,
    ),
    command(
      'fail',
      { params: [{ name: 'kind', type: 'string' }], returns: 'void', validIn: 'any', doc: '' },
      (_run, kind) => {
        const message = 'the command refuses';
        throw kind === 'range' ? new RangeError(message) : new Error(message);
      },
    ),
    command('overflow', { params: [], returns: 'void', validIn: 'any', doc: '' }, () => {
      const endless = (n: number): number => endless(n + 1) + 1;
      endless(0);
    }),
    awaitedCommand(
      'fetch',
      { params: [{ name: 'key', type: 'string' }], returns: 'string', validIn: 'any', doc: '' },
      (_run, settle, key) => {
        if (key === 'refuse') throw new TypeError('fetch: no such thing');
        if (key === 'now') settle({ ok: true, value: 'at once' });
        else this.settles.push(settle);
        return () => {
          this.cancelled++;
        };
      },
    ),
  ];

  /** Loads files as rules of one virtual server; each is `[name, source]` or a path with options. */
  load(
    sources: readonly { path: string; name?: string; options?: Record<string, unknown> }[],
    limits: Partial<SandboxLimits> = {},
  ): Promise<LoadedRules> {
    const rules = sources.map(({ path, name = 'rule', options = {} }) => ({ name, path, options }));
    return buildRuleInstance({ rules, commands: this.commands, services: this.services, limits });
  }

  /** An instance of one rule with this source. @throws when it has problems. */
  async instance(source: string, limits: Partial<SandboxLimits> = {}): Promise<RuleInstance> {
    const path = join(folderWith({ 'rule.js': source }), 'rule.js');
    const { instance, problems } = await this.load([{ path }], limits);
    if (instance === undefined) throw new Error(JSON.stringify(problems));
    return instance;
  }

  newRun(event: RuleEventName, payload = ''): RuleRun {
    const held = new Payload();
    held.append(Buffer.from(payload, 'latin1'));
    const side = { open: true, tls: 'none', depth: 0, payload: held } as const;
    const flow: FlowView = { client: side, server: side, selection: {} };
    return new RuleRun(event, flow, this.services);
  }

  /** Runs an event that must end at once. */
  fire(
    session: RuleSession,
    event: RuleEventName,
    payload = '',
  ): { run: RuleRun; outcome: RunOutcome } {
    const run = this.newRun(event, payload);
    const outcome = session.run(run, () => {
      throw new Error('settled without being suspended');
    });
    return { run, outcome };
  }

  /** Runs CLIENT_ACCEPTED, which must fail; answers the error. */
  failure(session: RuleSession, event: RuleEventName = 'CLIENT_ACCEPTED'): RuleError {
    const { outcome } = this.fire(session, event);
    if (outcome.type !== 'failed') throw new Error(`the event ended as ${outcome.type}`);
    return outcome.error;
  }
}

/** A rule that handles CLIENT_ACCEPTED with this body. */
export function onAccept(body: string): string {
  return `when('CLIENT_ACCEPTED', (c) => { ${body} });`;
}

/** The bytes that a run responded with. */
export function responses(run: RuleRun): string[] {
  return run.actions.flatMap((action) =>
    action.type === 'respond' ? [Buffer.from(action.data).toString('latin1')] : [],
  );
}
