/** What a clean stop leaves behind: page checksums and, for each database, the marker that they are true. */
import { lookAt, saveMarker } from '../store/marker.ts';
import { savePageSums } from '../store/page-sums-file.ts';
import type { EngineContext } from './context.ts';
import type { Database } from './database.ts';

/** After unmounting: nobody can write any more. A database whose capture is not complete gets no marker. */
export function writeMarkers(ctx: EngineContext, registry: Iterable<Database>): void {
  for (const db of registry) {
    db.log.close();
    if (db.pageCount === 0) continue;
    savePageSums(db.sumsFile, db.sums, db.position, db.pageSize);
    const database = lookAt(db.files.backingPath('db'));
    if (db.suspect || db.shown || db.status.state !== 'ok' || !database) {
      ctx.log('info', `${db.name} will be compared page by page at the next start`, {
        database: db.name,
      });
      continue;
    }
    saveMarker(db.markerFile, {
      position: db.position,
      database,
      wal: lookAt(db.files.backingPath('wal')),
    });
  }
}
