/** How long a test waits for what must happen, in milliseconds. */
const WAIT_MS = 4_000;

/** Something that changes, and that tests wait for: woken by each change, bounded in time. */
export abstract class Watched {
  private readonly waiters = new Set<() => void>();

  /** What has happened so far, for the error message of a wait in vain. */
  protected abstract story(): string;

  until(condition: () => boolean, what: string): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const check = () => {
        if (!condition()) return;
        this.waiters.delete(check);
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.waiters.delete(check);
        reject(new Error(`waited ${WAIT_MS} ms in vain for ${what}; ${this.story()}`));
      }, WAIT_MS);
      this.waiters.add(check);
    });
  }

  protected changed(): void {
    for (const check of [...this.waiters]) check();
  }
}
