/** A large database on its way to a replica: one that has nothing, and one that was away for many transactions. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import type { TestNode } from '../../test/harness/cluster.ts';
import type { Figure } from './figures.ts';
import { mountReplicated, PLAIN, plainPlace, REPLICATED, type ReplicatedPlace } from './places.ts';
import type { Plan } from './plan.ts';
import { inTurn } from './rounds.ts';
import { tcpCopy } from './tcp-copy.ts';

const WRITER = path.resolve(import.meta.dirname, '../../test/harness/bulk-writer.ts');
const TRANSACTIONS = 20;
const SYNC_AIM = { of: 'ratio', least: 0.5 } as const;
const WAIT_MS_MAX = 300_000;

export async function measureSync({ rounds, syncMib }: Plan): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [title, measure] of [
    ['first sync', firstSync],
    ['catch-up', catchUp],
  ] as const) {
    const plain = plainPlace();
    try {
      const source = plain.file('source');
      await fill(source, syncMib);
      const bytes = fs.statSync(source).size;
      const mbPerSecond = (seconds: number) => bytes / 1e6 / seconds;
      const copyOnce = async () => mbPerSecond(await tcpCopy(source, plain.file('copy')));
      const cases = [
        { place: PLAIN, run: async () => ({ rate: await copyOnce() }) },
        {
          place: REPLICATED,
          run: async () => {
            const place = await mountReplicated('auto');
            try {
              return { rate: mbPerSecond(await measure(place, syncMib)) };
            } finally {
              await place.close();
            }
          },
        },
      ];
      figures.push(
        ...(await inTurn(Math.min(rounds, 3), cases, [
          {
            key: 'rate',
            what: `${title} of ${Math.round(bytes / 1e6)} MB`,
            unit: 'MB/s',
            aims: { [REPLICATED]: SYNC_AIM },
          },
        ])),
      );
    } finally {
      await plain.close();
    }
  }
  return figures;
}

/** A replica with nothing: all pages. Returns seconds. */
async function firstSync({ primary, replica }: ReplicatedPlace, mib: number): Promise<number> {
  await replica.stop();
  await fill(primary.file('big.db'), mib);
  fs.rmSync(replica.data, { recursive: true });
  return secondsToSync(replica);
}

/** A replica that has the database and misses what was written since: transactions. Returns seconds. */
async function catchUp({ primary, replica }: ReplicatedPlace, mib: number): Promise<number> {
  await fill(primary.file('big.db'), 1);
  await replica.stop();
  await fill(primary.file('big.db'), mib);
  return secondsToSync(replica);
}

/** Writes a database of that size. */
export async function fill(file: string, mib: number): Promise<void> {
  const transactions = Math.min(mib, TRANSACTIONS);
  const child = spawn(process.execPath, [WRITER, file, `${mib}`, `${transactions}`], {
    stdio: 'inherit',
  });
  const [status] = await once(child, 'exit');
  if (status !== 0) throw new Error(`the writer ended with ${status}`);
}

/** From the moment the replica is mounted, and so begins to ask, until it says that it has everything. */
async function secondsToSync(replica: TestNode): Promise<number> {
  const from = replica.log.length;
  replica.launch();
  await replica.logged(/^mounted on/, from, WAIT_MS_MAX);
  const startedMs = performance.now();
  await replica.logged(/^in sync/, from, WAIT_MS_MAX);
  return (performance.now() - startedMs) / 1000;
}
