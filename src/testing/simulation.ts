import { Pool } from '../balancing/pool.ts';
import type { Effect } from '../core/effects.ts';
import { Flow } from '../core/flow.ts';
import type { IoEvent, TimerName } from '../core/io-events.ts';
import type { RuleEventName } from '../core/rule-events.ts';
import {
  type HelloInfo,
  type RuleError,
  RuleRun,
  type RuleServices,
  type RuleSession,
  type RunOutcome,
  type TlsInfo,
} from '../core/rule-run.ts';
import { looksLikeTls } from '../core/side-state.ts';
import {
  type Addresses,
  assertNever,
  type Endpoint,
  type LogLevel,
  otherSide,
  type Side,
} from '../core/types.ts';
import { FakeClock } from './fake-clock.ts';
import { Peer } from './peer.ts';
import { logLine, type Rule } from './rule.ts';
import type { PlayedHello, PlayedTls } from './steps.ts';
import { quote, toBytes, toText } from './text.ts';

/** The virtual server of a conversation, and its client. */
export interface ConversationSetup {
  /** The virtual server has a client-ssl profile. Default false. */
  readonly clientTls?: boolean;
  /** It has a server-ssl profile. Default false. */
  readonly serverTls?: boolean;
  /** TLS can be taken off again. Default false. */
  readonly detachable?: boolean;
  /** The port that the client has connected to. Default 1024. */
  readonly localPort?: number;
  /** Default 192.0.2.1. */
  readonly clientAddress?: string;
  /**
   * The pools that there are, each with its members as `address:port`; the first one is the virtual
   * server's. Default: one, with one member.
   */
  readonly pools?: Readonly<Record<string, readonly string[]>>;
  /** Bytes that a side may hold for the rule. Default 1 MiB. */
  readonly collectLimit?: number;
}

const OWN_ADDRESS = '198.51.100.1';
const ONE_POOL = { pool: ['203.0.113.1:1024'] };

/**
 * A connection through a virtual server with one rule: the real core, commands and sandbox, around
 * which sockets, TLS and time are played. Nothing happens but what a method is called for, and all
 * that follows from it has happened when the method returns.
 */
export class Simulation implements RuleServices {
  readonly virtualServer = 'test';
  readonly client = new Peer('client');
  readonly server = new Peer('server');
  readonly transcript: string[] = [];
  readonly logs: string[] = [];
  readonly errors: RuleError[] = [];
  readonly timers = new Set<TimerName>();
  spliced = false;
  /** Where the connection that is being opened leads. */
  connecting: Endpoint | undefined;

  private readonly flow: Flow;
  private readonly session: RuleSession;
  private readonly pools = new Map<string, Pool>();
  private readonly clock = new FakeClock();
  private readonly events: IoEvent[] = [];
  private connectedTo: Endpoint | undefined;
  private hello: PlayedHello | undefined;
  private readonly names: { client?: string; server?: string } = {};
  private asksForCertificate = false;

  /** @param connectsAtOnce - connections to servers succeed without `accept` */
  constructor(
    rule: Rule,
    private readonly setup: ConversationSetup,
    private readonly connectsAtOnce: boolean,
  ) {
    const pools = Object.entries(setup.pools ?? ONE_POOL);
    for (const [name, members] of pools) {
      const pool = new Pool(name);
      pool.setMembers(
        members.map((member) => ({ endpoint: parseEndpoint(member) })),
        0,
      );
      this.pools.set(name, pool);
    }
    this.flow = new Flow({
      events: rule.instance.events,
      clientTls: setup.clientTls ?? false,
      serverTls: setup.serverTls ?? false,
      pool: pools[0]?.[0],
      collectLimit: setup.collectLimit ?? 1024 * 1024,
    });
    this.session = rule.instance.open();
    this.client.connected = true;
    this.feed({ type: 'accepted' });
  }

  /** To be called at the end: a session takes room in the rule's sandbox. */
  close(): void {
    this.session.close();
  }

  // ---- what the world does -------------------------------------------------------------------

  /** A segment from a peer; it waits there until the flow reads. */
  send(side: Side, bytes: Uint8Array): void {
    this.note(`${side} sends ${quote(toText(bytes))}`);
    this[side].inbound.push(bytes);
    this.settle();
  }

  /** FIN from a peer, behind what it sent. */
  endPeer(side: Side): void {
    this.note(`${side} sends FIN`);
    this[side].inbound.push('end');
    this.settle();
  }

  resetPeer(side: Side): void {
    this.note(`${side} resets`);
    this.lose(side, 'connection reset by peer');
    this.settle();
  }

  completeTls(side: Side, played: PlayedTls): void {
    this.note(`TLS with the ${side} is complete`);
    if (played.serverName !== undefined) this.names[side] = played.serverName;
    const asked = this.asksForCertificate || played.certificates !== undefined;
    const certificate = side === 'client' && asked;
    this[side].completeTls(tlsInfo(played));
    this.feed({ type: 'secured', side, certificate });
  }

  failTls(side: Side): void {
    this.loseTls(this[side], 'the TLS handshake failed');
    this.settle();
  }

  /** The client's ClientHello, for the rules to see. */
  sayHello(hello: PlayedHello): void {
    this.note(`the client says hello ${JSON.stringify(hello)}`);
    this.hello = hello;
    if (hello.serverName !== undefined) this.names.client = hello.serverName;
    this.feed({ type: 'hello' });
  }

  /** The peer ends TLS that is being taken off. */
  endTls(side: Side, rest: Uint8Array): void {
    this.note(`TLS with the ${side} is off`);
    this[side].stopTls();
    this.events.push({ type: 'unsecured', side });
    if (rest.length > 0) this.events.push({ type: 'data', side, bytes: rest });
    this.settle();
  }

  /** The connection that is being opened succeeds. */
  accept(): void {
    this.connectedTo = this.connecting;
    this.connecting = undefined;
    this.server.connected = true;
    this.feed({ type: 'connected' });
  }

  /** The connection that is being opened fails. */
  refuse(error: string): void {
    this.connecting = undefined;
    this.feed({ type: 'connectFailed', error });
  }

  expire(timer: TimerName): void {
    this.note(`the ${timer} timer expires`);
    this.timers.delete(timer);
    this.feed({ type: 'timer', timer });
  }

  pass(milliseconds: number): void {
    this.note(`${milliseconds} ms pass`);
    this.clock.advance(milliseconds);
    this.settle();
  }

  private feed(event: IoEvent): void {
    this.events.push(event);
    this.settle();
  }

  /** Lets everything happen that can happen now. */
  private settle(): void {
    do {
      for (let event = this.events.shift(); event !== undefined; event = this.events.shift()) {
        for (const effect of this.flow.handle(event)) this.carryOut(effect);
      }
    } while (this.readFrom(this.client) || this.readFrom(this.server) || this.events.length > 0);
  }

  /** Takes what a peer has sent next. False when nothing can be taken. */
  private readFrom(peer: Peer): boolean {
    const next = peer.readable ? peer.inbound.shift() : undefined;
    if (next === undefined) return false;
    if (next === 'end') this.readEnd(peer);
    else if (peer.tls !== 'none' && peer.tls !== 'closing')
      this.readHello(peer, Buffer.concat([peer.hello, next]));
    else if (this.spliced) this.deliver(otherSide(peer.side), next);
    else this.events.push({ type: 'data', side: peer.side, bytes: next });
    return true;
  }

  private readEnd(peer: Peer): void {
    if (peer.tls !== 'none') {
      this.loseTls(peer, 'FIN while TLS is being changed');
      return;
    }
    peer.ended = true;
    if (this.spliced) this.endSide(otherSide(peer.side));
    else this.events.push({ type: 'ended', side: peer.side, truncated: false });
    this.closeIfOver(peer);
  }

  private readHello(peer: Peer, hello: Uint8Array): void {
    peer.hello = hello;
    if (peer === this.server || !looksLikeTls(hello)) this.loseTls(peer, 'not a TLS handshake');
  }

  // ---- what the flow orders ------------------------------------------------------------------

  private carryOut(effect: Effect): void {
    switch (effect.type) {
      case 'runRules':
        this.runRules(effect.event);
        return;
      case 'select':
        this.select(effect.pool, effect.failed);
        return;
      case 'connect':
        this.connect(effect.server);
        return;
      case 'write':
        this.deliver(effect.side, effect.bytes);
        return;
      case 'end':
        this.endSide(effect.side);
        return;
      case 'reset':
        this.cut(effect.side, 'reset');
        return;
      case 'destroy':
        this.cut(effect.side, 'close');
        return;
      case 'read':
        this[effect.side].reading = effect.reading !== 'off';
        return;
      case 'startTls':
        this.note(`TLS with the ${effect.side} starts`);
        this[effect.side].beginTls(effect.leftover, effect.asks);
        return;
      case 'acceptTls':
        this.client.tls = 'handshake';
        return;
      case 'stopTls':
        this.stopTls(this[effect.side]);
        return;
      case 'clientCertificate':
        this.asksForCertificate = effect.mode !== 'none';
        return;
      case 'setTimer':
        this.timers.add(effect.timer);
        return;
      case 'clearTimer':
        this.timers.delete(effect.timer);
        return;
      case 'abandonRules':
        this.session.close();
        return;
      case 'splice':
        this.splice();
        return;
      case 'log':
        this.noteLog(effect.level, effect.message);
        return;
      case 'ruleError':
        this.errors.push(effect.error);
        this.note(`the handler of ${effect.error.event} fails: ${describeError(effect.error)}`);
        return;
      case 'done':
        this.session.close();
        return;
      default:
        assertNever(effect);
    }
  }

  private runRules(event: RuleEventName): void {
    const run = new RuleRun(event, this.flow, this);
    this.ruleOutcome(
      run,
      this.session.run(run, (outcome) => this.ruleOutcome(run, outcome)),
    );
  }

  private ruleOutcome(run: RuleRun, outcome: RunOutcome): void {
    if (outcome.type === 'done') this.events.push({ type: 'ruleDone', actions: run.actions });
    else if (outcome.type === 'suspended') this.events.push({ type: 'ruleSuspended' });
    else this.events.push({ type: 'ruleFailed', error: outcome.error });
  }

  private stopTls(peer: Peer): void {
    this.note(`TLS with the ${peer.side} is taken off`);
    peer.reading = false;
    if (peer.tls !== 'hello') {
      peer.tls = 'closing';
      return;
    }
    peer.tls = 'none';
    if (peer.hello.length > 0) {
      this.events.push({ type: 'data', side: peer.side, bytes: peer.hello });
    }
  }

  private select(name: string, failed: readonly Endpoint[]): void {
    const choice = this.pools.get(name)?.pick({ failed, random: () => 0, now: 0 });
    if (choice?.type === 'member') {
      const server = choice.member.endpoint;
      this.events.push({ type: 'selected', selection: { pool: name, server } });
    } else {
      const error = 'the pool has no members';
      this.events.push({ type: 'selected', selection: { pool: name }, error });
    }
  }

  private connect(server: Endpoint): void {
    this.connecting = server;
    if (!this.connectsAtOnce) return;
    this.connectedTo = server;
    this.connecting = undefined;
    this.server.connected = true;
    this.events.push({ type: 'connected' });
  }

  private deliver(side: Side, bytes: Uint8Array): void {
    const text = toText(bytes);
    const where = this[side].layers.length > 0 ? ' inside TLS' : '';
    this.note(`${side} gets ${quote(text)}${where}`);
    this[side].receive(text);
  }

  private endSide(side: Side): void {
    this.note(`${side} gets FIN`);
    this[side].endWith('end');
    this.closeIfOver(this[side]);
  }

  private cut(side: Side, ending: 'close' | 'reset'): void {
    const peer = this[side];
    if (!peer.connected) {
      this.connecting = undefined;
      return;
    }
    this.note(ending === 'reset' ? `${side} is reset` : `${side} is closed`);
    peer.endWith(ending);
    peer.closed = true;
    this.events.push({ type: 'closed', side });
  }

  private closeIfOver(peer: Peer): void {
    if (!peer.ended || peer.ending !== 'end' || peer.closed) return;
    peer.closed = true;
    this.events.push({ type: 'closed', side: peer.side });
  }

  private lose(side: Side, error: string): void {
    const peer = this[side];
    if (peer.closed) return;
    peer.closed = true;
    this.events.push({ type: 'closed', side, error });
  }

  private loseTls(peer: Peer, error: string): void {
    this.note(`TLS with the ${peer.side} fails: ${error}`);
    peer.endWith('reset');
    this.lose(peer.side, error);
  }

  private splice(): void {
    this.note('spliced');
    this.spliced = true;
    this.client.reading = true;
    this.server.reading = true;
  }

  private note(text: string): void {
    this.transcript.push(text);
  }

  private noteLog(level: LogLevel, message: string): void {
    this.logs.push(logLine(level, message));
    this.note(`log, ${logLine(level, message)}`);
  }

  // ---- what commands ask for -----------------------------------------------------------------

  addresses(side: Side): Addresses | undefined {
    if (side === 'client') {
      return {
        local: { address: OWN_ADDRESS, port: this.setup.localPort ?? 1024 },
        remote: { address: this.setup.clientAddress ?? '192.0.2.1', port: 50000 },
      };
    }
    if (!this.server.connected || this.connectedTo === undefined) return undefined;
    return { local: { address: OWN_ADDRESS, port: 50001 }, remote: this.connectedTo };
  }

  tlsProfile(side: Side): { name: string; detachable: boolean } | undefined {
    const { clientTls, serverTls, detachable = false } = this.setup;
    return (side === 'client' ? clientTls : serverTls) ? { name: 'tls', detachable } : undefined;
  }

  tls(side: Side): TlsInfo | undefined {
    return this[side].layers.at(-1);
  }

  clientHello(): HelloInfo | undefined {
    const { hello } = this;
    if (hello === undefined) return undefined;
    const { serverName, extensions } = hello;
    return {
      serverName,
      extension: (type) => {
        const body = extensions?.[type];
        return body === undefined ? undefined : toBytes(body);
      },
    };
  }

  serverName(side: Side): string | undefined {
    return this.names[side];
  }

  hasPool(name: string): boolean {
    return this.pools.has(name);
  }

  log(level: LogLevel, _rule: string, message: string): void {
    this.noteLog(level, message);
  }

  after(milliseconds: number, callback: () => void): () => void {
    return this.clock.after(milliseconds, callback);
  }
}

function tlsInfo(played: PlayedTls): TlsInfo {
  return {
    protocol: played.protocol ?? 'TLSv1.3',
    cipher: played.cipher ?? 'TLS_AES_128_GCM_SHA256',
    alpn: played.alpn ?? '',
    resumed: played.resumed ?? false,
    sessionId: played.sessionId ?? new Uint8Array(0),
    certificates: played.certificates ?? [],
    verifyError: played.verifyError,
  };
}

/** @throws TypeError when the text is not `address:port`. */
function parseEndpoint(text: string): Endpoint {
  const [, address, port] = /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (address === undefined) throw new TypeError(`${quote(text)} is not address:port`);
  return { address, port: Number(port) };
}

function describeError({ message, line, column, excerpt }: RuleError): string {
  const place = line === undefined ? '' : ` (line ${line}, column ${column})`;
  return `${message}${place}${excerpt === undefined ? '' : `\n${excerpt}`}`;
}
