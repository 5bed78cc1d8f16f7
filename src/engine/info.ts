/** What the outside is told of one database. */
import { isOutsideFault } from '../errors.ts';
import { parseDbHeader } from '../sqlite/db-header.ts';
import type { Database } from './core/database.ts';
import type { DatabaseInfo } from './protocol.ts';
import { readCurrentPage } from './read/current-page.ts';

export function databaseInfo(db: Database): DatabaseInfo {
  const head = Buffer.alloc(100);
  tolerate(() => readCurrentPage(db, 1, head));
  return {
    name: db.name,
    position: db.position,
    pageSize: db.pageSize,
    pageCount: db.pageCount,
    journalMode: parseDbHeader(head)?.writeVersion === 2 ? 'wal' : 'rollback',
    status: db.status,
    statusSinceMs: db.statusSinceMs,
    faultMs: db.faultMs,
    walBytes: tolerate(() => db.files.size('wal')) ?? 0,
    logBytes: db.log.bytes,
    logFiles: db.log.files().length,
    logFirstTxid: db.log.first?.minTxid ?? 0,
  };
}

/** What the status of one database says must not keep the others from being told of. */
function tolerate<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
    return undefined;
  }
}
