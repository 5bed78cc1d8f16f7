/** A log that ends before the position does: it is set aside, and no transaction gets the number of another. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { layoutOf } from '../../../src/store/layout.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { withFolder } from '../os/folder.ts';

const NAME = 'app.db';

/** A data directory that was left by a clean stop after three transactions, each in a file of its own. */
async function stopped(dir: string): Promise<void> {
  const stand = new EngineStand(dir);
  await stand.start();
  for (const sql of [
    'CREATE TABLE t(x);',
    'INSERT INTO t VALUES(1);',
    'INSERT INTO t VALUES(2);',
  ]) {
    await stand.commit(NAME, `PRAGMA journal_mode = wal; ${sql}`);
    stand.database(NAME).log.seal();
  }
  await stand.stop();
}

function logFiles(dir: string): string[] {
  return fs.readdirSync(path.join(layoutOf(dir).ltx, NAME)).sort();
}

for (const [end, damage] of [
  ['cut off', (file: string) => fs.truncateSync(file, 50)],
  ['lost', (file: string) => fs.rmSync(file)],
] as const) {
  test(`a log whose end is ${end} is set aside, and the node goes on behind its position`, () =>
    withFolder(async (dir) => {
      await stopped(dir);
      const files = logFiles(dir);
      damage(path.join(layoutOf(dir).ltx, NAME, files.at(-1) as string));

      const stand = new EngineStand(dir);
      await stand.start();
      const { position, log } = stand.database(NAME);
      assert.equal(log.entryCount, 0);
      assert.equal(stand.logged(/its log ends at transaction \d+, .* set aside/).length, 1);
      assert(logFiles(dir).some((name) => name.endsWith('.orphan')));
      const before = position.txid;
      await stand.commit(NAME, 'INSERT INTO t VALUES(3);');
      assert.equal(stand.database(NAME).position.txid, before + 1);
      assert.deepEqual(log.first?.pre, position);
      await stand.stop();

      const again = new EngineStand(dir);
      await again.start();
      await again.commit(NAME, 'INSERT INTO t VALUES(4);');
      assert.equal(again.database(NAME).position.txid, before + 2);
      await again.stop();
    }));
}

test('numbers are not given out anew either when the saved checksums are no longer right', () =>
  withFolder(async (dir) => {
    await stopped(dir);
    const files = logFiles(dir);
    fs.rmSync(path.join(layoutOf(dir).ltx, NAME, files.at(-1) as string));
    const sums = path.join(layoutOf(dir).state, `${NAME}.sums`);
    const bytes = fs.readFileSync(sums);
    bytes[4096] ^= 1;
    fs.writeFileSync(sums, bytes);

    const stand = new EngineStand(dir);
    await stand.start();
    const { position } = stand.database(NAME);
    assert.equal(position.txid, 3, 'the table is made from the file, which is what it was');
    await stand.commit(NAME, 'INSERT INTO t VALUES(3);');
    assert.equal(stand.database(NAME).position.txid, 4);
    await stand.stop();
  }));
