/** A writer that the system stops between the two copies of the header of its wal-index. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { capture } from '../../../src/engine/capture/capture.ts';
import { DMS_BYTE } from '../../../src/sqlite/locks.ts';
import { WAL_INDEX_COPY_BYTES } from '../../../src/sqlite/wal-index.ts';
import { withFolder } from '../os/folder.ts';
import { lockRange } from '../sqlite/posix-locks.ts';
import { NodeStand } from './node-stand.ts';

const RESTS = 20;

it('is waited for, and its commit captured as it is: nothing is compared', () =>
  withFolder(async (folder) => {
    const node = new NodeStand(path.join(folder, 'node'));
    let shm: number | undefined;
    try {
      node.sql('PRAGMA journal_mode=wal; CREATE TABLE t(x);');
      assert.equal(node.capture(), 'done');
      shm = fs.openSync(`${node.file}-shm`, 'r+');
      // Somebody has it open.
      assert(lockRange(shm, 'shared', DMS_BYTE, 1));
      const old = Buffer.alloc(WAL_INDEX_COPY_BYTES);
      fs.readSync(shm, old, 0, old.length, 0);
      node.sql('INSERT INTO t VALUES(1);');
      const published = Buffer.alloc(WAL_INDEX_COPY_BYTES);
      fs.readSync(shm, published, 0, published.length, 0);
      fs.writeSync(shm, old, 0, old.length, 0);

      const lines: string[] = [];
      const ctx = { ...node.ctx, log: (_: string, line: string) => lines.push(line) };
      const before = node.db.position.txid;
      const task = capture(ctx, node.db);
      for (let rest = 0; rest < RESTS; rest++) {
        const { done, value } = task.next();
        assert(!done && typeof value === 'number' && value > 0, 'it rests');
      }
      fs.writeSync(shm, published, 0, published.length, 0);
      let end = task.next();
      while (!end.done) end = task.next();
      assert.equal(end.value, 'done');
      assert.equal(node.db.position.txid, before + 1);
      assert.deepEqual(lines, []);
    } finally {
      if (shm !== undefined) fs.closeSync(shm);
      node.close();
    }
  }));
