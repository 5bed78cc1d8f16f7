import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as after } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { inSync, startCluster, until } from '../harness/cluster.ts';

const COUNT = 1000;
/** Each is flushed by itself, on a disk that others use as well. */
const COPY_MS_MAX = 120_000;
const WINDOWS = 3;
const WINDOWS_MAX = 20;
/** Copied at a time. */
const COPIERS = 4;
const WINDOW_MS = 2000;
const SHARE_MAX = 0.01;

test('1,000 databases in one mount: all replicated, and no work when nothing happens', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  const empty = await startCluster('auto');
  try {
    const seed = path.join(cluster.dir, 'seed.db');
    const db = new Sqlite(seed);
    db.exec('PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)');
    db.close();
    for (let i = 0; i < 10; i++) fs.mkdirSync(primary.file(`dir-${i}`));
    let next = 0;
    const copy = async () => {
      for (let i = next++; i < COUNT; i = next++) {
        await fs.promises.copyFile(seed, primary.file(`dir-${i % 10}/db-${i}.db`));
      }
    };
    await Promise.all(Array.from({ length: COPIERS }, copy));
    await until(
      'all are on the replica',
      async () => {
        const { databases } = await replica.info();
        return databases.length === COUNT;
      },
      COPY_MS_MAX,
    );
    for (const i of [0, 499, 999]) {
      const name = `dir-${i % 10}/db-${i}.db`;
      const app = new Sqlite(primary.file(name));
      app.exec('INSERT INTO t VALUES(2)');
      app.close();
      await inSync(primary, replica, name);
    }
    // What came before has settled: logs are flushed, segments closed, and page checksums, the last of it, saved.
    for (const node of [primary, replica]) {
      await until(`${node.name} has saved its page checksums`, () => {
        const names = fs.readdirSync(path.join(node.data, 'state'));
        return names.filter((name) => name.endsWith('.sums')).length === COUNT;
      });
    }
    const pairs = [
      [primary, empty.primary],
      [replica, empty.replica],
    ];
    const used = new Map(pairs.flat().map((node) => [node, [] as number[]]));
    let busy: string[];
    // V8 collects for some seconds what the work before has left. A poll would never end.
    for (let windows = 1; ; windows++) {
      const before = new Map([...used.keys()].map((node) => [node, node.cpuMs()]));
      await after(WINDOW_MS);
      for (const [node, list] of used) list.push(node.cpuMs() - (before.get(node) as number));
      if (windows < WINDOWS) continue;
      busy = pairs.flatMap(([node, other]) => {
        const [own, theirs] = [node, other].map((one) => used.get(one)?.slice(-WINDOWS) ?? []);
        // On a machine that is slow to wake up a node with nothing uses more than it should as well.
        const more = own.map((ms, window) => ms - theirs[window]);
        if (Math.min(median(own), median(more)) < WINDOW_MS * SHARE_MAX) return [];
        const shown = (list: readonly number[]) => list.map((ms) => ms.toFixed(1)).join(', ');
        const text = `${shown(own)} ms in windows of ${WINDOW_MS} ms of a processor`;
        return [`${node.name} used ${text}, one without databases ${shown(theirs)}`];
      });
      if (busy.length === 0 || windows >= WINDOWS_MAX) break;
    }
    assert.deepEqual(busy, []);
  } finally {
    await cluster.close();
    await empty.cluster.close();
  }
});

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
