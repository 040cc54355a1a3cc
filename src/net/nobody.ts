import type { ByteStream, StreamOwner } from './byte-stream.ts';

/** Owns a stream that nobody has taken yet, or that is being refused: it cares for nothing. */
export const NOBODY: StreamOwner = {
  onConnect: () => {},
  onData: () => {},
  onEnd: () => {},
  onDrain: () => {},
  onSecure: () => {},
  onPlain: () => {},
  onClose: () => {},
};

/** Resets a connection that comes. */
export function refuse(take: (owner: StreamOwner) => ByteStream): void {
  take(NOBODY).reset();
}
