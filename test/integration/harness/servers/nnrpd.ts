import { run } from '../process.ts';
import { type Inetd, startInetd } from './inetd.ts';
import { ServerFolder } from './server-folder.ts';

const PROGRAMS = '/usr/lib/news/bin';

/** The only newsgroup, and its only article. */
export const newsgroup = { name: 'test.misc', body: 'hello' } as const;

/**
 * Starts nnrpd, the news reader part of INN, with {@link newsgroup}. It says that it knows STARTTLS,
 * but has no certificate.
 */
export async function startNnrpd(): Promise<Inetd> {
  const folder = await ServerFolder.make();
  for (const name of ['run', 'log', 'tmp', 'overview']) folder.folder(name);
  const env = { INNCONF: folder.file('inn.conf', configuration(folder)) };
  folder.file('storage.conf', 'method tradspool {\n  newsgroups: *\n  class: 0\n}\n');
  folder.file(
    'readers.conf',
    `auth "all" {
  hosts: "*"
  default: "anonymous"
}
access "all" {
  users: "*"
  newsgroups: "*"
}
`,
  );
  folder.file('active', `${newsgroup.name} 0000000001 0000000001 y\n`);
  folder.file('newsgroups', `${newsgroup.name}\tTest\n`);
  folder.folder(`articles/${newsgroup.name.replaceAll('.', '/')}`);
  folder.file(`articles/${newsgroup.name.replaceAll('.', '/')}/1`, article);
  // nnrpd does not start without an overview, and does not make one.
  const made = await run(`${PROGRAMS}/makehistory`, ['-O', '-x', '-F', '-a'], {
    ...folder.processOptions,
    env,
  });
  if (made.code !== 0) throw new Error(`makehistory: ${made.stderr}`);
  return startInetd(folder, `${PROGRAMS}/nnrpd`, [], env);
}

const article = [
  'Path: news.example.com!not-for-mail',
  'From: porter@example.com',
  `Newsgroups: ${newsgroup.name}`,
  'Subject: hello',
  'Date: Mon, 02 Jan 2023 03:04:05 +0000',
  'Message-ID: <1@example.com>',
  `Xref: news.example.com ${newsgroup.name}:1`,
  '',
  newsgroup.body,
  '',
].join('\r\n');

function configuration({ path, account }: ServerFolder): string {
  return `mta: "/bin/true"
organization: Test
ovmethod: tradindexed
hismethod: hisv6
domain: example.com
pathhost: news.example.com
runasuser: ${account.name}
runasgroup: ${account.group}
nnrpdloadlimit: 0
readerswhenstopped: true
pathnews: /usr/lib/news
pathetc: ${path}
pathdb: ${path}
pathrun: ${path}/run
pathlog: ${path}/log
pathtmp: ${path}/tmp
pathspool: ${path}
patharticles: ${path}/articles
pathoverview: ${path}/overview
`;
}
