import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { Cluster, startCluster, type TestNode, until } from '../harness/cluster.ts';

const BULK_WRITER = path.resolve(import.meta.dirname, '../harness/bulk-writer.ts');
const RESIDENT_BYTES_MAX = 300 * 2 ** 20;
const WAIT_MS = 240_000;

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

test('a transaction of 1 GB is replicated with bounded memory', async () => {
  const { cluster, primary, replica } = await startCluster('auto');
  try {
    await writeBulk(primary.file('app.db'), 1024, 1);
    await reached(primary, replica, 'app.db');
    assert.equal(rowsOf(replica, 'app.db'), rowsOf(primary, 'app.db'));
    assertSmall(primary);
    assertSmall(replica);
    for (const { data, name } of [primary, replica]) {
      const spool = path.join(data, 'spool');
      await until(
        `${name} keeps no copy of what it has taken into its log`,
        () => fs.readdirSync(spool).length === 0,
      );
    }
  } finally {
    await cluster.close();
  }
});

test('a replica catches up on a database of 2 GB with bounded memory', async () => {
  const cluster = new Cluster();
  try {
    const primary = await cluster.add('primary', { candidate: true, passthrough: 'auto' });
    await primary.start();
    await writeBulk(primary.file('app.db'), 2048, 64);
    const replica = await cluster.add('replica', {
      candidate: false,
      passthrough: 'auto',
      primaryPort: primary.replicationPort,
      config: { 'skip-sync': true },
    });
    replica.launch();
    await replica.logged(/^mounted on/);
    await reached(primary, replica, 'app.db');
    assert.equal(rowsOf(replica, 'app.db'), rowsOf(primary, 'app.db'));
    assertSmall(primary);
    assertSmall(replica);
  } finally {
    await cluster.close();
  }
});
