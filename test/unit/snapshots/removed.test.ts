/** A database that was removed: the newest state is that there is none, and the way back is said. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { LiteFsError } from '../../../src/errors.ts';
import { Archive } from '../../../src/snapshots/archive.ts';
import { restore } from '../../../src/snapshots/restore.ts';
import { snapshotTasks } from '../../../src/snapshots/tasks.ts';
import { NodeStand } from '../engine/node-stand.ts';
import { withFolder } from '../os/folder.ts';

test('a restore of a removed database names the last state before the removal', () =>
  withFolder((folder) => {
    const node = new NodeStand(path.join(folder, 'node'));
    const root = path.join(folder, 'archive');
    const output = path.join(folder, 'out.db');
    const options = { check: 'quick', force: false } as const;
    try {
      node.sql('CREATE TABLE t(x);');
      node.capture();
      node.sql('INSERT INTO t VALUES(1);');
      node.capture(true);
      const image = fs.readFileSync(node.file);
      fs.rmSync(node.file);
      node.capture(true);
      for (const bytes of node.entries) {
        snapshotTasks().increment({ archive: root, entries: [{ bytes }], compress: true });
      }
      const archive = new Archive(root);
      assert.throws(
        () => restore(archive, { kind: 'latest' }, output, options),
        (error) => {
          assert(error instanceof LiteFsError && error.code === 'RESTORE_POINT', `${error}`);
          assert.match(error.message, /had been removed/);
          assert.match(
            error.hint ?? '',
            /before the removal: --txid 0000000000000002 \(\d{4}-.*\)$/,
          );
          return true;
        },
      );
      restore(archive, { kind: 'txid', txid: 2 }, output, options);
      assert.deepEqual(fs.readFileSync(output), image);
    } finally {
      node.close();
    }
  }));
