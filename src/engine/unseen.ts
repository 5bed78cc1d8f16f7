/**
 * Transactions that a reader in a rollback-journal mode would not notice.
 *
 * Such a reader keeps pages in its cache from one transaction to the next, as long as 16 bytes of page 1 are the same: the
 * change counter and what follows it. Under locking_mode=EXCLUSIVE a writer changes the counter in its first transaction only,
 * since nobody can read in between. On a replica many can. So there a transaction that leaves those bytes as they are goes into
 * a -wal: whoever finds one reads by its index, whatever the header says, and that tells of each transaction. The -wal
 * stays until the bytes are others.
 */
import { LtxDecoder } from '../ltx/decoder.ts';
import { DB_HEADER_BYTES, parseDbHeader } from '../sqlite/db-header.ts';
import { lockExclusive } from './apply-rollback.ts';
import type { EngineContext } from './context.ts';
import { readCurrentPage } from './current-page.ts';
import type { Database } from './database.ts';
import { type LtxInput, withLtxInput } from './ltx-input.ts';
import { letReadersUseWal } from './readers-wal.ts';
import type { Task } from './scheduler.ts';

/** What SQLite compares of page 1. */
const VERSION_OFFSET = 24;
const VERSION_END = 40;

/** Whether readers without a -wal notice what is received. Throws LTX_CORRUPT. */
export function* isNoticed(db: Database, input: LtxInput): Task<boolean> {
  // biome-ignore lint/correctness/useYield: one page is read at once
  return yield* withLtxInput(input, function* (source): Task<boolean> {
    const decoder = new LtxDecoder(source);
    const { commit, pageSize } = decoder.header;
    if (commit === 0 || pageSize !== db.pageSize) return true;
    const page = decoder.next();
    return changesVersion(db, page?.pgno === 1 ? page.data : undefined);
  });
}

/** The same of pages that take the place of ours. `page1`: undefined when that stays. */
export function changesVersion(db: Database, page1: Uint8Array | undefined): boolean {
  if (db.pageCount === 0) return true;
  return page1 !== undefined && !versionOf(page1).equals(versionOf(currentHeader(db)));
}

/** Makes a -wal for a database whose header asks for none. Waits for readers to end: they do not heed it. */
export function* goOverToWal(ctx: EngineContext, db: Database): Task<void> {
  const unlock = yield* lockExclusive(ctx, db);
  try {
    const version = versionOf(currentHeader(db));
    yield* letReadersUseWal(ctx, db);
    db.versionBefore = version;
  } finally {
    unlock();
  }
}

/** Whether page 1 asks for a rollback-journal mode, and readers that come from before the -wal notice that they are late. */
export function mayLeaveWal(db: Database): boolean {
  const head = currentHeader(db);
  if (parseDbHeader(head)?.writeVersion !== 1) return false;
  return !db.versionBefore?.equals(versionOf(head));
}

function currentHeader(db: Database): Buffer {
  const head = Buffer.alloc(DB_HEADER_BYTES);
  readCurrentPage(db, 1, head);
  return head;
}

function versionOf(page1: Uint8Array): Buffer {
  return Buffer.from(page1.subarray(VERSION_OFFSET, VERSION_END));
}
