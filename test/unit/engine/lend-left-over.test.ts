/**
 * A database is lent whose last writer had it for itself (locking_mode=EXCLUSIVE) and was killed: what it committed is in the
 * -wal, and no wal-index tells of it. On e8b0209 that was believed: with an empty one the -wal was begun once more over what
 * nothing had copied, and the primary lost its commits; with an older one they were about to be written over.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { sqlite3 } from '../../harness/app.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { runSql } from '../../harness/sql.ts';
import { withFolder } from '../os/folder.ts';

for (const left of ['no -shm', 'the -shm of one before it']) {
  test(left, { timeout: 60_000 }, () =>
    withFolder(async (dir) => {
      const stand = new EngineStand(dir);
      await stand.start();
      const file = stand.file('app.db');
      runSql(file, 'PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(0);');
      await stand.call('flush', {});
      if (left === 'no -shm') sqlite3(file, 'PRAGMA wal_checkpoint(TRUNCATE)');
      stand.engine.shared.nameChanged();
      const app = spawn('sqlite3', ['-batch', file]);
      const gone = once(app, 'exit');
      app.stdin.write(
        'PRAGMA locking_mode=EXCLUSIVE; INSERT INTO t VALUES(1), (2);\n.print done\n',
      );
      for (let said = ''; !said.includes('done'); )
        said += String((await once(app.stdout, 'data'))[0]);
      app.kill('SIGKILL');
      await gone;
      // As main makes it (daemon/threads.ts).
      fs.closeSync(fs.openSync(`${file}-shm`, 'a'));
      stand.engine.shared.nameChanged();
      await stand.call('haltLend', { database: 'app.db', waitMs: 2000 });
      const { wal } = stand.database('app.db');
      assert.equal(wal.cursor?.frame, wal.followed.frame);
      assert(wal.cursor.frame >= (left === 'no -shm' ? 1 : 4), `${wal.cursor.frame} frames`);
      assert.equal(sqlite3(`file:${file}?mode=ro`, 'SELECT count(*) FROM t'), '3');
      await stand.call('haltReturn', { database: 'app.db' });
      assert.equal(sqlite3(file, 'SELECT count(*) FROM t'), '3');
      await stand.stop();
    }),
  );
}
