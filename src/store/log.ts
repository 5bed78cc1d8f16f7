/**
 * The log of a database: every transaction as LTX, newest last, on disk.
 *
 * Two kinds of files, named by the TXIDs they hold:
 * - `<min>-<max>.ltx`: one LTX file, large transactions and what compaction made;
 * - `<min>.seg`: many small ones, each a u32 big-endian length and an LTX file. One file per commit
 *   would be hundreds of thousands a day. Never renamed: others read them by path and offset.
 *
 * The entries in memory always form one chain: each begins where the one before ended.
 */
import assert from 'node:assert';
import fs from 'node:fs';
import path from 'node:path';
import { errorText, isOutsideFault, LiteFsError } from '../errors.ts';
import type { LtxHeader } from '../ltx/header.ts';
import { ltxFileName } from '../ltx/names.ts';
import { formatTxid, type Position } from '../ltx/position.ts';
import {
  orphan,
  positionsOf,
  readLtxFile,
  readSegment,
  SEGMENT_PREFIX_BYTES,
  type StoredEntry,
  syncDirectory,
  syncFile,
} from './log-files.ts';
import { type CompactionJob, nextMerge } from './log-merge.ts';

/** A segment is closed when it has grown to this, or when its owner finds it old enough. */
const SEGMENT_BYTES_MAX = 4 << 20;

export type LogSlice =
  | { readonly kind: 'entries'; readonly entries: readonly StoredEntry[] }
  | { readonly kind: 'unavailable'; readonly reason: string };

interface ActiveSegment {
  readonly fd: number;
  readonly path: string;
  readonly openedMs: number;
  bytes: number;
}

export class TransactionLog {
  readonly dir: string;
  #entries: StoredEntry[] = [];
  #active: ActiveSegment | undefined;
  #bytes = 0;
  /** Files of which something is not on the disk yet. */
  readonly #unsynced = new Set<string>();
  /** A name in the directory may not be on the disk yet. */
  #isDirectoryUnsynced = false;
  readonly #warn: (message: string) => void;

  private constructor(dir: string, warn: (message: string) => void) {
    this.dir = dir;
    this.#warn = warn;
  }

  /**
   * Opens the log of a directory (made when absent). Files that break the chain are set aside as
   * `*.orphan` and reported; a torn last entry of the active segment is cut off.
   */
  static open(dir: string, warn: (message: string) => void): TransactionLog {
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    const log = new TransactionLog(dir, warn);
    log.#load();
    return log;
  }

  /** The newest entry. */
  get last(): StoredEntry | undefined {
    return this.#entries.at(-1);
  }

  /** The oldest entry. */
  get first(): StoredEntry | undefined {
    return this.#entries[0];
  }

  get bytes(): number {
    return this.#bytes;
  }

  get entryCount(): number {
    return this.#entries.length;
  }

  /** Whether something is not on the disk yet. */
  get isUnsynced(): boolean {
    return this.#unsynced.size > 0 || this.#isDirectoryUnsynced;
  }

  /** Whether there is a segment that grows. */
  get isOpen(): boolean {
    return this.#active !== undefined;
  }

  /** The files on disk, oldest first. */
  files(): string[] {
    return [...new Set(this.#entries.map((entry) => entry.path))];
  }

  /** Entries that follow a transaction, oldest first; the first may begin before it. */
  entriesAfter(txid: number): readonly StoredEntry[] {
    const first = this.#entries.findIndex((entry) => entry.maxTxid > txid);
    return first < 0 ? [] : this.#entries.slice(first);
  }

  /** Appends a small LTX file. Throws DISK when it cannot be written; the log is then as before. */
  append(bytes: Uint8Array, header: LtxHeader, post: Position, nowMs: number): StoredEntry {
    this.#assertNext(header);
    const active = this.#openActive(header.minTxid, nowMs);
    const record = Buffer.allocUnsafe(4 + bytes.length);
    record.writeUInt32BE(bytes.length);
    record.set(bytes, 4);
    try {
      for (let at = 0; at < record.length; ) {
        at += fs.writeSync(active.fd, record, at, record.length - at, active.bytes + at);
      }
    } catch (error) {
      fs.ftruncateSync(active.fd, active.bytes);
      throw diskError(`could not append to the log in ${this.dir}`, error);
    }
    const entry: StoredEntry = {
      ...positionsOf(header, post),
      path: active.path,
      offset: active.bytes + 4,
      length: bytes.length,
    };
    active.bytes += record.length;
    this.#unsynced.add(active.path);
    this.#push(entry, entry.length);
    if (active.bytes >= SEGMENT_BYTES_MAX) this.#sealForNext();
    return this.#entries.at(-1) as StoredEntry;
  }

  /** Takes over a finished LTX file (on the same file system). */
  appendFile(file: string, header: LtxHeader, post: Position): StoredEntry {
    this.#assertNext(header);
    this.#sealForNext();
    const target = path.join(this.dir, ltxFileName(header.minTxid, header.maxTxid));
    try {
      fs.renameSync(file, target);
    } catch (error) {
      throw diskError(`could not move a transaction into the log in ${this.dir}`, error);
    }
    this.#unsynced.add(target);
    this.#isDirectoryUnsynced = true;
    const length = fs.statSync(target).size;
    this.#push({ ...positionsOf(header, post), path: target, offset: 0, length }, length);
    return this.#entries.at(-1) as StoredEntry;
  }

  /** What follows a position, oldest first, about `maxBytes` of it (at least one entry). */
  read(after: Position, maxBytes: number): LogSlice {
    const start = this.#find(after);
    if (typeof start === 'string') return { kind: 'unavailable', reason: start };
    let end = start;
    for (let bytes = 0; end < this.#entries.length && (end === start || bytes < maxBytes); end++) {
      bytes += this.#entries[end].length;
    }
    return { kind: 'entries', entries: this.#entries.slice(start, end) };
  }

  /** Whether the history in the log passes through this position. */
  contains(position: Position): boolean {
    return typeof this.#find(position) === 'number';
  }

  /**
   * Closes the active segment: the next small entry begins a new one. Throws when the disk fails to flush it; it is
   * closed all the same, and its entries stay.
   */
  seal(): void {
    const active = this.#active;
    if (!active) return;
    this.#active = undefined;
    try {
      if (this.#unsynced.has(active.path)) fs.fdatasyncSync(active.fd);
      this.#unsynced.delete(active.path);
    } finally {
      fs.closeSync(active.fd);
    }
    if (active.bytes === 0) fs.rmSync(active.path, { force: true });
  }

  /** What the disk fails to flush is in the log already: whoever appends must not hear that it failed. */
  #sealForNext(): void {
    try {
      this.seal();
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
      this.#warn(`a file of the log in ${this.dir} could not be flushed: ${errorText(error)}`);
    }
  }

  /** Closes the active segment when its first entry is older than that. */
  sealIfOlder(nowMs: number, ageMs: number): void {
    if (this.#active && nowMs - this.#active.openedMs >= ageMs) this.seal();
  }

  /** Has the disk have everything that was appended. Throws what the disk says. */
  sync(): void {
    for (const file of this.#unsynced) {
      syncFile(file);
      this.#unsynced.delete(file);
    }
    if (this.#isDirectoryUnsynced) syncDirectory(this.dir);
    this.#isDirectoryUnsynced = false;
  }

  /**
   * Takes away what follows a transaction: it cannot be read. Segments are cut, whole files kept as `*.orphan`. Entries that
   * begin before it stay.
   */
  cutAfter(txid: number): void {
    this.seal();
    const from = this.#entries.findIndex((entry) => entry.maxTxid > txid);
    if (from < 0) return;
    const cut = this.#entries.splice(from);
    const kept = this.#entries.at(-1);
    const [{ path: file, offset }] = cut;
    if (kept?.path === file) {
      fs.truncateSync(file, offset - SEGMENT_PREFIX_BYTES);
      this.#unsynced.add(file);
    }
    const lost = cut.filter((entry) => entry.path !== kept?.path);
    for (const entry of lost) this.#unsynced.delete(entry.path);
    orphan(lost);
    this.#isDirectoryUnsynced = true;
    this.#bytes = this.#entries.reduce((sum, entry) => sum + entry.length, 0);
  }

  /**
   * Forgets everything: the next entry may begin anywhere. What the log would redo is the caller's care. A file that the disk
   * does not let go is said, and is none of the log any more.
   */
  reset(): void {
    const files = new Set(this.files());
    if (this.#active) {
      files.add(this.#active.path);
      fs.closeSync(this.#active.fd);
      this.#active = undefined;
    }
    this.#forgetFiles();
    try {
      for (const file of files) fs.rmSync(file, { force: true });
    } catch (error) {
      if (!isOutsideFault(error)) throw error;
      this.#warn(`a file of the log in ${this.dir} could not be removed: ${errorText(error)}`);
    }
  }

  /** Forgets everything as reset() does, but keeps the files as `*.orphan`. */
  setAside(): void {
    this.seal();
    orphan(this.#entries);
    this.#forgetFiles();
  }

  /**
   * Removes whole files whose newest entry is older than `beforeMs`, keeping the last file and
   * every file that holds transactions past `keepAfterTxid` (what replicas and archives need), unless the
   * log is larger than `bytesMax` (0: no limit); and in any case those past `keepAlwaysTxid`. `beforeRemoving` is called
   * before the first of them goes: what it throws keeps all.
   */
  trim(
    beforeMs: number,
    keepAfterTxid: number,
    bytesMax: number,
    keepAlwaysTxid: number,
    beforeRemoving: () => void = () => {},
  ): number {
    let removed = 0;
    for (;;) {
      const file = this.first?.path;
      if (!file) break;
      let count = 0;
      while (count < this.#entries.length && this.#entries[count].path === file) count++;
      if (count === this.#entries.length) break;
      const newest = this.#entries[count - 1];
      const tooLarge = bytesMax > 0 && this.#bytes > bytesMax;
      if (newest.maxTxid > keepAlwaysTxid) break;
      if (!tooLarge && (newest.timestampMs >= beforeMs || newest.maxTxid > keepAfterTxid)) break;
      if (removed === 0) beforeRemoving();
      fs.rmSync(file, { force: true });
      this.#unsynced.delete(file);
      for (const entry of this.#entries.splice(0, count)) this.#bytes -= entry.length;
      removed++;
    }
    return removed;
  }

  /** The next run of closed files that are worth merging (log-merge.ts). */
  compactionJob(
    entriesMin: number,
    entriesMax: number,
    bytesMax: number,
  ): CompactionJob | undefined {
    const limits = { entriesMin, entriesMax, bytesMax };
    return nextMerge(this.#entries, this.#active?.path, limits);
  }

  /** Puts one merged LTX file in the place of the entries of a job. */
  replace(job: CompactionJob, file: string): void {
    const first = this.#entries.findIndex((entry) => entry.minTxid === job.entries[0].minTxid);
    const newest = job.entries.at(-1) as StoredEntry;
    const last = this.#entries.findIndex((entry) => entry.maxTxid === newest.maxTxid);
    if (first < 0 || last - first + 1 !== job.entries.length) {
      fs.rmSync(file, { force: true });
      return;
    }
    const target = path.join(this.dir, ltxFileName(job.entries[0].minTxid, newest.maxTxid));
    fs.renameSync(file, target);
    syncDirectory(this.dir);
    const length = fs.statSync(target).size;
    const merged: StoredEntry = {
      minTxid: job.entries[0].minTxid,
      maxTxid: newest.maxTxid,
      pre: job.entries[0].pre,
      post: newest.post,
      timestampMs: newest.timestampMs,
      pageSize: newest.pageSize,
      commit: newest.commit,
      wal: newest.wal,
      path: target,
      offset: 0,
      length,
    };
    for (const old of this.#entries.splice(first, job.entries.length, merged)) {
      this.#bytes -= old.length;
      if (old.path === target) continue;
      fs.rmSync(old.path, { force: true });
      this.#unsynced.delete(old.path);
    }
    this.#bytes += length;
  }

  close(): void {
    this.seal();
  }

  #forgetFiles(): void {
    this.#entries = [];
    this.#bytes = 0;
    this.#unsynced.clear();
    this.#isDirectoryUnsynced = true;
  }

  #push(entry: StoredEntry, bytes: number): void {
    this.#entries.push(entry);
    this.#bytes += bytes;
  }

  #assertNext(header: LtxHeader): void {
    const last = this.last;
    if (!last) return;
    assert(
      header.minTxid === last.maxTxid + 1 && header.preChecksum === last.post.checksum,
      `log of ${this.dir}: ${header.minTxid} after ${last.maxTxid}`,
    );
  }

  /** The index of the entry that follows a position, or the reason why there is none. */
  #find(after: Position): number | string {
    const last = this.last;
    if (!last) return 'the log is empty';
    if (after.txid > last.maxTxid) return 'that transaction is not in the log';
    if (after.txid < (this.first as StoredEntry).minTxid - 1) return 'the log no longer has it';
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.#entries[mid].maxTxid <= after.txid) low = mid + 1;
      else high = mid;
    }
    const before = this.#entries[low - 1];
    const next = this.#entries[low];
    const known = before?.maxTxid === after.txid ? before.post : next?.pre;
    if (known && known.txid === after.txid && known.checksum !== after.checksum) {
      return 'that transaction has another checksum here';
    }
    return low;
  }

  #openActive(minTxid: number, nowMs: number): ActiveSegment {
    if (!this.#active) {
      try {
        const file = path.join(this.dir, `${formatTxid(minTxid)}.seg`);
        const fd = fs.openSync(file, 'w', 0o600);
        this.#active = { fd, path: file, openedMs: nowMs, bytes: 0 };
        this.#isDirectoryUnsynced = true;
      } catch (error) {
        throw diskError(`could not open the log in ${this.dir}`, error);
      }
    }
    return this.#active;
  }

  #load(): void {
    const warn = this.#warn;
    const found: StoredEntry[][] = [];
    for (const name of fs.readdirSync(this.dir)) {
      const file = path.join(this.dir, name);
      if (name.endsWith('.tmp')) fs.rmSync(file, { force: true });
      else if (name.endsWith('.seg')) found.push(readSegment(file, warn));
      else if (name.endsWith('.ltx')) found.push(readLtxFile(file, warn));
    }
    const groups = found.filter((group) => group.length > 0);
    groups.sort(
      (a, b) => a[0].minTxid - b[0].minTxid || (b.at(-1)?.maxTxid ?? 0) - (a.at(-1)?.maxTxid ?? 0),
    );
    let chain: StoredEntry[] = [];
    for (const group of groups) {
      const last = chain.at(-1);
      const whole = group.at(-1) as StoredEntry;
      if (last && whole.maxTxid <= last.maxTxid) {
        // A crash between writing a merged file and removing what it replaced.
        fs.rmSync(whole.path, { force: true });
        continue;
      }
      const joins =
        !last ||
        (group[0].minTxid === last.maxTxid + 1 && group[0].pre.checksum === last.post.checksum);
      if (!joins) {
        warn(`the log in ${this.dir} has a gap before transaction ${group[0].minTxid}`);
        orphan(chain);
        chain = [];
      }
      chain.push(...group);
    }
    this.#entries = chain;
    this.#bytes = chain.reduce((sum, entry) => sum + entry.length, 0);
    // It was written by a process that may have been killed before it had the disk have it.
    for (const entry of chain) this.#unsynced.add(entry.path);
    this.#isDirectoryUnsynced = true;
  }
}

function diskError(message: string, cause: unknown): LiteFsError {
  return new LiteFsError('DISK', `${message}: ${(cause as Error).message}`, {
    hint: 'Free space on the disk of data.dir; replication goes on by itself.',
    cause,
  });
}
