/**
 * An application that is alone on its database meets no lock, as in a plain directory, also without a busy timeout: not when
 * it writes, not when it switches journal modes.
 *
 * On 25311ce a comparison of every page, due after each commit without a journal, held a SHARED lock while it read: the next
 * COMMIT, or the next `PRAGMA journal_mode`, was refused with SQLITE_BUSY. With journal_mode=MEMORY in each run, in the others
 * on a machine that had more to do.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type Sqlite from 'better-sqlite3';
import { inSync } from '../harness/cluster.ts';
import { describePair, open } from '../harness/replicated.ts';

/** Enough pages for a comparison to take a while. */
const ROWS = 4000;
const COMMITS = 60;

function fill(db: Sqlite.Database): void {
  db.exec(`CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB);
    WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ${ROWS})
    INSERT INTO t SELECT i, randomblob(4000) FROM c;`);
}

/** How often a deed was refused, of many; the pauses between them grow. */
async function refusals(deed: (round: number) => void): Promise<string[]> {
  const refused: string[] = [];
  for (let round = 0; round < COMMITS; round++) {
    try {
      deed(round);
    } catch (error) {
      refused.push(`${round}: ${(error as Error).message}`);
    }
    await pause(round % 12);
  }
  return refused;
}

describePair('an application alone on its database', (pair) => {
  const name = 'alone.db';

  /** The one database of all these tests, as the application that was there before has left it. */
  async function openAlone(t: TestContext): Promise<Sqlite.Database> {
    const file = pair.primary.file(name);
    const isThere = fs.existsSync(file);
    // better-sqlite3 refuses journal_mode=off otherwise, without a word.
    const db = open(t, file, { timeout: 0 }).unsafeMode();
    if (!isThere) fill(db);
    await inSync(pair.primary, pair.replica, name);
    return db;
  }

  for (const mode of ['wal', 'delete', 'truncate', 'persist', 'memory', 'off']) {
    for (const locking of ['normal', 'exclusive']) {
      test(`meets no lock, journal_mode=${mode}, locking_mode=${locking}`, async (t) => {
        const db = await openAlone(t);
        db.pragma(`locking_mode = ${locking}`);
        assert.equal(db.pragma(`journal_mode = ${mode}`, { simple: true }), mode);
        const update = db.prepare('UPDATE t SET x = randomblob(4000) WHERE id = ?');
        const refused = await refusals((round) => {
          update.run(1 + ((round * 37) % ROWS));
        });
        assert.deepEqual(refused, []);
      });
    }
  }

  test('meets no lock when it switches journal modes', async (t) => {
    const db = await openAlone(t);
    const modes = ['wal', 'memory', 'delete', 'off', 'persist', 'wal', 'truncate'];
    const refused = await refusals((round) => {
      const mode = modes[round % modes.length];
      assert.equal(db.pragma(`journal_mode = ${mode}`, { simple: true }), mode);
      db.prepare('UPDATE t SET x = randomblob(4000) WHERE id = ?').run(1 + (round % ROWS));
    });
    assert.deepEqual(refused, []);
  });
});
