/** Commits a second of one application, by journal mode and by the size of its transactions. */
import type { Aim, Figure } from './figures.ts';
import { runJob } from './job.ts';
import type { WriteOptions, WriteResult } from './jobs/write.ts';
import {
  discard,
  INTERCEPTED,
  mountAlone,
  mountReplicated,
  type Place,
  plainPlace,
  REPLICATED,
  withPlaces,
} from './places.ts';
import type { Plan } from './plan.ts';
import { inTurn } from './rounds.ts';

type Workload = Pick<WriteOptions, 'journalMode' | 'synchronous' | 'rowsPerTransaction'>;

const WAL_AIM: Aim = { of: 'ratio', least: 0.9 };
const DELETE_AIM: Aim = { of: 'ratio', least: 0.7 };
/** 4,000 commits/s where the plain directory does 35,000. */
const INTERCEPTED_AIM: Aim = { of: 'ratio', least: 4000 / 35_000 };

const WORKLOADS: readonly [string, Workload, Record<string, Aim>][] = [
  [
    'WAL, NORMAL, 1 row',
    { journalMode: 'wal', synchronous: 'normal', rowsPerTransaction: 1 },
    { [REPLICATED]: WAL_AIM, [INTERCEPTED]: INTERCEPTED_AIM },
  ],
  [
    'WAL, NORMAL, 100 rows',
    { journalMode: 'wal', synchronous: 'normal', rowsPerTransaction: 100 },
    { [REPLICATED]: WAL_AIM },
  ],
  [
    'WAL, FULL, 1 row',
    { journalMode: 'wal', synchronous: 'full', rowsPerTransaction: 1 },
    { [REPLICATED]: WAL_AIM },
  ],
  [
    'DELETE, FULL, 1 row',
    { journalMode: 'delete', synchronous: 'full', rowsPerTransaction: 1 },
    { [REPLICATED]: DELETE_AIM },
  ],
  [
    'DELETE, FULL, 100 rows',
    { journalMode: 'delete', synchronous: 'full', rowsPerTransaction: 100 },
    { [REPLICATED]: DELETE_AIM },
  ],
];

export function measureWrites({ rounds, windowMs }: Plan): Promise<Figure[]> {
  return withPlaces<Place, Figure[]>(
    [plainPlace(), mountAlone(), mountReplicated('auto'), mountReplicated('off')],
    async (...places) => {
      const figures: Figure[] = [];
      for (const [title, workload, aims] of WORKLOADS) {
        let turn = 0;
        const cases = places.map((place) => ({
          place: place.label,
          run: async () => {
            const name = `${workload.journalMode}-${++turn}.db`;
            const result = await runJob<WriteResult>('write', {
              ...workload,
              file: place.file(name),
              ms: windowMs,
            });
            await place.settled(name);
            discard(place.file(name));
            return { ...result };
          },
        }));
        const what = `commits: ${title}`;
        figures.push(
          ...(await inTurn(rounds, cases, [
            { key: 'transactionsPerSecond', what, unit: '/s', aims },
            { key: 'p99Us', what: `${what}, p99`, unit: 'us' },
          ])),
        );
      }
      return figures;
    },
  );
}
