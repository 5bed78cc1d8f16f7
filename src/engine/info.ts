/** What the outside is told of one database. */
import { parseDbHeader } from '../sqlite/db-header.ts';
import { readCurrentPage } from './current-page.ts';
import type { Database } from './database.ts';
import type { DatabaseInfo } from './protocol.ts';

export function databaseInfo(db: Database): DatabaseInfo {
  const head = Buffer.alloc(100);
  readCurrentPage(db, 1, head);
  return {
    name: db.name,
    position: db.position,
    pageSize: db.pageSize,
    pageCount: db.pageCount,
    journalMode: parseDbHeader(head)?.writeVersion === 2 ? 'wal' : 'rollback',
    status: db.status,
    statusSinceMs: db.statusSinceMs,
    faultMs: db.faultMs,
    walBytes: db.files.size('wal'),
    logBytes: db.log.bytes,
    logFiles: db.log.files().length,
    logFirstTxid: db.log.first?.minTxid ?? 0,
  };
}
