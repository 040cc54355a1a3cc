import { describe, expect, it } from 'vitest';
import {
  LOCAL_PROXY_HEADER_V2,
  proxyHeaderV1,
  proxyHeaderV2,
  readProxyHeader,
  UNKNOWN_PROXY_HEADER_V1,
} from '../../../src/net/proxy-protocol.ts';
import { randomNumbers } from './random.ts';

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const IPV4 = 'c0000201c6336402d4310016';
const FIXED_PART = 16;
/** Changed, it is no checksum any more. */
const TLV_TYPE = FIXED_PART + IPV4.length / 2;

const hex = (digits: string) => Buffer.from(digits, 'hex');
const line = (text: string) => Buffer.from(text, 'latin1');

/** A header of version 2 with the right length. */
function binary(versionAndFamily: string, block: string): Buffer {
  const length = (block.length / 2).toString(16).padStart(4, '0');
  return hex(SIGNATURE + versionAndFamily + length + block);
}

/** What is said of a header, the same with bytes behind it; and of less than all of it nothing. */
function read(header: Buffer) {
  const result = readProxyHeader(header);
  if (result.type !== 'header') throw new Error(`${result.type}: ${header.toString('hex')}`);
  expect(result.length).toBe(header.length);
  expect(readProxyHeader(withMore(header))).toEqual(result);
  for (let cut = 0; cut < header.length; cut++) {
    expect(readProxyHeader(header.subarray(0, cut)).type, `cut at ${cut}`).toBe('incomplete');
  }
  const { type: _type, length: _length, ...said } = result;
  return said;
}

/** Why a header is refused, whatever comes behind it. */
function refusal(header: Buffer): string {
  const result = readProxyHeader(header);
  if (result.type !== 'invalid') throw new Error(`${result.type}: ${header.toString('hex')}`);
  expect(readProxyHeader(withMore(header))).toEqual(result);
  return result.reason;
}

function withMore(header: Buffer): Buffer {
  return Buffer.concat([header, line('\r\n\0EHLO PROXY')]);
}

const nothing = { local: false, source: undefined, destination: undefined, tlvs: [] };
const endpoint = (address: string, port: number) => ({ address, port });

describe('version 1', () => {
  it('tells addresses and ports', () => {
    expect(read(line('PROXY TCP4 192.0.2.1 198.51.100.2 54321 22\r\n'))).toEqual({
      ...nothing,
      source: endpoint('192.0.2.1', 54_321),
      destination: endpoint('198.51.100.2', 22),
    });
    expect(read(line('PROXY TCP6 2001:DB8:0:0:0::1 ::ffff:192.0.2.9 0 65535\r\n'))).toEqual({
      ...nothing,
      source: endpoint('2001:db8::1', 0),
      destination: endpoint('192.0.2.9', 65_535),
    });
  });

  it('may be as long as 107 bytes', () => {
    const full = `${'ffff:'.repeat(7)}ffff`;
    const longest = `PROXY UNKNOWN ${full} ${full} 65535 65535\r\n`;
    expect(longest).toHaveLength(107);
    expect(read(line(longest))).toEqual(nothing);
    const longer = longest.replace(' 65535\r', ' 655350\r');
    expect(refusal(line(longer))).toBe('its line is too long');
  });

  it.each(['PROXY UNKNOWN\r\n', 'PROXY UNKNOWN whatever it is\r\n'])('may not know: %j', (text) => {
    expect(read(line(text))).toEqual(nothing);
  });

  it.each([
    'PROXY\r\n',
    'PROXY \r\n',
    'PROXY UNKNOWNS\r\n',
    'PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n',
    'PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n',
    'PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n',
    'PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 99999 2\r\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1 +2\r\n',
    'PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n',
    'PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n',
    'PROXY TCP4 192.0.2.1 mail.test 1 2\r\n',
    'PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n',
    'PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n',
    'PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n',
    'PROXY TCP6 1::2::3 ::1 1 2\r\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n',
    'PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n',
    'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\0\r\n',
    'PROXY TCP4 192.0.2.1\u00a0192.0.2.2 1 2\r\n',
    'PROXIES\r\n',
    'proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n',
    'GET / HTTP/1.1\r\n',
  ])('is refused: %j', (text) => {
    expect(refusal(line(text))).not.toBe('');
  });

  it('is refused at the first byte that cannot belong to it', () => {
    expect(readProxyHeader(line('PROXI')).type).toBe('invalid');
    expect(readProxyHeader(line('\x16')).type).toBe('invalid');
    expect(readProxyHeader(line('PROXY \n')).type).toBe('invalid');
    expect(readProxyHeader(line(`PROXY ${'x'.repeat(100)}`)).type).toBe('incomplete');
    expect(readProxyHeader(line(`PROXY ${'x'.repeat(101)}`)).type).toBe('invalid');
  });
});

describe('version 2', () => {
  const ipv4 = { source: endpoint('192.0.2.1', 54_321), destination: endpoint('198.51.100.2', 22) };

  it.each(['2111', '2112'])('tells IPv4 addresses and ports (%s)', (start) => {
    expect(read(binary(start, IPV4))).toEqual({ ...nothing, ...ipv4 });
  });

  it('tells IPv6 addresses and ports', () => {
    const block = `20010db8${'00'.repeat(11)}01${'00'.repeat(10)}ffffc0000209ffff0000`;
    expect(read(binary('2121', block))).toEqual({
      ...nothing,
      source: endpoint('2001:db8::1', 65_535),
      destination: endpoint('192.0.2.9', 0),
    });
  });

  it.each(['2131', '2132'])(
    'tells no endpoints of UNIX sockets, but what follows (%s)',
    (start) => {
      const tlvs = [{ type: 0xe0, value: hex('beef') }];
      expect(read(binary(start, `${'2f'.repeat(216)}e00002beef`))).toEqual({ ...nothing, tlvs });
    },
  );

  it.each([
    ['2000', ''],
    ['2011', IPV4],
    ['20ff', '00'],
    ['2000', '030004'],
  ])('is the own connection of the proxy: %s %s', (start, block) => {
    expect(read(binary(start, block))).toEqual({ ...nothing, local: true });
  });

  it.each(['', '0102030405'])('may not tell: %j', (block) => {
    expect(read(binary('2100', block))).toEqual(nothing);
  });

  it('has TLVs', () => {
    const block = `${IPV4}0100026832ea00000400030000000500012a`;
    expect(read(binary('2111', block))).toEqual({
      ...nothing,
      ...ipv4,
      tlvs: [
        { type: 1, value: line('h2') },
        { type: 0xea, value: line('') },
        { type: 4, value: hex('000000') },
        { type: 5, value: line('*') },
      ],
    });
  });

  it('may have a checksum, which must be right', () => {
    const sum = '3549ef3f';
    const summed = (digits: string) => binary('2111', `${IPV4}030004${digits}0400012a`);
    expect(read(summed(sum))).toMatchObject(ipv4);
    const good = summed(sum);
    for (let at = FIXED_PART; at < good.length; at++) {
      if (at === TLV_TYPE) continue;
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ 0x40;
      expect(readProxyHeader(bad).type, `byte ${at}`).toBe('invalid');
    }
    expect(refusal(binary('2111', `${IPV4}03000300000003`))).not.toBe('');
    expect(refusal(binary('2111', `${IPV4}030004${sum}030004${sum}`))).not.toBe('');
  });

  it.each([
    ['1111', IPV4],
    ['3111', IPV4],
    ['2211', IPV4],
    ['2f00', ''],
    ['2110', IPV4],
    ['2101', IPV4],
    ['2113', IPV4],
    ['2141', IPV4],
    ['2111', IPV4.slice(2)],
    ['2111', ''],
    ['2121', `${IPV4}${IPV4}`],
    ['2131', '00'.repeat(215)],
    ['2111', `${IPV4}04`],
    ['2111', `${IPV4}0400`],
    ['2111', `${IPV4}040001`],
    ['2111', `${IPV4}04000300`],
  ])('is refused: %s, case %#', (start, block) => {
    expect(refusal(binary(start, block))).not.toBe('');
  });

  it('may be as long as 4096 bytes, and is refused before a longer one has come', () => {
    const value = 4096 - 16 - 12 - 3;
    const tlv = (length: number) =>
      `e0${length.toString(16).padStart(4, '0')}${'00'.repeat(length)}`;
    expect(readProxyHeader(binary('2111', IPV4 + tlv(value)))).toMatchObject({ length: 4096 });
    const longer = binary('2111', IPV4 + tlv(value + 1));
    expect(readProxyHeader(longer.subarray(0, 15)).type).toBe('incomplete');
    expect(readProxyHeader(longer.subarray(0, 16)).type).toBe('invalid');
  });

  it('is refused at the first byte that cannot belong to it', () => {
    for (let at = 0; at < 14; at++) {
      const wrong = binary('2111', IPV4).subarray(0, at + 1);
      wrong[at] = 0x56;
      expect(readProxyHeader(wrong).type, `byte ${at}`).toBe('invalid');
    }
  });
});

describe('what is written', () => {
  const source = endpoint('192.0.2.1', 54_321);
  const destination = endpoint('198.51.100.2', 22);
  const six = endpoint('2001:db8::1', 9);

  it('is a line in version 1', () => {
    const text = (a = source, b = destination) => proxyHeaderV1(a, b).toString();
    expect(text()).toBe('PROXY TCP4 192.0.2.1 198.51.100.2 54321 22\r\n');
    expect(text(six, endpoint('2001:db8::2', 22))).toBe(
      'PROXY TCP6 2001:db8::1 2001:db8::2 9 22\r\n',
    );
    expect(text(six, source)).toBe('PROXY TCP6 2001:db8::1 ::ffff:c000:201 9 54321\r\n');
    expect(text(endpoint('fe80::1%lo', 1), six)).toBe('PROXY TCP6 fe80::1 2001:db8::1 1 9\r\n');
    expect(text(endpoint('::ffff:192.0.2.1', 1))).toBe(
      'PROXY TCP4 192.0.2.1 198.51.100.2 1 22\r\n',
    );
  });

  it('is binary in version 2', () => {
    expect(proxyHeaderV2(source, destination)).toEqual(binary('2111', IPV4));
    expect(proxyHeaderV2(source, six).toString('hex')).toBe(
      `${SIGNATURE}21210024${'00'.repeat(10)}ffffc000020120010db8${'00'.repeat(11)}01d4310009`,
    );
  });

  it('says nothing of the own connections', () => {
    expect(read(UNKNOWN_PROXY_HEADER_V1)).toEqual(nothing);
    expect(read(LOCAL_PROXY_HEADER_V2)).toEqual({ ...nothing, local: true });
  });

  it('refuses what is no address', () => {
    expect(() => proxyHeaderV1(endpoint('mail.test', 1), source)).toThrow();
    expect(() => proxyHeaderV2(source, endpoint('', 1))).toThrow();
  });

  it('is read as it was meant, whatever the addresses are', () => {
    const random = randomNumbers(1);
    for (let round = 0; round < 300; round++) {
      const address = () => {
        const bytes = Array.from({ length: 16 }, () => (random(2) ? random(256) : 0));
        if (random(2)) return bytes.slice(12).join('.');
        const groups = bytes.slice(0, 8).map((high, i) => high * 256 + (bytes[8 + i] ?? 0));
        return groups.map((group) => group.toString(16)).join(':');
      };
      const [from, to] = [endpoint(address(), random(65_536)), endpoint(address(), random(65_536))];
      const first = readProxyHeader(proxyHeaderV1(from, to));
      const second = readProxyHeader(proxyHeaderV2(from, to));
      expect(first).toMatchObject({ source: { port: from.port }, destination: { port: to.port } });
      expect({ ...second, length: 0 }).toEqual({ ...first, length: 0 });
    }
  });
});

describe('reading hostile bytes', () => {
  const valid = [
    proxyHeaderV1(endpoint('192.0.2.1', 1), endpoint('192.0.2.2', 2)),
    proxyHeaderV1(endpoint('2001:db8::1', 1), endpoint('2001:db8::2', 2)),
    binary('2111', `${IPV4}0300043549ef3f0400012a`),
    binary('2121', `${IPV4.repeat(3)}0400012a`),
    binary('2131', `${'00'.repeat(216)}0100026832`),
    LOCAL_PROXY_HEADER_V2,
  ];

  function damaged(random: (below: number) => number): Buffer {
    const bytes = Buffer.from(valid[random(valid.length)] ?? line(''));
    for (let damages = random(3); damages > 0; damages--) {
      const at = random(random(2) ? 16 : bytes.length);
      bytes[at] = random(2) ? random(256) : (bytes[at] ?? 0) ^ (1 << random(8));
    }
    return bytes;
  }

  it('never throws, reads past the header, nor takes back what was said of fewer', () => {
    const random = randomNumbers(2);
    const types = { header: 0, incomplete: 0, invalid: 0 };
    for (let round = 0; round < 20_000; round++) {
      const bytes = damaged(random);
      const result = readProxyHeader(bytes);
      types[result.type]++;
      if (result.type === 'header') expect(result.length).toBeLessThanOrEqual(bytes.length);
      const before = readProxyHeader(bytes.subarray(0, random(bytes.length + 1)));
      if (before.type !== 'incomplete') expect(result).toEqual(before);
    }
    expect(Math.min(...Object.values(types))).toBeGreaterThan(100);
  });

  it('never throws for anything, and never asks for more than it may hold', () => {
    const random = randomNumbers(3);
    for (let round = 0; round < 5000; round++) {
      const start = valid[random(valid.length)] ?? Buffer.alloc(0);
      const noise = Buffer.from(Array.from({ length: 200 }, () => random(256)));
      const bytes = Buffer.concat([start.subarray(0, random(start.length)), noise]);
      readProxyHeader(bytes);
      const full = Buffer.concat([bytes, Buffer.alloc(4096)]);
      expect(readProxyHeader(full).type).not.toBe('incomplete');
    }
  });
});
