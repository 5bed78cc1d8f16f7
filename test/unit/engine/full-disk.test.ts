/** A replica whose disk is full in the middle of a batch: what readers see is what its position says. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { databaseImage } from '../../harness/image.ts';
import { withFolder } from '../os/folder.ts';
import { NodeStand } from './node-stand.ts';

const STATEMENTS = ['CREATE TABLE t(x);', 'INSERT INTO t VALUES(1);', 'INSERT INTO t VALUES(2);'];

/** A replica that has the first of three transactions, the other two, and what the database is after each. */
function inTheMiddle(
  test: (replica: NodeStand, rest: readonly Buffer[], images: readonly Buffer[]) => void,
): void {
  withFolder((folder) => {
    const primary = new NodeStand(path.join(folder, 'primary'));
    const replica = new NodeStand(path.join(folder, 'replica'));
    try {
      const images = STATEMENTS.map((statement) => {
        primary.sql(`PRAGMA journal_mode=wal;\n${statement}`);
        primary.capture();
        return databaseImage(primary.file);
      });
      const [first, ...rest] = primary.entries;
      replica.apply(first);
      test(replica, rest, images);
    } finally {
      primary.close();
      replica.close();
    }
  });
}

test('a transaction that could not be kept is not shown', () =>
  inTheMiddle((replica, rest, images) => {
    const { log } = replica.db;
    const append = log.append.bind(log);
    let left = 1;
    log.append = (...entry) => {
      if (left-- === 0) throw new LiteFsError('DISK', 'the disk is full');
      return append(...entry);
    };
    const { txid } = replica.db.position;
    const [kept, lost] = replica.apply(...rest);
    assert.equal(kept.error, undefined);
    assert.equal((lost.error as LiteFsError).code, 'DISK');
    assert.equal(replica.db.position.txid, txid + 1);
    assert(databaseImage(replica.file).equals(images[1]), 'the position says one less');

    replica.apply(rest[1]);
    assert(databaseImage(replica.file).equals(images[2]));
  }));

test('transactions that are kept, and for which the -wal has no room, are shown once it has', () =>
  inTheMiddle((replica, rest, images) => {
    const { files } = replica.db;
    const write = files.write.bind(files);
    let refusals = 3;
    files.write = (kind, ...what) => {
      if (kind === 'wal' && refusals-- > 0) throw new LiteFsError('DISK', 'the disk is full');
      write(kind, ...what);
    };
    const applied = replica.apply(...rest);
    assert.deepEqual(
      applied.map(({ error }) => error),
      [undefined, undefined],
    );
    assert(refusals < 0);
    assert(databaseImage(replica.file).equals(images[2]));
  }));
