/**
 * Commits a transaction of another node into a database in a rollback-journal mode, as a SQLite writer does: the pages as they
 * were go into a journal, the new ones into the file under EXCLUSIVE, and the end of the journal is the commit. The caller holds
 * RESERVED.
 *
 * What is on disk, in this order: the journal; the entry in the log (files.ts); the pages; the end of the journal. So a crash leaves a hot
 * journal, which the next start rolls back, or a whole transaction that the log has.
 *
 * The journal is made in the backing tree: nobody looks for one while RESERVED is held, and our own is no event of the mount.
 */
import fs from 'node:fs';
import { LiteFsError } from '../../errors.ts';
import { DB_HEADER_BYTES, lockPageNumber, parseDbHeader } from '../../sqlite/db-header.ts';
import { JOURNAL_HEADER_BYTES } from '../../sqlite/journal-format.ts';
import {
  encodeJournalHeader,
  encodeJournalRecord,
  JOURNAL_SECTOR_BYTES,
} from '../../sqlite/journal-write.ts';
import { EXCLUSIVE_SIZE, PENDING_BYTE, SHARED_FIRST, SHARED_SIZE } from '../../sqlite/locks.ts';
import { eachPage, record } from '../apply/apply.ts';
import type { CheckedEntry } from '../apply/received.ts';
import type { EngineContext } from '../core/context.ts';
import type { Database } from '../core/database.ts';
import { insist } from '../core/insist.ts';
import type { LtxInput } from '../core/ltx-input.ts';
import { rest } from '../tasks/rest.ts';
import { asTask, type Task } from '../tasks/scheduler.ts';

const { O_RDWR } = fs.constants;
const LOCK_REST_MS = 1;
const PAGES_PER_STEP = 256;
/** After this long with readers in the way, the log says so. */
const PATIENCE_MS = 5000;

/** What it returns tells the world. Throws DISK, WRONG_STATE; then nothing has changed. */
export function* commitWithJournal(
  ctx: EngineContext,
  db: Database,
  input: LtxInput,
  checked: CheckedEntry,
): Task<() => void> {
  yield* expectNoticed(db, input, checked);
  const journal = new OwnJournal(ctx, db);
  let isBegun = false;
  try {
    yield* journal.write(checked);
    yield* lockExclusive(ctx, db);
    const before = db.position;
    const emit = record(ctx, db, input, checked);
    isBegun = true;
    db.shown = before;
    // The log has it: it is written however long the disk is full.
    yield* insist(ctx, db, () => writePages(db, input, checked));
    yield* insist(ctx, db, () => asTask(() => journal.end()));
    db.shown = undefined;
    const head = Buffer.alloc(DB_HEADER_BYTES);
    db.files.read('db', head, 0);
    db.changeCounter = parseDbHeader(head)?.changeCounter ?? 0;
    return emit;
  } finally {
    // When the node stops in the middle, the journal is what the next start rolls back by, and readers must stay out.
    if (!isBegun) journal.end();
    if (!isBegun || db.shown === undefined) unlockExclusive(db);
    journal.close();
  }
}

/** Connections here find out by the change counter that what they have in memory is of no use: the other node counts it up. */
function* expectNoticed(db: Database, input: LtxInput, checked: CheckedEntry): Task<void> {
  let counter: number | undefined;
  yield* eachPage(input, checked, (pgno, data) => {
    if (pgno === 1) counter = parseDbHeader(data)?.changeCounter;
  });
  const head = Buffer.alloc(DB_HEADER_BYTES);
  db.files.read('db', head, 0);
  if (counter !== undefined && counter !== parseDbHeader(head)?.changeCounter) return;
  const message = `${db.name}: a transaction that leaves the change counter as it is would go unnoticed by connections to the primary`;
  throw new LiteFsError('WRONG_STATE', message, { hint: 'Do both nodes run the same version?' });
}

function* writePages(db: Database, input: LtxInput, checked: CheckedEntry): Task<void> {
  const { pageSize, commit } = checked.header;
  yield* eachPage(input, checked, (pgno, data) =>
    db.files.write('db', data, (pgno - 1) * pageSize),
  );
  if (db.files.size('db') !== commit * pageSize) db.files.truncate('db', commit * pageSize);
  db.files.sync('db');
}

/** As a writer that commits: PENDING keeps new readers out, then EXCLUSIVE when the last has left. */
function* lockExclusive(ctx: EngineContext, db: Database): Task<void> {
  const startedMs = ctx.clockMs();
  let told = false;
  const wait = () => {
    if (told || ctx.clockMs() - startedMs < PATIENCE_MS) return LOCK_REST_MS;
    told = true;
    ctx.log('warn', `${db.name}: a transaction waits for readers to finish`, { database: db.name });
    return LOCK_REST_MS;
  };
  while (!db.files.lock('db', 'write', PENDING_BYTE, 1)) yield* rest(ctx, wait());
  while (!db.files.lock('db', 'write', PENDING_BYTE, EXCLUSIVE_SIZE)) yield* rest(ctx, wait());
}

/** RESERVED stays: who writes next is the node that it is held for. */
function unlockExclusive(db: Database): void {
  db.files.lock('db', 'unlock', SHARED_FIRST, SHARED_SIZE);
  db.files.lock('db', 'unlock', PENDING_BYTE, 1);
}

/** When the lock is given back: an empty journal is left. */
export function emptyJournal(db: Database): void {
  const fd = db.files.tree.open(db.files.nameOf('journal'), O_RDWR);
  if (fd === undefined) return;
  try {
    fs.ftruncateSync(fd, 0);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * A journal of the database in the backing tree; one that an application has left (PERSIST, TRUNCATE) is used again. An empty
 * one stays: a reader may have looked for it meanwhile, and the kernel believes in its name from then on.
 */
class OwnJournal {
  readonly #ctx: EngineContext;
  readonly #db: Database;
  #fd: number | undefined;

  constructor(ctx: EngineContext, db: Database) {
    this.#ctx = ctx;
    this.#db = db;
  }

  /** The pages that the entry changes or cuts off, as they are; on disk when it returns. */
  *write({ pgnos, header }: CheckedEntry): Task<void> {
    const db = this.#db;
    const { pageSize, pageCount } = db;
    const { tree } = db.files;
    const name = db.files.nameOf('journal');
    const existing = tree.open(name, O_RDWR);
    const fd = existing ?? tree.create(name, O_RDWR, 0o600);
    this.#fd = fd;
    const owner = db.files.ownership('db');
    if (existing === undefined && owner) {
      // Applications write the next one into it.
      fs.fchownSync(fd, owner.uid, owner.gid);
      fs.fchmodSync(fd, owner.mode & 0o777);
    }
    const nonce = this.#ctx.random32();
    const lockPage = lockPageNumber(pageSize);
    const originals = pgnos.filter((pgno) => pgno <= pageCount && pgno !== lockPage);
    for (let pgno = header.commit + 1; pgno <= pageCount; pgno++) {
      if (pgno !== lockPage) originals.push(pgno);
    }
    const page = Buffer.allocUnsafe(pageSize);
    let at = JOURNAL_SECTOR_BYTES;
    let count = 0;
    for (const pgno of originals) {
      const read = db.files.read('db', page, (pgno - 1) * pageSize);
      page.fill(0, read);
      const bytes = encodeJournalRecord(nonce, pgno, page);
      fs.writeSync(fd, bytes, 0, bytes.length, at);
      at += bytes.length;
      if (++count % PAGES_PER_STEP === 0) yield;
    }
    const head = encodeJournalHeader({
      recordCount: count,
      nonce,
      originalPageCount: pageCount,
      pageSize,
    });
    fs.writeSync(fd, head, 0, head.length, 0);
    fs.fdatasyncSync(fd);
    if (existing === undefined) tree.syncDirectoryOf(name);
  }

  /** The commit, or the end of what was not begun: on disk when it returns. */
  end(): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    // As journal_mode=PERSIST does: the quickest for the disk.
    fs.writeSync(fd, Buffer.alloc(JOURNAL_HEADER_BYTES), 0, JOURNAL_HEADER_BYTES, 0);
    fs.fdatasyncSync(fd);
  }

  close(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
  }
}
