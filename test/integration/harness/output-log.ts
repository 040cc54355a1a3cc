const LIMIT = 8 * 1024 * 1024;
const TAIL = 4_000;

/**
 * Bytes that arrive in pieces, from a process or a connection: the last 8 MiB of them, as text of
 * one character a byte, and a way to wait for more. Positions count from the first byte ever.
 */
export class OutputLog {
  private store = Buffer.alloc(0);
  private length = 0;
  /** How many bytes were thrown away in front of what is kept. */
  private dropped = 0;
  private ended = false;
  private readonly waiters = new Set<() => void>();

  get text(): string {
    return this.slice(0);
  }

  append(chunk: Buffer): void {
    if (this.length + chunk.length > this.store.length) this.makeRoom(chunk.length);
    chunk.copy(this.store, this.length);
    this.length += chunk.length;
    this.wake();
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  /** What is kept of the text from a position on. */
  slice(from: number, end: number = this.dropped + this.length): string {
    const start = Math.max(from - this.dropped, 0);
    return this.store.toString('latin1', start, Math.max(end - this.dropped, start));
  }

  tail(): string {
    return this.slice(this.dropped + this.length - TAIL);
  }

  /**
   * Waits for a text or a match in the output from position `from` on.
   * @param wanted - a pattern without the g flag
   * @returns the output from `from` on, up to and with what was wanted
   * @throws Error when the output ends before, or after `ms` milliseconds
   */
  waitFor(wanted: string | RegExp, from = 0, ms = 10_000): Promise<string> {
    return new Promise((resolve, reject) => {
      const search = typeof wanted === 'string' ? this.textFinder(wanted, from) : undefined;
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        this.waiters.delete(check);
        settle();
      };
      const check = (): void => {
        const end = search === undefined ? this.matchEnd(wanted as RegExp, from) : search();
        if (end !== undefined) finish(() => resolve(this.slice(from, end)));
        else if (this.ended) finish(() => reject(this.missed(wanted, 'it ended')));
      };
      const timer = setTimeout(
        () => finish(() => reject(this.missed(wanted, `waited ${ms} ms`))),
        ms,
      );
      this.waiters.add(check);
      check();
    });
  }

  /** Looks at every byte once, however often it is asked: answers may be megabytes long. */
  private textFinder(wanted: string, from: number): () => number | undefined {
    let searched = from;
    return () => {
      const kept = this.store.subarray(0, this.length);
      const index = kept.indexOf(wanted, Math.max(searched - this.dropped, 0), 'latin1');
      if (index >= 0) return this.dropped + index + wanted.length;
      searched = Math.max(from, this.dropped + this.length - wanted.length + 1);
      return undefined;
    };
  }

  private matchEnd(wanted: RegExp, from: number): number | undefined {
    const match = wanted.exec(this.slice(from));
    return match === null
      ? undefined
      : Math.max(from, this.dropped) + match.index + match[0].length;
  }

  private makeRoom(more: number): void {
    const excess = Math.min(Math.max(this.length + more - LIMIT, 0), this.length);
    const kept = this.store.subarray(excess, this.length);
    const room = Buffer.allocUnsafe(Math.max((kept.length + more) * 2, 4_096));
    kept.copy(room);
    this.store = room;
    this.length = kept.length;
    this.dropped += excess;
  }

  private missed(wanted: string | RegExp, why: string): Error {
    return new Error(`${why}, without ${String(wanted)}; the last of it:\n${this.tail()}`);
  }

  private wake(): void {
    for (const check of [...this.waiters]) check();
  }
}
