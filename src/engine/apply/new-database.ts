/**
 * A database that comes to be on a replica, and one that goes. No reader may ever see one without its -wal: who opens such a
 * file reads it by rollback-journal rules from then on, and notices nothing that goes into a -wal. So -wal and -shm are there
 * before the database has its name.
 */
import fs from 'node:fs';
import { EXCLUSIVE_SIZE, PENDING_BYTE } from '../../sqlite/locks.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { insist } from '../core/insist.ts';
import { rest } from '../tasks/rest.ts';
import type { Task } from '../tasks/scheduler.ts';
import { forgetOwnership, prepareOwnership } from './replica-ownership.ts';
import type { StagedImage } from './staged-image.ts';

const LOCK_REST_MS = 1;

/**
 * The staged pages become the database. `moveOn` takes it into the log, or begins that anew, when the disk has them where
 * redo.ts finds them; what it throws is thrown, and nothing has changed. After that it is tried until the disk agrees.
 */
export function* makeDatabase(
  ctx: EngineContext,
  db: Database,
  image: StagedImage,
  pageCount: number,
  moveOn: () => void,
): Task<void> {
  db.files.refuseInPlace();
  image.keepAs(db.imageFile, pageCount);
  try {
    moveOn();
  } catch (error) {
    fs.rmSync(db.imageFile, { force: true });
    throw error;
  }
  yield* insist(ctx, db, function* () {
    prepareOwnership(ctx, db, db.imageFile);
    if (!link(ctx, db, image, pageCount)) yield* fill(ctx, db, image, pageCount);
    fs.rmSync(db.imageFile, { force: true });
  });
}

/** false when there is another file of that name. */
function link(ctx: EngineContext, db: Database, image: StagedImage, pageCount: number): boolean {
  if (db.files.exists('db')) return isLinked(db);
  db.files.refuseInPlace();
  db.owner.make(image.pageSize, pageCount, ctx.random32, db.imageFile);
  return db.files.linkIn(db.imageFile);
}

/** By an attempt before this one. */
function isLinked(db: Database): boolean {
  const { ino } = fs.lstatSync(db.imageFile, { bigint: true });
  return db.files.tree.stat(db.name)?.ino === ino;
}

/** An application has made an empty file of that name, and may have it open. */
function* fill(
  ctx: EngineContext,
  db: Database,
  image: StagedImage,
  pageCount: number,
): Task<void> {
  yield* lockedOut(ctx, db, () => {
    const like = fs.statSync(db.imageFile);
    db.files.own('db', { uid: like.uid, gid: like.gid, mode: like.mode & 0o777 });
    db.owner.make(image.pageSize, pageCount, ctx.random32);
    for (const { pgno, data } of image.pages()) {
      if (pgno <= pageCount) db.files.write('db', data, (pgno - 1) * image.pageSize);
    }
    db.files.truncate('db', pageCount * image.pageSize);
    db.files.sync('db');
  });
}

/**
 * A database that had something in the way when the node started has no -wal yet, and readers may have come. Makes it; nothing
 * where there is one.
 */
export function* makeMissingWal(ctx: EngineContext, db: Database): Task<void> {
  if (db.pageCount === 0 || db.wal.cursor) return;
  yield* lockedOut(ctx, db, () => db.owner.make(db.pageSize, db.pageCount, ctx.random32));
}

/** Under EXCLUSIVE, which waits for readers to end. */
function* lockedOut(ctx: EngineContext, db: Database, work: () => void): Task<void> {
  while (!db.files.lock('db', 'write', PENDING_BYTE, EXCLUSIVE_SIZE))
    yield* rest(ctx, LOCK_REST_MS);
  try {
    work();
  } finally {
    db.files.lock('db', 'unlock', PENDING_BYTE, EXCLUSIVE_SIZE);
  }
}

/**
 * Removes the files of a dropped database; who still reads keeps what it has open. The database goes first: without
 * its -wal it would be an older one to whoever opens it in between. To whom the next of that name belongs is told anew.
 */
export function dropFiles(db: Database): void {
  db.forgetWal();
  db.files.unlink('db');
  db.files.unlink('wal');
  db.files.unlink('shm');
  forgetOwnership(db);
}
