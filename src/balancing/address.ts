/** No address is written longer, with the name of an interface behind it. */
const LONGEST = 64;

/**
 * An IP address without the bits behind a prefix, as text that is equal for equal networks. An
 * IPv4 address in IPv6 (`::ffff:192.0.2.1`, RFC 4291, 2.5.5.2) counts as IPv4; a zone is left out.
 * Undefined when the text is no address.
 *
 * @param prefix4 leading bits of IPv4 that stay, 0 to 32
 * @param prefix6 leading bits of IPv6 that stay, 0 to 128
 */
export function maskAddress(text: string, prefix4: number, prefix6: number): string | undefined {
  if (text.length > LONGEST) return undefined;
  if (!text.includes(':')) return mask4(bytesOf4(text), prefix4);
  const groups = groupsOf6(text);
  if (groups === undefined) return undefined;
  const [high = 0, low = 0] = groups.slice(6);
  const isMapped = groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0);
  if (isMapped) return mask4([high >> 8, high & 255, low >> 8, low & 255], prefix4);
  const masked = mask(groups, 16, prefix6).map((group) => group.toString(16));
  return `${masked.join(':')}/${prefix6}`;
}

function mask4(bytes: readonly number[] | undefined, prefix: number): string | undefined {
  return bytes && `${mask(bytes, 8, prefix).join('.')}/${prefix}`;
}

/** Clears the bits behind the prefix; each part has `width` bits. */
function mask(parts: readonly number[], width: number, prefix: number): number[] {
  return parts.map((part, index) => {
    const hidden = Math.min(width, Math.max(0, (index + 1) * width - prefix));
    return (part >> hidden) << hidden;
  });
}

function bytesOf4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^[0-9]{1,3}$/.test(part))) return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

/** Eight groups of 16 bits (RFC 4291, 2.2): `::` stands for missing ones, IPv4 for the last two. */
function groupsOf6(text: string): number[] | undefined {
  const [address = ''] = text.split('%');
  const [before = '', after, ...more] = address.split('::');
  if (more.length > 0) return undefined;
  if (after === undefined) {
    const groups = groupsOf(before, true);
    return groups?.length === 8 ? groups : undefined;
  }
  const [left, right] = [groupsOf(before, false), groupsOf(after, true)];
  if (left === undefined || right === undefined) return undefined;
  const missing = 8 - left.length - right.length;
  return missing > 0 ? [...left, ...new Array<number>(missing).fill(0), ...right] : undefined;
}

function groupsOf(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    const isLast = mayEndInIpv4 && index === parts.length - 1;
    const [a, b = 0, c = 0, d = 0] = (isLast && bytesOf4(part)) || [];
    if (a !== undefined) groups.push((a << 8) | b, (c << 8) | d);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}
