/**
 * Pages that a -wal or a journal takes for part of a database, and that nobody has written: neither the file nor the -wal has
 * them, and readers see zeros. SQLite leaves such pages where a transaction takes and frees them while they are in its cache. But
 * whoever may write a database may say that it has 2^32 pages: to read those, or to have them in a log, would take for ever.
 */
import { LiteFsError } from '../../errors.ts';
import {
  hasUsableSizes,
  JOURNAL_HEADER_BYTES,
  parseJournalHeader,
} from '../../sqlite/journal-format.ts';
import { walCursorAtStart } from '../../sqlite/wal.ts';
import type { Database } from '../core/database.ts';
import type { Task } from '../tasks/scheduler.ts';
import { readWalFileHeader, scanChain } from '../wal/wal-scan.ts';
import { withJournal } from './journals.ts';

/** More than the cache of any connection. */
const UNWRITTEN_BYTES_MAX = 2 ** 30;

/** What the frames of a -wal make. */
export interface AnnouncedState {
  readonly pageSize: number;
  /** By page. */
  readonly frames: ReadonlyMap<number, number>;
  /** Size of the database behind them, in pages. */
  readonly commit: number;
}

/** Why such a state is not read; undefined when it can be. */
export function unwrittenFault(db: Database, state: AnnouncedState): string | undefined {
  const { pageSize, frames, commit } = state;
  const inFile = Math.floor(db.files.size('db') / pageSize);
  const had = Math.max(inFile, db.pageSize === pageSize ? db.pageCount : 0);
  const most = UNWRITTEN_BYTES_MAX / pageSize;
  if (commit - had <= most) return undefined;
  let written = 0;
  for (const pgno of frames.keys()) if (pgno > had && pgno <= commit) written++;
  const unwritten = commit - had - written;
  if (unwritten <= most) return undefined;
  return `its -wal says that it has ${commit} pages, and ${unwritten} of them were never written`;
}

/** Before SQLite makes the file as large as that. Throws DATABASE_CORRUPT. */
export function* refuseUnwritten(db: Database): Task<void> {
  const fault = (yield* faultOfWal(db)) ?? faultOfJournal(db);
  if (fault !== undefined) throw new LiteFsError('DATABASE_CORRUPT', `${db.name}: ${fault}`);
}

function* faultOfWal(db: Database): Task<string | undefined> {
  const header = db.files.exists('db') ? readWalFileHeader(db) : undefined;
  // It may be removed next.
  if (!header) db.files.close('wal');
  if (!header) return undefined;
  const { frames, commit } = yield* scanChain(db, walCursorAtStart(header));
  db.files.close('wal');
  return unwrittenFault(db, { pageSize: header.pageSize, frames, commit });
}

function faultOfJournal(db: Database): string | undefined {
  return withJournal(db, (file) => {
    const header = parseJournalHeader(file.read(0, JOURNAL_HEADER_BYTES));
    if (!header || !hasUsableSizes(header)) return undefined;
    const { originalPageCount: pages, pageSize } = header;
    const missing = pages * pageSize - db.files.size('db') - file.size;
    if (missing <= UNWRITTEN_BYTES_MAX) return undefined;
    return `its journal says that it had ${pages} pages, and neither it nor the file has them`;
  });
}
