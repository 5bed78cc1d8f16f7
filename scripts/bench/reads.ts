/** Reads of one application, on the primary and on the replica, with and without somebody who writes. */
import Sqlite from 'better-sqlite3';
import { createSeen } from './commit-to-visible.ts';
import type { Aim, Figure } from './figures.ts';
import { runJob, startJob } from './job.ts';
import type { PacedWriteOptions, PacedWriteResult } from './jobs/paced-write.ts';
import type { ReadResult } from './jobs/read.ts';
import { mountReplicated, type Place, plainPlace, withPlaces } from './places.ts';
import type { Plan } from './plan.ts';
import { inTurn } from './rounds.ts';

const DATABASE = 'reads.db';
const ROWS = 100_000;
const ROW_BYTES = 200;
/** While there are writes: commits/s. */
const RATE = 500;
const PRIMARY = 'mount of the primary';
const REPLICA = 'mount of the replica';
const AIM: Aim = { of: 'ratio', least: 0.97 };

export function measureReads({ rounds, windowMs }: Plan): Promise<Figure[]> {
  return withPlaces<Place, Figure[]>(
    [plainPlace(), mountReplicated('auto')],
    async (plain, replicated) => {
      for (const place of [plain, replicated]) {
        fill(place.file(DATABASE));
        await place.settled(DATABASE);
      }
      const sources = [
        { place: plain.label, read: plain.file(DATABASE), write: plain.file(DATABASE) },
        { place: PRIMARY, read: replicated.file(DATABASE), write: replicated.file(DATABASE) },
        { place: REPLICA, read: replicated.copy(DATABASE), write: replicated.file(DATABASE) },
      ];
      const figures: Figure[] = [];
      for (const state of ['nothing in the -wal', 'quiet', 'writing'] as const) {
        const cases = sources.map(({ place, read, write }) => ({
          place,
          run: () => readOnce(state, read, windowMs, write),
        }));
        const title = state === 'writing' ? `while ${RATE} commits/s` : state;
        const aims = { [PRIMARY]: AIM, [REPLICA]: AIM };
        figures.push(
          ...(await inTurn(rounds, cases, [
            { key: 'pointsPerSecond', what: `rows by key, ${title}`, unit: '/s', aims },
            { key: 'scannedMbPerSecond', what: `full scan, ${title}`, unit: 'MB/s', aims },
          ])),
        );
      }
      return figures;
    },
  );
}

/**
 * With nothing in the -wal SQLite asks for the size of the file in each transaction. That is what a reader meets who
 * is alone with a database; beside an application that has once committed it is `quiet`.
 */
async function readOnce(
  state: 'nothing in the -wal' | 'quiet' | 'writing',
  file: string,
  ms: number,
  written: string,
): Promise<Record<string, number>> {
  const read = () => runJob<ReadResult>('read', { file, rows: ROWS, ms });
  if (state === 'nothing in the -wal') return { ...(await read()) };
  const writer = startJob<PacedWriteResult>('paced-write', {
    file: written,
    rate: RATE,
    commits: state === 'writing' ? Number.MAX_SAFE_INTEGER : 1,
    stays: true,
  } satisfies PacedWriteOptions);
  await writer.ready;
  try {
    return { ...(await read()) };
  } finally {
    writer.stop();
    await writer.result;
  }
}

function fill(file: string): void {
  createSeen(file);
  const db = new Sqlite(file);
  db.exec(`
    CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB);
    WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < ${ROWS})
    INSERT INTO t SELECT id, randomblob(${ROW_BYTES}) FROM ids;`);
  db.close();
}
