/**
 * The last connection to a database on a primary removes the -shm, with its inode locked until the engine has captured. So the
 * engine must not write(2) there: until now it raised a read mark so where the kernel does not pass files through, and both
 * waited for each other for ever (the state check, seed 542582576: spilling rounds at synchronous=OFF with passthrough off).
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { mock, test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { DatabaseFiles, type Roots } from '../../../src/engine/files/files.ts';
import { shmAccess } from '../../../src/engine/files/shm-access.ts';
import { parseWalIndexHeader, WAL_INDEX_HEADER_BYTES } from '../../../src/sqlite/wal-index.ts';
import { beginRead, endRead, UNMARKED, type WalRead } from '../../../src/sqlite/wal-locks.ts';
import { TreeDoor } from '../../../src/store/tree-door.ts';
import { withFolder } from '../os/folder.ts';

/** Calls back with a database whose -wal has frames behind all read marks. */
function withCommits(
  roots: Pick<Roots, 'lookUp' | 'passesAll'>,
  use: (files: DatabaseFiles, db: Sqlite.Database) => void,
): Promise<void> {
  return withFolder((folder) => {
    const db = new Sqlite(path.join(folder, 'a.db'));
    const tree = new TreeDoor(folder);
    const files = new DatabaseFiles({ mount: tree, tree, ...roots }, 'a.db', () => {});
    try {
      db.pragma('journal_mode=WAL');
      db.pragma('wal_autocheckpoint=0');
      db.exec('CREATE TABLE t(x); INSERT INTO t VALUES(1)');
      use(files, db);
    } finally {
      files.close();
      db.close();
      tree.close();
    }
  });
}

function take(files: DatabaseFiles): { read: WalRead; writes: number } {
  const fd = files.openAgain('shm', 'r+') as number;
  const writes = mock.method(fs, 'writeSync');
  try {
    const shm = shmAccess(files, fd);
    const read = beginRead(shm);
    assert(typeof read === 'object', `${read as string}`);
    endRead(shm, read);
    return { read, writes: writes.mock.callCount() };
  } finally {
    writes.mock.restore();
    fs.closeSync(fd);
  }
}

const HELD_UP: Roots['lookUp'] = () => {};

test('no mark is raised where a write could wait for ever: those that are there are taken', () =>
  withCommits({ lookUp: HELD_UP, passesAll: () => false }, (files, db) => {
    const before = marksOf(files);
    const { read, writes } = take(files);
    assert.equal(writes, 0);
    assert.deepEqual(marksOf(files), before);
    assert.equal(read.header.mxFrame > 0, true);
    assert(read.slot > 0 ? read.mark <= read.header.mxFrame : read.slot === UNMARKED);
    db.exec('INSERT INTO t VALUES(2)');
    assert.equal(take(files).read.header.mxFrame, read.header.mxFrame + 1);
  }));

test('without any mark a snapshot is unmarked', () =>
  withCommits({ lookUp: HELD_UP, passesAll: () => false }, (files) => {
    const fd = files.openAgain('shm', 'r+') as number;
    try {
      // As a recovery leaves them, before the next reader: none is used.
      for (let slot = 1; slot < 5; slot++)
        fs.writeSync(fd, Buffer.alloc(4, 0xff), 0, 4, 100 + 4 * slot);
    } finally {
      fs.closeSync(fd);
    }
    const { read, writes } = take(files);
    assert.deepEqual([read.slot, writes], [UNMARKED, 0]);
  }));

test('where nobody can be waited for it is raised', () =>
  withCommits({ passesAll: () => false }, (files) => {
    const { read, writes } = take(files);
    assert.equal(read.mark, read.header.mxFrame);
    assert.equal(writes, 1);
  }));

function marksOf(files: DatabaseFiles): readonly number[] {
  const bytes = Buffer.alloc(WAL_INDEX_HEADER_BYTES);
  files.read('shm', bytes, 0);
  return parseWalIndexHeader(bytes).checkpoint.readMarks;
}
