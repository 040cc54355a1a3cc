import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Pop3Session } from '../../../../src/cli/demo/pop3-session.ts';
import { sampleMails } from '../../../../src/cli/demo/sample-mails.ts';

let seen: string[] = [];
let session = new Pop3Session(() => {});
beforeEach(() => {
  seen = [];
  session = new Pop3Session((line) => seen.push(line));
});

function plain(...parts: readonly string[]): string {
  return Buffer.from(parts.join('\0')).toString('base64');
}

function logIn(): void {
  session.handle('USER alice');
  session.handle('PASS demo');
}

/** The content of a multi-line reply, unstuffed. */
function content(reply: string): string[] {
  const [status, ...lines] = reply.split('\r\n');
  expect(status).toMatch(/^\+OK /);
  expect(lines.slice(-2)).toEqual(['.', '']);
  return lines.slice(0, -2).map((line) => line.replace(/^\./, ''));
}

const sizes = sampleMails.map((mail) => mail.text.length);

describe('authorization', () => {
  it('takes any user with the password demo, in any case of the commands', () => {
    expect(session.handle('user alice@example.com')).toMatch(/^\+OK/);
    expect(session.handle('pAsS demo')).toMatch(/^\+OK 3 messages/);
  });

  it('refuses a wrong password, and wants USER again', () => {
    session.handle('USER alice');
    expect(session.handle('PASS wrong')).toMatch(/^-ERR/);
    expect(session.handle('PASS demo')).toMatch(/^-ERR USER/);
    expect(session.handle('STAT')).toMatch(/^-ERR/);
  });

  it.each(['STAT', 'LIST', 'UIDL', 'RETR 1', 'TOP 1 1', 'DELE 1', 'RSET', 'NOOP'])(
    'does not answer %s before the login',
    (line) => {
      expect(session.handle(line)).toMatch(/^-ERR not valid/);
    },
  );

  it.each(['USER bob', 'PASS demo', 'AUTH PLAIN'])('does not answer %s after it', (line) => {
    logIn();
    expect(session.handle(line)).toMatch(/^-ERR not valid/);
  });

  it('takes AUTH PLAIN with an initial response', () => {
    expect(session.handle(`AUTH PLAIN ${plain('', 'alice', 'demo')}`)).toMatch(/^\+OK/);
    expect(session.handle('STAT')).toMatch(/^\+OK/);
  });

  it('takes AUTH PLAIN with the response on a line of its own', () => {
    expect(session.handle('AUTH plain')).toBe('+ \r\n');
    expect(session.handle(plain('alice', 'alice', 'demo'))).toMatch(/^\+OK/);
  });

  it('lets AUTH PLAIN be cancelled, and reads commands again', () => {
    session.handle('AUTH PLAIN');
    expect(session.handle('*')).toMatch(/^-ERR cancelled/);
    expect(session.handle('USER alice')).toMatch(/^\+OK/);
  });

  it.each([
    ['no base64', '!!!'],
    ['the empty response', '='],
    ['two parts', plain('alice', 'demo')],
    ['four parts', plain('', 'alice', 'demo', 'x')],
    ['no user', plain('', '', 'demo')],
    ['a line break in the user', plain('', 'a\nb', 'demo')],
    ['another authorization identity', plain('root', 'alice', 'demo')],
    ['a wrong password', plain('', 'alice', 'wrong')],
  ])('refuses AUTH PLAIN with %s', (_, response) => {
    expect(session.handle(`AUTH PLAIN ${response}`)).toMatch(/^-ERR/);
    expect(session.handle('STAT')).toMatch(/^-ERR/);
  });

  it.each(['AUTH', 'AUTH LOGIN', 'AUTH PLAIN a b', 'USER', 'APOP alice c4c9334bac560ecc'])(
    'refuses %s',
    (line) => {
      expect(session.handle(line)).toMatch(/^-ERR/);
    },
  );
});

describe('transaction', () => {
  beforeEach(logIn);

  it('counts and lists', () => {
    const total = sizes.reduce((sum, size) => sum + size, 0);
    expect(session.handle('STAT')).toBe(`+OK 3 ${total}\r\n`);
    expect(content(session.handle('LIST'))).toEqual(sizes.map((size, i) => `${i + 1} ${size}`));
    expect(session.handle('LIST 2')).toBe(`+OK 2 ${sizes[1]}\r\n`);
    expect(content(session.handle('UIDL'))).toEqual(
      sampleMails.map(({ id }, i) => `${i + 1} ${id}`),
    );
    expect(session.handle('UIDL 3')).toBe('+OK 3 harbour-3\r\n');
  });

  it.each(sampleMails.map(({ id, text }, i) => ({ number: i + 1, id, text })))(
    'retrieves $id byte for byte',
    ({ number, text }) => {
      const lines = content(session.handle(`RETR ${number}`));
      expect(lines.map((line) => `${line}\r\n`).join('')).toBe(text);
    },
  );

  it('stuffs lines that begin with a dot', () => {
    expect(session.handle('RETR 2')).toContain('\r\n..This line begins with a dot.\r\n');
    expect(session.handle('RETR 2')).toContain('\r\n..\r\n');
  });

  it('gives the headers, the blank line and so many lines for TOP', () => {
    const whole = content(session.handle('RETR 1'));
    const blank = whole.indexOf('');
    expect(content(session.handle('TOP 1 0'))).toEqual(whole.slice(0, blank + 1));
    expect(content(session.handle('TOP 1 2'))).toEqual(whole.slice(0, blank + 3));
    expect(content(session.handle('TOP 1 999999999'))).toEqual(whole);
  });

  it('deletes for the session, and takes it back', () => {
    expect(session.handle('DELE 2')).toMatch(/^\+OK/);
    expect(session.handle('STAT')).toMatch(/^\+OK 2 /);
    expect(content(session.handle('UIDL'))).toEqual(['1 harbour-1', '3 harbour-3']);
    for (const line of ['DELE 2', 'RETR 2', 'TOP 2 1', 'LIST 2', 'UIDL 2']) {
      expect(session.handle(line)).toBe('-ERR no such message\r\n');
    }
    expect(session.handle('RSET')).toMatch(/^\+OK/);
    expect(session.handle('STAT')).toMatch(/^\+OK 3 /);
  });

  it.each(['0', '4', '-1', '1.0', '01x', '99999999999999999999', ' 1', '__proto__', ''])(
    'knows no message %j',
    (which) => {
      for (const name of ['RETR', 'DELE']) {
        expect(session.handle(`${name} ${which}`)).toBe('-ERR no such message\r\n');
      }
      expect(session.handle(`TOP ${which} 1`)).toMatch(/^-ERR/);
    },
  );

  it('answers NOOP, CAPA and QUIT', () => {
    expect(session.handle('NOOP')).toMatch(/^\+OK/);
    expect(content(session.handle('CAPA'))).toContain('SASL PLAIN');
    expect(session.ended).toBe(false);
    expect(session.handle('QUIT')).toMatch(/^\+OK/);
    expect(session.ended).toBe(true);
  });
});

describe('what is reported', () => {
  it('is every command', () => {
    logIn();
    for (const line of ['stat', 'RETR 1', 'QUIT']) session.handle(line);
    expect(seen).toEqual(['USER alice', 'PASS (hidden)', 'stat', 'RETR 1', 'QUIT']);
  });

  it('never holds a password', () => {
    const secret = 'hunter2secret';
    const responses = [plain('', 'alice', secret), plain('', 'alice', secret, 'x'), secret];
    const lines = [
      ...['PASS', 'pass', 'PASS ', 'PASS\t', 'PASSWORD', 'APOP'].map((name) => `${name} ${secret}`),
      ...[secret, `AUTH ${secret}`, `AUTH LOGIN ${secret}`, `AUTH PLAIN x ${secret}`],
      ...responses.map((response) => `AUTH PLAIN ${response}`),
    ];
    for (const line of lines) session.handle(line);
    for (const response of responses) {
      session.handle('AUTH PLAIN');
      session.handle(response);
    }
    logIn();
    for (const line of lines) session.handle(line);
    expect(seen.length).toBeGreaterThan(lines.length * 2);
    const told = seen.join('\n');
    expect(told).not.toContain(secret);
    for (const response of responses) expect(told).not.toContain(response);
    expect(told).toContain('AUTH PLAIN (user alice)');
  });

  it('and answered is one whole reply to any line', () => {
    const words = ['USER', 'PASS', 'AUTH PLAIN', 'RETR', 'TOP', 'LIST', 'DELE', 'CAPA', 'NOOP'];
    const line = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.tuple(fc.constantFrom(...words), fc.string({ maxLength: 10 })).map((w) => w.join(' ')),
    );
    fc.assert(
      fc.property(fc.boolean(), fc.array(line, { maxLength: 10 }), (loggedIn, lines) => {
        session = new Pop3Session((told) => expect(told).not.toMatch(/[\r\n]/));
        if (loggedIn) logIn();
        for (const each of lines) expect(session.handle(each)).toMatch(/^(\+OK|-ERR|\+ ).*\r\n$/s);
      }),
    );
  });
});
