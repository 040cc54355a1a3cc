import { Lines } from './lines.js';

/**
 * The bytes that a side holds, taken piece by piece where lengths and not line ends say what belongs
 * together. As with `Lines`, the payload is read once, and changed and released at most once.
 *
 * ```js
 * const PACKETS = new Packets(); // events do not overlap: one serves all connections
 *
 * const packets = PACKETS.read(TCP);
 * while (packets.available >= HEADER) packets.passBytes(HEADER + packets.byte(0));
 * packets.letGo(); // what is left is the beginning of a header: it stays held
 * ```
 */
export class Packets extends Lines {
  /** Begins with all that the current side holds. */
  read(io) {
    super.read(io, io.payload());
    /** Bytes that were passed and have not arrived. */
    this.missing = 0;
    return this;
  }

  /** The byte at an offset behind what was taken; NaN when it has not arrived. */
  byte(offset) {
    return this.held.charCodeAt(this.start + offset);
  }

  /** `length` bytes from an offset on; fewer when they have not arrived. */
  text(offset, length) {
    return this.held.slice(this.start + offset, this.start + offset + length);
  }

  /** Takes the next `length` bytes as they are. Those that have not arrived will pass unseen. */
  passBytes(length) {
    this.missing = Math.max(0, length - this.available);
    this.end = this.start + length - this.missing;
    this.pass();
  }

  /** Takes the next `length` bytes, which are held, and puts `text` in their place. */
  replaceBytes(length, text) {
    this.end = this.start + length;
    this.replace(text);
  }

  /** Like `lines.letGo`. What is missing passes before more is collected. */
  letGo(hasMore = false) {
    const length = this.applyChanges();
    if (length === 0 && this.missing === 0) return;
    this.io.release(length);
    this.io.collect(hasMore ? 1 : undefined, this.missing);
  }
}
