/** Something with bytes to send. */
export interface Flushable {
  flush(): void;
}

let waiting: Flushable[] = [];

/**
 * Calls `flush` once at the end of this turn of the event loop. Sending wakes the peer, and waking a
 * process that sleeps costs more than sending: small answers to many connections leave together, and
 * their readers are woken once. Measured: an eighth less CPU for a short line through a rule.
 */
export function flushLater(item: Flushable): void {
  if (waiting.length === 0) setImmediate(flushAll);
  waiting.push(item);
}

function flushAll(): void {
  const items = waiting;
  waiting = [];
  for (const item of items) item.flush();
}
