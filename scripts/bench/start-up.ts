/** From the start of a daemon until its mount is there, with a large database in it. */
import fs from 'node:fs';
import path from 'node:path';
import Sqlite from 'better-sqlite3';
import { Cluster, type TestNode } from '../../test/harness/cluster.ts';
import { type Figure, figure } from './figures.ts';
import type { Plan } from './plan.ts';

const PAGE_BYTES = 65_536;
const BLOB_MIB = 64;
const WAIT_MS_MAX = 600_000;
const MIB = 2 ** 20;

export async function measureStartUp({ rounds, startMib }: Plan): Promise<Figure[]> {
  const cluster = new Cluster();
  try {
    const node = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      config: { log: { debug: false } },
    });
    const clean = async (): Promise<number> => {
      const seconds = await secondsToMount(node);
      await node.stop();
      return seconds;
    };
    await clean();
    const empty: number[] = [];
    for (let round = 0; round < rounds; round++) empty.push(await clean());
    const figures = [figure('start, no database', node.name, 's', empty)];
    const mib = fitting(startMib, cluster.dir);
    if (mib > 0) figures.push(...(await withDatabase(node, mib, rounds)));
    return figures;
  } finally {
    await cluster.close();
  }
}

async function withDatabase(node: TestNode, mib: number, rounds: number): Promise<Figure[]> {
  const file = node.backing('large.db');
  createLarge(file, mib);
  const size = `${(fs.statSync(file).size / 1e9).toFixed(1)} GB`;
  const adopted = await secondsToMount(node);
  await node.stop();
  const clean: number[] = [];
  for (let round = 0; round < rounds; round++) {
    clean.push(await secondsToMount(node));
    await node.stop();
  }
  await secondsToMount(node);
  await node.kill();
  const unclean = await secondsToMount(node);
  await node.kill();
  return [
    figure(`start, ${size} new to it`, node.name, 's', [adopted]),
    figure(`start, ${size}, after a stop`, node.name, 's', clean),
    figure(`start, ${size}, after kill -9`, node.name, 's', [unclean]),
  ];
}

async function secondsToMount(node: TestNode): Promise<number> {
  const from = node.log.length;
  const startedMs = performance.now();
  node.launch();
  await node.logged(/^mounted on/, from, WAIT_MS_MAX);
  return (performance.now() - startedMs) / 1000;
}

/** As much of it as leaves two thirds of the disk's free space: the log takes a copy of the database. */
function fitting(mib: number, dir: string): number {
  const { bavail, bsize } = fs.statfsSync(dir);
  return Math.min(mib, Math.floor((bavail * bsize) / MIB / 3));
}

/** Blobs of zeros, in the largest pages. */
function createLarge(file: string, mib: number): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const db = new Sqlite(file);
  db.pragma(`page_size = ${PAGE_BYTES}`);
  db.pragma('journal_mode = off');
  db.pragma('synchronous = off');
  db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB)');
  const insert = db.prepare(`INSERT INTO t(data) VALUES(zeroblob(${BLOB_MIB * MIB}))`);
  for (let done = 0; done < mib; done += BLOB_MIB) insert.run();
  db.pragma('journal_mode = wal');
  db.close();
}
