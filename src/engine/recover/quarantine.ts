/**
 * A database that cannot be understood is moved out of the way: one bad database must not stop the others.
 *
 * On a primary the name keeps its position, over restarts by a note (state/<db>.aside): replicas are not told that it
 * was dropped, and what takes its name next is captured as the transaction that follows.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, isNotAFile, LiteFsError } from '../../errors.ts';
import { ZERO_POSITION } from '../../ltx/position.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { type Roles, recoverDatabase, restorePosition, restoreUnseen } from './recover.ts';

/**
 * As recoverDatabase(), but a database that cannot be understood, now or at an earlier start, is set aside: db.aside says
 * why. false when nothing is left that is to be known of it. Throws DISK.
 *
 * Where SQLite has something to finish and would meet a link or the like in doing so, a primary leaves all as it is, to be
 * captured when that has gone; a replica can have all of it again.
 */
export function recoverOrQuarantine(ctx: EngineContext, db: Database, roles: Roles): boolean {
  const note = readNote(db);
  if (note !== undefined && !db.files.exists('db')) {
    const isKept = keepPlace(ctx, db, note, roles);
    if (!isKept) forget(db);
    return isKept;
  }
  try {
    ctx.recovering?.(db);
    for (const _ of recoverDatabase(ctx, db, roles)) ctx.recovering?.(db);
  } catch (error) {
    if (isNotAFile(error) && roles.role === 'primary') {
      restoreUnseen(ctx, db, roles);
      return true;
    }
    const isCorrupt = error instanceof LiteFsError && error.code === 'DATABASE_CORRUPT';
    if (!isCorrupt && !isNotAFile(error)) throw error;
    const isKept = keepPlace(ctx, db, errorText(error), roles);
    moveAway(ctx, db, errorText(error));
    // Last: of files that are still there, and that nothing is known of, the next start would think they were put there.
    if (!isKept) forget(db);
    return isKept;
  }
  forgetNote(db);
  // The file has it, or it was not begun.
  fs.rmSync(db.imageFile, { force: true });
  return true;
}

/** Whether replicas are to keep what they have of a database of which nothing is known here but where it stood. */
export function isKeptByReplicas(db: Database): boolean {
  return (
    db.aside !== undefined ||
    (db.pageCount === 0 && db.position.txid > 0 && db.suspicion !== undefined)
  );
}

/** Another database has taken the name of one that was set aside. */
export function endQuarantine(db: Database): void {
  db.aside = undefined;
  forgetNote(db);
}

/** On a primary that had captured it; whether it is one. */
function keepPlace(ctx: EngineContext, db: Database, reason: string, roles: Roles): boolean {
  db.files.close();
  restorePosition(ctx, db, roles);
  if (roles.role !== 'primary' || db.position.txid === 0) return false;
  db.aside = reason;
  fs.writeFileSync(db.asideFile, `${reason}\n`, { mode: 0o600, flush: true });
  return true;
}

/** A replica gets it anew, and begins with nothing; so does a primary that never captured it. */
function forget(db: Database): void {
  db.log.setAside();
  db.position = ZERO_POSITION;
  fs.rmSync(db.sumsFile, { force: true });
  fs.rmSync(db.imageFile, { force: true });
  forgetNote(db);
}

/** Moves the database and its companions to quarantine/<time>/. */
function moveAway(ctx: EngineContext, db: Database, reason: string): void {
  const when = new Date(ctx.wallClockMs()).toISOString().replace(/[:.]/g, '-');
  const dir = path.join(ctx.layout.quarantine, `${db.encoded}-${when}`);
  fs.mkdirSync(dir, { recursive: true });
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    db.files.tree.moveOut(db.name + suffix, path.join(dir, `${db.encoded}${suffix}`));
  }
  ctx.log('error', `${reason}; its files are in ${dir} now`, { database: db.name });
}

function readNote(db: Database): string | undefined {
  try {
    return fs.readFileSync(db.asideFile, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function forgetNote(db: Database): void {
  fs.rmSync(db.asideFile, { force: true });
}
