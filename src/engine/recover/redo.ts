/**
 * A replica after an unclean stop: makes the database file what its position says. Pages that are not what the table says
 * are looked for in the log, which was on the disk before they were written over the file (files.ts), in the -wal, and in the
 * image of what was about to become the database (apply/new-database.ts).
 *
 * Invariant: the first byte is written when all of them have been found. Else the files are left alone, for SQLite or a
 * person to make something of, and DATABASE_CORRUPT is thrown: the caller sets them aside.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../../errors.ts';
import { pageChecksum } from '../../kernels/checksum.ts';
import { LtxDecoder } from '../../ltx/decoder.ts';
import { fileSource } from '../../ltx/sources.ts';
import {
  frameOffset,
  parseWalHeader,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
} from '../../sqlite/wal.ts';
import type { StoredEntry } from '../../store/log-files.ts';
import { keepUnknown } from '../apply/divergence.ts';
import { StagedImage } from '../apply/staged-image.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { eachPageSum } from '../read/page-scan.ts';
import type { Task } from '../tasks/scheduler.ts';

const PAGES_PER_STEP = 256;

/** `known`: whether the table of page checksums is that of the position. Throws DATABASE_CORRUPT; nothing is changed then. */
export function* redo(ctx: EngineContext, db: Database, known: boolean): Task<void> {
  if (!known) {
    if (!db.files.exists('db')) return;
    throw unknown(db, 'what its pages should be is not known any more');
  }
  if (db.pageCount === 0) {
    // What is left of it, or what was put there since: that cannot be told.
    keepUnknown(ctx, db, db.position);
    for (const kind of ['db', 'wal', 'shm'] as const) db.files.unlink(kind);
    return;
  }
  if (!db.files.exists('db')) moveImageIntoPlace(db);
  ctx.log('info', `${db.name}: checking every page after an unclean stop`, { database: db.name });
  const wrong = new Set<number>();
  yield* eachPageSum(db, db.pageCount, (pgno, sum) => {
    if (sum !== db.sums.get(pgno)) wrong.add(pgno);
  });
  const staged = new StagedImage(path.join(ctx.layout.spool, `redo-${randomUUID()}`), db.pageSize);
  try {
    yield* findInLog(ctx, db, wrong, staged);
    yield* findInWal(db, wrong, staged);
    findInImage(db, wrong, staged);
    if (wrong.size > 0) {
      throw unknown(db, `${wrong.size} of its pages are neither in its file nor in its log`);
    }
    yield* writeStaged(db, staged);
  } finally {
    staged.remove();
  }
  db.files.close('wal');
  for (const kind of ['wal', 'shm'] as const) db.files.unlink(kind);
}

/** A new database was about to get its name. */
function moveImageIntoPlace(db: Database): void {
  if (!fs.existsSync(db.imageFile)) throw unknown(db, 'its file is missing');
  db.files.moveIn(db.imageFile);
}

function* writeStaged(db: Database, staged: StagedImage): Task<void> {
  let count = 0;
  for (const { pgno, data } of staged.pages()) {
    db.files.write('db', data, (pgno - 1) * db.pageSize);
    if (++count % PAGES_PER_STEP === 0) yield;
  }
  db.files.truncate('db', db.pageCount * db.pageSize);
  // The -wal goes after this.
  db.files.sync('db');
}

/** Newest entries first: most pages are in the last ones. Takes what it finds out of `wrong`. */
function* findInLog(
  ctx: EngineContext,
  db: Database,
  wrong: Set<number>,
  staged: StagedImage,
): Task<void> {
  for (const entry of [...db.log.entriesAfter(0)].reverse()) {
    if (wrong.size === 0) return;
    if (entry.pageSize !== db.pageSize) continue;
    stageFrom(ctx, db, entry, wrong, staged);
    yield;
  }
}

function stageFrom(
  ctx: EngineContext,
  db: Database,
  entry: StoredEntry,
  wrong: Set<number>,
  staged: StagedImage,
): void {
  const fd = fs.openSync(entry.path, 'r');
  try {
    const decoder = new LtxDecoder(fileSource(fd, entry.offset, entry.length));
    for (let page = decoder.next(); page; page = decoder.next()) {
      stageIfRight(db, page.pgno, page.data, wrong, staged);
    }
  } catch (error) {
    if (!(error instanceof LiteFsError) || error.code !== 'LTX_CORRUPT') throw error;
    ctx.log('warn', `${db.name}: ${entry.path} is damaged: ${error.message}`, {
      database: db.name,
    });
  } finally {
    fs.closeSync(fd);
  }
}

/** Whatever state the -wal is in: a page is right when its checksum is. */
function* findInWal(db: Database, wrong: Set<number>, staged: StagedImage): Task<void> {
  const head = Buffer.alloc(WAL_HEADER_BYTES);
  if (wrong.size === 0 || db.files.read('wal', head, 0) < WAL_HEADER_BYTES) return;
  const { pageSize } = db;
  if (parseWalHeader(head)?.pageSize !== pageSize) return;
  const frame = Buffer.alloc(WAL_FRAME_HEADER_BYTES + pageSize);
  for (let number = 1; wrong.size > 0; number++) {
    if (db.files.read('wal', frame, frameOffset(number, pageSize)) < frame.length) return;
    const data = frame.subarray(WAL_FRAME_HEADER_BYTES);
    stageIfRight(db, frame.readUInt32BE(0), data, wrong, staged);
    if (number % PAGES_PER_STEP === 0) yield;
  }
}

function findInImage(db: Database, wrong: Set<number>, staged: StagedImage): void {
  if (wrong.size === 0 || !fs.existsSync(db.imageFile)) return;
  const fd = fs.openSync(db.imageFile, 'r');
  try {
    const page = Buffer.alloc(db.pageSize);
    for (const pgno of [...wrong].sort((a, b) => a - b)) {
      const read = fs.readSync(fd, page, 0, page.length, (pgno - 1) * page.length);
      if (read === page.length) stageIfRight(db, pgno, page, wrong, staged);
    }
  } finally {
    fs.closeSync(fd);
  }
}

function stageIfRight(
  db: Database,
  pgno: number,
  data: Uint8Array,
  wrong: Set<number>,
  staged: StagedImage,
): void {
  if (!wrong.has(pgno) || pageChecksum(pgno, data) !== db.sums.get(pgno)) return;
  staged.put(pgno, data);
  wrong.delete(pgno);
}

function unknown(db: Database, why: string): LiteFsError {
  return new LiteFsError(
    'DATABASE_CORRUPT',
    `${db.name} cannot be made what it was before the unclean stop: ${why}`,
    { hint: 'It was set aside in quarantine/ below data.dir. A replica gets it from its primary.' },
  );
}
