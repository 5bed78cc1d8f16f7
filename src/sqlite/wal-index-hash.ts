/**
 * The hash tables of the wal-index: which frames hold a page. The file is made of regions of 32 KiB:
 *
 *      0  16384  page numbers (u32) of the region's frames in order; in the first region the 136 bytes
 *                of the header take the place of the first 34, so 4062 entries there, 4096 elsewhere
 *  16384  16384  hash table: 8192 slots (u16), each 0 or the position (from 1) of an entry above
 *
 * A page is looked for from slot (page * 383) mod 8192 on until an empty slot. Entries are added in the
 * order of frames, so readers of older snapshots skip what they find behind their last frame, and what
 * the table holds follows from the entries alone: same entries, same table.
 *
 * Machine byte order, that is little-endian.
 */
import assert from 'node:assert';
import { LiteFsError } from '../errors.ts';

/** Reads and writes of the -shm file. A read past its end gives zeros; a write past it extends it. */
export interface ShmMemory {
  read(offset: number, length: number): Buffer;
  write(offset: number, bytes: Buffer): void;
}

const REGION_BYTES = 32768;
const ENTRIES = 4096;
const ENTRIES_BYTES = 16384;
const SLOTS = 8192;
const HASH_FACTOR = 383;
const HEADER_BYTES = 136;
const HEADER_ENTRIES = HEADER_BYTES / 4;
const FIRST_ENTRIES = ENTRIES - HEADER_ENTRIES;

/** Slots that lie this near to each other are written with one call: it costs more than the bytes. */
const COALESCE_SLOTS = 1024;

/** The region of frame `frame` (from 1). */
function regionOf(frame: number): number {
  return Math.floor((frame + HEADER_ENTRIES - 1) / ENTRIES);
}

/** One less than the region's first frame: entry k of the region is frame k + this. */
function framesBefore(region: number): number {
  return region === 0 ? 0 : FIRST_ENTRIES + (region - 1) * ENTRIES;
}

/** One region in memory. */
class Region {
  readonly number: number;
  readonly bytes: Buffer;
  /** Entries and slots as views of `bytes`. */
  readonly #pages: Uint32Array;
  readonly #slots: Uint16Array;
  /** Bytes of the region that belong to the header. */
  readonly headerBytes: number;
  /** Entries in use. */
  count = 0;

  constructor(number: number) {
    this.number = number;
    this.headerBytes = number === 0 ? HEADER_BYTES : 0;
    const memory = new ArrayBuffer(REGION_BYTES);
    this.bytes = Buffer.from(memory);
    this.#pages = new Uint32Array(memory, this.headerBytes, (ENTRIES_BYTES - this.headerBytes) / 4);
    this.#slots = new Uint16Array(memory, ENTRIES_BYTES, SLOTS);
  }

  get capacity(): number {
    return this.#pages.length;
  }

  /** Adds an entry and returns its slot. */
  add(pgno: number): number {
    assert(pgno > 0 && this.count < this.capacity);
    this.#pages[this.count++] = pgno;
    let slot = Math.imul(pgno, HASH_FACTOR) & (SLOTS - 1);
    while (this.#slots[slot] !== 0) slot = (slot + 1) & (SLOTS - 1);
    this.#slots[slot] = this.count;
    return slot;
  }

  /** The last entry of the page (from 1) that is not past `limit`, as a reader finds it; 0 if none. */
  find(pgno: number, limit: number): number {
    let found = 0;
    let slot = Math.imul(pgno, HASH_FACTOR) & (SLOTS - 1);
    for (let tries = 0; tries < SLOTS && this.#slots[slot] !== 0; tries++) {
      const entry = this.#slots[slot];
      if (entry <= limit && this.#pages[entry - 1] === pgno) found = entry;
      slot = (slot + 1) & (SLOTS - 1);
    }
    return found;
  }

  /** Takes over the first `count` entries of the stored region; false when it holds more than those. */
  load(stored: Buffer, count: number): boolean {
    const entriesEnd = this.headerBytes + count * 4;
    for (let at = this.headerBytes; at < entriesEnd; at += 4) {
      const pgno = stored.readUInt32LE(at);
      if (pgno === 0) throw new LiteFsError('DATABASE_CORRUPT', 'wal-index lacks committed frames');
      this.add(pgno);
    }
    return this.bytes.subarray(this.headerBytes).equals(stored.subarray(this.headerBytes));
  }
}

/**
 * Adds frames to the hash tables, keeping the last region in memory so that an append reads 4 bytes and
 * writes a few short ranges. To be used by the holder of the write lock. Call forget() when another
 * writer may have been at the index since the last append.
 */
export class WalIndexWriter {
  readonly #shm: ShmMemory;
  readonly #changed = new Uint16Array(ENTRIES);
  #region: Region | undefined;

  constructor(shm: ShmMemory) {
    this.#shm = shm;
  }

  /** Drops what is in memory; the next append reads the region from the file. */
  forget(): void {
    this.#region = undefined;
  }

  /**
   * Adds `pgnos[i]` as the page of frame `firstFrame + i` (frames from 1). What a writer that died or
   * rolled back has left from `firstFrame` on is removed. The frames become visible only with the header.
   * DATABASE_CORRUPT when the index lacks a frame before `firstFrame`.
   */
  append(firstFrame: number, pgnos: readonly number[]): void {
    assert(firstFrame >= 1);
    let done = 0;
    while (done < pgnos.length) {
      const frame = firstFrame + done;
      const number = regionOf(frame);
      const before = frame - 1 - framesBefore(number);
      done =
        before === 0 ? this.#start(number, pgnos, done) : this.#extend(number, before, pgnos, done);
    }
  }

  /** A new region: all of it is written, which removes whatever was there. */
  #start(number: number, pgnos: readonly number[], from: number): number {
    const region = new Region(number);
    this.#region = region;
    const end = Math.min(pgnos.length, from + region.capacity);
    for (let i = from; i < end; i++) region.add(pgnos[i]);
    this.#write(region, region.headerBytes, REGION_BYTES);
    return end;
  }

  /** Adds to a region that has `before` entries already. */
  #extend(number: number, before: number, pgnos: readonly number[], from: number): number {
    const region = this.#current(number, before);
    const end = Math.min(pgnos.length, from + region.capacity - before);
    for (let i = from; i < end; i++) this.#changed[i - from] = region.add(pgnos[i]);
    const entries = region.headerBytes + before * 4;
    this.#write(region, entries, entries + (end - from) * 4);
    this.#writeSlots(region, this.#changed.subarray(0, end - from).sort());
    return end;
  }

  /** The region with exactly `count` entries, in memory and in the file. */
  #current(number: number, count: number): Region {
    const kept = this.#region;
    const start = number * REGION_BYTES;
    if (kept?.number === number && kept.count === count) {
      const next = this.#shm.read(start + kept.headerBytes + count * 4, 4);
      if (next.readUInt32LE(0) === 0) return kept;
    }
    const region = new Region(number);
    if (!region.load(this.#shm.read(start, REGION_BYTES), count)) {
      this.#write(region, region.headerBytes, REGION_BYTES);
    }
    this.#region = region;
    return region;
  }

  #writeSlots(region: Region, slots: Uint16Array): void {
    let first = 0;
    for (let i = 1; i <= slots.length; i++) {
      if (i < slots.length && slots[i] - slots[i - 1] <= COALESCE_SLOTS) continue;
      const start = ENTRIES_BYTES + slots[first] * 2;
      this.#write(region, start, ENTRIES_BYTES + slots[i - 1] * 2 + 2);
      first = i;
    }
  }

  #write(region: Region, start: number, end: number): void {
    this.#shm.write(region.number * REGION_BYTES + start, region.bytes.subarray(start, end));
  }
}

/** Adds frames to the hash tables without memory of earlier calls: see WalIndexWriter.append. */
export function appendToIndex(shm: ShmMemory, firstFrame: number, pgnos: readonly number[]): void {
  new WalIndexWriter(shm).append(firstFrame, pgnos);
}

/**
 * The hash tables for frames 1..n with these pages: the bytes of the -shm file from offset 136 (behind
 * the header) to the end of the last region, one region at least.
 */
export function buildIndex(pgnos: readonly number[]): Buffer {
  const last = regionOf(Math.max(1, pgnos.length));
  const bytes = Buffer.alloc((last + 1) * REGION_BYTES);
  new WalIndexWriter({
    read: (offset, length) => bytes.subarray(offset, offset + length),
    write: (offset, part) => bytes.set(part, offset),
  }).append(1, pgnos);
  return bytes.subarray(HEADER_BYTES);
}

/** The frame a reader of the snapshot `mxFrame` takes page `pgno` from; 0 when it is not in the log. */
export function lookupFrame(shm: ShmMemory, pgno: number, mxFrame: number): number {
  if (mxFrame === 0) return 0;
  for (let number = regionOf(mxFrame); number >= 0; number--) {
    const region = new Region(number);
    shm.read(number * REGION_BYTES, REGION_BYTES).copy(region.bytes);
    const found = region.find(pgno, mxFrame - framesBefore(number));
    if (found > 0) return framesBefore(number) + found;
  }
  return 0;
}
