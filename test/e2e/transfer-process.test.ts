/**
 * Exports and imports are processes of their own: the POSIX locks of their SQLite do not depend on what the daemon opens
 * and closes, and whatever happens to them happens to them alone.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { type Cluster, startCluster, type TestNode, until } from '../harness/cluster.ts';
import { childrenOf, hasPosixLock, stateOf } from '../harness/processes.ts';

const ROWS = 20_000;

/** Does nothing to a process that has ended. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH');
  }
}

describe('the process of a transfer', () => {
  let cluster: Cluster;
  let primary: TestNode;
  before(async () => {
    ({ cluster, primary } = await startCluster('auto', { replicas: 0 }));
    const app = new Sqlite(primary.file('app.db'));
    app.exec('PRAGMA journal_mode = delete; CREATE TABLE t(x)');
    app
      .prepare(
        'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO t SELECT randomblob(1000) FROM n',
      )
      .run(ROWS);
    app.close();
  });
  after(() => cluster?.close());

  /** Exports it to `copy`; its bytes. Rejects with what the node answers. */
  async function sizeOfExport(): Promise<number> {
    const response = await primary.api('/export?name=app.db');
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    fs.writeFileSync(path.join(cluster.dir, 'copy.db'), bytes);
    return bytes.length;
  }

  /** An export that has been stopped while it holds the lock of a reader. */
  async function stoppedExport(): Promise<{ child: number; exporting: Promise<number> }> {
    const { ino } = fs.statSync(primary.file('app.db'));
    let child = 0;
    let exporting = Promise.resolve(0);
    let isUnderWay = false;
    await until('an export has its lock', async () => {
      if (!isUnderWay) {
        isUnderWay = true;
        exporting = sizeOfExport().finally(() => {
          isUnderWay = false;
        });
        exporting.catch(() => {});
      }
      child = childrenOf(primary.pid).find((pid) => hasPosixLock(pid, ino)) ?? 0;
      if (child === 0) return false;
      signal(child, 'SIGSTOP');
      await until('it is stopped, or gone', () => 'TZ'.includes(stateOf(child)));
      if (hasPosixLock(child, ino)) return true;
      signal(child, 'SIGCONT'); // it was at its end: the next one
      return false;
    });
    assert(!hasPosixLock(primary.pid, ino), 'the daemon has no POSIX lock');
    return { child, exporting };
  }

  it('keeps its lock, and writers out, whatever the daemon does with the file', async () => {
    const { child, exporting } = await stoppedExport();
    // A scan of the database, which opens it and closes it.
    const verify = await primary.api('/verify?name=app.db');
    assert.equal(verify.status, 200, await verify.text());
    const app = new Sqlite(primary.file('app.db'), { timeout: 0 });
    try {
      assert.throws(() => app.exec('INSERT INTO t VALUES(1)'), /database is locked/);
      process.kill(child, 'SIGCONT');
      assert.equal(await exporting, fs.statSync(primary.file('app.db')).size);
      const read = new Sqlite(path.join(cluster.dir, 'copy.db'), { readonly: true });
      assert.equal(read.prepare('SELECT count(*) FROM t').pluck().get(), ROWS);
      assert.equal(read.pragma('integrity_check', { simple: true }), 'ok');
      read.close();
      app.exec('INSERT INTO t VALUES(1)');
    } finally {
      app.close();
    }
  });

  it('that is killed ends its transfer with an error, and nothing else', async () => {
    const { child, exporting } = await stoppedExport();
    process.kill(child, 'SIGKILL');
    await assert.rejects(exporting, /503 .*"WRONG_STATE".*was ended by SIGKILL/s);
    assert.equal(await sizeOfExport(), fs.statSync(primary.file('app.db')).size);
  });

  it('does not outlive the daemon that stops', async () => {
    const { child, exporting } = await stoppedExport();
    assert.equal(await primary.stop(), 0);
    assert.throws(() => process.kill(child, 0), { code: 'ESRCH' });
    await assert.rejects(exporting);
    await primary.start();
    assert.deepEqual(fs.readdirSync(path.join(primary.data, 'spool')), []);
  });

  it('does not outlive the daemon that is killed', async () => {
    const { child, exporting } = await stoppedExport();
    await primary.kill();
    await assert.rejects(exporting);
    process.kill(child, 'SIGCONT');
    await until('the process has ended', () => {
      try {
        process.kill(child, 0);
        return false;
      } catch {
        return true;
      }
    });
    await primary.start();
    assert.equal(await sizeOfExport(), fs.statSync(primary.file('app.db')).size);
  });
});
