/**
 * The rule test kit, exported as `portreeve/testing`: conversations through a virtual server with a
 * rule, without sockets, clock or sleeps.
 *
 * ```js
 * const rule = await loadRule(new URL('my-rule.js', import.meta.url), { options });
 * everyCut(rule, { clientTls: true }, [
 *   server('+OK ready\r\n'),
 *   client.receives('+OK ready\r\n'),
 *   client('USER alice\r\n'),
 *   server.receives('USER alice@x\r\n'),
 * ]);
 * ```
 *
 * @module
 */
export { ConversationError, conversation, type Outcome, type PeerOutcome } from './conversation.ts';
export { everyCut } from './every-cut.ts';
export { type LoadRuleOptions, loadRule, loadRules, type Rule } from './rule.ts';
export type { ConversationSetup } from './simulation.ts';
export {
  type Client,
  client,
  type Ending,
  expires,
  fails,
  logs,
  type PlayedHello,
  type PlayedTls,
  passes,
  type Server,
  type Step,
  server,
  spliced,
} from './steps.ts';
export type { Data } from './text.ts';
