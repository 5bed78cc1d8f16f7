/**
 * A snapshot as it is written: the pages of a cut, which lack those that were changed while it was read, then the log
 * entries that have them. When there are none, the file is ready as it is; else both are merged into another.
 */
import fs from 'node:fs';
import { LiteFsError } from '../errors.ts';
import { compact } from '../ltx/compact.ts';
import { LtxEncoder } from '../ltx/encoder.ts';
import type { LtxHeader } from '../ltx/header.ts';
import type { Position } from '../ltx/position.ts';
import { fileSink, fileSource } from '../ltx/sources.ts';
import { type Archive, onDisk, tryOnDisk } from './archive.ts';
import { type ArchiveFile, SNAPSHOT_LEVEL } from './archive-file.ts';
import { type CheckLevel, writeImage } from './image.ts';
import { ARCHIVED_SO, checkIntegrity } from './integrity.ts';
import type { OpenEntry } from './open-entries.ts';
import { pace } from './pace.ts';
import { noteVerified } from './verified.ts';

export interface SnapshotBase {
  readonly position: Position;
  readonly pageSize: number;
  readonly pageCount: number;
  /** ms since 1970: of the last transaction, or when it was cut, where that is not known. */
  readonly timestampMs: number;
  readonly compress: boolean;
}

export interface SnapshotCheck {
  readonly check: CheckLevel;
  /** A path on a local disk. */
  readonly scratch: string;
  /** When it is done, ms since 1970. */
  readonly nowMs: number;
}

export interface FinishedSnapshot {
  readonly file: ArchiveFile;
  /** Why SQLite could not check all of it. */
  readonly unchecked: string | undefined;
}

export class SnapshotFile {
  readonly #archive: Archive;
  readonly #base: SnapshotBase;
  readonly #path: string;
  readonly #fd: number;
  readonly #sink: ReturnType<typeof fileSink>;
  readonly #encoder: LtxEncoder;

  /** Throws DISK. */
  constructor(archive: Archive, base: SnapshotBase) {
    this.#archive = archive;
    this.#base = base;
    this.#path = archive.temporary(SNAPSHOT_LEVEL);
    this.#fd = onDisk(this.#path, () => fs.openSync(this.#path, 'wx+', 0o600));
    this.#sink = fileSink(this.#fd);
    const { position, pageSize, pageCount, timestampMs, compress } = base;
    const header: LtxHeader = {
      flags: 0,
      pageSize,
      commit: pageCount,
      minTxid: 1,
      maxTxid: position.txid,
      timestampMs,
      preChecksum: 0n,
      walOffset: 0,
      walSize: 0,
      walSalt1: 0,
      walSalt2: 0,
      nodeId: 0n,
      postAside: position.checksum,
    };
    this.#encoder = new LtxEncoder(this.#sink, header, { compress });
  }

  /** Records of u32 big-endian page number and page, ascending. Throws DISK. */
  pages(records: Uint8Array): void {
    const view = Buffer.from(records.buffer, records.byteOffset, records.length);
    const recordBytes = this.#base.pageSize + 4;
    onDisk(this.#path, () => {
      for (let at = 0; at < view.length; at += recordBytes) {
        this.#encoder.page(view.readUInt32BE(at), view.subarray(at + 4, at + recordBytes));
      }
    });
  }

  /**
   * Adds the entries committed meanwhile, which lead to `end`, checks the result, and gives it its name. Throws DISK, LTX_CORRUPT, DATABASE_CORRUPT, and DATABASE_BUSY when an entry cannot be
   * merged with the pages; the snapshot is not there then.
   */
  finish(
    entries: readonly OpenEntry[],
    end: Position,
    { check, scratch, nowMs }: SnapshotCheck,
  ): FinishedSnapshot {
    const { position, pageSize, timestampMs } = this.#base;
    if (entries.some(({ header }) => header.pageSize !== pageSize || header.commit === 0)) {
      throw new LiteFsError(
        'DATABASE_BUSY',
        'the database was removed or changed its page size while a snapshot of it was cut',
      );
    }
    return onDisk(this.#path, () => {
      this.#encoder.finish(position.checksum);
      this.#sink.flush();
      const whole = entries.length === 0 ? this.#path : this.#merge(entries, end);
      try {
        // The file that is checked is gone when it is damaged.
        const of = this.#archive.root;
        const unchecked =
          check === 'off' ? undefined : checkSnapshot(whole, check, { scratch, of });
        const file = this.#archive.commit(whole, {
          level: SNAPSHOT_LEVEL,
          minTxid: 1,
          maxTxid: end.txid,
          timestampMs: entries.at(-1)?.header.timestampMs ?? timestampMs,
        });
        if (check !== 'off') {
          const passed = unchecked === undefined ? check : 'quick';
          noteVerified(this.#archive, [file], passed, nowMs);
        }
        return { file, unchecked };
      } catch (error) {
        tryOnDisk(() => fs.rmSync(whole, { force: true }));
        throw error;
      }
    });
  }

  /** Lets go of it; removes what is left under a temporary name. */
  close(): void {
    tryOnDisk(() => fs.closeSync(this.#fd));
    tryOnDisk(() => fs.rmSync(this.#path, { force: true }));
  }

  #merge(entries: readonly OpenEntry[], end: Position): string {
    const merged = this.#archive.temporary(SNAPSHOT_LEVEL);
    const fd = fs.openSync(merged, 'wx', 0o600);
    try {
      const sink = fileSink(fd);
      const base = fileSource(this.#fd, 0, fs.fstatSync(this.#fd).size, pace.spend);
      const inputs = [base, ...entries.map(({ source }) => source)];
      const options = { compress: this.#base.compress, postAside: end.checksum };
      for (const _ of compact(inputs, sink, options));
      sink.flush();
    } finally {
      fs.closeSync(fd);
    }
    return merged;
  }
}

/**
 * Reads a snapshot as a restore would. `of` is what it is called in messages. The result says why SQLite could not check
 * all of it. Throws LTX_CORRUPT, DATABASE_CORRUPT, DISK.
 */
function checkSnapshot(
  file: string,
  check: CheckLevel,
  { scratch, of }: { readonly scratch: string; readonly of: string },
): string | undefined {
  if (check !== 'full') {
    writeImage([file], undefined);
    return undefined;
  }
  try {
    writeImage([file], scratch);
    return checkIntegrity(scratch, { of, hint: ARCHIVED_SO });
  } finally {
    fs.rmSync(scratch, { force: true });
  }
}
