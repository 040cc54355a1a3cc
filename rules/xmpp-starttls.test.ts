import { beforeAll, describe, expect, test } from 'vitest';
import {
  type ConversationSetup,
  client,
  conversation,
  everyCut,
  expires,
  loadRule,
  logs,
  type Rule,
  type Step,
  server,
  spliced,
} from '../src/testing/index.ts';

const withTls: ConversationSetup = { clientTls: true };

const STREAMS = 'http://etherx.jabber.org/streams';
const TLS = 'urn:ietf:params:xml:ns:xmpp-tls';
const START_TLS = `<starttls xmlns='${TLS}'/>`;
const PROCEED = `<proceed xmlns='${TLS}'/>`;
const FEATURES = `<stream:features><starttls xmlns='${TLS}'><required/></starttls></stream:features>`;
const END = '</stream:stream>';

function load(options: Record<string, unknown> = {}): Promise<Rule> {
  return loadRule(new URL('xmpp-starttls.js', import.meta.url), { options });
}

/** As `openssl s_client -starttls xmpp` opens its stream. */
function opening(attributes = `to='im.example' version='1.0'`): string {
  return `<stream:stream xmlns:stream='${STREAMS}' xmlns='jabber:client' ${attributes}>`;
}

/** How the rule opens its stream. */
function ownOpening(addresses = ` from='im.example'`): string {
  const id = `id='192.0.2.1-50000'`;
  return `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='${STREAMS}' ${id}${addresses} version='1.0' xml:lang='en'>`;
}

function failed(condition: string, header = ''): Step[] {
  const error = `<stream:error><${condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>`;
  return [
    client.receives(`${header}${error}${END}`),
    logs(`info: the client's stream has an error before TLS: ${condition}`),
    client.seesEnd(),
  ];
}

const opens = [client(opening()), client.receives(ownOpening() + FEATURES)];
const startsTls = [client(START_TLS), client.receives(PROCEED), client.startsTls()];
const secured: Step[] = [
  server.accepts(),
  spliced(),
  client(`<?xml version='1.0'?>${opening()}`),
  server.receives(`<?xml version='1.0'?>${opening()}`),
  server(`<stream:stream id='1'><stream:features/>`),
  client.receives(`<stream:stream id='1'><stream:features/>`),
  client(`<auth/>${START_TLS}${END}`),
  server.receives(`<auth/>${START_TLS}${END}`),
  client.ends(),
  server.seesEnd(),
  server.ends(),
  client.seesEnd(),
];

let rule: Rule;
let implicit: Rule;

beforeAll(async () => {
  rule = await load();
  implicit = await load({ tls: 'implicit' });
});

describe('a whole session', () => {
  test('with STARTTLS', () => {
    everyCut(rule, withTls, [...opens, ...startsTls, ...secured]);
  });

  test('with TLS from the beginning', () => {
    everyCut(implicit, withTls, [client.startsTls(), ...secured]);
    conversation(rule, { ...withTls, localPort: 5223 }, [client.startsTls(), ...secured]);
  });

  test('to port 5223 with STARTTLS, if the options say so', async () => {
    const starttls = await load({ tls: 'starttls' });
    conversation(starttls, { ...withTls, localPort: 5223 }, [...opens, ...startsTls]);
  });

  test('of a client that waits for nothing', () => {
    everyCut(rule, withTls, [
      client(`<?xml version='1.0'?>${opening()}${START_TLS}`),
      client.receives(ownOpening() + FEATURES + PROCEED),
      client.startsTls(),
      ...secured,
    ]);
    everyCut(rule, withTls, [
      ...opens,
      client(`${START_TLS}\x16\x03\x01`),
      client.receives(PROCEED),
      client.startsTls('\x16\x03\x01'),
    ]);
  });

  test('that the client gives up', () => {
    everyCut(rule, withTls, [...opens, client(END), client.receives(END), client.seesEnd()]);
  });
});

describe('a server with TLS', () => {
  const bothTls: ConversationSetup = { clientTls: true, serverTls: true };

  const [accepts, ...others] = secured;
  const startsBoth = accepts === undefined ? [] : [accepts, server.startsTls(), ...others];

  test('and a client with STARTTLS', () => {
    everyCut(rule, bothTls, [...opens, ...startsTls, ...startsBoth]);
  });

  test('and a client that begins with TLS', () => {
    everyCut(implicit, bothTls, [client.startsTls(), ...startsBoth]);
  });

  test('which does not start', () => {
    conversation(implicit, bothTls, [
      client.startsTls(),
      server.failsTls(),
      logs('warn: the TLS handshake with the server failed'),
      client.seesReset(),
      server.seesReset(),
    ]);
  });
});

describe('the opening of the stream', () => {
  test('may be written in many ways', () => {
    const names = `xmlns="jabber:client"\txmlns:stream = "${STREAMS}"`;
    const openings = [
      `<?xml version="1.0" encoding='UTF-8'?>\n${opening()}`,
      `\n<stream:stream\r\n version='1.0' ${names} to="im.example"\n>`,
      opening(`xml:lang='de' to='im.example' version="1.1" x='>"'`),
    ];
    for (const text of openings) {
      everyCut(rule, withTls, [
        client(text),
        client.receives(ownOpening() + FEATURES),
        ...startsTls,
      ]);
    }
  });

  test('gets its addresses back', () => {
    everyCut(rule, withTls, [
      client(opening(`from='j\xc3\xbcrg@im.example' to='im.example' version='1.0'`)),
      client.receives(ownOpening(` from='im.example' to='j\xc3\xbcrg@im.example'`) + FEATURES),
    ]);
    everyCut(rule, withTls, [
      client(opening(`version='1.0'`)),
      client.receives(ownOpening('') + FEATURES),
    ]);
  });

  test.each([`a'b`, 'a"b', 'a&apos;b', 'a b', 'a>b', '', 'a\0b', 'a\nb', 'x'.repeat(3072)])(
    'with an address that has to be escaped is refused: %j',
    (address) => {
      const quote = address.includes("'") ? '"' : "'";
      for (const name of ['to', 'from']) {
        conversation(rule, withTls, [
          client(opening(`${name}=${quote}${address}${quote} version='1.0'`)),
          ...failed('improper-addressing', ownOpening('')),
        ]);
      }
    },
  );

  test.each([
    ['bad-format', `<stream xmlns='${STREAMS}' version='1.0'>`],
    ['bad-format', opening().replace('>', '/>')],
    ['bad-format', START_TLS],
    ['bad-format', END],
    ['invalid-namespace', opening().replace('client', 'server')],
    ['invalid-namespace', opening().replace('etherx', 'example')],
    ['invalid-namespace', `<stream:stream to='im.example' version='1.0'>`],
    ['unsupported-version', opening(`to='im.example'`)],
    ['unsupported-version', opening(`version='0.9'`)],
    ['unsupported-version', opening(`version=''`)],
    ['not-well-formed', opening(`version='1.0' version='1.0'`)],
    ['not-well-formed', opening(`version=1.0`)],
    ['not-well-formed', opening(`version='1.0'to='x'`)],
    ['not-well-formed', opening(`version='1.0' to='a<b'`)],
    ['not-well-formed', 'GET / HTTP/1.1\r\n'],
    ['not-well-formed', '\x16\x03\x01'],
    ['not-well-formed', '\0'],
    ['not-well-formed', '< '],
    ['not-well-formed', '<!'],
    ['not-well-formed', '<?xslt ?>'],
    ['not-well-formed', `<?xml version='1.0'?><<`],
  ])('is answered with %s: %j', (condition, text) => {
    everyCut(rule, withTls, [client(text), ...failed(condition, ownOpening(''))]);
  });
});

describe('STARTTLS', () => {
  test('may be written in many ways', () => {
    const ways = [
      `<starttls xmlns="${TLS}" />`,
      `<starttls\n xmlns = '${TLS}'></starttls>`,
      `  \n<starttls xmlns='${TLS}'> </starttls >`,
    ];
    for (const text of ways) {
      everyCut(rule, withTls, [
        ...opens,
        client(text),
        client.receives(PROCEED),
        client.startsTls(),
      ]);
    }
  });

  test.each([
    `<starttls/>`,
    `<starttls xmlns='urn:example'/>`,
    `<starttls xmlns='${TLS}x'/>`,
    `<starttls xmlns='${TLS}' x=''/>`,
    `<x:starttls xmlns:x='${TLS}'/>`,
    `<starttlsx xmlns='${TLS}'/>`,
    `<starttls xmlns='${TLS}'><x/>`,
    `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>`,
    `<iq type='get' id='1'>`,
    '</starttls>',
    opening(),
  ])('nothing else is possible before TLS: %j', (text) => {
    everyCut(rule, withTls, [...opens, client(text), ...failed('policy-violation')]);
  });

  test.each([
    `secret`,
    `<starttls xmlns='${TLS}'>x`,
    '<!-- -->',
    '<![CDATA[',
    `<starttls xmlns=x/>`,
  ])('nor what is no tag: %j', (text) => {
    everyCut(rule, withTls, [...opens, client(text), ...failed('not-well-formed')]);
  });

  test('when the handshake fails', () => {
    everyCut(rule, withTls, [
      ...opens,
      client(START_TLS),
      client.receives(PROCEED),
      client.failsTls(),
      client.seesReset(),
    ]);
  });
});

describe('hostile clients', () => {
  test.each([opening(), '<auth/>', '\n', '\0', START_TLS, '\x16x'])(
    'plaintext behind <starttls/> ends the connection: %j',
    (injected) => {
      everyCut(rule, withTls, [
        ...opens,
        client(START_TLS + injected),
        client.receives(PROCEED),
        client.seesReset(),
      ]);
    },
  );

  test('what they say before TLS is bounded', () => {
    const refused = failed('policy-violation');
    conversation(rule, withTls, [...opens, client(' '.repeat(8000)), ...startsTls]);
    conversation(rule, withTls, [
      ...opens,
      ...Array.from({ length: 82 }, () => client(' '.repeat(100))),
      ...refused,
    ]);
    conversation(rule, withTls, [...opens, client(' '.repeat(900_000)), ...refused]);
    for (const text of [`<starttls x='${'x'.repeat(8200)}`, `<a${' '.repeat(8200)}`]) {
      conversation(rule, withTls, [...opens, client(text), ...refused]);
      conversation(rule, withTls, [...opens, client(`${text}'/>`), ...refused]);
    }
    const long = ` x='${'x'.repeat(500_000)}'`;
    const early = failed('policy-violation', ownOpening(''));
    conversation(rule, withTls, [client(opening(`version='1.0'${long}`)), ...early]);
  });

  test('many attributes cost little', () => {
    const attributes = Array.from({ length: 1000 }, (_, i) => ` a${i}=''`).join('');
    conversation(rule, withTls, [
      client(opening(`version='1.0'${attributes}`)),
      client.receives(ownOpening('') + FEATURES),
    ]);
  });

  test('a tag that stays incomplete is ended by the collect timer', () => {
    const half = client(opening().slice(0, -1));
    conversation(rule, withTls, [half, expires('collect'), client.seesReset()]);
  });
});

describe('endings', () => {
  test('a client that says nothing, or not enough', () => {
    everyCut(rule, withTls, [client.ends(), client.seesEnd()]);
    everyCut(rule, withTls, [...opens, client('<start'), client.ends(), client.seesEnd()]);
  });

  test('no server', () => {
    everyCut(rule, withTls, [...opens, ...startsTls, server.refuses(), client.seesReset()]);
  });
});

describe('options', () => {
  test.each([
    [{ requireTls: false }, "unknown option 'requireTls'; there are tls"],
    [{ tls: 'direct' }, `'tls' must be "starttls" or "implicit", not "direct"`],
  ])('%j keeps the rule from being loaded', async (options, message) => {
    await expect(load(options)).rejects.toThrow(message);
  });
});
