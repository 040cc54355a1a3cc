import { assertNever, formatEndpoint, type Side } from '../core/types.ts';
import type { Peer } from './peer.ts';
import type { Rule } from './rule.ts';
import { type ConversationSetup, Simulation } from './simulation.ts';
import { describeStep, type Ending, type PlayedHello, type Step } from './steps.ts';
import { quote, toBytes, toText } from './text.ts';

/** What a peer has seen in the end. */
export interface PeerOutcome {
  /** What it got, one character a byte: in plaintext and, if TLS was completed, inside TLS. */
  readonly received: readonly string[];
  /** Undefined: its connection is still open. */
  readonly ending: Ending | undefined;
}

/** How a conversation turned out. */
export interface Outcome {
  readonly client: PeerOutcome;
  readonly server: PeerOutcome;
  readonly spliced: boolean;
  /** The messages of handlers that failed. */
  readonly errors: readonly string[];
}

/** A conversation went another way than its steps say. */
export class ConversationError extends Error {
  override readonly name = 'ConversationError';
}

/** Transcripts are shown from the end, up to this many entries. */
const LONGEST_TRANSCRIPT = 60;

/**
 * Has a conversation through a virtual server with one rule, without sockets, clock or sleeps. The
 * steps happen, and are demanded, one after the other; at the end nothing may have happened that no
 * step demands: no bytes, no TLS, no ending, no failed handler.
 *
 * @throws ConversationError at the first step that is not met, with what has happened until then
 */
export function conversation(
  rule: Rule,
  setup: ConversationSetup,
  steps: readonly Step[],
): Outcome {
  const connectsAtOnce = !steps.some(({ type }) => type === 'accepts' || type === 'refuses');
  const simulation = new Simulation(rule, setup, connectsAtOnce);
  const demands = new Demands(simulation);
  try {
    steps.forEach((step, index) => {
      const problem = demands.take(step);
      if (problem !== undefined) {
        throw failure(`step ${index + 1}, ${describeStep(step)}: ${problem}`, simulation);
      }
    });
    const problem = demands.leftOver();
    if (problem !== undefined) throw failure(`after the last step: ${problem}`, simulation);
  } finally {
    simulation.close();
  }
  const { client, server, spliced, errors } = simulation;
  return {
    client: outcomeOf(client),
    server: outcomeOf(server),
    spliced,
    errors: errors.map(({ message }) => message),
  };
}

/** Carries steps out. */
class Demands {
  private readonly seenLogs = new Set<number>();
  private seenErrors = 0;

  constructor(private readonly simulation: Simulation) {}

  /** Lets a step happen. Answers what is wrong, if something is. */
  take(step: Step): string | undefined {
    const { simulation } = this;
    switch (step.type) {
      case 'send':
        for (const part of step.parts) simulation.send(step.side, part);
        return undefined;
      case 'peerEnds':
        simulation.endPeer(step.side);
        return undefined;
      case 'peerResets':
        simulation.resetPeer(step.side);
        return undefined;
      case 'receives':
        return receives(simulation[step.side], step.text);
      case 'receivesNothing':
        return nothingUnread(simulation[step.side]);
      case 'sees':
        return sees(simulation[step.side], step.ending);
      case 'startsTls':
        return this.startsTls(step);
      case 'failsTls':
        return this.failsTls(step.side);
      case 'stopsTls':
        return this.stopsTls(step);
      case 'says':
        return this.says(step.hello);
      case 'accepts':
        return this.accepts(step.at);
      case 'refuses':
        return this.refuses(step.error);
      case 'passes':
        simulation.pass(step.milliseconds);
        return undefined;
      case 'expires': {
        if (!simulation.timers.has(step.timer)) return `the ${step.timer} timer is not running`;
        simulation.expire(step.timer);
        return undefined;
      }
      case 'spliced':
        return simulation.spliced ? undefined : 'the connection is not spliced';
      case 'logs':
        return this.logs(step.pattern);
      case 'fails':
        return this.fails(step.pattern);
      default:
        return assertNever(step);
    }
  }

  /** What has happened and was not demanded. */
  leftOver(): string | undefined {
    const { simulation } = this;
    const error = simulation.errors[this.seenErrors];
    if (error !== undefined) return `a handler of ${error.event} failed: ${error.message}`;
    for (const peer of [simulation.client, simulation.server]) {
      const problem = nothingUnread(peer);
      if (problem !== undefined) return problem;
      if (peer.ending !== undefined && !peer.endingSeen) {
        return `the ${peer.side} sees ${name(peer.ending)}, which no step demands`;
      }
    }
    const changing = [simulation.client, simulation.server].find(
      ({ tls, ending }) => tls !== 'none' && ending === undefined,
    );
    if (changing === undefined) return undefined;
    const what = changing.tls === 'closing' ? 'is being taken off' : 'was started';
    return `TLS with the ${changing.side} ${what}, which no step demands`;
  }

  private startsTls(step: Extract<Step, { type: 'startsTls' }>): string | undefined {
    const problem = this.isIn(step.side, 'handshake');
    if (problem !== undefined) return problem;
    const given = toText(this.simulation[step.side].hello);
    if (given !== step.hello) return `TLS was given ${quote(given)} of the handshake`;
    this.simulation.completeTls(step.side, step.tls);
    return undefined;
  }

  private failsTls(side: Side): string | undefined {
    const problem = this.isIn(side, 'handshake');
    if (problem !== undefined) return problem;
    this.simulation.failTls(side);
    return undefined;
  }

  private stopsTls(step: Extract<Step, { type: 'stopsTls' }>): string | undefined {
    const problem = this.isIn(step.side, 'closing');
    if (problem !== undefined) return problem;
    this.simulation.endTls(step.side, toBytes(step.rest));
    return undefined;
  }

  private says(hello: PlayedHello): string | undefined {
    const problem = this.isIn('client', 'hello');
    if (problem !== undefined) return problem;
    this.simulation.sayHello(hello);
    return undefined;
  }

  /** What keeps TLS of a side from being where a step wants it. */
  private isIn(side: Side, wanted: Peer['tls']): string | undefined {
    const peer = this.simulation[side];
    if (peer.closed) return `TLS with the ${side} has failed`;
    if (peer.tls === wanted) return nothingUnread(peer);
    switch (peer.tls) {
      case 'hello':
        return "the client's hello is awaited: client.says()";
      case 'handshake':
        return wanted === 'hello'
          ? "no rule waits for the client's hello"
          : `the TLS handshake with the ${side} is not complete`;
      case 'closing':
        return `TLS with the ${side} is being taken off`;
      default:
        if (wanted === 'closing') return `TLS with the ${side} is not being taken off`;
        return peer.layers.length > 0
          ? `TLS with the ${side} is complete already`
          : `TLS with the ${side} was not started`;
    }
  }

  private accepts(at: string | undefined): string | undefined {
    const { connecting } = this.simulation;
    if (connecting === undefined) return 'no connection to a server is being opened';
    const target = formatEndpoint(connecting);
    if (at !== undefined && at !== target) return `the connection goes to ${target}`;
    this.simulation.accept();
    return undefined;
  }

  private refuses(error: string): string | undefined {
    if (this.simulation.connecting === undefined)
      return 'no connection to a server is being opened';
    this.simulation.refuse(error);
    return undefined;
  }

  private logs(pattern: string | RegExp): string | undefined {
    const index = this.simulation.logs.findIndex(
      (line, i) => !this.seenLogs.has(i) && matches(line, pattern),
    );
    if (index < 0) return 'no such line was logged';
    this.seenLogs.add(index);
    return undefined;
  }

  private fails(pattern: string | RegExp): string | undefined {
    const error = this.simulation.errors[this.seenErrors];
    if (error === undefined) return 'no handler has failed';
    if (!matches(error.message, pattern)) return `the handler failed with: ${error.message}`;
    this.seenErrors += 1;
    return undefined;
  }
}

function receives(peer: Peer, text: string): string | undefined {
  const unread = peer.unread();
  if (unread.startsWith(text)) {
    peer.demand(text.length);
    return undefined;
  }
  if (unread === '') return `the ${peer.side} got nothing`;
  const got = `the ${peer.side} got ${quote(unread)}`;
  if (text.startsWith(unread)) return `${got}: the last ${text.length - unread.length} are missing`;
  let same = 0;
  while (unread[same] === text[same]) same += 1;
  const [there, wanted] = [unread, text].map((all) => quote(all.slice(same, same + 40)));
  return `${got}: from byte ${same + 1} on ${there} instead of ${wanted}`;
}

function nothingUnread(peer: Peer): string | undefined {
  const unread = peer.unread();
  return unread === ''
    ? undefined
    : `the ${peer.side} got ${quote(unread)}, which no step demands before`;
}

function sees(peer: Peer, ending: Ending): string | undefined {
  if (peer.ending === undefined) return `the connection of the ${peer.side} is still open`;
  if (peer.ending !== ending) return `the ${peer.side} sees ${name(peer.ending)}`;
  peer.endingSeen = true;
  return undefined;
}

function name(ending: Ending): string {
  return { end: 'FIN', close: 'its connection closed', reset: 'a reset' }[ending];
}

function matches(text: string, pattern: string | RegExp): boolean {
  return typeof pattern === 'string' ? text.includes(pattern) : pattern.test(text);
}

function outcomeOf({ received, ending }: Peer): PeerOutcome {
  return { received, ending };
}

function failure(problem: string, { transcript }: Simulation): ConversationError {
  const shown = transcript.slice(-LONGEST_TRANSCRIPT);
  const left = transcript.length - shown.length;
  const head = left > 0 ? [`(${left} before)`] : [];
  return new ConversationError([problem, '', ...head, ...shown].join('\n'));
}
