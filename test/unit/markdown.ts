/** The fenced code blocks of a Markdown text in one language. */
export function codeBlocks(markdown: string, language: string): string[] {
  const blocks = markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms);
  return [...blocks].filter(([, of]) => of === language).map(([, , text]) => text ?? '');
}

/** Links in a Markdown text, outside of code. */
export function links(markdown: string): string[] {
  const prose = withoutCode(markdown);
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target ?? '');
}

/** What links can point to in a Markdown text, as GitHub names its headings. */
export function anchors(markdown: string): Set<string> {
  const headings = markdown.replace(/^```.*?^```$/gms, '').matchAll(/^#{1,6} (.+)$/gm);
  return new Set(
    [...headings].map(([, text = '']) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N}_ -]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

function withoutCode(markdown: string): string {
  return markdown.replace(/^```.*?^```$/gms, '').replace(/\[?`[^`\n]*`/g, (code) =>
    // The text of a link may be code.
    code.startsWith('[') ? '[code' : '',
  );
}
