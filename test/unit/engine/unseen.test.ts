/** Transactions that leave the change counter as it is, as all but the first under locking_mode=EXCLUSIVE. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { it } from 'node:test';
import { writeTransaction } from '../../../src/engine/transaction-writer.ts';
import { LiteFsError } from '../../../src/errors.ts';
import { sqlite3 } from '../../harness/app.ts';
import { assertSame, type Two, withTwo } from './two-nodes.ts';

/** A transaction of the primary that changes its second page alone. */
function changeUnseen({ primary: { ctx, db, file, entries } }: Two): Buffer {
  const page = Buffer.alloc(db.pageSize);
  db.files.read('db', page, db.pageSize);
  page.writeUInt8(page[page.length - 1] + 1, page.length - 1);
  const fd = fs.openSync(file, 'r+');
  fs.writeSync(fd, page, 0, page.length, page.length);
  fs.closeSync(fd);
  const writer = writeTransaction(ctx, db, db.pageSize, db.pageCount);
  writer.page(2, page);
  writer.finish();
  return entries.at(-1) as Buffer;
}

it('they go into a -wal on a replica, until one changes it', () =>
  withTwo('delete', (two) => {
    const { primary, replica, commit } = two;
    replica.apply(...primary.entries);
    for (let i = 0; i < 2; i++) {
      for (const { error } of replica.apply(changeUnseen(two))) assert.ifError(error);
      assert(fs.existsSync(`${replica.file}-wal`));
      assertSame(two);
    }
    for (const { error } of replica.apply(...commit('INSERT INTO t(data) VALUES(2);'))) {
      assert.ifError(error);
    }
    assert(!fs.existsSync(`${replica.file}-wal`));
    assertSame(two);
    assert.equal(sqlite3(replica.file, 'SELECT count(*) FROM t'), '2');
  }));

it('they are refused on a primary whose lock is lent', () =>
  withTwo('delete', (two) => {
    const { primary, replica } = two;
    replica.apply(...primary.entries);
    replica.db.lent = true;
    const { position } = replica.db;
    const [{ error }] = replica.apply(changeUnseen(two));
    assert(error instanceof LiteFsError && error.code === 'WRONG_STATE');
    assert.match(error.message, /locking_mode=EXCLUSIVE/);
    assert.deepEqual(replica.db.position, position);
  }));
