import type { Endpoint } from '../core/types.ts';
import { maskAddress } from './address.ts';
import { hashText } from './hash.ts';
import type { Member } from './member.ts';
import type { PickRequest, Pool } from './pool.ts';

export type PersistenceType =
  | 'source-address'
  | 'destination-address'
  | 'hash'
  | 'universal'
  | 'tls-session';

/**
 * Which records count besides those of the same virtual server and pool. `services`: those of
 * virtual servers at the same address. `virtuals`: those of all virtual servers. For both, a member
 * at the same address will do: POP3 and IMAP of one client go to the same machine. `pools`: those of
 * all virtual servers and pools, where the pool has that very member.
 */
export type MatchAcross = 'services' | 'virtuals' | 'pools';

export interface PersistenceSettings {
  readonly type: PersistenceType;
  readonly matchAcross?: MatchAcross;
  /** Leading bits of an IPv4 address that count, 0 to 32. Default: all. */
  readonly prefix4?: number;
  /** The same for IPv6, 0 to 128. */
  readonly prefix6?: number;
}

/** Who looks for a record, or makes one. */
export interface PersistencePlace {
  readonly virtualServer: string;
  /** The local address of the client's connection. */
  readonly address: string;
  readonly pool: string;
}

export interface PersistenceRecord {
  readonly virtualServer: string;
  readonly pool: string;
  readonly member: Endpoint;
}

/** What a key may be longest, in UTF-16 units: clients choose it, and every record holds one. */
export const MAX_KEY_LENGTH = 1024;

/**
 * The key under which a record is stored and found. Both sides have to use the same settings: records
 * of one kind of match are not found by another.
 *
 * @param subject what stays the same: for the address types an IP address; for `tls-session` the
 * session's id in hexadecimal; for `universal` a text; for `hash` a text of any length, of which 64
 * bits are kept
 * @returns undefined when there is nothing to go by: the subject is empty, no address, or too long
 */
export function persistenceKey(
  settings: PersistenceSettings,
  place: PersistencePlace,
  subject: string,
): string | undefined {
  const value = keyPart(settings, subject);
  if (value === undefined || value === '' || value.length > MAX_KEY_LENGTH) return undefined;
  // Names and addresses hold no space, so no value can pass for a part of the scope.
  return `${settings.type} ${scopeOf(settings.matchAcross, place)} ${value}`;
}

/**
 * The member that a record leads to in a pool. Undefined when the record does not apply: the pool
 * does not have the member, or it cannot serve this connection.
 */
export function recordedMember(
  settings: PersistenceSettings,
  record: PersistenceRecord,
  pool: Pool,
  request: Pick<PickRequest, 'failed' | 'now'>,
): Member | undefined {
  const { matchAcross } = settings;
  const same = matchAcross === 'services' || matchAcross === 'virtuals' ? 'node' : 'member';
  return pool.persistent(record.member, request, same);
}

function keyPart(settings: PersistenceSettings, subject: string): string | undefined {
  switch (settings.type) {
    case 'source-address':
    case 'destination-address':
      return maskAddress(subject, settings.prefix4 ?? 32, settings.prefix6 ?? 128);
    case 'hash':
      return subject === '' ? undefined : `${hashText(subject)}.${hashText(subject, 1)}`;
    case 'universal':
    case 'tls-session':
      return subject;
  }
}

function scopeOf(matchAcross: MatchAcross | undefined, place: PersistencePlace): string {
  switch (matchAcross) {
    case undefined:
      return `only ${place.virtualServer} ${place.pool}`;
    case 'services':
      return `at ${place.address}`;
    case 'virtuals':
    case 'pools':
      return matchAcross;
  }
}
