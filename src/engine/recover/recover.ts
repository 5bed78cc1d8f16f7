/**
 * What a start does before mounting, with the backing tree to itself: finish what SQLite left unfinished, and
 * find out where each database stands.
 *
 * After a clean stop the marker says that nothing has changed since, and the page checksums are taken as they are. That counts
 * only if the -wal, too, gives what was captured from it.
 * Otherwise every page is compared with them: on a primary what differs becomes a transaction; on a
 * replica it is redone (redo.ts), or the database is set aside.
 */
import fs from 'node:fs';
import { LiteFsError } from '../../errors.ts';
import { pageChecksum } from '../../kernels/checksum.ts';
import { LtxDecoder } from '../../ltx/decoder.ts';
import { ZERO_POSITION } from '../../ltx/position.ts';
import { fileSource } from '../../ltx/sources.ts';
import {
  DB_HEADER_BYTES,
  databasePageCount,
  isDatabaseHeader,
  parseDbHeader,
} from '../../sqlite/db-header.ts';
import { WAL_HEADER_BYTES, walCursorAtStart } from '../../sqlite/wal.ts';
import type { StoredEntry } from '../../store/log-files.ts';
import { type Marker, sameLook, takeMarker } from '../../store/marker.ts';
import { PageSums } from '../../store/page-sums.ts';
import { loadPageSums, type StoredSums } from '../../store/page-sums-file.ts';
import { captureDifference } from '../capture/diff.ts';
import type { EngineContext, Role } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { beginLogAnew } from '../core/saved-state.ts';
import { eachPageSum } from '../read/page-scan.ts';
import { refuseUnwritten } from '../read/unwritten.ts';
import type { Task } from '../tasks/scheduler.ts';
import { readWalFileHeader, scanChain } from '../wal/wal-scan.ts';
import { redo } from './redo.ts';
import { finishSqliteRecovery } from './sqlite-recovery.ts';

/** In which the node serves from now on, and in which it last did. */
export interface Roles {
  readonly role: Role;
  readonly formerRole: Role;
}

/** A database above this that has no history is not copied into the log: replicas get its pages. */
const ADOPT_BYTES_MIN = 16 << 20;

/**
 * Brings one database into a known state. Throws DATABASE_CORRUPT when it cannot be understood, or made what its position
 * says: it is as it was then. DISK when the disk does not let us.
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
  const clean =
    marker !== undefined &&
    sameLook(marker.database, db.files.look('db')) &&
    sameLook(marker.wal, db.files.look('wal')) &&
    (yield* walEndsAsMarked(db, marker));
  // A replica's -wal has what its log has. It may have been written before the log was flushed.
  const isRedone = formerRole === 'replica' && !clean && !hasHotJournal(db);
  yield* refuseUnwritten(db);
  if (!isRedone) finishSqliteRecovery(db);
  const known = restoreSums(ctx, db, formerRole);
  // As it is before it is read, and nobody writes to it yet.
  db.writes.seen(db.files.look('db'));
  if (clean && (yield* isWhatItWas(db, marker, known))) {
    db.changeCounter = readHeader(db)?.changeCounter ?? 0;
    return;
  }
  if (!db.files.exists('db') && db.pageCount === 0) {
    // The -wal of a database that had gone.
    finishSqliteRecovery(db);
    return;
  }
  if (formerRole === 'replica') {
    if (known || db.position.txid > 0 || !db.files.exists('db')) {
      yield* redo(ctx, db, known);
      return;
    }
    // Nothing is known of it: it was put there while the node was down.
    if (isRedone) finishSqliteRecovery(db);
    if (role === 'replica') {
      yield* sumPages(db);
      return;
    }
  }
  if (db.files.size('db') >= ADOPT_BYTES_MIN && !known) {
    yield* adopt(ctx, db);
    return;
  }
  if (db.files.exists('db') && db.pageCount > 0) {
    ctx.log('info', `${db.name}: comparing every page after an unclean stop`, {
      database: db.name,
    });
  }
  const result = yield* captureDifference(ctx, db, 'file');
  if (result === 'not-a-database') throw notADatabase(db);
}

/** Where a database stood whose pages cannot be used: the position alone. */
export function restorePosition(ctx: EngineContext, db: Database, { formerRole }: Roles): void {
  restoreSums(ctx, db, formerRole);
  db.sums = new PageSums();
  db.pageSize = 0;
}

/** As the log tells of a database whose files are not to be had yet: what is in them is compared once they are. */
export function restoreUnseen(ctx: EngineContext, db: Database, { formerRole }: Roles): void {
  restoreSums(ctx, db, formerRole);
  db.suspicion = 'its files could not be had at the start';
}

/**
 * What SQLite takes from a -wal is up to the first frame that is not valid. That may be less than was captured by the wal-index,
 * which is no more, or other frames: a look tells of neither.
 */
function* walEndsAsMarked(db: Database, { wal, walEnd }: Marker): Task<boolean> {
  if (!wal || wal.size <= WAL_HEADER_BYTES) return true;
  const header = readWalFileHeader(db);
  const cursor = header && (yield* scanChain(db, walCursorAtStart(header))).cursor;
  // It may be removed next.
  db.files.close('wal');
  return (
    cursor !== undefined &&
    walEnd !== undefined &&
    cursor.frame === walEnd.frame &&
    cursor.checksum1 === walEnd.checksum1 &&
    cursor.checksum2 === walEnd.checksum2
  );
}

/** After a clean stop: whether the table is that of the marker. A table that was lost is made from the file once more. */
function* isWhatItWas(db: Database, marker: Marker, known: boolean): Task<boolean> {
  const { txid, checksum } = marker.position;
  if (known) return db.position.txid === txid && db.position.checksum === checksum;
  if (db.position.txid > txid || !db.files.exists('db')) return false;
  yield* sumPages(db);
  if (db.sums.checksum !== checksum) {
    // Of no position: a comparison with it would find nothing to capture.
    db.sums = new PageSums();
    db.pageSize = 0;
    return false;
  }
  db.position = marker.position;
  return true;
}

/**
 * Page checksums and position, from the table on disk and the log entries after it. false when they do not fit:
 * then the position is the newest that is known, and nothing is known of the pages.
 */
function restoreSums(ctx: EngineContext, db: Database, formerRole: Role): boolean {
  const stored = loadPageSums(db.sumsFile);
  if (stored) {
    setAsideShortLog(ctx, db, stored.position.txid);
    if (formerRole === 'replica') setAsideFormerLog(ctx, db, stored);
    db.sums = stored.sums;
    db.pageSize = stored.pageSize;
    db.position = stored.position;
  }
  // A log from the first transaction on needs no table to begin with.
  if (stored || db.log.first?.minTxid === 1) {
    db.sumsSavedTxid = db.position.txid;
    replayAll(ctx, db);
    // What it was cut off by may have said that it leads further than it does.
    setAsideShortLog(ctx, db, db.position.txid);
    const { last } = db.log;
    const target = last && last.maxTxid >= db.position.txid ? last.post : db.position;
    if (db.sums.checksum === target.checksum) {
      db.position = target;
      return true;
    }
  }
  db.sums = new PageSums();
  db.pageSize = 0;
  db.sumsSavedTxid = 0;
  const { last } = db.log;
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

/**
 * A resync replaces the table, then takes away the log (saved-state.ts). What it left of that when it was interrupted belongs
 * to what the replica had before. Where the log does lead on from the table, the table may be in the middle of a save.
 */
function setAsideFormerLog(ctx: EngineContext, db: Database, { sums, position }: StoredSums): void {
  if (!db.log.last || db.log.contains(position) || sums.checksum !== position.checksum) return;
  db.log.setAside();
  ctx.log('warn', `${db.name}: its log is not of what it was made last: it was set aside`, {
    database: db.name,
  });
}

/** Moves the table over the entries behind it. From one on that cannot be read, the log is cut off. */
function replayAll(ctx: EngineContext, db: Database): void {
  let txid = db.position.txid;
  for (const entry of db.log.entriesAfter(txid)) {
    if (!replay(db, entry)) {
      db.log.cutAfter(txid);
      ctx.log(
        'warn',
        `${db.name}: its log cannot be read behind transaction ${txid}, and was cut off there`,
        { database: db.name },
      );
      return;
    }
    txid = entry.maxTxid;
  }
}

/** Moves the table over one entry; false, with the table as it was, when the entry is damaged. */
function replay(db: Database, entry: StoredEntry): boolean {
  const fd = fs.openSync(entry.path, 'r');
  try {
    const source = () => new LtxDecoder(fileSource(fd, entry.offset, entry.length));
    const pages: [number, bigint][] = [];
    const decoder = source();
    for (let page = decoder.next(); page; page = decoder.next()) {
      pages.push([page.pgno, pageChecksum(page.pgno, page.data)]);
    }
    decoder.finish();
    const { pageSize, commit } = decoder.header;
    if (pageSize !== db.pageSize) db.sums.clear();
    db.pageSize = pageSize;
    db.sums.resize(commit);
    for (const [pgno, sum] of pages) db.sums.set(pgno, sum);
    return true;
  } catch (error) {
    if (!(error instanceof LiteFsError)) throw error;
    return false;
  } finally {
    fs.closeSync(fd);
  }
}

/** A large database without a usable history: its pages are known from now on, the log begins here. */
function* adopt(ctx: EngineContext, db: Database): Task<void> {
  const { txid } = db.position;
  ctx.log('info', `${db.name}: reading every page once, to know their checksums`, {
    database: db.name,
  });
  yield* sumPages(db);
  const { sums, pageSize } = db;
  beginLogAnew(db, { sums, pageSize, position: { txid: txid + 1, checksum: sums.checksum } });
}

/** Computes the table from the file as it is. */
function* sumPages(db: Database): Task<void> {
  const header = readHeader(db);
  if (!header) throw notADatabase(db);
  const { pageSize } = header;
  const pageCount = databasePageCount(header, db.files.size('db'));
  db.sums = new PageSums(pageCount);
  db.sums.resize(pageCount);
  db.pageSize = pageSize;
  db.changeCounter = header.changeCounter;
  yield* eachPageSum(db, pageCount, (pgno, sum) => db.sums.set(pgno, sum));
}

/** A transaction that a writer has left in a rollback journal. */
function hasHotJournal(db: Database): boolean {
  return (db.files.look('journal')?.size ?? 0) > 0;
}

function readHeader(db: Database) {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  return parseDbHeader(head);
}

function notADatabase(db: Database): LiteFsError {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  const what = isDatabaseHeader(head) ? 'has a damaged header' : 'is no SQLite database any more';
  return new LiteFsError('DATABASE_CORRUPT', `${db.name} ${what}`, {
    hint: "It was set aside in quarantine/ below data.dir; put a replica's copy or a snapshot in its place.",
  });
}
