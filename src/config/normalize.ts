import { dirname } from 'node:path';
import { didYouMean, quote } from '../core/text.ts';
import { listenersCollide, memberKey, parseListen, parseMember } from './address.ts';
import { amount } from './amount.ts';
import { loadClientSsl } from './client-ssl.ts';
import { locateRule } from './rule-reference.ts';
import {
  type ConfigDocument,
  drainTimeout,
  tcpSettings,
  type VirtualServerDocument,
} from './schema.ts';
import { loadServerSsl } from './server-ssl.ts';
import type { ConfigSource, Path } from './source.ts';
import type {
  ClientSslProfile,
  Config,
  ListenAddress,
  PoolConfig,
  PoolMember,
  RuleRef,
  ServerSslProfile,
  TcpProfile,
  VirtualServerConfig,
} from './types.ts';
import { label } from './validate.ts';

/** What virtual servers refer to by name. A name whose value is undefined exists but is broken. */
interface Named {
  readonly pools: ReadonlyMap<string, PoolConfig>;
  readonly clientSsl: ReadonlyMap<string, ClientSslProfile | undefined>;
  readonly serverSsl: ReadonlyMap<string, ServerSslProfile | undefined>;
  readonly tcp: ReadonlyMap<string, TcpProfile>;
}

/**
 * Turns a document of the right form into a configuration: defaults, units, paths, references, and
 * the files it names. The result is only good if no problem was reported to `source`.
 */
export async function normalize(document: ConfigDocument, source: ConfigSource): Promise<Config> {
  const { profiles = {} } = document;
  const named: Named = {
    pools: pools(document, source),
    clientSsl: await loadEach(profiles.clientSsl, loadClientSsl, source),
    serverSsl: await loadEach(profiles.serverSsl, loadServerSsl, source),
    tcp: tcpProfiles(document, source),
  };
  const virtualServers: VirtualServerConfig[] = [];
  for (const [name, server] of Object.entries(document.virtualServers)) {
    virtualServers.push(await virtualServer(name, server, named, source));
  }
  refuseCollisions(virtualServers, source);
  return deepFreeze({
    file: source.file,
    virtualServers,
    pools: named.pools,
    clientSsl: withoutBroken(named.clientSsl),
    serverSsl: withoutBroken(named.serverSsl),
    log: { level: document.log?.level ?? 'info', format: document.log?.format ?? 'auto' },
    reload: { connections: document.reload?.connections ?? 'keep' },
    drainTimeout: amount(drainTimeout, document.drainTimeout, ['drainTimeout'], source),
  });
}

async function loadEach<Document, Profile>(
  documents: Readonly<Record<string, Document>> = {},
  load: (name: string, document: Document, source: ConfigSource) => Promise<Profile | undefined>,
  source: ConfigSource,
): Promise<Map<string, Profile | undefined>> {
  const result = new Map<string, Profile | undefined>();
  for (const [name, document] of Object.entries(documents)) {
    result.set(name, await load(name, document, source));
  }
  return result;
}

function withoutBroken<T>(all: ReadonlyMap<string, T | undefined>): Map<string, T> {
  return new Map([...all].flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

function pools(document: ConfigDocument, source: ConfigSource): Map<string, PoolConfig> {
  const result = new Map<string, PoolConfig>();
  for (const [name, pool] of Object.entries(document.pools ?? {})) {
    const members = new Map<string, PoolMember>();
    for (const [index, text] of pool.members.entries()) {
      const path = ['pools', name, 'members', index];
      const parsed = parseMember(text);
      if (!parsed.ok) {
        source.problem(path, `${quote(text)} is not an address: ${parsed.reason}`);
      } else if (members.has(memberKey(parsed.value))) {
        source.problem(path, `${quote(text)} is a member of pool ${quote(name)} already`);
      } else {
        members.set(memberKey(parsed.value), parsed.value);
      }
    }
    const balancing = pool.balancing ?? 'round-robin';
    result.set(name, { name, members: [...members.values()], balancing });
  }
  return result;
}

function tcpProfiles(document: ConfigDocument, source: ConfigSource): Map<string, TcpProfile> {
  const result = new Map<string, TcpProfile>();
  for (const [name, profile] of Object.entries(document.profiles?.tcp ?? {})) {
    result.set(name, tcpProfile(profile, ['profiles', 'tcp', name], source));
  }
  return result;
}

type TcpDocument = NonNullable<NonNullable<ConfigDocument['profiles']>['tcp']>[string];

function tcpProfile(document: TcpDocument, path: Path, source: ConfigSource): TcpProfile {
  const of = (name: keyof TcpProfile) =>
    amount(tcpSettings[name], document[name], [...path, name], source);
  return {
    connectTimeout: of('connectTimeout'),
    handshakeTimeout: of('handshakeTimeout'),
    collectTimeout: of('collectTimeout'),
    idleTimeout: of('idleTimeout'),
    lingerTimeout: of('lingerTimeout'),
    handlerTimeout: of('handlerTimeout'),
    collectLimit: of('collectLimit'),
    queueLimit: of('queueLimit'),
  };
}

async function virtualServer(
  name: string,
  document: VirtualServerDocument,
  named: Named,
  source: ConfigSource,
): Promise<VirtualServerConfig> {
  const path: Path = ['virtualServers', name];
  const pool = lookUp('pool', document.pool, named.pools, [...path, 'pool'], source);
  const clientSsl = lookUp(
    'client-ssl profile',
    document.clientSsl,
    named.clientSsl,
    [...path, 'clientSsl'],
    source,
  );
  const serverSsl = lookUp(
    'server-ssl profile',
    document.serverSsl,
    named.serverSsl,
    [...path, 'serverSsl'],
    source,
  );
  const tcp = lookUp('tcp profile', document.tcp, named.tcp, [...path, 'tcp'], source);
  if (document.pool === undefined && (document.rules ?? []).length === 0) {
    source.problemAtKey(
      path,
      `${label(path)} has neither a pool nor rules: it could never connect`,
    );
  }
  return {
    name,
    listen: listenAddress(document.listen, [...path, 'listen'], source),
    ...(clientSsl === undefined ? {} : { clientSsl }),
    ...(serverSsl === undefined ? {} : { serverSsl }),
    ...(pool === undefined ? {} : { pool }),
    rules: await rules(document.rules ?? [], [...path, 'rules'], source),
    connectionLimit: document.connectionLimit ?? 0,
    tcp: tcp ?? tcpProfile({}, path, source),
  };
}

/** Finds what a virtual server refers to; an unknown name is reported. */
function lookUp<T>(
  kind: string,
  name: string | undefined,
  all: ReadonlyMap<string, T>,
  path: Path,
  source: ConfigSource,
): T | undefined {
  if (name === undefined || all.has(name)) return all.get(name ?? '');
  source.problem(path, `there is no ${kind} ${quote(name)}`, didYouMean(name, all.keys()));
  return undefined;
}

function listenAddress(text: string, path: Path, source: ConfigSource): ListenAddress | undefined {
  if (text === 'none') return undefined;
  const parsed = parseListen(text);
  if (parsed.ok) return parsed.value;
  source.problem(path, `${quote(text)} is not an address to listen on: ${parsed.reason}`);
  return undefined;
}

async function rules(
  references: NonNullable<VirtualServerDocument['rules']>,
  path: Path,
  source: ConfigSource,
): Promise<RuleRef[]> {
  const result: RuleRef[] = [];
  for (const [index, reference] of references.entries()) {
    const { rule: name, options = {} } =
      typeof reference === 'string' ? { rule: reference } : reference;
    const located = await locateRule(name, dirname(source.file));
    if (located.message === undefined) {
      result.push({ name, path: located.path, options });
      continue;
    }
    // Its appearance will mend the configuration, so it has to be watched.
    if (located.path !== undefined) source.files.add(located.path);
    const place = typeof reference === 'string' ? [...path, index] : [...path, index, 'rule'];
    source.problem(place, located.message, located.hint);
  }
  return result;
}

function refuseCollisions(servers: readonly VirtualServerConfig[], source: ConfigSource): void {
  for (const [index, { name, listen }] of servers.entries()) {
    const other = servers
      .slice(0, index)
      .find(
        (s) => listen !== undefined && s.listen !== undefined && listenersCollide(s.listen, listen),
      );
    if (other === undefined) continue;
    const message = `virtual server ${quote(other.name)} listens on this address already`;
    source.problem(['virtualServers', name, 'listen'], message);
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  const parts: Iterable<unknown> = value instanceof Map ? value.values() : Object.values(value);
  for (const part of parts) deepFreeze(part);
  return Object.freeze(value);
}
