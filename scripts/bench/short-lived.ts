/** Connections that insert one row each into a large database, and close it: all that a close does, each time. */
import Sqlite from 'better-sqlite3';
import type { Aim, Figure } from './figures.ts';
import { runJob } from './job.ts';
import type { ShortLivedResult } from './jobs/short-lived.ts';
import {
  ALONE,
  mountAlone,
  mountReplicated,
  type Place,
  plainPlace,
  REPLICATED,
  withPlaces,
} from './places.ts';
import type { Plan } from './plan.ts';
import { inTurn } from './rounds.ts';

const MIB = 234;
const MODES = ['wal', 'delete'] as const;
const AIM: Aim = { of: 'ratio', least: 0.5 };

export function measureShortLived({ quick, rounds, windowMs }: Plan): Promise<Figure[]> {
  return withPlaces<Place, Figure[]>(
    [plainPlace(), mountAlone(), mountReplicated('auto')],
    async (...places) => {
      const figures: Figure[] = [];
      for (const mode of MODES) {
        const name = `${mode}.db`;
        for (const place of places) {
          fill(place.file(name), mode, quick ? 10 : MIB);
          await place.settled(name);
        }
        const cases = places.map((place) => ({
          place: place.label,
          run: async () => {
            const file = place.file(name);
            const result = await runJob<ShortLivedResult>('short-lived', { file, ms: windowMs });
            await place.settled(name);
            return { ...result };
          },
        }));
        const what = `short-lived connections, ${mode}`;
        const aims = { [ALONE]: AIM, [REPLICATED]: AIM };
        figures.push(
          ...(await inTurn(rounds, cases, [
            { key: 'connectionsPerSecond', what, unit: '/s', aims },
            { key: 'p90Us', what: `${what}, p90`, unit: 'us' },
          ])),
        );
      }
      return figures;
    },
  );
}

function fill(file: string, mode: string, mib: number): void {
  const db = new Sqlite(file);
  db.pragma(`journal_mode = ${mode}`);
  db.exec(`
    CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB);
    WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < ${mib})
    INSERT INTO t SELECT id, randomblob(1048576) FROM ids;`);
  db.close();
}
