/** Page checksums of a replica, as they come in parts: those of pages that this node has. Those of others tell nothing. */
const SUM_BYTES = 8;
const START_BYTES = 64 << 10;

export class ChecksumReceiver {
  readonly #bytesMax: number;
  #bytes = Buffer.alloc(0);
  #length = 0;

  /** `pages`: how many this node has. */
  constructor(pages: number) {
    this.#bytesMax = pages * SUM_BYTES;
  }

  /** Takes the next part, of which nothing is kept but a copy of what is wanted. */
  add(part: Buffer): void {
    const wanted = part.subarray(0, this.#bytesMax - this.#length);
    const end = this.#length + wanted.length;
    if (end > this.#bytes.length) {
      const grown = Math.min(this.#bytesMax, Math.max(end, this.#bytes.length * 2, START_BYTES));
      const bytes = Buffer.allocUnsafeSlow(grown);
      this.#bytes.copy(bytes, 0, 0, this.#length);
      this.#bytes = bytes;
    }
    wanted.copy(this.#bytes, this.#length);
    this.#length = end;
  }

  /** u64 big-endian each, page 1 first. */
  all(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}
