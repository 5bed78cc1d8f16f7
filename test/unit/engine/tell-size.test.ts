/** How readers are told the size of a database. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { tellSize } from '../../../src/engine/capture/tell-size.ts';
import { DMS_BYTE, SHARED_FIRST, SHARED_SIZE } from '../../../src/sqlite/locks.ts';
import { parseWalIndexHeader, WAL_INDEX_HEADER_BYTES } from '../../../src/sqlite/wal-index.ts';
import { withFolder } from '../os/folder.ts';
import { lockRange } from '../sqlite/posix-locks.ts';
import { NodeStand } from './node-stand.ts';

/** Opens the database, reads, and dies: its empty -wal and the index of that stay. */
async function leaveIndex(file: string): Promise<void> {
  const app = spawn('sqlite3', ['-batch', file]);
  const gone = once(app, 'exit');
  app.stdin.write('SELECT count(*) FROM t;\n');
  await once(app.stdout, 'data');
  app.kill('SIGKILL');
  await gone;
}

it('tells the size without a lock on the database, and not while a connection has that to itself: it heeds no other lock', () =>
  withFolder(async (folder) => {
    const node = new NodeStand(path.join(folder, 'node'));
    const fds: number[] = [];
    try {
      const { db, file } = node;
      const app = (sql: string) => node.sql(`.dbconfig no_ckpt_on_close off\n${sql}`);
      app('PRAGMA journal_mode=wal; CREATE TABLE t(x);');
      await leaveIndex(file);
      const [shm, closing] = [`${file}-shm`, file].map((name) => fs.openSync(name, 'r+'));
      fds.push(shm, closing);
      const pageCount = () => {
        const bytes = Buffer.alloc(WAL_INDEX_HEADER_BYTES);
        fs.readSync(shm, bytes, 0, bytes.length, 0);
        return parseWalIndexHeader(bytes).header.pageCount;
      };
      assert(lockRange(shm, 'shared', DMS_BYTE, 1));
      assert(lockRange(closing, 'exclusive', SHARED_FIRST, SHARED_SIZE));
      assert.equal(pageCount(), 0);
      const openAgain = db.files.openAgain.bind(db.files);
      db.files.openAgain = () => {
        throw Object.assign(new Error('too many open files'), { errno: -24 });
      };
      assert.equal(tellSize(db), 'not-yet', 'it is no fault of the database');
      Object.defineProperty(db.files, 'mayBeMapped', { value: false, configurable: true });
      assert.equal(tellSize(db), 'told', 'nothing is to be done where the mount serves the file');
      Reflect.deleteProperty(db.files, 'mayBeMapped');
      db.files.openAgain = openAgain;
      assert.equal(tellSize(db), 'not-yet', 'a connection is alone on the file');
      assert.equal(pageCount(), 0);
      fs.closeSync(closing);
      fds.pop();
      assert.equal(tellSize(db), 'told');
      assert(pageCount() > 0);
    } finally {
      for (const fd of fds) fs.closeSync(fd);
      node.close();
    }
  }));
