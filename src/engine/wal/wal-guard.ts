/**
 * Holds a -wal whose writers do not sync its header (synchronous=OFF), so that the mount cannot hold them up: a read mark, by
 * SQLite's reader protocol, keeps the -wal from being started over while something in it is not captured.
 *
 * - Through slots 1 to 4 nothing is started over. The next one is taken before the last one is let go.
 * - Through slot 0, taken when all is captured and in the database file, the -wal can be started over once, and nothing is
 *   copied to the file behind that: what was captured is all there was, and the new generation stays until it is captured.
 *
 * Past a bound the -wal is let go: its writer then starts it over, and what was missed is found by a comparison.
 */
import fs from 'node:fs';
import { WAL_FRAME_HEADER_BYTES } from '../../sqlite/wal.ts';
import { beginRead, endRead, isMarked, type WalRead } from '../../sqlite/wal-locks.ts';
import type { HasFiles } from '../files/files.ts';
import { shmAccess } from '../files/shm-access.ts';
import { sameSalts, type WalFollowed } from './wal-follow.ts';
import { readWalIndex, type WalIndexView } from './wal-index-file.ts';

/** A -wal may grow to this, or to the size of its database, before it is let go. */
const HELD_BYTES_MIN = 16 << 20;
const ATTEMPTS = 20;

/** What it has to know of a database. */
export interface Guarded extends HasFiles {
  readonly pageSize: number;
  readonly pageCount: number;
  readonly wal: { readonly followed: WalFollowed };
  readonly writes: { readonly count: number };
}

interface Events {
  /** Has all events told that have happened until now. */
  drainEvents(): void;
}

interface Hold {
  readonly fd: number;
  readonly read: WalRead;
  /** How often the database file had been written then. */
  readonly writes: number;
}

export class WalGuard {
  #hold: Hold | undefined;

  /**
   * Whether nothing uncaptured can lie between the captured end of the generation and the next one. A connection that went over
   * to locking_mode=EXCLUSIVE heeds no mark; but it must write to the database file before it starts over what it has committed.
   */
  holdsEnd(ctx: Events, db: Guarded): boolean {
    const hold = this.#hold;
    if (hold?.read.slot !== 0) return false;
    ctx.drainEvents();
    return db.writes.count === hold.writes;
  }

  /** After a capture: holds what is behind it. Never waits, and keeps what it has when it cannot get the next. */
  advance(ctx: Events, db: Guarded): void {
    const { generation, frame } = db.wal.followed;
    const index = generation && readWalIndex(db.files);
    // A connection that recovers the index needs all slots, in old versions of SQLite for good.
    if (index === 'unused' || index === 'unstable') this.release(db);
    if (!index || typeof index === 'string' || !sameSalts(index, generation)) return;
    if (isTooLong(db, index.mxFrame * (generation.pageSize + WAL_FRAME_HEADER_BYTES))) {
      this.release(db);
      return;
    }
    const isAllCaptured = index.mxFrame === frame;
    const isInFile = isAllCaptured && index.backfilled === frame;
    const before = this.#hold;
    if (before && this.#isGood(db, before, index, isInFile)) return;
    ctx.drainEvents();
    const next = this.#take(db, isInFile ? frame : undefined);
    if (!next) return;
    this.release(db);
    this.#hold = next;
  }

  /** Lets go; also of what a connection that has died left behind. */
  release(db: Guarded): void {
    const hold = this.#hold;
    if (!hold) return;
    this.#hold = undefined;
    endRead(shmAccess(db.files, hold.fd), hold.read);
    fs.closeSync(hold.fd);
  }

  /** Whether there is nothing better to hold. Another connection that recovers the index resets the marks. */
  #isGood(db: Guarded, { fd, read }: Hold, index: WalIndexView, isInFile: boolean): boolean {
    if (!sameSalts(read.header, index)) return false;
    if (read.slot === 0) return isInFile;
    return !isInFile && read.mark === index.mxFrame && isMarked(shmAccess(db.files, fd), read);
  }

  /** `end`: the frame at which slot 0 may be taken. */
  #take(db: Guarded, end: number | undefined): Hold | undefined {
    const fd = db.files.openAgain('shm', 'r+');
    if (fd === undefined) return undefined;
    const shm = shmAccess(db.files, fd);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const read = beginRead(shm, { fromFile: end !== undefined });
      if (read === 'busy') break;
      if (read === 'retry') continue;
      if (read.slot > 0 || read.header.mxFrame === end) {
        return { fd, read, writes: db.writes.count };
      }
      endRead(shm, read);
    }
    fs.closeSync(fd);
    return undefined;
  }
}

function isTooLong(db: Guarded, walBytes: number): boolean {
  return walBytes > Math.max(HELD_BYTES_MIN, db.pageCount * db.pageSize);
}
