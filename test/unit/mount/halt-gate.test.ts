/** Which write to a -wal would make a commit: that of the frame's last part, in whatever order SQLite writes. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { judgeWalWrite } from '../../../src/mount/halt-gate.ts';
import { withFolder } from '../os/folder.ts';

const EIO = 5;
const PAGE = 4096;
const FRAME = PAGE + 24;

/** A -wal of three transactions, the second with several frames, as SQLite writes it. */
function makeWal(folder: string): Buffer {
  const file = path.join(folder, 'app.db');
  const db = new Sqlite(file);
  db.pragma('journal_mode = wal');
  db.exec('CREATE TABLE t(x)');
  db.exec('INSERT INTO t VALUES(zeroblob(20000))');
  db.exec("INSERT INTO t VALUES('last')");
  const wal = fs.readFileSync(`${file}-wal`);
  db.close();
  return wal;
}

test('the write that makes a commit frame whole is held back, and no other', () =>
  withFolder((folder) => {
    const wal = makeWal(folder);
    const frames = (wal.length - 32) / FRAME;
    const fd = fs.openSync(path.join(folder, 'copy-wal'), 'w+');
    const write = (at: number, data: Buffer) => fs.writeSync(fd, data, 0, data.length, at);
    try {
      assert.equal(judgeWalWrite(fd, 32, wal.subarray(32, 56), 0), EIO, 'no header yet');
      assert.equal(judgeWalWrite(fd, 0, wal.subarray(0, 32), 0), 'defer', 'a new header');
      assert.equal(judgeWalWrite(fd, 0, wal.subarray(0, 64), 0), EIO, 'no way to write a header');
      write(0, wal.subarray(0, 32));
      let commits = 0;
      for (let frame = 0; frame < frames; frame++) {
        const at = 32 + frame * FRAME;
        const isCommit = wal.readUInt32BE(at + 4) !== 0;
        commits += isCommit ? 1 : 0;
        const head = wal.subarray(at, at + 24);
        const page = wal.subarray(at + 24, at + FRAME);
        const verdict = isCommit ? 'defer' : 0;
        assert.equal(judgeWalWrite(fd, at, wal.subarray(at, at + FRAME), 0), verdict, 'at once');
        assert.equal(judgeWalWrite(fd, at, head, 0), 0, 'the header alone makes no frame');
        write(at, head);
        assert.equal(judgeWalWrite(fd, at + 24, page.subarray(0, 100), 0), 0, 'a part');
        assert.equal(judgeWalWrite(fd, at + 24, page, 0), verdict, 'the page after the header');
        // A page that is written twice: the header comes last.
        write(at, Buffer.alloc(24));
        assert.equal(judgeWalWrite(fd, at + 24, page, 0), 0, 'the page before the header');
        write(at + 24, page);
        assert.equal(judgeWalWrite(fd, at, head, 0), verdict, 'the header after the page');
        write(at, head);
      }
      assert.equal(commits, 3);
      const acknowledged = (at: number, data: Buffer) => judgeWalWrite(fd, at, data, wal.length);
      assert.equal(acknowledged(56, wal.subarray(56, 56 + PAGE)), EIO, 'a page');
      assert.equal(acknowledged(32, wal.subarray(32 + FRAME, 56 + FRAME)), EIO, 'another frame');
      assert.equal(acknowledged(32, wal.subarray(32, 32 + FRAME)), EIO, 'all of a frame');
      const mended = Buffer.from(wal.subarray(32, 56)).fill(0, 8);
      assert.equal(acknowledged(32, mended), 0, 'salts and checksums');
    } finally {
      fs.closeSync(fd);
    }
  }));

test('a commit frame that SQLite has left without salts and checksums is a commit', () =>
  withFolder((folder) => {
    const wal = makeWal(folder);
    const fd = fs.openSync(path.join(folder, 'copy-wal'), 'w+');
    try {
      fs.writeSync(fd, wal.subarray(0, 32), 0, 32, 0);
      const head = Buffer.from(wal.subarray(32, 56)).fill(0, 8);
      head.writeUInt32BE(2, 4);
      assert.equal(judgeWalWrite(fd, 32, head, 0), 0, 'the page comes next');
      fs.writeSync(fd, head, 0, head.length, 32);
      assert.equal(judgeWalWrite(fd, 56, wal.subarray(56, 56 + PAGE), 0), 'defer');
    } finally {
      fs.closeSync(fd);
    }
  }));

test('what is left of an older generation is no commit', () =>
  withFolder((folder) => {
    const wal = makeWal(folder);
    const fd = fs.openSync(path.join(folder, 'copy-wal'), 'w+');
    try {
      fs.writeSync(fd, wal);
      const at = 32 + FRAME;
      const head = Buffer.from(wal.subarray(at, at + 24));
      head.writeUInt32BE(2, 4);
      head.writeUInt32BE(1234, 8);
      assert.equal(judgeWalWrite(fd, at, head, 0), 0);
    } finally {
      fs.closeSync(fd);
    }
  }));
