/**
 * Makes one entry of the log out of changed pages, and moves the database on to it: LTX file, page
 * checksums, position. The pages come in ascending order; nothing has happened until finish().
 */
import assert from 'node:assert';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { pageChecksum } from '../../kernels/checksum.ts';
import { LtxEncoder } from '../../ltx/encoder.ts';
import type { LtxHeader } from '../../ltx/header.ts';
import type { Position } from '../../ltx/position.ts';
import { lockPageNumber } from '../../sqlite/db-header.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import type { LtxInput } from './ltx-input.ts';
import { SpillSink } from './spill-sink.ts';

const CHECKSUM_FLAG = 1n << 63n;

/** An entry that is whole, in memory or in a file of the spool directory. */
export interface SealedEntry {
  readonly post: Position;
  readonly stored: LtxInput;
}

export class TransactionWriter {
  readonly #ctx: EngineContext;
  readonly #db: Database;
  readonly #header: LtxHeader;
  readonly #sink: SpillSink;
  readonly #encoder: LtxEncoder;
  readonly #lockPage: number;
  /** What the checksums will be: page numbers and sums, side by side. */
  #pgnos: number[] = [];
  #sums: bigint[] = [];
  #xor: bigint;
  #sealed: SealedEntry | undefined;

  /** Begins the entry that `header` describes (see Database.nextHeader). */
  constructor(ctx: EngineContext, db: Database, header: LtxHeader) {
    this.#ctx = ctx;
    this.#db = db;
    this.#header = header;
    this.#lockPage = lockPageNumber(header.pageSize);
    this.#sink = new SpillSink(path.join(ctx.layout.spool, `capture-${randomUUID()}`));
    this.#encoder = new LtxEncoder(this.#sink, header, { compress: ctx.compress });
    this.#xor = this.#startXor();
  }

  /** How many pages it has so far. */
  get pageCount(): number {
    return this.#pgnos.length;
  }

  /** Adds a page; the lock page is skipped. `sum`, when the caller has it, saves computing it. */
  page(pgno: number, data: Uint8Array, sum = pageChecksum(pgno, data)): void {
    if (pgno === this.#lockPage) return;
    this.#encoder.page(pgno, data);
    this.#pgnos.push(pgno);
    this.#sums.push(sum);
    this.#xor ^= this.#before(pgno) ^ sum;
  }

  /** Writes the entry to the log and makes it the database's state. Throws DISK; then nothing changed. */
  finish(): Position {
    this.seal();
    return this.commit();
  }

  /** The whole LTX file, of which nothing is in the log yet: commit() or abort() comes next. */
  seal(): SealedEntry {
    const { commit, maxTxid } = this.#header;
    const checksum = commit === 0 ? 0n : this.#xor | CHECKSUM_FLAG;
    this.#encoder.finish(checksum);
    this.#sealed = { post: { txid: maxTxid, checksum }, stored: this.#sink.finish() };
    return this.#sealed;
  }

  /** What seal() has made becomes the database's state. Throws DISK; then nothing changed. */
  commit(): Position {
    assert(this.#sealed, 'an entry that was not sealed');
    const { post, stored } = this.#sealed;
    const { commit, maxTxid, pageSize } = this.#header;
    const db = this.#db;
    const entry =
      'bytes' in stored
        ? db.log.append(stored.bytes, this.#header, post, this.#ctx.clockMs())
        : db.log.appendFile(stored.path, this.#header, post);
    if (db.pageSize !== pageSize) db.sums.clear();
    db.pageSize = pageSize;
    db.sums.resize(commit);
    for (let i = 0; i < this.#pgnos.length; i++) {
      db.sums.set(this.#pgnos[i], this.#sums[i]);
      for (const listener of db.changeListeners) listener.changed(this.#pgnos[i]);
    }
    assert.equal(db.sums.checksum, post.checksum, `checksum of ${db.name} after ${post.txid}`);
    db.tally.committed(maxTxid - db.position.txid, this.#pgnos.length);
    db.position = post;
    this.#ctx.emitEntry(db, entry, 'bytes' in stored ? stored.bytes : undefined);
    return post;
  }

  /** Throws the entry away. */
  abort(): void {
    if (!this.#sealed) this.#sink.abort();
    else if ('path' in this.#sealed.stored) fs.rmSync(this.#sealed.stored.path, { force: true });
  }

  /** The XOR of what stays: all pages up to the new end; none when the page size changes. */
  #startXor(): bigint {
    const { sums, pageSize } = this.#db;
    if (pageSize !== this.#header.pageSize) return 0n;
    let xor = sums.xor;
    for (let pgno = this.#header.commit + 1; pgno <= sums.pageCount; pgno++) xor ^= sums.get(pgno);
    return xor;
  }

  #before(pgno: number): bigint {
    return this.#db.pageSize === this.#header.pageSize ? this.#db.sums.get(pgno) : 0n;
  }
}

/**
 * Begins the entry of one transaction that is captured now.
 * @param commit size of the database after it, in pages
 */
export function writeTransaction(
  ctx: EngineContext,
  db: Database,
  pageSize: number,
  commit: number,
): TransactionWriter {
  const timestampMs = ctx.wallClockMs();
  const header = { pageSize, commit, transactions: 1, timestampMs, nodeId: ctx.nodeId };
  return new TransactionWriter(ctx, db, db.nextHeader(header));
}

/** Captures the end of a database: an entry without pages and a size of zero. */
export function writeDrop(ctx: EngineContext, db: Database): Position {
  return writeTransaction(ctx, db, db.pageSize, 0).finish();
}

/** Removes what earlier runs left in the spool directory. */
export function emptySpool(dir: string): void {
  for (const name of fs.readdirSync(dir)) fs.rmSync(path.join(dir, name), { force: true });
}
