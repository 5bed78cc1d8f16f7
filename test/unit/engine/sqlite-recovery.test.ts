/** What SQLite refuses before mounting: a database is set aside for what is in its files, and for nothing else. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { recoveryFault } from '../../../src/engine/recover/sqlite-recovery.ts';
import type { LiteFsError } from '../../../src/errors.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { runSql } from '../../harness/sql.ts';
import { withFolder } from '../os/folder.ts';

/** In the header of a database file; 4 is the highest there is. */
const SCHEMA_FORMAT_OFFSET = 44;

function codeFor(sqlite: string): string {
  const fault = recoveryFault('app.db', new Sqlite.SqliteError('it will not', sqlite));
  assert.match((fault as Error).message, new RegExp(`it will not \\(${sqlite}\\)`));
  return (fault as LiteFsError).code;
}

test('only what SQLite does not understand is a corrupt database', () => {
  for (const code of ['CORRUPT', 'CORRUPT_INDEX', 'NOTADB', 'ERROR']) {
    assert.equal(codeFor(`SQLITE_${code}`), 'DATABASE_CORRUPT');
  }
  const outside = ['FULL', 'IOERR', 'IOERR_SHMSIZE', 'IOERR_FSYNC', 'CANTOPEN', 'NOMEM', 'BUSY'];
  for (const code of outside) assert.equal(codeFor(`SQLITE_${code}`), 'DISK');
});

/** On 0cf578f that was an error of the disk, and no start came to its end as long as the file was there. */
test('a start sets aside a database of a format that SQLite does not know, with a -wal beside it', () =>
  withFolder(async (folder) => {
    const stand = new EngineStand(folder);
    const file = stand.file('app.db');
    try {
      runSql(stand.file('other.db'), 'CREATE TABLE t(x)');
      runSql(file, 'PRAGMA journal_mode=wal; CREATE TABLE t(x); PRAGMA wal_checkpoint(TRUNCATE)');
      const database = fs.readFileSync(file);
      database.writeUInt32BE(9, SCHEMA_FORMAT_OFFSET);
      fs.writeFileSync(file, database);
      fs.writeFileSync(`${file}-wal`, Buffer.alloc(100));
      await stand.start();
      assert(!fs.existsSync(file));
      const infos = await stand.call('info', {});
      assert.deepEqual(
        infos.filter(({ status }) => status.state === 'ok').map(({ name }) => name),
        ['other.db'],
      );
    } finally {
      stand.die();
    }
  }));

test('a bug stays one', () => {
  const bug = new TypeError('x is not a function');
  assert.equal(recoveryFault('app.db', bug), bug);
});
