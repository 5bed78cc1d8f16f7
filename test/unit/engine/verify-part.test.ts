/** A primary's pages in parts, with writers in between; and what a log says of a transaction that is over. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { checksumAfter, verifyPart } from '../../../src/engine/read/verify-part.ts';
import { asTask } from '../../../src/engine/tasks/scheduler.ts';
import type { Position } from '../../../src/ltx/position.ts';
import { withFolder } from '../os/folder.ts';
import { finish, NodeStand } from './node-stand.ts';

const PAGE_BYTES = 512;
/** More than one part has pages. */
const FILL = `PRAGMA page_size = ${PAGE_BYTES}; CREATE TABLE t(x); CREATE TABLE u(y);
  WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
  INSERT INTO t SELECT randomblob(400) FROM n;`;

function withNode(test: (node: NodeStand) => void): Promise<void> | void {
  return withFolder((folder) => {
    const node = new NodeStand(folder);
    try {
      node.sql(FILL);
      node.capture(true);
      test(node);
    } finally {
      node.close();
    }
  });
}

const partFrom = (node: NodeStand, from: number) =>
  finish(verifyPart(node.ctx, node.db, from, () => asTask(() => node.capture())));

/** Turns one byte around. */
function damage({ file }: NodeStand, pgno: number): void {
  const bytes = fs.readFileSync(file);
  bytes[(pgno - 1) * PAGE_BYTES + 300] ^= 0xff;
  fs.writeFileSync(file, bytes);
}

test('each page is read once, and one that is wrong is named', () =>
  withNode((node) => {
    const { pageCount } = node.db;
    const first = partFrom(node, 1);
    assert.equal(first.next, first.pagesChecked + 1);
    const second = partFrom(node, first.next as number);
    assert.equal(second.next, undefined);
    assert.equal(first.pagesChecked + second.pagesChecked, pageCount);
    assert.deepEqual([first.badCount, second.badCount], [0, 0]);

    damage(node, pageCount);
    assert.deepEqual(partFrom(node, 1).badPages, []);
    const { badPages, badCount } = partFrom(node, first.next as number);
    assert.deepEqual([badPages, badCount], [[pageCount], 1]);
    assert.equal(node.db.tally.checksumFailures, 1);
  }));

test('a commit between two parts is no fault, and a database that shrinks is at its end', () =>
  withNode((node) => {
    const { next, position } = partFrom(node, 1);
    node.sql('INSERT INTO u VALUES(1); UPDATE t SET x = randomblob(400) WHERE rowid > 1490;');
    node.capture(true);
    const second = partFrom(node, next as number);
    assert.equal(second.badCount, 0);
    assert(second.position.txid > position.txid);

    node.sql('DELETE FROM t; VACUUM;');
    node.capture(true);
    const rest = partFrom(node, next as number);
    assert.deepEqual([rest.pagesChecked, rest.badCount, rest.next], [0, 0, undefined]);
  }));

test('nothing is said to be well that is not there', () =>
  withNode((node) => {
    node.db.aside = 'it was not understood';
    assert.throws(() => partFrom(node, 1), { code: 'WRONG_STATE', message: /in quarantine/ });
    node.db.aside = undefined;
    node.isBroken = true;
    node.db.sums.clear();
    assert.throws(() => partFrom(node, 1), { code: 'DATABASE_NOT_FOUND' });
  }));

// On e8b0209 this was said to be well, and a replica that had not got the commit the same as its primary.
test('nothing is said to be well while a commit cannot be captured', () =>
  withNode((node) => {
    node.sql('PRAGMA journal_mode = wal; INSERT INTO u VALUES(1);');
    node.capture(true);
    node.sql('INSERT INTO u VALUES(2);');
    const { ctx, db } = node;
    for (const outcome of ['busy', 'damaged'] as const) {
      const part = verifyPart(ctx, db, 1, () => asTask(() => outcome));
      assert.throws(() => finish(part), { code: 'DATABASE_BUSY', message: /^what is committed/ });
    }
    assert.equal(partFrom(node, 1).badCount, 0);
  }));

test('a log says what the checksum was after a transaction, or that it does not know', () =>
  withNode((node) => {
    const { db } = node;
    const positions: Position[] = [db.position];
    for (let i = 0; i < 3; i++) {
      node.sql(`INSERT INTO u VALUES(${i});`);
      node.capture(true);
      positions.push(db.position);
    }
    const known = () => positions.map(({ txid }) => checksumAfter(db, txid));
    assert.deepEqual(
      known(),
      positions.map(({ checksum }) => checksum),
    );
    const last = positions.at(-1) as Position;
    assert.equal(checksumAfter(db, last.txid + 1), undefined);
    assert.equal(checksumAfter(db, positions[0].txid - 2), undefined);

    // As of pages that were found wrong: the log does not lead there.
    db.position = { txid: last.txid, checksum: 1n };
    assert.deepEqual(known(), [undefined, undefined, undefined, 1n]);
    db.position = last;
    db.log.reset();
    assert.deepEqual(known(), [undefined, undefined, undefined, last.checksum]);
  }));
