import type { Endpoint } from '../core/types.ts';

/** A named set of members, chosen from in turn. */
export class Pool {
  private members: readonly Endpoint[] = [];
  private next = 0;

  constructor(readonly name: string) {}

  /** Sets the members, in the order in which they take turns. */
  setMembers(members: readonly Endpoint[]): void {
    this.members = members;
  }

  get size(): number {
    return this.members.length;
  }

  /** The member whose turn it is. One that is in `failed` is chosen only when all are. */
  pick(failed: readonly Endpoint[]): Endpoint | undefined {
    const first = this.turn();
    if (first === undefined || failed.length === 0) return first;
    let member: Endpoint | undefined = first;
    for (let tried = 1; member !== undefined && hasEndpoint(failed, member); tried++) {
      if (tried === this.members.length) return first;
      member = this.turn();
    }
    return member;
  }

  private turn(): Endpoint | undefined {
    const member = this.members[this.next % this.members.length];
    this.next = (this.next + 1) % Math.max(1, this.members.length);
    return member;
  }
}

function hasEndpoint(list: readonly Endpoint[], wanted: Endpoint): boolean {
  return list.some(({ address, port }) => address === wanted.address && port === wanted.port);
}
