import { beforeAll, expect, test } from 'vitest';
import {
  type ConversationSetup,
  client,
  conversation,
  everyCut,
  loadRule,
  logs,
  type Rule,
  type Step,
  server,
  spliced,
} from '../src/testing/index.ts';

// What the stream before TLS allows is tested with the rule for clients, xmpp-starttls.

const withTls: ConversationSetup = { clientTls: true };

const STREAMS = 'http://etherx.jabber.org/streams';
const TLS = 'urn:ietf:params:xml:ns:xmpp-tls';

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('xmpp-server-starttls.js', import.meta.url), { options });
}

const opening = `<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='${STREAMS}' from='a.example' to='b.example' version='1.0'>`;
const ownOpening = (addresses: string) =>
  `<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='${STREAMS}' id='192.0.2.1-50000'${addresses} version='1.0' xml:lang='en'>`;

const startsTls: Step[] = [
  client(opening),
  client.receives(
    `${ownOpening(` from='b.example' to='a.example'`)}<stream:features><starttls xmlns='${TLS}'><required/></starttls></stream:features>`,
  ),
  client(`<starttls xmlns='${TLS}'/>`),
  client.receives(`<proceed xmlns='${TLS}'/>`),
  client.startsTls(),
];
const secured: Step[] = [
  server.accepts(),
  spliced(),
  client(opening),
  server.receives(opening),
  server('<stream:features/>'),
  client.receives('<stream:features/>'),
  client('<db:result>key</db:result>'),
  server.receives('<db:result>key</db:result>'),
];

let rule: Rule;

beforeAll(async () => {
  rule = await load();
});

test('a session with STARTTLS', () => {
  everyCut(rule, withTls, [...startsTls, ...secured]);
});

test('a session with TLS from the beginning', async () => {
  everyCut(await load({ tls: 'implicit' }), withTls, [client.startsTls(), ...secured]);
  conversation(rule, { ...withTls, localPort: 5270 }, [client.startsTls(), ...secured]);
  conversation(rule, { ...withTls, localPort: 5223 }, [...startsTls, ...secured]);
});

test('a session with a server that speaks TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };
  const [accepts, ...others] = secured;
  const startsBoth = accepts === undefined ? [] : [accepts, server.startsTls(), ...others];
  everyCut(rule, bothTls, [...startsTls, ...startsBoth]);
});

test('no dialback before TLS', () => {
  everyCut(rule, withTls, [
    ...startsTls.slice(0, 2),
    client('<db:result>'),
    client.receives(
      `<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>`,
    ),
    logs('policy-violation'),
    client.seesEnd(),
  ]);
});

test('no clients', () => {
  everyCut(rule, withTls, [
    client(opening.replace('jabber:server', 'jabber:client')),
    client.receives(
      `${ownOpening('')}<stream:error><invalid-namespace xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>`,
    ),
    logs('invalid-namespace'),
    client.seesEnd(),
  ]);
});

test('options are checked', async () => {
  await expect(load({ requireTls: true })).rejects.toThrow(
    "unknown option 'requireTls'; there are tls",
  );
});
