// The beginning of an XMPP stream (RFC 6120, sections 4 and 5), up to STARTTLS. The rule speaks for
// the server until TLS is there: after TLS the client opens its stream anew, and a server that has
// seen the first one would take that for an error.
//
// XML is read tag by tag, and only what has a place there is known: no comments, no CDATA sections, no
// entities, no prefix but `stream`.

/** The most that a client may send before TLS. */
const LONGEST_BEGINNING = 8192;

const STREAMS = 'http://etherx.jabber.org/streams';
const ERRORS = 'urn:ietf:params:xml:ns:xmpp-streams';
const TLS = 'urn:ietf:params:xml:ns:xmpp-tls';

const BLANKS = /[ \t\r\n]*/y;
const DECLARATION = /<\?xml[ \t\r\n][^<>]*\?>[ \t\r\n]*/y;
/** How a tag begins, or a declaration that has not arrived as a whole. */
const TAG_START = /<(?:[A-Za-z/]|\?[^<>]*$|$)/y;
const QUOTE_OR_END = /["'<>]/g;
const NAME = /^\/?[A-Za-z][\w:.-]*/;
const ATTRIBUTE = /[ \t\r\n]+([A-Za-z][\w:.-]*)[ \t\r\n]*=[ \t\r\n]*(?:"([^<"]*)"|'([^<']*)')/y;

/** An address that means the same everywhere in XML, as all that are allowed do. */
const ADDRESS = /^[^<>&"'\0-\x20\x7f]{1,3071}$/;
/** TLS came with version 1.0 (section 4.7.5). */
const VERSION = /^[1-9]\d?\.\d{1,2}$/;

const FEATURES = `<stream:features><starttls xmlns='${TLS}'><required/></starttls></stream:features>`;
const PROCEED = `<proceed xmlns='${TLS}'/>`;
const END = '</stream:stream>';

/** A stream whose client shall start TLS. The client is the current side whenever it is used. */
export class EntryStream {
  /** @param namespace - `jabber:client` or `jabber:server` */
  constructor(namespace) {
    this.namespace = namespace;
    /** The client has opened its stream, and the rule has answered. */
    this.isOpen = false;
    /** `<starttls>` was opened, and is to be closed. */
    this.inStartTls = false;
    this.startsTls = false;
    this.isOver = false;
    /** How many bytes were taken before those that are held. */
    this.taken = 0;
  }

  /** Takes what the client has sent. */
  take() {
    this.room = LONGEST_BEGINNING - this.taken;
    this.held = TCP.payload(this.room + 1);
    this.at = 0;
    let replies = '';
    let reply = '';
    while (reply !== undefined && !this.startsTls && !this.isOver) {
      reply = this.takeNext();
      replies += reply ?? '';
    }
    TCP.payload.replace(0, this.at, '');
    this.taken += this.at;
    if (replies !== '') TCP.respond(replies);
    // What follows <starttls/> stays held: only the beginning of a TLS handshake may.
    if (this.startsTls) SSL.enable();
    if (this.isOver) TCP.close();
  }

  /** Takes the next tag. Answers the reply to it; undefined: it has not arrived as a whole. */
  takeNext() {
    this.match(BLANKS);
    if (!this.isOpen) this.match(DECLARATION);
    const start = this.at;
    const isTag = start === this.held.length || this.match(TAG_START) !== null;
    const end = isTag ? endOfTag(this.held, start) : -1;
    if (end === -1) return this.fail('not-well-formed');
    if ((end ?? this.held.length) > this.room) return this.fail('policy-violation');
    this.at = end ?? start;
    return end === undefined ? undefined : this.takeTag(this.held.slice(start + 1, end - 1));
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.held);
    if (found !== null) this.at = pattern.lastIndex;
    return found;
  }

  /** @param text - of a tag, without its `<` and `>` */
  takeTag(text) {
    const isEmpty = text.endsWith('/');
    const name = NAME.exec(text)?.[0] ?? '';
    const attributes = attributesOf(text.slice(name.length, isEmpty ? -1 : undefined));
    if (name === '' || attributes === undefined) return this.fail('not-well-formed');
    if (!this.isOpen) return this.open(name, attributes, isEmpty);
    if (this.inStartTls) {
      return name === '/starttls' ? this.proceed() : this.fail('policy-violation');
    }
    if (name === '/stream:stream') return this.end(END);
    const asksForTls =
      name === 'starttls' && attributes.size === 1 && attributes.get('xmlns') === TLS;
    if (!asksForTls) return this.fail('policy-violation');
    if (isEmpty) return this.proceed();
    this.inStartTls = true;
    return '';
  }

  open(name, attributes, isEmpty) {
    if (name !== 'stream:stream' || isEmpty) return this.fail('bad-format');
    const isKnown =
      attributes.get('xmlns') === this.namespace && attributes.get('xmlns:stream') === STREAMS;
    if (!isKnown) return this.fail('invalid-namespace');
    if (!VERSION.test(attributes.get('version') ?? '')) return this.fail('unsupported-version');
    const [to, from] = [attributes.get('to'), attributes.get('from')];
    const areAddresses = [to, from].every((value) => value === undefined || ADDRESS.test(value));
    if (!areAddresses) return this.fail('improper-addressing');
    const header = this.header(to, from);
    this.isOpen = true;
    return header + FEATURES;
  }

  /**
   * The rule's own opening. The ID need not be unforeseeable, as section 4.7.3 wants it for the sake
   * of dialback: nothing but STARTTLS is possible in this stream.
   */
  header(from, to) {
    const addresses = [
      from === undefined ? '' : ` from='${from}'`,
      to === undefined ? '' : ` to='${to}'`,
    ];
    const id = `${IP.client_addr()}-${TCP.client_port()}`;
    return (
      `<?xml version='1.0'?><stream:stream xmlns='${this.namespace}' xmlns:stream='${STREAMS}'` +
      ` id='${id}'${addresses.join('')} version='1.0' xml:lang='en'>`
    );
  }

  proceed() {
    this.startsTls = true;
    return PROCEED;
  }

  /** @param condition - a stream error (section 4.9.3) */
  fail(condition) {
    const header = this.isOpen ? '' : this.header();
    log('info', `the client's stream has an error before TLS: ${condition}`);
    return this.end(
      `${header}<stream:error><${condition} xmlns='${ERRORS}'/></stream:error>${END}`,
    );
  }

  end(reply) {
    this.isOver = true;
    return reply;
  }
}

/** Behind the `>` of the tag at `start`; undefined when it has not arrived, -1 when a `<` is first. */
function endOfTag(text, start) {
  QUOTE_OR_END.lastIndex = start + 1;
  for (let found = QUOTE_OR_END.exec(text); found !== null; found = QUOTE_OR_END.exec(text)) {
    if (found[0] === '>') return found.index + 1;
    if (found[0] === '<') return -1;
    const quoteEnd = text.indexOf(found[0], found.index + 1);
    if (quoteEnd < 0) return undefined;
    QUOTE_OR_END.lastIndex = quoteEnd + 1;
  }
  return undefined;
}

/** The attributes of a tag by their names; undefined when it is not well-formed. */
function attributesOf(text) {
  const attributes = new Map();
  let at = 0;
  ATTRIBUTE.lastIndex = 0;
  for (let found = ATTRIBUTE.exec(text); found !== null; found = ATTRIBUTE.exec(text)) {
    const [, name, quoted, apostrophed] = found;
    if (attributes.has(name)) return undefined;
    attributes.set(name, quoted ?? apostrophed);
    at = ATTRIBUTE.lastIndex;
  }
  return /^[ \t\r\n]*$/.test(text.slice(at)) ? attributes : undefined;
}
