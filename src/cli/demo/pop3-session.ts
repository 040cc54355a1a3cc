import { type SampleMail, sampleMails } from './sample-mails.ts';

/** The password of every user. */
const PASSWORD = 'demo';

const CAPABILITIES = ['TOP', 'USER', 'UIDL', 'PIPELINING', 'SASL PLAIN'];

type State = 'authorization' | 'transaction';

interface Command {
  /** Where it is allowed; nothing: everywhere. */
  readonly state?: State;
  readonly run: (argument: string) => string;
}

/**
 * One POP3 session (RFC 1939 with CAPA of RFC 2449 and AUTH PLAIN of RFC 5034), without a socket:
 * lines in, replies out. Every login finds the sample mails again: what is deleted is gone for the
 * session only, so that the demo can be repeated.
 */
export class Pop3Session {
  readonly greeting = '+OK The demo mailbox is ready\r\n';
  /** The reply to the last line is the last reply. */
  ended = false;

  private state: State = 'authorization';
  /** USER was given. */
  private named = false;
  /** The next line is not a command but the response that AUTH PLAIN asked for. */
  private awaitsResponse = false;
  private readonly deleted = new Set<SampleMail>();

  /** @param onCommand - told of each line, with all that may be a password left out */
  constructor(private readonly onCommand: (line: string) => void) {}

  /** Takes one line without its end, one character an octet, and returns the whole reply. */
  handle(line: string): string {
    if (this.awaitsResponse) {
      this.awaitsResponse = false;
      return this.authenticate('AUTH PLAIN response', line);
    }
    const [, word = '', argument = ''] =
      /^([A-Za-z]{3,4})(?: ([ -~\x80-\xff]*))?$/.exec(line) ?? [];
    const name = word.toUpperCase();
    const command = this.commands.get(name);
    if (command === undefined) {
      // Not shown: it may be a password that went astray.
      this.onCommand('(unknown command)');
      return error('unknown command');
    }
    if (name !== 'AUTH') this.onCommand(name === 'PASS' ? 'PASS (hidden)' : line);
    if (command.state !== undefined && command.state !== this.state) {
      if (name === 'AUTH') this.onCommand('AUTH');
      return error(`not valid in the ${this.state} state`);
    }
    return command.run(argument);
  }

  private readonly commands: ReadonlyMap<string, Command> = new Map<string, Command>([
    ['USER', { state: 'authorization', run: (name) => this.nameUser(name) }],
    ['PASS', { state: 'authorization', run: (password) => this.checkPassword(password) }],
    ['AUTH', { state: 'authorization', run: (argument) => this.auth(argument) }],
    ['STAT', { state: 'transaction', run: () => this.stat() }],
    ['LIST', { state: 'transaction', run: (which) => this.listing(which, sizeOf) }],
    ['UIDL', { state: 'transaction', run: (which) => this.listing(which, ({ id }) => id) }],
    ['RETR', { state: 'transaction', run: (which) => this.retrieve(which) }],
    ['TOP', { state: 'transaction', run: (argument) => this.top(argument) }],
    ['DELE', { state: 'transaction', run: (which) => this.delete(which) }],
    ['RSET', { state: 'transaction', run: () => this.undelete() }],
    ['NOOP', { state: 'transaction', run: () => ok('nothing done') }],
    ['CAPA', { run: () => lines('what I can', CAPABILITIES) }],
    ['QUIT', { run: () => this.quit() }],
  ]);

  private nameUser(name: string): string {
    if (name === '') return error('USER needs a name');
    this.named = true;
    return ok('now the password');
  }

  private checkPassword(password: string): string {
    return this.named ? this.logIn(password) : error('USER comes first');
  }

  private logIn(password: string): string {
    this.named = false;
    if (password !== PASSWORD) return error('wrong password (it is "demo")');
    this.state = 'transaction';
    return ok(`${sampleMails.length} messages`);
  }

  private auth(argument: string): string {
    const [mechanism = '', response, ...more] = argument.split(' ');
    if (mechanism.toUpperCase() !== 'PLAIN' || more.length > 0) {
      this.onCommand('AUTH');
      return error('only AUTH PLAIN is offered');
    }
    if (response !== undefined) return this.authenticate('AUTH PLAIN', response);
    this.onCommand('AUTH PLAIN');
    this.awaitsResponse = true;
    return '+ \r\n';
  }

  /** @param response - base64 of `authorization NUL user NUL password` (RFC 4616) */
  private authenticate(heading: string, response: string): string {
    if (response === '*') {
      this.onCommand(`${heading} (cancelled)`);
      return error('cancelled');
    }
    const decoded = Buffer.from(response, 'base64');
    const [authorization, user, password, ...more] = decoded.toString('latin1').split('\0');
    const wellFormed = decoded.toString('base64') === response && more.length === 0;
    if (!wellFormed || password === undefined || !user || !/^[ -~\x80-\xff]+$/.test(user)) {
      this.onCommand(`${heading} (malformed)`);
      return error('malformed response');
    }
    this.onCommand(`${heading} (user ${user})`);
    if (authorization !== '' && authorization !== user) return error('cannot act for someone else');
    return this.logIn(password);
  }

  private stat(): string {
    const mails = this.remaining();
    return ok(`${mails.length} ${mails.reduce((sum, mail) => sum + sizeOf(mail), 0)}`);
  }

  private listing(which: string, describe: (mail: SampleMail) => number | string): string {
    const numbered = (mail: SampleMail) => `${sampleMails.indexOf(mail) + 1} ${describe(mail)}`;
    if (which === '') return lines('one line each', this.remaining().map(numbered));
    const mail = this.find(which);
    return mail ? ok(numbered(mail)) : noSuchMessage;
  }

  private retrieve(which: string): string {
    const mail = this.find(which);
    return mail ? lines(`${sizeOf(mail)} octets`, linesOf(mail)) : noSuchMessage;
  }

  private top(argument: string): string {
    const [, which = '', count = ''] = /^(\d+) (\d{1,9})$/.exec(argument) ?? [];
    if (which === '') return error('TOP needs a message and a number of lines');
    const mail = this.find(which);
    if (mail === undefined) return noSuchMessage;
    const all = linesOf(mail);
    // The blank line behind the headers does not count.
    return lines('the top of it', all.slice(0, all.indexOf('') + 1 + Number(count)));
  }

  private delete(which: string): string {
    const mail = this.find(which);
    if (mail === undefined) return noSuchMessage;
    this.deleted.add(mail);
    return ok(`message ${which} is deleted`);
  }

  private undelete(): string {
    this.deleted.clear();
    return ok(`${sampleMails.length} messages`);
  }

  private quit(): string {
    this.ended = true;
    return ok('goodbye');
  }

  private remaining(): readonly SampleMail[] {
    return sampleMails.filter((mail) => !this.deleted.has(mail));
  }

  private find(which: string): SampleMail | undefined {
    const mail = /^\d{1,9}$/.test(which) ? sampleMails[Number(which) - 1] : undefined;
    return mail && !this.deleted.has(mail) ? mail : undefined;
  }
}

function ok(text: string): string {
  return `+OK ${text}\r\n`;
}

function error(text: string): string {
  return `-ERR ${text}\r\n`;
}

const noSuchMessage = error('no such message');

/** A multi-line reply; a dot is put before lines that begin with one (RFC 1939, 3). */
function lines(text: string, content: readonly string[]): string {
  return `${ok(text)}${content.map((line) => `${line.replace(/^\./, '..')}\r\n`).join('')}.\r\n`;
}

function linesOf(mail: SampleMail): readonly string[] {
  return mail.text.split('\r\n').slice(0, -1);
}

function sizeOf(mail: SampleMail): number {
  return mail.text.length;
}
