/** With nothing in the -wal of a primary's database, its readers need not ask the mount how large it is. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { parseWalIndexHeader, WAL_INDEX_HEADER_BYTES } from '../../src/sqlite/wal-index.ts';
import { until } from '../harness/cluster.ts';
import { assertReplicated, describePair, open } from '../harness/replicated.ts';
import { bankWriter, checkBank, createBank } from '../harness/sqlite-client.ts';

/** By another process: to close the file here would drop this process's locks on it. */
function readWalIndex(file: string): ReturnType<typeof parseWalIndexHeader> {
  const bytes = execFileSync('head', ['-c', `${WAL_INDEX_HEADER_BYTES}`, `${file}-shm`]);
  return parseWalIndexHeader(bytes);
}

describePair('an empty -wal', (pair, passthrough) => {
  // Otherwise the kernel remembers the size.
  const skip = passthrough === 'off';
  test('has an index that tells the size of the database', { skip }, async (t) => {
    const file = pair.primary.file('quiet.db');
    createBank(file, 'wal');
    assert.ok(!fs.existsSync(`${file}-wal`));
    const db = open(t, file);
    assert.equal(checkBank(db), 0);
    await until('the wal-index tells the size', () => {
      const { header, consistent } = readWalIndex(file);
      return consistent && header.pageCount > 0;
    });
    const { header } = readWalIndex(file);
    assert.equal(header.pageCount * 4096, fs.statSync(file).size);
    assert.equal(header.mxFrame, 0);
    assert.equal(checkBank(db), 0);
    bankWriter(db)();
    assert.equal(checkBank(open(t, file)), 1);
    await assertReplicated(pair, 'quiet.db');
  });

  test('keeps nobody waiting who has just opened it', async (t) => {
    const file = pair.primary.file('opened.db');
    createBank(file, 'wal');
    for (let turn = 0; turn < 100; turn++) {
      const db = open(t, file, { timeout: 0 });
      // From reading to writing in one transaction: whoever had come between would make that fail.
      db.exec('BEGIN');
      assert.equal(countMoves(db), turn);
      db.exec('INSERT INTO moves(n) VALUES(0)');
      db.exec('COMMIT');
      db.close();
    }
    await assertReplicated(pair, 'opened.db');
  });

  test('lets who has just opened it change the journal mode', async (t) => {
    const file = pair.primary.file('switched.db');
    createBank(file, 'wal');
    for (let turn = 0; turn < VISITS; turn++) {
      const db = open(t, file);
      assert.equal(checkBank(db), 0);
      // SQLite waits for nobody there: any lock on the database is an error.
      assert.equal(db.pragma('journal_mode = delete', { simple: true }), 'delete');
      assert.equal(db.pragma('journal_mode = wal', { simple: true }), 'wal');
      db.close();
    }
    await assertReplicated(pair, 'switched.db');
  });

  test('lets readers come and go: none of them waits for us, nor we for it', async () => {
    const file = pair.primary.file('visited.db');
    createBank(file, 'wal');
    const visit = `.open ${file}\nSELECT count(*) FROM moves;\n`;
    // Closing removes the -shm, and holds its inode meanwhile. A process of its own: one that hangs can be killed.
    const input = visit.repeat(VISITS);
    const seen = execFileSync('sqlite3', ['-batch'], { input, timeout: VISITS_MS_MAX });
    assert.equal(`${seen}`, '0\n'.repeat(VISITS));
    await assertReplicated(pair, 'visited.db');
  });
});

const VISITS = 150;
const VISITS_MS_MAX = 30_000;

function countMoves(db: ReturnType<typeof open>): number {
  return db.prepare('SELECT count(*) FROM moves').pluck().get() as number;
}
