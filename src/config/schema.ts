import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { describeQuantity, formatQuantity, type Quantity, quantityPattern } from './quantity.ts';
import type { TcpProfile } from './types.ts';

// The single source of the configuration's form. Alternatives are written as lists of types or as
// an enum, never as anyOf: so a mistake gives one error, not one for each alternative. `title` says
// what is expected and becomes the text of that error.

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const MIB = 1024 * 1024;

/** The settings of a tcp profile. Every wait and every buffer has a bound. */
export const tcpSettings = {
  connectTimeout: timeout(5 * SECOND, HOUR, 'For the connection to a server to open.'),
  handshakeTimeout: timeout(10 * SECOND, HOUR, 'For a TLS handshake, from the order to start it.'),
  collectTimeout: timeout(30 * SECOND, HOUR, 'For the bytes that a rule collects to arrive.'),
  idleTimeout: timeout(300 * SECOND, 168 * HOUR, 'Without a byte in either direction.'),
  lingerTimeout: timeout(5 * SECOND, HOUR, 'For the other end to close after this end has.'),
  handlerTimeout: timeout(30 * SECOND, HOUR, 'For a suspended handler of a rule to go on.'),
  collectLimit: limit(MIB, 1, 16 * MIB, 'Bytes that a rule may collect on one side.'),
  queueLimit: limit(
    MIB / 4,
    1024,
    64 * MIB,
    'Bytes that may wait for a slow receiver before the sender is held back.',
  ),
} as const satisfies Record<keyof TcpProfile, Quantity>;

export const drainTimeout: Quantity = {
  unit: 'duration',
  default: 30 * SECOND,
  min: 0,
  max: HOUR,
  doc: 'For open connections to end by themselves, on SIGTERM and on reload with "drain".',
};

function timeout(byDefault: number, max: number, doc: string): Quantity {
  return { unit: 'duration', default: byDefault, min: 1, max, doc };
}

function limit(byDefault: number, min: number, max: number, doc: string): Quantity {
  return { unit: 'size', default: byDefault, min, max, doc };
}

function quantity(setting: Quantity) {
  return Type.Optional(
    Type.Unsafe<string | number>({
      type: ['string', 'integer'],
      title: describeQuantity(setting),
      description: setting.doc,
      default: formatQuantity(setting, setting.default),
      pattern: quantityPattern(setting.unit),
      minimum: setting.min,
      maximum: setting.max,
    }),
  );
}

function choice<const T extends string>(values: readonly T[], byDefault: T, description: string) {
  return Type.Optional(Type.Unsafe<T>({ enum: values, default: byDefault, description }));
}

function text(title: string, description: string) {
  return Type.String({ title, description, pattern: '.' });
}

function object<T extends Record<string, TSchema>>(properties: T, description: string) {
  return Type.Object(properties, { additionalProperties: false, description });
}

export const NAME_FORM = "1 to 64 letters, digits, '.', '_' or '-'";

function named<T extends TSchema>(item: T, description: string) {
  return Type.Unsafe<Record<string, Static<T>>>({
    type: 'object',
    description,
    propertyNames: { pattern: '^[A-Za-z0-9._-]{1,64}$' },
    additionalProperties: item,
  });
}

const Rule = object(
  {
    rule: text('a rule', "A bundled rule's name, or the path of a rule of your own."),
    options: Type.Optional(
      Type.Unsafe<Record<string, unknown>>({
        type: 'object',
        description: 'What the rule reads as `options`.',
      }),
    ),
  },
  'A rule with options.',
);

const RuleReference = Type.Unsafe<string | Static<typeof Rule>>({
  ...Rule,
  type: ['string', 'object'],
  title: 'a rule: a bundled name, a path such as "./rule.js", or { "rule": …, "options": … }',
  description: "A bundled rule's name, a path, or either of them with options.",
  pattern: '.',
});

const VirtualServer = object(
  {
    listen: text(
      'an address such as "127.0.0.1:110", "[::1]:110" or "*:110", or "none"',
      'Address and port; port 0 is any free one, "*" is all addresses. "none" does not listen.',
    ),
    clientSsl: Type.Optional(text('the name of a client-ssl profile', 'TLS with the client.')),
    tcp: Type.Optional(text('the name of a tcp profile', 'Timeouts and limits.')),
    pool: Type.Optional(text('the name of a pool', 'Where connections go, unless a rule decides.')),
    rules: Type.Optional(
      Type.Array(RuleReference, { description: 'In the order in which they run.' }),
    ),
    connectionLimit: Type.Optional(
      Type.Integer({
        title: 'a whole number from 0 to 10000000',
        description: 'Client connections open at a time; 0 is no limit.',
        default: 0,
        minimum: 0,
        maximum: 10_000_000,
      }),
    ),
  },
  'A listener with its profiles, rules and default pool.',
);

const Pool = object(
  {
    members: Type.Array(text('an address such as "192.0.2.1:110"', 'Address or name, and port.'), {
      title: 'a list of at least one address',
      description: 'The servers.',
      minItems: 1,
    }),
    balancing: choice(['round-robin'], 'round-robin', 'How a member is chosen.'),
  },
  'A set of servers that do the same work.',
);

const tlsVersions = ['TLSv1.2', 'TLSv1.3'] as const;

const ClientSsl = object(
  {
    cert: text('a path', 'Certificate (PEM); intermediate certificates may follow in the file.'),
    key: text('a path', 'Private key (PEM).'),
    chain: Type.Optional(text('a path', 'Intermediate certificates (PEM), nearest first.')),
    passphrase: Type.Optional(
      Type.String({
        description: 'Of an encrypted key; best from an environment variable.',
      }),
    ),
    minVersion: choice(tlsVersions, 'TLSv1.2', 'Lowest TLS version.'),
    maxVersion: choice(tlsVersions, 'TLSv1.3', 'Highest TLS version.'),
    ciphers: Type.Optional(
      text('a list of ciphers', "OpenSSL's notation; names of TLS 1.2 and 1.3 in one list."),
    ),
  },
  'TLS with the client.',
);

type TcpProperties = { [K in keyof typeof tcpSettings]: ReturnType<typeof quantity> };

const Tcp = object(
  Object.fromEntries(
    Object.entries(tcpSettings).map(([name, setting]) => [name, quantity(setting)]),
  ) as TcpProperties,
  'Timeouts and limits of both sides.',
);

const Document = object(
  {
    $schema: Type.Optional(Type.String({ description: 'For editors; ignored.' })),
    virtualServers: Type.Unsafe<Record<string, Static<typeof VirtualServer>>>({
      ...named(VirtualServer, 'The virtual servers by name.'),
      title: 'an object with at least one virtual server',
      minProperties: 1,
    }),
    pools: Type.Optional(named(Pool, 'The pools by name.')),
    profiles: Type.Optional(
      object(
        {
          clientSsl: Type.Optional(named(ClientSsl, 'Client-ssl profiles by name.')),
          tcp: Type.Optional(named(Tcp, 'Tcp profiles by name.')),
        },
        'Named settings of one layer, for virtual servers to refer to.',
      ),
    ),
    log: Type.Optional(
      object(
        {
          level: choice(['error', 'warn', 'info', 'debug'], 'info', 'The least that is logged.'),
          format: choice(['text', 'json', 'auto'], 'auto', 'auto: text on a terminal, else JSON.'),
        },
        'Logging.',
      ),
    ),
    reload: Type.Optional(
      object(
        {
          connections: choice(
            ['keep', 'drain', 'close'],
            'keep',
            'What happens to open connections when their virtual server has changed.',
          ),
        },
        'Reloading when a file has changed.',
      ),
    ),
    drainTimeout: quantity(drainTimeout),
  },
  'Configuration of Portreeve.',
);

/** The configuration as it is written, once its form was checked. */
export type ConfigDocument = Static<typeof Document>;
export type VirtualServerDocument = Static<typeof VirtualServer>;
export type ClientSslDocument = Static<typeof ClientSsl>;

/** The JSON Schema (draft 2020-12) of the configuration file, as plain data. */
export function configSchema(): Record<string, unknown> {
  const plain: Record<string, unknown> = JSON.parse(JSON.stringify(Document));
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', ...plain };
}
