/** From the begin of a commit on the primary to its sight by a reader on the replica. */
import { commitToVisible } from './commit-to-visible.ts';
import type { Aim, Figure } from './figures.ts';
import {
  INTERCEPTED,
  mountReplicated,
  type Place,
  plainPlace,
  REPLICATED,
  withPlaces,
} from './places.ts';
import type { Plan } from './plan.ts';
import { inTurn } from './rounds.ts';

const RATES = [100, 1000];
const P50_AIM: Aim = { of: 'value', most: 2 };
const P99_AIM: Aim = { of: 'value', most: 10 };

export function measureLag({ rounds, windowMs }: Plan): Promise<Figure[]> {
  return withPlaces<Place, Figure[]>(
    [plainPlace(), mountReplicated('auto'), mountReplicated('off')],
    async (...places) => {
      const figures: Figure[] = [];
      for (const rate of RATES) {
        let turn = 0;
        const cases = places.map((place) => ({
          place: place.label,
          run: async () => ({
            ...(await commitToVisible(
              place,
              `lag-${rate}-${++turn}.db`,
              rate,
              (rate * 2 * windowMs) / 1000,
            )),
          }),
        }));
        const aims = (aim: Aim) =>
          rate === 1000 ? { [REPLICATED]: aim, [INTERCEPTED]: aim } : undefined;
        const what = `visible after, ${rate} commits/s`;
        figures.push(
          ...(await inTurn(rounds, cases, [
            { key: 'p50Ms', what: `${what}, p50`, unit: 'ms', aims: aims(P50_AIM) },
            { key: 'p99Ms', what: `${what}, p99`, unit: 'ms', aims: aims(P99_AIM) },
          ])),
        );
      }
      return figures;
    },
  );
}
