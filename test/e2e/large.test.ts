import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { type Cluster, startCluster, type TestNode, until } from '../harness/cluster.ts';

const BULK_WRITER = path.resolve(import.meta.dirname, '../harness/bulk-writer.ts');
/**
 * 16 replicas needed 256 to 306 MiB, of which the lists of its pages are about 30, and the rest is what every node has, and
 * garbage that V8 had not collected yet. What kept the transaction itself would need 1,024 more.
 */
const RESIDENT_BYTES_MAX = 400 * 2 ** 20;
const WAIT_MS = 240_000;
/** In one transaction: past the lock page. */
const LARGE_MIB = 1024;
/** In small ones behind it: 1100 is past offsets of 31 bits. */
const MORE_MIB = Number(process.env.LITEFS_LITE_LARGE_MORE_MIB ?? 256);
const MORE_TRANSACTIONS = 16;

/** Writes so many MiB as one transaction or many, in a process of its own. */
async function writeBulk(file: string, mib: number, transactions: number): Promise<void> {
  const child = spawn(process.execPath, [BULK_WRITER, file, `${mib}`, `${transactions}`], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [status] = await once(child, 'exit');
  assert.equal(status, 0);
}

async function reached(primary: TestNode, replica: TestNode, name: string): Promise<void> {
  await until(
    () => `${primary.logText()}\n${replica.logText()}`,
    async () => {
      const ours = await primary.position(name);
      return ours !== '' && ours === (await replica.position(name));
    },
    WAIT_MS,
  );
}

function assertSmall(node: TestNode): void {
  const mib = Math.round(node.peakBytes() / 2 ** 20);
  assert.ok(node.peakBytes() < RESIDENT_BYTES_MAX, `${node.name} needed ${mib} MiB of memory`);
}

function rowsOf(node: TestNode, name: string): number {
  const db = new Sqlite(node.file(name), { readonly: true });
  try {
    return db.prepare('SELECT count(*) FROM t').pluck().get() as number;
  } finally {
    db.close();
  }
}

/** Into what follows it, from nothing. */
async function join(cluster: Cluster, primary: TestNode): Promise<TestNode> {
  const replica = await cluster.add('late', {
    candidate: false,
    passthrough: 'auto',
    primaryPort: primary.replicationPort,
    config: { 'skip-sync': true },
  });
  replica.launch();
  await replica.logged(/^mounted on/);
  return replica;
}

function assertSpoolIsEmpty({ data, name }: TestNode): Promise<void> {
  const spool = path.join(data, 'spool');
  return until(
    `${name} keeps no copy of what it has taken into its log`,
    () => fs.readdirSync(spool).length === 0,
  );
}

test('a transaction of 1 GB and what follows it are replicated with bounded memory, and a replica that comes later catches up', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    await writeBulk(primary.file('app.db'), LARGE_MIB, 1);
    await reached(primary, replica, 'app.db');
    for (const node of [primary, replica]) await assertSpoolIsEmpty(node);
    await writeBulk(primary.file('app.db'), MORE_MIB, MORE_TRANSACTIONS);
    const late = await join(cluster, primary);
    await reached(primary, replica, 'app.db');
    await reached(primary, late, 'app.db');
    const rows = rowsOf(primary, 'app.db');
    for (const node of [replica, late]) assert.equal(rowsOf(node, 'app.db'), rows);
    for (const node of [primary, replica, late]) {
      assertSmall(node);
      await assertSpoolIsEmpty(node);
    }
  } finally {
    await cluster.close();
  }
});
