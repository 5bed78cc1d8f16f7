/**
 * The -wal and the -shm of a replica's database as its readers need them, who can make neither. Both are there from before the
 * mount on, and after each change of either, whenever readers can reach a database in WAL mode:
 *
 * - the -wal begins with the header of db.wal.cursor;
 * - the wal-index says that it ends at that cursor: both copies of its header, and the page of each frame in its tables;
 * - both belong to the owner of the database, and the -wal has its mode;
 * - exactly the users who may read the database may write the -shm: SQLite's readers take locks on it, and note in it what they
 *   read. So we believe nothing that it says but locks and read marks;
 * - we hold the deadman switch. Without that, the first connection to come cuts the -shm, to make the index once more. The mount
 *   leaves that out (../mount/sqlite-policy.ts), so it does not matter when we take it; but a reader that may not write the -shm,
 *   as in a container, trusts an index only while another connection has it.
 */
import assert from 'node:assert';
import fs from 'node:fs';
import { DB_HEADER_BYTES, parseDbHeader } from '../sqlite/db-header.ts';
import { DMS_BYTE, WAL_LOCK_BASE, WAL_WRITE_SLOT } from '../sqlite/locks.ts';
import {
  encodeWalHeader,
  parseWalHeader,
  WAL_HEADER_BYTES,
  type WalCursor,
  walCursorAtStart,
} from '../sqlite/wal.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';
import { rest, whenLookedUp } from './rest.ts';
import type { Task } from './scheduler.ts';

const WRITE_LOCK = WAL_LOCK_BASE + WAL_WRITE_SLOT;
const LOCK_REST_MS = 1;
/** For all databases together. */
const PATIENCE_MS = 500;
/** Of a file that is not complete. */
const OURS_ALONE = 0o600;

/** What readers find in the database, or will. */
export interface DatabaseShape {
  /** Bytes. */
  readonly pageSize: number;
  readonly pageCount: number;
  /** The file, when it does not have the database's name yet. */
  readonly path?: string;
}

/**
 * Makes it so. Waits while another's lock is in the way. Unless the -wal is followed already, the caller has the database
 * locked, or nobody can reach it. Throws what the disk says; then it may be called again. WRONG_STATE when the node stops.
 */
export function* letReadersUseWal(
  ctx: EngineContext,
  db: Database,
  shape: DatabaseShape = db,
): Task<void> {
  while (!(yield* whenLookedUp(ctx, () => tryLetReadersUseWal(ctx, db, shape)))) {
    yield* rest(ctx, LOCK_REST_MS);
  }
}

/** The same, unless a lock is in the way; then false. Throws OpenWouldBlock too. */
export function tryLetReadersUseWal(
  ctx: EngineContext,
  db: Database,
  shape: DatabaseShape = db,
): boolean {
  const taken = takeWal(ctx, db, shape);
  if (taken) leaveWal(db);
  return taken;
}

/** The same, and the write lock of the -wal is held, until leaveWal(). */
export function takeWal(ctx: EngineContext, db: Database, shape: DatabaseShape = db): boolean {
  db.files.create('shm', OURS_ALONE);
  if (!db.files.lock('shm', 'read', DMS_BYTE, 1)) return false;
  if (!db.files.lock('shm', 'write', WRITE_LOCK, 1)) return false;
  try {
    const fresh = db.wal.cursor ? undefined : firstHeader(ctx, db, shape.pageSize);
    const cursor = fresh ? cursorBehind(fresh) : (db.wal.cursor as WalCursor);
    if (!db.index.isAt(cursor)) db.index.rebuild(cursor, db.wal.pages, shape.pageCount);
    // Last, since a -wal is what makes readers look for an index.
    db.files.create('wal', OURS_ALONE);
    if (fresh) {
      db.files.truncate('wal', 0);
      db.files.write('wal', fresh, 0);
      db.forgetWal();
      db.wal.cursor = cursor;
    }
    if (!db.lent) giveToReaders(db, shape.path);
    return true;
  } catch (error) {
    leaveWal(db);
    throw error;
  }
}

/** Before the mount, when no reader can come. The locks end with our descriptors. Throws what the disk says. */
export function prepareForReaders(ctx: EngineContext, db: Database): void {
  if (db.pageCount > 0 && asksForWal(db)) tryLetReadersUseWal(ctx, db);
}

/**
 * Once it is mounted: all that is left are our locks. Readers do not need them, so a start waits for those of others for a
 * moment only; the next transaction takes them. `failed` is told which database cannot be had.
 */
export function* attachForReaders(
  ctx: EngineContext,
  databases: Iterable<Database>,
  failed: (db: Database, error: unknown) => void,
): Task<void> {
  let patienceMs = PATIENCE_MS;
  for (const db of databases) {
    yield;
    if (db.pageCount === 0) continue;
    try {
      db.files.refuseOthers();
      if (!asksForWal(db)) continue;
      while (!tryLetReadersUseWal(ctx, db) && patienceMs > 0) {
        patienceMs -= LOCK_REST_MS;
        yield LOCK_REST_MS;
      }
    } catch (error) {
      failed(db, error);
    }
  }
}

/** Lets go of its write lock, unless it is held for another node. */
export function leaveWal(db: Database): void {
  if (!db.lent) db.files.lock('shm', 'unlock', WRITE_LOCK, 1);
}

/** Whether the file itself asks its readers for a -wal. */
export function asksForWal(db: Database): boolean {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  return parseDbHeader(head)?.writeVersion === 2;
}

/** The permissions of a -shm: who may read the database may read and write it. */
export function shmMode(databaseMode: number): number {
  const readers = databaseMode & 0o444;
  return readers | (readers >> 1);
}

/** As the database's are now: an administrator may have changed them. The -shm first, for the -wal leads to it. */
function giveToReaders(db: Database, path?: string): void {
  const ownership = path === undefined ? db.files.ownership('db') : fs.lstatSync(path);
  assert(ownership, `${db.name} is not there`);
  const { mode, uid, gid } = ownership;
  db.files.own('shm', { mode: shmMode(mode), uid, gid });
  db.files.own('wal', { mode: mode & 0o666, uid, gid });
}

/** Of a -wal that is not followed: all that was in it is in the database. */
function firstHeader(ctx: EngineContext, db: Database, pageSize: number): Buffer {
  const head = Buffer.alloc(WAL_HEADER_BYTES);
  const read = db.files.read('wal', head, 0);
  const existing = read === WAL_HEADER_BYTES ? parseWalHeader(head) : undefined;
  assert(!existing || db.files.size('wal') === WAL_HEADER_BYTES, `${db.name}-wal was not followed`);
  return encodeWalHeader({
    bigEndian: false,
    pageSize,
    checkpointSequence: 0,
    salt1: ctx.random32(),
    salt2: ctx.random32(),
  });
}

function cursorBehind(header: Buffer): WalCursor {
  const parsed = parseWalHeader(header);
  assert(parsed, 'a -wal header that we made is not one');
  return walCursorAtStart(parsed);
}
