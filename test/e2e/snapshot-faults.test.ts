/** What must not keep a node from its snapshots, nor its snapshots from the node's other work. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { mountAt } from '../../src/os/mounts.ts';
import { archiveOf } from '../../src/snapshots/archive.ts';
import { restore } from '../../src/snapshots/restore.ts';
import { sqlite3 } from '../harness/app.ts';
import { Cluster, type TestNode, until } from '../harness/cluster.ts';

describe('snapshots go well, and the node goes on,', () => {
  let cluster: Cluster;
  let dir: string;
  beforeEach(() => {
    cluster = new Cluster();
    dir = path.join(cluster.dir, 'backups');
    fs.mkdirSync(dir);
  });
  afterEach(() => cluster.close());

  const node = async (
    snapshots: Record<string, unknown>,
    more: Record<string, unknown> = {},
  ): Promise<TestNode> => {
    const primary = await cluster.add('primary', {
      candidate: true,
      passthrough: 'auto',
      config: { snapshots: { dir, schedule: '0 3 1 1 *', ...snapshots }, ...more },
    });
    await primary.start();
    return primary;
  };
  /** Whether a thread of the process waits for a FUSE server. */
  const waits = (pid: number) =>
    fs
      .readdirSync(`/proc/${pid}/task`)
      .some((task) =>
        fs
          .readFileSync(`/proc/${pid}/task/${task}/stack`, 'latin1')
          .includes('request_wait_answer'),
      );
  const post = async (primary: TestNode) =>
    (await primary.api('/snapshot', { method: 'POST' })).json();

  test('though the log is merged and trimmed while one is cut', async () => {
    const primary = await node(
      { increments: 'off', rate: '1MiB', compress: false, verify: 'quick' },
      { data: { retention: '1s', 'retention-monitor-interval': '100ms' } },
    );
    const file = primary.file('app.db');
    sqlite3(
      file,
      'PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(randomblob(3000000))',
    );
    const app = new Sqlite(file);
    try {
      const write = app.prepare('INSERT INTO t VALUES(randomblob(?))');
      // In the segment that what is committed during the cut goes on with.
      for (let count = 0; count < 5; count++) write.run(10);
      let cut: Record<string, unknown> | undefined;
      const asked = post(primary).then((run) => {
        cut = run as Record<string, unknown>;
      });
      await until('one is begun', () =>
        fs.readdirSync(dir, { recursive: true }).some((name) => String(name).endsWith('.tmp')),
      );
      for (let count = 0; count < 80; count++) write.run(60_000);
      await until('it is cut', () => {
        write.run(10);
        return cut !== undefined;
      });
      await asked;
      assert.deepEqual(cut?.errors, [], primary.logText());
    } finally {
      app.close();
    }
    const output = path.join(cluster.dir, 'restored.db');
    restore(archiveOf(dir, 'app.db'), { kind: 'latest' }, output, { check: 'full', force: false });
    assert(Number(sqlite3(output, 'SELECT count(*) FROM t')) > 80);
    assert.equal(await primary.stop(), 0);
  });

  test('and stops, though the server hangs on which the archives are', async () => {
    const server = await cluster.add('server', { candidate: true, passthrough: 'off' });
    await server.start();
    process.kill(server.pid, 'SIGSTOP');
    dir = server.file('backups');
    const primary = await node({ increments: '1s' });
    const file = primary.file('app.db');
    sqlite3(file, 'CREATE TABLE t(x)');
    await until('it waits for the server', () => waits(primary.pid));
    const signal = AbortSignal.timeout(5000);
    await fetch(`http://127.0.0.1:${primary.httpPort}/info`, { signal });
    // The second signal: not to wait for what is being written.
    const ended = primary.stop();
    await primary.logged(/^stopping/);
    process.kill(primary.pid, 'SIGTERM');
    assert.equal(await ended, 0);
    assert.equal(mountAt(primary.mount), undefined);
    process.kill(server.pid, 'SIGCONT');
    await primary.start();
    await until('it goes on', () => archiveOf(dir, 'app.db').list().length > 0);
  });
});
