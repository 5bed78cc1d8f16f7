/**
 * An application that is alone on its database meets no lock, as in a plain directory, also without a busy timeout: not when
 * it writes, not when it switches journal modes.
 *
 * On 25311ce a comparison of every page, due after each commit without a journal, held a SHARED lock while it read: the next
 * COMMIT, or the next `PRAGMA journal_mode`, was refused with SQLITE_BUSY. With journal_mode=MEMORY in each run, in the others
 * on a machine that had more to do.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
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
    const untilMs = performance.now() + (round % 12);
    while (performance.now() < untilMs) await turn();
  }
  return refused;
}

describePair('an application alone on its database', (pair) => {
  for (const mode of ['wal', 'delete', 'truncate', 'persist', 'memory', 'off']) {
    for (const locking of ['normal', 'exclusive']) {
      test(`meets no lock, journal_mode=${mode}, locking_mode=${locking}`, async (t) => {
        const name = `alone-${mode}-${locking}.db`;
        const db = open(t, pair.primary.file(name), { timeout: 0 });
        fill(db);
        await inSync(pair.primary, pair.replica, name);
        db.pragma(`locking_mode = ${locking}`);
        db.pragma(`journal_mode = ${mode}`);
        const update = db.prepare('UPDATE t SET x = randomblob(4000) WHERE id = ?');
        const refused = await refusals((round) => {
          update.run(1 + ((round * 37) % ROWS));
        });
        assert.deepEqual(refused, []);
      });
    }
  }

  test('meets no lock when it switches journal modes', async (t) => {
    const name = 'alone-switches.db';
    const db = open(t, pair.primary.file(name), { timeout: 0 });
    fill(db);
    await inSync(pair.primary, pair.replica, name);
    const modes = ['wal', 'memory', 'delete', 'off', 'persist', 'wal', 'truncate'];
    const refused = await refusals((round) => {
      db.pragma(`journal_mode = ${modes[round % modes.length]}`);
      db.prepare('UPDATE t SET x = randomblob(4000) WHERE id = ?').run(1 + (round % ROWS));
    });
    assert.deepEqual(refused, []);
  });
});
