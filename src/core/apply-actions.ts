import type { Effect } from './effects.ts';
import type { RuleAction } from './rule-actions.ts';
import type { RuleGate } from './rule-gate.ts';
import type { ServerChoice } from './server-choice.ts';
import type { SideState } from './side-state.ts';
import type { TlsSteps } from './tls-steps.ts';
import { assertNever, type Side } from './types.ts';

/** The parts of a flow that rules can give orders to. */
export interface ActionTarget {
  readonly client: SideState;
  readonly server: SideState;
  side(side: Side): SideState;
  readonly choice: ServerChoice;
  readonly tls: TlsSteps;
  readonly rules: RuleGate;
  emit(effect: Effect): void;
  /** Moves what the side let go to the other one, if that can take it. */
  forward(side: SideState): void;
  /** FIN to both sides, behind everything written. */
  close(): void;
  /** Ends both sides at once. */
  endBoth(how: 'reset' | 'destroy'): void;
}

type SideAction = Extract<RuleAction, { side: Side }>;
type FlowAction = Exclude<RuleAction, SideAction | { type: 'event' }>;

/** Carries out what the handlers of an event ordered, in the order of their calls. */
export function applyActions(actions: readonly RuleAction[], flow: ActionTarget): void {
  const { client, server } = flow;
  const heldOfClient = client.payload.length;
  const heldOfServer = server.payload.length;
  for (const action of actions) {
    if (action.type === 'event') flow.rules.switch(action.event, action.enabled);
    else if ('side' in action) applyToSide(action, flow.side(action.side), flow);
    else applyToFlow(action, flow);
  }
  client.handlersDone(heldOfClient);
  server.handlersDone(heldOfServer);
  letGo(client, flow);
  letGo(server, flow);
}

/** Without a collect, nothing may stay held. */
export function letGo(side: SideState, flow: Pick<ActionTarget, 'forward'>): void {
  if (side.collect !== undefined || side.tls === 'pending' || side.tls === 'closing') return;
  side.release(side.payload.length);
  flow.forward(side);
}

function applyToSide(action: SideAction, side: SideState, flow: ActionTarget): void {
  if (side.discarding) return;
  switch (action.type) {
    case 'collect':
      side.startCollect(action);
      return;
    case 'release':
      side.release(action.length);
      side.released = true;
      side.collect = undefined;
      flow.forward(side);
      return;
    case 'replace':
      side.payload.replace(action);
      return;
    case 'respond':
      if (!side.open || side.endSent || action.data.length === 0) return;
      flow.emit({ type: 'write', side: side.side, bytes: action.data });
      return;
    case 'close':
      flow.close();
      return;
    case 'tls':
      flow.tls.switch(side, action.enabled);
      return;
    default:
      assertNever(action);
  }
}

function applyToFlow(action: FlowAction, flow: ActionTarget): void {
  switch (action.type) {
    case 'pool':
      flow.choice.choose({ pool: action.pool, ...(action.member && { server: action.member }) });
      return;
    case 'node':
      flow.choice.choose({ server: action.server });
      return;
    case 'clientCertificate':
      flow.emit(action);
      return;
    case 'reselect':
      flow.choice.reselectAsked = true;
      return;
    case 'reject':
      flow.endBoth('reset');
      return;
    case 'drop':
      flow.endBoth('destroy');
      return;
    default:
      assertNever(action);
  }
}
