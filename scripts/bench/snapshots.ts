/** Snapshots and restores of a large database, against a copy by cp, and what a snapshot costs an application. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import type { SnapshotRunReport } from '../../src/http/snapshots.ts';
import { program } from '../../test/harness/cli.ts';
import { Cluster, TestNode } from '../../test/harness/cluster.ts';
import type { Aim, Figure } from './figures.ts';
import { runJob } from './job.ts';
import type { WriteResult } from './jobs/write.ts';
import type { Plan } from './plan.ts';
import { type Case, inTurn } from './rounds.ts';
import { fill } from './sync.ts';

const SNAPSHOT_AIM: Aim = { of: 'ratio', most: 1.5 };
const COMMITS_AIM: Aim = { of: 'ratio', least: 0.8 };

export async function measureSnapshots({ rounds, snapshotMib, windowMs }: Plan): Promise<Figure[]> {
  const cluster = new Cluster();
  const dir = path.join(cluster.dir, 'backups');
  try {
    fs.mkdirSync(dir);
    const plain = await startNode(cluster, dir, { compress: false, verify: 'off' });
    const file = plain.file('big.db');
    await fill(file, snapshotMib);
    const megabytes = Math.round(fs.statSync(file).size / 1e6);
    const copy = path.join(cluster.dir, 'copy');
    const timed = (place: string, command: string, ...args: string[]): Case => ({
      place,
      run: async () => {
        fs.rmSync(copy, { force: true });
        return { seconds: await secondsOf(() => run(command, args)) };
      },
    });
    const cp = timed('cp, sync', 'sh', '-c', `cp ${file} ${copy} && sync ${copy}`);
    const cut = (place: string, node: TestNode): Case => ({
      place,
      run: async () => {
        // As the copy before it is removed: memory for the page cache that was never used is slow in a virtual machine.
        fs.rmSync(copy, { force: true });
        fs.rmSync(path.join(dir, 'big.db/ltx/9'), { recursive: true, force: true });
        await run('sqlite3', [file, 'CREATE TABLE IF NOT EXISTS u(x); INSERT INTO u VALUES(1)']);
        return { seconds: await secondsOf(() => cutSnapshot(node)) };
      },
    });
    const figures = await inTurn(
      rounds,
      [
        cp,
        timed('sqlite3 .backup', 'sqlite3', file, `.backup ${copy}`),
        timed('VACUUM INTO', 'sqlite3', file, `VACUUM INTO '${copy}'`),
        cut('snapshot, not compressed', plain),
      ],
      [
        {
          key: 'seconds',
          what: `copy of ${megabytes} MB`,
          unit: 's',
          aims: { 'snapshot, not compressed': SNAPSHOT_AIM },
        },
      ],
    );
    figures.push(...(await commitsDuring(plain, rounds, windowMs)));
    await plain.stop();
    const full = await startNode(cluster, dir, { compress: true, verify: 'full' });
    figures.push(
      ...(await inTurn(
        Math.min(rounds, 2),
        [cp, cut('snapshot, compressed, integrity_check', full)],
        [{ key: 'seconds', what: `copy of ${megabytes} MB, read back`, unit: 's' }],
      )),
    );
    const restore = (check: string): Case =>
      timed(
        `restore --check ${check}`,
        program(),
        'restore',
        'big.db',
        '--dir',
        dir,
        '--check',
        check,
        '--output',
        copy,
      );
    figures.push(
      ...(await inTurn(
        rounds,
        [cp, restore('quick'), restore('full')],
        [{ key: 'seconds', what: `restore of ${megabytes} MB`, unit: 's' }],
      )),
    );
    return figures;
  } finally {
    await cluster.close();
  }
}

/** On the same data each time, so that it is written once. */
async function startNode(
  cluster: Cluster,
  dir: string,
  options: { compress: boolean; verify: string },
): Promise<TestNode> {
  const before = cluster.nodes.at(-1);
  const settings = {
    candidate: true,
    passthrough: 'auto',
    config: {
      log: { debug: false },
      snapshots: { dir, increments: 'off', keep: { last: 1, within: '1ms' }, ...options },
    },
  } as const;
  const node = before
    ? new TestNode(before.name, before.dir, [before.httpPort, before.replicationPort], settings)
    : await cluster.add('primary', settings);
  if (before) cluster.nodes.push(node);
  await node.start();
  return node;
}

/** Commits/s of an application, alone and while one snapshot after the other is cut. */
async function commitsDuring(node: TestNode, rounds: number, windowMs: number): Promise<Figure[]> {
  let turn = 0;
  const write = async (): Promise<Record<string, number>> => {
    const result = await runJob<WriteResult>('write', {
      journalMode: 'wal',
      synchronous: 'normal',
      rowsPerTransaction: 1,
      file: node.file(`busy-${++turn}.db`),
      ms: windowMs * 3,
    });
    return { ...result };
  };
  const during = async () => {
    let isOver = false;
    const cutting = (async () => {
      while (!isOver) {
        await run('sqlite3', [node.file('big.db'), 'INSERT INTO u VALUES(1)']);
        await cutSnapshot(node, 'big.db');
      }
    })();
    const result = await write();
    isOver = true;
    await cutting;
    return result;
  };
  return inTurn(
    rounds,
    [
      { place: 'no snapshot', run: write },
      { place: 'while one is cut', run: during },
    ],
    [
      {
        key: 'transactionsPerSecond',
        what: 'commits: WAL, NORMAL, 1 row',
        unit: '/s',
        aims: { 'while one is cut': COMMITS_AIM },
      },
      { key: 'p99Us', what: 'commits: WAL, NORMAL, 1 row, p99', unit: 'us' },
    ],
  );
}

async function cutSnapshot(node: TestNode, database = 'big.db'): Promise<void> {
  const cut = await node.api(`/snapshot?name=${database}`, { method: 'POST' });
  const report = (await cut.json()) as SnapshotRunReport;
  if (!report.ok || report.snapshots.length === 0) throw new Error(JSON.stringify(report));
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [status] = await once(child, 'exit');
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`);
}

async function secondsOf(use: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await use();
  return (performance.now() - startedMs) / 1000;
}
