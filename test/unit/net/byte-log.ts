/** Bytes that arrive in pieces; joined only when somebody looks. */
export class ByteLog {
  length = 0;
  private pieces: Buffer[] = [];

  /** Keeps a copy. */
  append(bytes: Uint8Array): void {
    this.pieces.push(Buffer.from(bytes));
    this.length += bytes.length;
  }

  get bytes(): Buffer {
    if (this.pieces.length > 1) this.pieces = [Buffer.concat(this.pieces)];
    return this.pieces[0] ?? Buffer.alloc(0);
  }

  get text(): string {
    return this.bytes.toString('latin1');
  }
}
