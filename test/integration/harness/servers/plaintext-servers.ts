import { type Dovecot, startDovecot } from '../dovecot.ts';
import { type Exim, startExim } from './exim.ts';
import { startMariadb } from './mariadb.ts';
import { startNgircd } from './ngircd.ts';
import { startNnrpd } from './nnrpd.ts';
import { startPostgres } from './postgres.ts';
import { startProsody } from './prosody.ts';
import { startSlapd } from './slapd.ts';
import { startTelnetd } from './telnetd.ts';
import { startVsftpd } from './vsftpd.ts';

/** The bundled rule for each protocol for which OpenSSL's s_client can start TLS, by its name. */
export const rules = {
  pop3: 'pop3-starttls',
  imap: 'imap-starttls',
  smtp: 'smtp-starttls',
  lmtp: 'smtp-starttls',
  sieve: 'sieve-starttls',
  ftp: 'ftp-starttls',
  nntp: 'nntp-starttls',
  irc: 'irc-starttls',
  ldap: 'ldap-starttls',
  xmpp: 'xmpp-starttls',
  'xmpp-server': 'xmpp-server-starttls',
  postgres: 'postgres-starttls',
  mysql: 'mysql-starttls',
  telnet: 'telnet-starttls',
} as const;

/** By OpenSSL's name. */
export type Protocol = keyof typeof rules;

/** A real server without TLS for every {@link Protocol}. */
export interface PlaintextServers {
  readonly ports: Readonly<Record<Protocol, number>>;
  readonly dovecot: Dovecot;
  readonly exim: Exim;
}

export async function startPlaintextServers(): Promise<PlaintextServers> {
  const [dovecot, exim, ftp, nntp, irc, ldap, postgres, mysql, telnet, prosody] = await Promise.all(
    [
      startDovecot({ protocols: ['pop3', 'imap', 'sieve', 'lmtp'] }),
      startExim(),
      startVsftpd(),
      startNnrpd(),
      startNgircd(),
      startSlapd(),
      startPostgres(),
      startMariadb(),
      startTelnetd(),
      startProsody(),
    ],
  );
  const ports = {
    pop3: dovecot.portOf('pop3'),
    imap: dovecot.portOf('imap'),
    sieve: dovecot.portOf('sieve'),
    lmtp: dovecot.portOf('lmtp'),
    smtp: exim.port,
    ftp: ftp.port,
    nntp: nntp.port,
    irc: irc.port,
    ldap: ldap.port,
    postgres: postgres.port,
    mysql: mysql.port,
    telnet: telnet.port,
    xmpp: prosody.port,
    'xmpp-server': prosody.serverPort,
  };
  return { ports, dovecot, exim };
}
