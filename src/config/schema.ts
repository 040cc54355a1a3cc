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

export const sessionTimeout: Quantity = {
  unit: 'duration',
  default: HOUR,
  min: SECOND,
  max: 24 * HOUR,
  doc: 'How long a session can be resumed.',
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

function flag(byDefault: boolean, description: string) {
  return Type.Optional(Type.Boolean({ description, default: byDefault }));
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
    serverSsl: Type.Optional(text('the name of a server-ssl profile', 'TLS with the server.')),
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

function path(description: string) {
  return Type.Optional(text('a path', description));
}

/** A certificate with its key. That they are PEM or PKCS#12 is looked at when they are read. */
const keyPair = {
  cert: path('Certificate (PEM); intermediate certificates may follow in the file.'),
  key: path('Private key (PEM).'),
  chain: path('Intermediate certificates (PEM), nearest first.'),
  passphrase: Type.Optional(
    Type.String({
      description: 'Of an encrypted key or of PKCS#12; best from an environment variable.',
    }),
  ),
  pkcs12: path('Certificate, key and chain in PKCS#12, in place of cert, key and chain.'),
};

const certificateKeys = {
  ...keyPair,
  ocsp: Type.Optional(
    text('a path or "fetch"', 'OCSP response (DER) to staple; "fetch" asks the responder.'),
  ),
};

const tlsVersions = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const;

const tlsKeys = {
  minVersion: choice(tlsVersions, 'TLSv1.2', 'Lowest TLS version.'),
  maxVersion: choice(tlsVersions, 'TLSv1.3', 'Highest TLS version.'),
  ciphers: Type.Optional(
    text('a list of ciphers', "OpenSSL's notation; names of TLS 1.2 and 1.3 in one list."),
  ),
  alpn: Type.Optional(
    Type.Array(
      Type.String({
        title: 'the name of a protocol, such as "imap", in 1 to 255 letters, digits and signs',
        pattern: '^[!-~]{1,255}$',
      }),
      {
        title: 'a list of up to 16 protocols, none twice',
        description: 'Protocols for ALPN, best first.',
        maxItems: 16,
        uniqueItems: true,
      },
    ),
  ),
  detachable: flag(false, 'TLS can be taken off again (SSL.disable); costs speed.'),
  ca: path('Authorities that certificates of the other end are verified with (PEM).'),
  crl: path('Revocation lists (PEM), one of each authority.'),
};

const ClientSsl = object(
  {
    ...certificateKeys,
    certificates: Type.Optional(
      Type.Array(object(certificateKeys, 'A certificate.'), {
        description: 'Further certificates, for other names or of other kinds.',
      }),
    ),
    strictSni: flag(false, 'Refuse clients that ask for a name that no certificate has.'),
    clientCertificate: choice(
      ['none', 'request', 'require'],
      'none',
      'Whether clients are asked for a certificate.',
    ),
    sessionTickets: flag(true, 'Whether sessions can be resumed by tickets.'),
    sessionTimeout: quantity(sessionTimeout),
    ticketKeys: path('Keys of tickets: a line of 48 bytes in Base64 each; the first one is used.'),
    ...tlsKeys,
  },
  'TLS with the client.',
);

const ServerSsl = object(
  {
    verify: flag(true, "Whether the server's certificate must be good."),
    serverName: Type.Optional(
      text('the name of a host', 'Asked for, and demanded of the certificate.'),
    ),
    ...keyPair,
    ...tlsKeys,
  },
  'TLS with the server.',
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
          serverSsl: Type.Optional(named(ServerSsl, 'Server-ssl profiles by name.')),
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
export type ServerSslDocument = Static<typeof ServerSsl>;
export type CertificateDocument = NonNullable<ClientSslDocument['certificates']>[number];

/** The JSON Schema (draft 2020-12) of the configuration file, as plain data. */
export function configSchema(): Record<string, unknown> {
  const plain: Record<string, unknown> = JSON.parse(JSON.stringify(Document));
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', ...plain };
}
