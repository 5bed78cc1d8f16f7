/** What two nodes with nothing to do need: memory and processor time. */
import type { TestNode } from '../../test/harness/cluster.ts';
import { type Figure, figure } from './figures.ts';
import { runJob } from './job.ts';
import { mountReplicated, withPlaces } from './places.ts';
import type { Plan } from './plan.ts';

const DATABASE = 'footprint.db';
const SAMPLES = 5;

export function measureFootprint({ windowMs }: Plan): Promise<Figure[]> {
  return withPlaces([mountReplicated('auto')], async (place) => {
    const nodes = [place.primary, place.replica];
    const fresh = nodes.map(residentMib);
    await runJob('write', {
      file: place.file(DATABASE),
      journalMode: 'wal',
      synchronous: 'normal',
      rowsPerTransaction: 1,
      ms: windowMs,
    });
    await place.settled(DATABASE);
    const idle = nodes.map(() => [] as number[]);
    for (let sample = 0; sample < SAMPLES; sample++) {
      const before = nodes.map((node) => node.cpuMs());
      const startedMs = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 2 * windowMs));
      const elapsedMs = performance.now() - startedMs;
      nodes.forEach((node, i) => {
        idle[i].push(((node.cpuMs() - before[i]) / elapsedMs) * 100);
      });
    }
    return nodes.flatMap((node, i) => [
      figure('resident memory, just started', node.name, 'MiB', [fresh[i]]),
      figure('resident memory, after writes', node.name, 'MiB', [residentMib(node)]),
      figure('resident memory, highest', node.name, 'MiB', [node.peakBytes() / 2 ** 20]),
      figure('processor, idle', node.name, '%', idle[i]),
    ]);
  });
}

function residentMib(node: TestNode): number {
  return node.residentBytes() / 2 ** 20;
}
