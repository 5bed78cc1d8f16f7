/**
 * What is true of a database whenever no task of its lane is under way. One that is broken is a bug. Tests ask after each
 * task.
 */
import assert from 'node:assert';
import type { Database } from './database.ts';

const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;

/** Throws AssertionError. */
export function assertInvariants(db: Database): void {
  const { name, position, sums, wal, log } = db;
  const say = (what: string) => `${name} at ${position.txid}: ${what}`;
  assert(db.shown === undefined, say('what readers see is not its position'));
  if (position.txid > 0 && db.aside === undefined && db.suspicion === undefined) {
    assert.equal(sums.checksum, position.checksum, say('the table has another checksum'));
  }
  if (db.pageCount > 0) {
    const { pageSize } = db;
    const isPower = (pageSize & (pageSize - 1)) === 0;
    assert(
      isPower && pageSize >= PAGE_BYTES_MIN && pageSize <= PAGE_BYTES_MAX,
      say(`pages of ${pageSize} bytes`),
    );
  }
  if (log.last) assert(log.last.maxTxid <= position.txid, say(`its log has ${log.last.maxTxid}`));
  for (const [pgno, frame] of wal.frames) {
    assert(wal.cursor, say('frames without an end of the -wal'));
    assert(pgno >= 1 && frame >= 1 && frame <= wal.cursor.frame, say(`page ${pgno} in ${frame}`));
  }
}
