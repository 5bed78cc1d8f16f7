/** Appending to a WAL beside a real SQLite in another process, and reading and restarting it with it. */
import assert from 'node:assert';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { DMS_BYTE, WAL_CKPT_SLOT, WAL_WRITE_SLOT } from '../../../src/sqlite/locks.ts';
import {
  encodeFrame,
  encodeWalHeader,
  frameOffset,
  parseWalHeader,
  WAL_FRAME_HEADER_BYTES,
  type WalCursor,
  walCursorAtStart,
} from '../../../src/sqlite/wal.ts';
import {
  parseWalIndexHeader,
  WAL_INDEX_HEADER_BYTES,
  WalIndexWriter,
} from '../../../src/sqlite/wal-index.ts';
import {
  beginRead,
  checkpointLimit,
  endRead,
  publishHeader,
  tryRestart,
} from '../../../src/sqlite/wal-locks.ts';
import { type Frame, openDatabase, tmpFolder, walFrames } from './fixtures.ts';
import { fileShm, lockRange } from './posix-locks.ts';

const CHILD = path.join(import.meta.dirname, 'sqlite-child.ts');

type Rows = Record<string, unknown>[];

/** A connection in another process that ends with the test. */
function startChild(t: TestContext, file: string) {
  const child = fork(CHILD, [file], { execArgv: [] });
  t.after(async () => {
    const gone = once(child, 'exit');
    if (child.exitCode === null && child.kill('SIGKILL')) await gone;
  });
  const ask = async (message: { sql?: string; query?: string }): Promise<Rows> => {
    child.send(message);
    const [answer] = (await once(child, 'message')) as [{ rows?: Rows; error?: string }];
    if (answer.rows === undefined) throw new Error(answer.error);
    return answer.rows;
  };
  return { exec: (sql: string) => ask({ sql }), all: (query: string) => ask({ query }) };
}

/** Our end of the database: what a replica's daemon would do. */
class Appender {
  readonly wal: number;
  readonly shmFd: number;
  readonly #writer: WalIndexWriter;
  readonly shm;

  constructor(t: TestContext, file: string) {
    this.wal = fs.openSync(`${file}-wal`, 'r+');
    this.shmFd = fs.openSync(`${file}-shm`, 'r+');
    t.after(() => {
      fs.closeSync(this.wal);
      fs.closeSync(this.shmFd);
    });
    assert(lockRange(this.shmFd, 'shared', DMS_BYTE, 1));
    this.shm = fileShm(this.shmFd);
    this.#writer = new WalIndexWriter({ read: this.shm.readShm, write: this.shm.writeShm });
  }

  get index() {
    return parseWalIndexHeader(this.shm.readShm(0, WAL_INDEX_HEADER_BYTES));
  }

  /** The end of the log as the index has it. */
  cursor(): WalCursor {
    const { pageSize, bigEndian, salt1, salt2, mxFrame, frameChecksum1, frameChecksum2 } =
      this.index.header;
    const [checksum1, checksum2] = [frameChecksum1, frameChecksum2];
    return { pageSize, bigEndian, salt1, salt2, frame: mxFrame, checksum1, checksum2 };
  }

  /** Commits the frames behind `cursor`. */
  append(frames: readonly Pick<Frame, 'pgno' | 'commitPages' | 'data'>[], cursor = this.cursor()) {
    assert(this.shm.lock(WAL_WRITE_SLOT, 1, 'exclusive'));
    const { header } = this.index;
    const first = cursor.frame + 1;
    const bytes = Buffer.alloc(cursor.pageSize + WAL_FRAME_HEADER_BYTES);
    for (const { pgno, commitPages, data } of frames) {
      const offset = frameOffset(cursor.frame + 1, cursor.pageSize);
      encodeFrame(cursor, pgno, commitPages, data, bytes);
      fs.writeSync(this.wal, bytes, 0, bytes.length, offset);
    }
    this.#writer.forget();
    this.#writer.append(
      first,
      frames.map(({ pgno }) => pgno),
    );
    publishHeader(this.shm, {
      ...header,
      change: header.change + 1,
      mxFrame: cursor.frame,
      pageCount: frames[frames.length - 1].commitPages,
      frameChecksum1: cursor.checksum1,
      frameChecksum2: cursor.checksum2,
    });
    this.shm.unlock(WAL_WRITE_SLOT, 1);
  }
}

/** The frames that these statements add to a copy of the database. */
function framesOf(t: TestContext, file: string, name: string, sql: string): Frame[] {
  const copy = path.join(path.dirname(file), name);
  fs.copyFileSync(file, copy);
  fs.copyFileSync(`${file}-wal`, `${copy}-wal`);
  const db = openDatabase(t, copy, 'wal_autocheckpoint=0');
  const before = walFrames(fs.readFileSync(`${copy}-wal`)).frames.length;
  db.exec(sql);
  return walFrames(fs.readFileSync(`${copy}-wal`)).frames.slice(before);
}

const SETUP = `PRAGMA page_size=1024; PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0;
  CREATE TABLE t(id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'child')`;
const SUM = 'SELECT count(*) AS n, sum(length(x)) AS bytes FROM t';

test('SQLite reads and continues what was appended from outside, without recovery', async (t) => {
  const file = path.join(tmpFolder(t), 'live.db');
  const child = startChild(t, file);
  await child.exec(SETUP);
  const ours = new Appender(t, file);

  // Over the end of the first region of the index, then small transactions.
  const large = framesOf(
    t,
    file,
    'large.db',
    'WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, zeroblob(1000) FROM n',
  );
  assert(large.length > 4096);
  ours.append(large);
  assert.deepEqual(await child.all(SUM), [{ n: 5000, bytes: 5 + 4999 * 1000 }]);
  for (let round = 0; round < 20; round++) {
    const small = framesOf(
      t,
      file,
      `${round}.db`,
      `UPDATE t SET x = 'round ${round}' WHERE id % 2500 = 1`,
    );
    ours.append(small);
    const rows = await child.all('SELECT DISTINCT x FROM t WHERE id % 2500 = 1');
    assert.deepEqual(rows, [{ x: `round ${round}` }]);
  }
  // A recovery would have counted the changes from 0 again.
  const { header } = ours.index;
  assert(header.change > 20);

  await child.exec("UPDATE t SET x = 'by the child' WHERE id = 7");
  const after = walFrames(fs.readFileSync(`${file}-wal`));
  assert.equal(ours.index.header.change, header.change + 1);
  assert.equal(after.frames.length, ours.index.header.mxFrame);
  assert.equal(after.cursor.checksum2, ours.index.header.frameChecksum2);
  ours.append(framesOf(t, file, 'last.db', "UPDATE t SET x = 'by us' WHERE id = 9"));
  assert.deepEqual(await child.all('SELECT x FROM t WHERE id IN (7, 9) ORDER BY id'), [
    { x: 'by the child' },
    { x: 'by us' },
  ]);
  assert.deepEqual(await child.all('PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
});

test('a snapshot taken from outside holds checkpoints back, and theirs hold ours', async (t) => {
  const file = path.join(tmpFolder(t), 'live.db');
  const child = startChild(t, file);
  await child.exec(SETUP);
  const { shm } = new Appender(t, file);
  const read = beginRead(shm);
  assert(typeof read === 'object');
  assert.equal(read.mark, read.header.mxFrame);
  await child.exec("INSERT INTO t VALUES (2, 'more')");
  const [held] = await child.all('PRAGMA wal_checkpoint(passive)');
  assert.equal(held.checkpointed, read.mark);
  assert((held.log as number) > read.mark);
  endRead(shm, read);
  const [free] = await child.all('PRAGMA wal_checkpoint(passive)');
  assert.equal(free.checkpointed, free.log);

  await child.exec("INSERT INTO t VALUES (3, 'even more')");
  await child.exec('BEGIN; SELECT * FROM t');
  const other = startChild(t, file);
  await other.exec("INSERT INTO t VALUES (4, 'past the reader')");
  const { header } = parseWalIndexHeader(shm.readShm(0, WAL_INDEX_HEADER_BYTES));
  assert(shm.lock(WAL_CKPT_SLOT, 1, 'exclusive'));
  const limit = checkpointLimit(shm, header);
  assert(limit < header.mxFrame);
  await child.exec('COMMIT');
  assert.equal(checkpointLimit(shm, header), header.mxFrame);
  shm.unlock(WAL_CKPT_SLOT, 1);
});

test('SQLite goes on behind a log started over from outside', async (t) => {
  const file = path.join(tmpFolder(t), 'live.db');
  const child = startChild(t, file);
  await child.exec(SETUP);
  const ours = new Appender(t, file);
  const frames = framesOf(t, file, 'copy.db', "INSERT INTO t VALUES (2, 'behind the restart')");
  assert(ours.shm.lock(WAL_WRITE_SLOT, 1, 'exclusive'));
  assert.equal(tryRestart(ours.shm, ours.index.header, 99), undefined, 'not copied yet');
  ours.shm.unlock(WAL_WRITE_SLOT, 1);
  await child.exec('PRAGMA wal_checkpoint(passive)');

  const old = walFrames(fs.readFileSync(`${file}-wal`)).header;
  assert(ours.shm.lock(WAL_WRITE_SLOT, 1, 'exclusive'));
  const restarted = tryRestart(ours.shm, ours.index.header, 99);
  assert(restarted);
  ours.shm.unlock(WAL_WRITE_SLOT, 1);
  assert.deepEqual(await child.all('SELECT x FROM t'), [{ x: 'child' }]);

  const { salt1, salt2 } = restarted;
  const sequence = old.checkpointSequence + 1;
  const bytes = encodeWalHeader({ ...old, checkpointSequence: sequence, salt1, salt2 });
  fs.writeSync(ours.wal, bytes, 0, bytes.length, 0);
  const header = parseWalHeader(bytes);
  assert(header);
  ours.append(frames, walCursorAtStart(header));
  const rows = [{ x: 'child' }, { x: 'behind the restart' }];
  assert.deepEqual(await child.all('SELECT x FROM t'), rows);
  await child.exec("INSERT INTO t VALUES (3, 'and on')");
  assert.deepEqual(await child.all('SELECT x FROM t'), [...rows, { x: 'and on' }]);
  const log = walFrames(fs.readFileSync(`${file}-wal`));
  assert.equal(log.frames.length, ours.index.header.mxFrame);
  assert.deepEqual(await child.all('PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
});
