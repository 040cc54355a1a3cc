import type { Side } from './types.ts';

interface RuleEventInfo {
  /** The side that commands mean when a handler of this event does not say; none: no connection. */
  readonly side: Side | undefined;
  readonly doc: string;
}

/** The events that rules may handle, in the order in which a connection can see them. */
export const ruleEvents = {
  RULE_INIT: {
    side: undefined,
    doc: 'The rules were loaded. There is no connection yet.',
  },
  CLIENT_ACCEPTED: {
    side: 'client',
    doc: 'A client has connected. TLS with it, if the virtual server has a client-ssl profile, begins afterwards.',
  },
  CLIENT_DATA: {
    side: 'client',
    doc: 'Bytes that TCP.collect() asked for have arrived from the client.',
  },
  CLIENTSSL_CLIENTHELLO: {
    side: 'client',
    doc: 'The client has sent its ClientHello. Nothing was answered yet: `SSL.disable()` lets it go on to the server as it came.',
  },
  CLIENTSSL_CLIENTCERT: {
    side: 'client',
    doc: 'The client was asked for a certificate, and the handshake is complete. `SSL.cert.count()` is 0 if it has shown none.',
  },
  CLIENTSSL_HANDSHAKE: {
    side: 'client',
    doc: 'The TLS handshake with the client is complete.',
  },
  CLIENTSSL_DATA: {
    side: 'client',
    doc: 'Decrypted bytes that SSL.collect() asked for have arrived from the client.',
  },
  LB_SELECTED: {
    side: 'client',
    doc: 'A pool member was chosen; the connection to it has not been opened yet.',
  },
  LB_FAILED: {
    side: 'client',
    doc: 'No member could be chosen, or the connection to the chosen one failed.',
  },
  SERVER_CONNECTED: {
    side: 'server',
    doc: 'The connection to the server is open.',
  },
  SERVER_DATA: {
    side: 'server',
    doc: 'Bytes that TCP.collect() asked for have arrived from the server.',
  },
  SERVERSSL_HANDSHAKE: {
    side: 'server',
    doc: 'The TLS handshake with the server is complete, and its certificate was verified as the server-ssl profile demands.',
  },
  SERVERSSL_DATA: {
    side: 'server',
    doc: 'Decrypted bytes that SSL.collect() asked for have arrived from the server.',
  },
  SERVER_CLOSED: {
    side: 'server',
    doc: 'The connection to the server is closed.',
  },
  CLIENT_CLOSED: {
    side: 'client',
    doc: 'The connection to the client is closed. The last event of a flow.',
  },
} as const satisfies Record<string, RuleEventInfo>;

export type RuleEventName = keyof typeof ruleEvents;

export const ruleEventNames = Object.keys(ruleEvents) as readonly RuleEventName[];

export function isRuleEventName(name: string): name is RuleEventName {
  return Object.hasOwn(ruleEvents, name);
}
