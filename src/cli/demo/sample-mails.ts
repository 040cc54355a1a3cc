/** A mail of the demo's mailbox. */
export interface SampleMail {
  /** As UIDL reports it. */
  readonly id: string;
  /** Lines end in CRLF; not dot-stuffed. */
  readonly text: string;
}

function mail(id: string, ...lines: readonly string[]): SampleMail {
  return { id, text: lines.map((line) => `${line}\r\n`).join('') };
}

/** ASCII only, so that a character is an octet. The second has lines that begin with a dot. */
export const sampleMails: readonly SampleMail[] = [
  mail(
    'harbour-1',
    'From: Harbour Office <office@example.com>',
    'To: You <you@example.com>',
    'Subject: Your ship is in',
    'Date: Mon, 02 Jun 2025 08:00:00 +0000',
    'Message-ID: <harbour-1@example.com>',
    '',
    'Good morning,',
    '',
    'this mail lay in a mailbox that knows nothing of TLS. You read it',
    'over TLS all the same: Portreeve stands between.',
  ),
  mail(
    'harbour-2',
    'From: Lighthouse <keeper@example.com>',
    'To: You <you@example.com>',
    'Subject: Dots on the horizon',
    'Date: Mon, 02 Jun 2025 21:30:00 +0000',
    'Message-ID: <harbour-2@example.com>',
    '',
    '.This line begins with a dot.',
    '..This one with two, and the next is nothing else:',
    '.',
    'If all of them arrived, the lines were stuffed and unstuffed well.',
  ),
  mail(
    'harbour-3',
    'From: Toll Collector <toll@example.com>',
    'To: You <you@example.com>',
    'Subject: Receipt',
    'Date: Tue, 03 Jun 2025 12:15:00 +0000',
    'Message-ID: <harbour-3@example.com>',
    '',
    'Received with thanks: one penny.',
  ),
];
