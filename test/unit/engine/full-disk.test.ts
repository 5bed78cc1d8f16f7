/** A replica whose disk is full in the middle of a batch: what readers see is what its position says. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { databaseImage } from '../../harness/image.ts';
import { withFolder } from '../os/folder.ts';
import { NodeStand } from './node-stand.ts';

test('a transaction that could not be kept is not shown', () =>
  withFolder((folder) => {
    const primary = new NodeStand(path.join(folder, 'primary'));
    const replica = new NodeStand(path.join(folder, 'replica'));
    try {
      const images = [
        'CREATE TABLE t(x);',
        'INSERT INTO t VALUES(1);',
        'INSERT INTO t VALUES(2);',
      ].map((sql) => {
        const input = `.dbconfig no_ckpt_on_close on\nPRAGMA journal_mode=wal;\n${sql}`;
        execFileSync('sqlite3', ['-batch', '-bail', primary.file], { input });
        primary.capture();
        return databaseImage(primary.file);
      });
      const [first, ...rest] = primary.entries;
      replica.apply(first);

      const log = replica.db.log;
      const append = log.append.bind(log);
      let left = 1;
      log.append = (...entry) => {
        if (left-- === 0) throw new LiteFsError('DISK', 'the disk is full');
        return append(...entry);
      };
      const [kept, lost] = replica.apply(...rest);
      assert.equal(kept.error, undefined);
      assert.equal((lost.error as LiteFsError).code, 'DISK');
      assert.equal(replica.db.position.txid, primary.db.position.txid - 1);
      assert(databaseImage(replica.file).equals(images[1]), 'the position says one less');

      replica.apply(rest[1]);
      assert(databaseImage(replica.file).equals(images[2]));
    } finally {
      primary.close();
      replica.close();
    }
  }));
