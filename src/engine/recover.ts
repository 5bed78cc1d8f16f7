/**
 * What a start does before mounting, with the backing tree to itself: finish what SQLite left unfinished, and
 * find out where each database stands.
 *
 * After a clean stop the marker says that nothing has changed since, and the page checksums are taken as they are.
 * Otherwise every page is compared with them: on a primary what differs becomes a transaction; on a
 * replica it is redone from the log, and what cannot be is left to a resync.
 */
import fs from 'node:fs';
import { LiteFsError } from '../errors.ts';
import { pageChecksum } from '../kernels/checksum.ts';
import { LtxDecoder } from '../ltx/decoder.ts';
import { ZERO_POSITION } from '../ltx/position.ts';
import { fileSource } from '../ltx/sources.ts';
import {
  DB_HEADER_BYTES,
  databasePageCount,
  isDatabaseHeader,
  lockPageNumber,
  parseDbHeader,
} from '../sqlite/db-header.ts';
import type { StoredEntry } from '../store/log-files.ts';
import { lookAt, sameLook, takeMarker } from '../store/marker.ts';
import { PageSums } from '../store/page-sums.ts';
import { loadPageSums, savePageSums } from '../store/page-sums-file.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { captureDifference } from './diff.ts';
import type { Role } from './protocol.ts';
import type { Task } from './scheduler.ts';
import { finishSqliteRecovery } from './sqlite-recovery.ts';
import { finishUnfinished } from './unfinished.ts';

/** In which the node serves from now on, and in which it last did. */
export interface Roles {
  readonly role: Role;
  readonly formerRole: Role;
}

/** A database above this that has no history is not copied into the log: replicas get its pages. */
const ADOPT_BYTES_MIN = 16 << 20;

/**
 * Brings one database into a known state. Throws DATABASE_CORRUPT when it cannot be understood, DISK when the disk does
 * not let us.
 *
 * What differs from the log was committed here if the node was a primary: it is captured, also when the node is a replica
 * from now on, which then keeps it aside. If it was a replica, it is a transaction that was half applied.
 */
export function* recoverDatabase(
  ctx: EngineContext,
  db: Database,
  { role, formerRole }: Roles,
): Task<void> {
  const marker = takeMarker(db.markerFile);
  const file = db.files.backingPath('db');
  const clean =
    marker !== undefined &&
    sameLook(marker.database, lookAt(file)) &&
    sameLook(marker.wal, lookAt(db.files.backingPath('wal')));
  finishUnfinished(db);
  finishSqliteRecovery(db);
  let known = restoreSums(ctx, db);
  if (known && clean && marker.position.txid === db.position.txid) {
    db.changeCounter = readChangeCounter(db);
    return;
  }
  if (!fs.existsSync(file) && db.pageCount === 0) return;
  if (formerRole === 'replica') {
    yield* redo(ctx, db, known);
    if (role === 'replica' || db.position.txid > 0) return;
    // Nobody is left who knows better than the file.
    db.sums = new PageSums();
    known = false;
  }
  if (db.files.size('db') >= ADOPT_BYTES_MIN && !known) {
    yield* adopt(ctx, db);
    return;
  }
  if (fs.existsSync(file) && db.pageCount > 0) {
    ctx.log('info', `${db.name}: comparing every page after an unclean stop`, {
      database: db.name,
    });
  }
  const result = yield* captureDifference(ctx, db, 'file');
  if (result === 'not-a-database') throw notADatabase(db);
}

/** Where a database stood whose pages cannot be used: the position alone. */
export function restorePosition(ctx: EngineContext, db: Database): void {
  restoreSums(ctx, db);
  db.sums = new PageSums();
  db.pageSize = 0;
}

/**
 * Page checksums and position, from the table on disk and the log entries after it. false when they do not fit:
 * then the position is the newest that is known, and nothing is known of the pages.
 */
function restoreSums(ctx: EngineContext, db: Database): boolean {
  const stored = loadPageSums(db.sumsFile);
  if (stored) setAsideShortLog(ctx, db, stored.position.txid);
  const { first, last } = db.log;
  if (stored) {
    db.sums = stored.sums;
    db.pageSize = stored.pageSize;
    db.position = stored.position;
  }
  // A log from the first transaction on needs no table to begin with.
  if (stored || first?.minTxid === 1) {
    db.sumsSavedTxid = db.position.txid;
    for (const entry of db.log.entriesAfter(db.position.txid)) replay(db, entry);
    const target = last && last.maxTxid >= db.position.txid ? last.post : db.position;
    if (db.sums.checksum === target.checksum) {
      db.position = target;
      return true;
    }
  }
  db.sums = new PageSums();
  db.pageSize = 0;
  db.sumsSavedTxid = 0;
  db.position = last?.post ?? stored?.position ?? ZERO_POSITION;
  return last !== undefined && db.position.checksum === 0n;
}

/**
 * A log that has lost its end, as after a power failure or damage, cannot go on where the table is. Its numbers are not
 * given out anew: replicas may have those transactions.
 */
function setAsideShortLog(ctx: EngineContext, db: Database, txid: number): void {
  const { last } = db.log;
  if (!last || last.maxTxid >= txid) return;
  db.log.setAside();
  ctx.log(
    'warn',
    `${db.name}: its log ends at transaction ${last.maxTxid}, though ${txid} is known: it was set aside, and begins anew`,
    { database: db.name },
  );
}

/** Moves the table over one entry. A damaged one leaves it wrong, which the checksum tells. */
function replay(db: Database, entry: StoredEntry): void {
  const fd = fs.openSync(entry.path, 'r');
  try {
    const decoder = new LtxDecoder(fileSource(fd, entry.offset, entry.length));
    if (decoder.header.pageSize !== db.pageSize) db.sums.clear();
    db.pageSize = decoder.header.pageSize;
    db.sums.resize(decoder.header.commit);
    for (let page = decoder.next(); page; page = decoder.next()) {
      db.sums.set(page.pgno, pageChecksum(page.pgno, page.data));
    }
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
  } finally {
    fs.closeSync(fd);
  }
}

/** A large database without a usable history: its pages are known from now on, the log begins here. */
function* adopt(ctx: EngineContext, db: Database): Task<void> {
  const before = db.position.txid;
  ctx.log('info', `${db.name}: reading every page once, to know their checksums`, {
    database: db.name,
  });
  yield* sumPages(db);
  db.log.reset();
  db.position = { txid: before + 1, checksum: db.sums.checksum };
  savePageSums(db.sumsFile, db.sums, db.position, db.pageSize);
  db.sumsSavedTxid = db.position.txid;
}

/** Computes the table from the file as it is. */
function* sumPages(db: Database): Task<void> {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  const header = parseDbHeader(head);
  if (!header) throw notADatabase(db);
  const { pageSize } = header;
  const pageCount = databasePageCount(header, db.files.size('db'));
  db.sums = new PageSums(pageCount);
  db.sums.resize(pageCount);
  db.pageSize = pageSize;
  db.changeCounter = header.changeCounter;
  yield* eachPage(db, pageCount, (pgno, sum) => db.sums.set(pgno, sum));
  fs.rmSync(db.sumsFile, { force: true });
}

/**
 * A replica: pages that are not what the table says are written anew from the log. If some are left, the
 * position is given up: the primary then sends the pages that differ.
 */
function* redo(ctx: EngineContext, db: Database, known: boolean): Task<void> {
  const { position, pageSize, pageCount } = db;
  if (known && pageCount > 0 && fs.existsSync(db.files.backingPath('db'))) {
    ctx.log('info', `${db.name}: checking every page after an unclean stop`, { database: db.name });
    const wrong = new Set<number>();
    yield* eachPage(db, pageCount, (pgno, sum) => {
      if (sum !== db.sums.get(pgno)) wrong.add(pgno);
    });
    yield* rewriteFromLog(ctx, db, wrong);
    if (wrong.size === 0) {
      db.files.truncate('db', pageCount * pageSize);
      db.files.sync('db');
      return;
    }
  }
  if (known && pageCount === 0) {
    fs.rmSync(db.files.backingPath('db'), { force: true });
    return;
  }
  if (fs.existsSync(db.files.backingPath('db'))) yield* sumPages(db);
  else db.sums = new PageSums();
  db.log.reset();
  db.position = ZERO_POSITION;
  ctx.log(
    'warn',
    `${db.name}: not all of it is what it was at ${position.txid}; it will be resynchronised`,
    {
      database: db.name,
    },
  );
}

/** Newest entries first: the first image found of a page is the one to write. Clears `wrong` as it goes. */
function* rewriteFromLog(ctx: EngineContext, db: Database, wrong: Set<number>): Task<void> {
  const entries = [...db.log.entriesAfter(0)].reverse();
  for (const entry of entries) {
    if (wrong.size === 0) return;
    const fd = fs.openSync(entry.path, 'r');
    try {
      const decoder = new LtxDecoder(fileSource(fd, entry.offset, entry.length));
      if (decoder.header.pageSize !== db.pageSize) return;
      for (let page = decoder.next(); page; page = decoder.next()) {
        if (!wrong.has(page.pgno)) continue;
        if (pageChecksum(page.pgno, page.data) !== db.sums.get(page.pgno)) continue;
        db.files.write('db', page.data, (page.pgno - 1) * db.pageSize);
        wrong.delete(page.pgno);
      }
    } catch (error) {
      // What a damaged entry held is fetched from the primary.
      if (!(error instanceof LiteFsError) || error.code !== 'LTX_CORRUPT') throw error;
      ctx.log('warn', `${db.name}: ${entry.path} is damaged: ${error.message}`, {
        database: db.name,
      });
    } finally {
      fs.closeSync(fd);
    }
    yield;
  }
}

const SCAN_BYTES = 1 << 20;

/** Calls back with the checksum of every page of the file, but the lock page; past its end pages are zero. */
function* eachPage(
  db: Database,
  pageCount: number,
  visit: (pgno: number, sum: bigint) => void,
): Task<void> {
  const { pageSize } = db;
  const perChunk = Math.max(1, Math.floor(SCAN_BYTES / pageSize));
  const chunk = Buffer.allocUnsafeSlow(perChunk * pageSize);
  const lockPage = lockPageNumber(pageSize);
  for (let first = 1; first <= pageCount; first += perChunk) {
    const count = Math.min(perChunk, pageCount - first + 1);
    const read = db.files.read('db', chunk.subarray(0, count * pageSize), (first - 1) * pageSize);
    chunk.fill(0, read, count * pageSize);
    for (let i = 0; i < count; i++) {
      const pgno = first + i;
      if (pgno === lockPage) continue;
      visit(pgno, pageChecksum(pgno, chunk.subarray(i * pageSize, (i + 1) * pageSize)));
    }
    yield;
  }
}

function readChangeCounter(db: Database): number {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  return parseDbHeader(head)?.changeCounter ?? 0;
}

function notADatabase(db: Database): LiteFsError {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  const what = isDatabaseHeader(head) ? 'has a damaged header' : 'is no SQLite database any more';
  return new LiteFsError('DATABASE_CORRUPT', `${db.name} ${what}`, {
    hint: "It was set aside in quarantine/ below data.dir; put a replica's copy or a snapshot in its place.",
  });
}
