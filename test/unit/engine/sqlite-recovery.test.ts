/** What SQLite refuses before mounting: a database is set aside for what is in its files, and for nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { recoveryFault } from '../../../src/engine/recover/sqlite-recovery.ts';
import type { LiteFsError } from '../../../src/errors.ts';

function codeFor(sqlite: string): string {
  const fault = recoveryFault('app.db', new Sqlite.SqliteError('it will not', sqlite));
  assert.match((fault as Error).message, new RegExp(`it will not \\(${sqlite}\\)`));
  return (fault as LiteFsError).code;
}

test('only what SQLite does not understand is a corrupt database', () => {
  for (const code of ['SQLITE_CORRUPT', 'SQLITE_CORRUPT_INDEX', 'SQLITE_NOTADB']) {
    assert.equal(codeFor(code), 'DATABASE_CORRUPT');
  }
  const outside = ['FULL', 'IOERR', 'IOERR_SHMSIZE', 'IOERR_FSYNC', 'CANTOPEN', 'NOMEM', 'BUSY'];
  for (const code of outside) assert.equal(codeFor(`SQLITE_${code}`), 'DISK');
});

test('a bug stays one', () => {
  const bug = new TypeError('x is not a function');
  assert.equal(recoveryFault('app.db', bug), bug);
});
