/**
 * Users who may read a database on a replica may write its -shm. What they write there is not taken for what we have written. On
 * 25311ce, where only root could, the first of these stopped the replica, and the others made another file of its database.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { it } from 'node:test';
import { WAL_CKPT_SLOT, WAL_LOCK_BASE } from '../../../src/sqlite/locks.ts';
import {
  encodeWalIndexHeader,
  parseWalIndexHeader,
  readMarkOffset,
  WAL_INDEX_COPY_BYTES,
} from '../../../src/sqlite/wal-index.ts';
import { runShell } from '../../harness/sqlite-shell.ts';
import { assertSame, type Two, withTwo } from './two-nodes.ts';

/** More than what a -wal may hold before it is checkpointed (4 MiB). */
const LARGE = 'INSERT INTO t(data) VALUES(randomblob(5000000));';

it('what says that the tables are empty: they are made anew', () =>
  withTwo('wal', (two) => {
    const { primary, replica, commit } = two;
    apply(two, primary.entries);
    apply(two, commit('INSERT INTO t(data) VALUES(2);'));
    replica.db.files.write('shm', Buffer.alloc(1000), 136);
    apply(two, commit('INSERT INTO t(data) VALUES(3);'));
    assertSame(two);
  }));

it('what says that all is copied: it is not believed', () =>
  withTwo('wal', (two) => {
    const { primary, replica, commit } = two;
    apply(two, primary.entries);
    apply(two, commit('INSERT INTO t(data) VALUES(randomblob(3000000));'));
    const frames = Buffer.alloc(4);
    frames.writeUInt32LE(replica.db.wal.cursor?.frame ?? 0);
    replica.db.files.write('shm', frames, 96);
    apply(two, commit(LARGE));
    assert.equal(replica.db.wal.cursor?.frame, 0);
    assertSame(two);
  }));

it('what says that there are other pages, while it is checkpointed: it is not believed', (t) =>
  withTwo('wal', async (two) => {
    const { primary, replica, commit } = two;
    const { files, wal } = replica.db;
    apply(two, primary.entries);
    const lock = files.lock.bind(files);
    t.mock.method(files, 'lock', (...args: Parameters<typeof lock>) => {
      if (args[2] === WAL_LOCK_BASE + WAL_CKPT_SLOT && args[1] === 'write' && wal.cursor) {
        const { header } = parseWalIndexHeader(fs.readFileSync(`${replica.file}-shm`));
        const copy = encodeWalIndexHeader({ ...header, pageCount: 1 });
        files.write('shm', Buffer.concat([copy, copy]), 0);
      }
      return lock(...args);
    });
    apply(two, commit(LARGE));
    assert.equal(wal.cursor?.frame, 0);
    assertSame(two);
    const { stdout } = await runShell(`file:${replica.file}?mode=ro`, 'SELECT count(*) FROM t;');
    assert.equal(stdout.trim(), '2');
  }));

/** On e8b0209 pages as they had been before went over newer ones in the file, which nothing copied once more. */
it('what says that a reader needs what is copied already: the file keeps that', () =>
  withTwo('wal', async (two) => {
    const { primary, replica, commit } = two;
    apply(two, primary.entries);
    apply(two, commit(`INSERT INTO t(data) VALUES(zeroblob(300000));`));
    const low = Buffer.alloc(4);
    low.writeUInt32LE(replica.db.wal.cursor?.frame ?? 0);
    apply(two, commit('UPDATE t SET data = randomblob(300000);'));
    const reader = spawn('sqlite3', ['-batch', `file:${replica.file}?mode=ro`]);
    const gone = once(reader, 'exit');
    try {
      reader.stdin.write('BEGIN; SELECT count(*) FROM t;\n');
      await once(reader.stdout, 'data');
      apply(two, commit(LARGE));
      const shm = fs.openSync(`${replica.file}-shm`, 'r+');
      for (let i = 1; i < 5; i++) fs.writeSync(shm, low, 0, low.length, readMarkOffset(i));
      fs.writeSync(shm, Buffer.alloc(WAL_INDEX_COPY_BYTES, 0xff), 0, WAL_INDEX_COPY_BYTES, 0);
      fs.closeSync(shm);
      apply(two, commit('INSERT INTO t(data) VALUES(2);'));
    } finally {
      reader.stdin.end();
      await gone;
    }
    apply(two, commit(LARGE));
    assertSame(two);
  }));

function apply({ replica }: Two, entries: readonly Buffer[]): void {
  for (const { error } of replica.apply(...entries)) assert.ifError(error);
}
