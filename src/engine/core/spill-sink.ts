/** Where an LTX file is made: in memory while it is small, then in a file. */
import fs from 'node:fs';
import type { ByteSink } from '../../ltx/sources.ts';

/** Entries up to this size travel between threads as bytes and live in segments. */
export const SMALL_ENTRY_BYTES_MAX = 256 << 10;

export type Spilled = { readonly bytes: Uint8Array } | { readonly path: string };

export class SpillSink implements ByteSink {
  readonly #path: string;
  #buffer: Buffer = Buffer.allocUnsafeSlow(16 << 10);
  #length = 0;
  #fd: number | undefined;

  /** `file` is created only when the bytes no longer fit in memory. */
  constructor(file: string) {
    this.#path = file;
  }

  write(chunk: Uint8Array): void {
    if (this.#length + chunk.length > this.#buffer.length) this.#makeRoom(chunk.length);
    if (chunk.length > this.#buffer.length) {
      this.#writeOut(chunk);
      return;
    }
    this.#buffer.set(chunk, this.#length);
    this.#length += chunk.length;
  }

  /** The bytes (the caller's to keep), or the finished file. */
  finish(): Spilled {
    if (this.#fd === undefined) return { bytes: this.#buffer.subarray(0, this.#length) };
    this.#flush();
    // It takes its name in the log by a rename, which must not reach the disk before its bytes.
    fs.fdatasyncSync(this.#fd);
    fs.closeSync(this.#fd);
    this.#fd = undefined;
    return { path: this.#path };
  }

  abort(): void {
    if (this.#fd === undefined) return;
    fs.closeSync(this.#fd);
    this.#fd = undefined;
    fs.rmSync(this.#path, { force: true });
  }

  #makeRoom(more: number): void {
    if (this.#fd === undefined && this.#length + more <= SMALL_ENTRY_BYTES_MAX) {
      const size = Math.min(
        SMALL_ENTRY_BYTES_MAX,
        Math.max(this.#buffer.length * 4, this.#length + more),
      );
      const grown = Buffer.allocUnsafeSlow(size);
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
      return;
    }
    this.#fd ??= fs.openSync(this.#path, 'wx', 0o600);
    this.#flush();
  }

  #flush(): void {
    this.#writeOut(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
  }

  #writeOut(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      at += fs.writeSync(this.#fd as number, bytes, at, bytes.length - at);
    }
  }
}
