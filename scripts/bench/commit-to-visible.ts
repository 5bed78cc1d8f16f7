/** One writer at a rate, and one reader that waits for its rows. */
import Sqlite from 'better-sqlite3';
import { startJob } from './job.ts';
import type { PacedWriteResult } from './jobs/paced-write.ts';
import type { WatchResult } from './jobs/watch.ts';
import { discard, type Place } from './places.ts';

export type Visibility = WatchResult & PacedWriteResult;

/** @param rate commits/s; null for as fast as it goes. */
export async function commitToVisible(
  place: Place,
  name: string,
  rate: number | null,
  commits: number,
): Promise<Visibility> {
  createSeen(place.file(name));
  await place.settled(name);
  const reader = startJob<WatchResult>('watch', { file: place.copy(name) });
  await reader.ready;
  const writer = startJob<PacedWriteResult>('paced-write', {
    file: place.file(name),
    rate,
    commits,
  });
  const [written, seen] = await Promise.all([writer.result, reader.result]);
  await place.settled(name);
  discard(place.file(name));
  return { ...written, ...seen };
}

/** The table that the writer fills, in WAL mode. */
export function createSeen(file: string): void {
  const db = new Sqlite(file);
  db.pragma('journal_mode = wal');
  db.exec('CREATE TABLE seen(id INTEGER PRIMARY KEY, at INTEGER, last INTEGER, data BLOB)');
  db.close();
}
