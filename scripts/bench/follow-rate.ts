/** How much a replica can take: the highest rate it follows without falling behind, and what it does beyond it. */
import { commitToVisible } from './commit-to-visible.ts';
import { type Figure, figure } from './figures.ts';
import { mountReplicated, withPlaces } from './places.ts';
import type { Plan } from './plan.ts';

const RATES = [1000, 2000, 4000, 6000, 8000, 12_000, 16_000, 24_000, 32_000];
/** It follows when the rows at the end are no older than this when they are seen, ms. */
const BEHIND_MS_MAX = 50;
/** A writer that does not reach the rate proves nothing about the replica. */
const RATE_REACHED = 0.95;

export function measureFollowRate({ rounds, windowMs }: Plan): Promise<Figure[]> {
  return withPlaces([mountReplicated('auto'), mountReplicated('off')], async (...places) => {
    const figures: Figure[] = [];
    for (const place of places) {
      const run = async (rate: number | null, perSecond: number, tag: string) =>
        commitToVisible(
          place,
          `follow-${tag}.db`,
          rate,
          Math.ceil((perSecond * 2 * windowMs) / 1000),
        );
      const followed: number[] = [];
      const through: number[] = [];
      for (let round = 0; round < Math.min(rounds, 3); round++) {
        let best = 0;
        for (const rate of RATES) {
          const { commitsPerSecond, endMs } = await run(rate, rate, `${round}-${rate}`);
          if (endMs > BEHIND_MS_MAX || commitsPerSecond < rate * RATE_REACHED) break;
          best = rate;
        }
        followed.push(best);
        const commits = Math.max(best, RATES[0]);
        const flatOut = await run(null, commits, `${round}-flat-out`);
        through.push((commits * 2 * windowMs) / 1000 / flatOut.seconds);
      }
      figures.push(
        figure('highest rate followed', place.label, 'commits/s', followed),
        figure('writer flat out: arrives at', place.label, 'commits/s', through),
      );
    }
    return figures;
  });
}
