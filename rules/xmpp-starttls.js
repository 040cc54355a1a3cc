// TLS for clients of an XMPP server that has none: they get STARTTLS (RFC 6120, section 5), or TLS
// from the first byte on (XEP-0368), and the server hears plain XMPP. For other servers there is
// `xmpp-server-starttls`.
//
// The virtual server needs a client-ssl profile. With a server-ssl profile as well, the server hears
// all of it inside TLS, which starts with the connection. Option:
//   tls  "starttls" or "implicit"; without it, implicit where the client came to port 5223
//
// TLS is always required, as RFC 7590 wants it. The rule itself answers the stream that a client opens
// before TLS: it offers STARTTLS and nothing else, and ends the connection with a stream error when
// the client wants something else, or says more than 8 KiB. The server is connected to when TLS is
// complete, hears only the stream inside it, and the rule looks at nothing of that.
//
// So the server must let clients log in without TLS of its own, and must not offer STARTTLS: leave it
// without certificates (in Prosody, without the module tls).
import { aTlsMode, checkOptions, isImplicit } from './lib/options.js';
import { EntryStream } from './lib/xmpp.js';

when('RULE_INIT', () => {
  checkOptions(options, { tls: aTlsMode });
});

// Collecting delays the connection to the server.
when('CLIENT_ACCEPTED', (c) => {
  if (isImplicit(options, 5223)) return;
  SSL.disable();
  TCP.collect();
  c.xmpp = new EntryStream('jabber:client');
});

when('CLIENT_DATA', ({ xmpp }) => xmpp.take());
