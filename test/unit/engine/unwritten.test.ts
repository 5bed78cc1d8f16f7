/**
 * A user's -wal or journal that says that his database has more pages than anybody has written. On 0cf578f the engine put the
 * numbers of 2^32 pages into a list, until its memory was full and the node ended, at each start anew.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { encodeJournalHeader, encodeJournalRecord } from '../../../src/sqlite/journal-write.ts';
import {
  encodeFrame,
  frameOffset,
  parseWalHeader,
  readFrames,
  WAL_FRAME_HEADER_BYTES,
  walCursorAtStart,
} from '../../../src/sqlite/wal.ts';
import { EngineStand } from '../../harness/engine-stand.ts';
import { databaseImage } from '../../harness/image.ts';
import { runSql } from '../../harness/sql.ts';
import { withFolder } from '../os/folder.ts';

const PAGE = 512;
const WAL_SQL = `PRAGMA page_size=${PAGE}; PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1);`;

/** Adds a commit that says that there are so many pages, with the checksum that it has to have. */
function announce(file: string, pages: number): void {
  const wal = fs.readFileSync(`${file}-wal`);
  const header = parseWalHeader(wal);
  assert(header);
  const cursor = walCursorAtStart(header);
  let first: Buffer = fs.readFileSync(file).subarray(0, PAGE);
  const start = frameOffset(1, PAGE);
  readFrames(cursor, wal.subarray(start), (_, pgno, __, offset) => {
    const at = start + offset + WAL_FRAME_HEADER_BYTES;
    if (pgno === 1) first = wal.subarray(at, at + PAGE);
  });
  const frame = Buffer.alloc(PAGE + WAL_FRAME_HEADER_BYTES);
  const at = frameOffset(cursor.frame + 1, PAGE);
  // SQLite believes it when page 1 says the same.
  const page1 = Buffer.from(first);
  page1.writeUInt32BE(pages, 28);
  encodeFrame(cursor, 1, pages, page1, frame);
  const fd = fs.openSync(`${file}-wal`, 'r+');
  fs.writeSync(fd, frame, 0, frame.length, at);
  fs.closeSync(fd);
}

async function withTwoDatabases(
  body: (stand: EngineStand, dir: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const dir = path.join(folder, 'data');
    const stand = new EngineStand(dir);
    try {
      for (const name of ['app.db', 'other.db']) runSql(stand.file(name), WAL_SQL);
      // No -shm: nobody has them open.
      for (const name of ['app.db', 'other.db'])
        fs.rmSync(`${stand.file(name)}-shm`, { force: true });
      await stand.start();
      await body(stand, dir);
    } finally {
      stand.die();
    }
  });
}

test('what a -wal announces and nobody has written is not captured, and said; other databases go on', () =>
  withTwoDatabases(async (stand) => {
    runSql(stand.file('app.db'), 'INSERT INTO t VALUES(2);');
    await stand.call('flush', {});
    const { position } = stand.database('app.db');
    fs.rmSync(`${stand.file('app.db')}-shm`, { force: true });
    announce(stand.file('app.db'), 0xfffffffe);
    const uncaptured = await stand.call('flush', {});
    assert.deepEqual(
      uncaptured.map(({ database }) => database),
      ['app.db'],
    );
    assert.match(
      uncaptured[0].reason,
      /says that it has 4294967294 pages, and \d+ of them were never written/,
    );
    assert.deepEqual(stand.database('app.db').position, position);
    await stand.commit('other.db', 'INSERT INTO t VALUES(2);');
    assert.equal(stand.database('other.db').status.state, 'ok');
  }));

test('pages that a transaction has taken and freed again are captured, also many', () =>
  withTwoDatabases(async (stand) => {
    runSql(stand.file('app.db'), 'INSERT INTO t VALUES(2);');
    await stand.call('flush', {});
    fs.rmSync(`${stand.file('app.db')}-shm`, { force: true });
    announce(stand.file('app.db'), 2000);
    assert.deepEqual(await stand.call('flush', {}), []);
    assert.equal(stand.database('app.db').pageCount, 2000);
  }));

for (const kind of ['-wal', 'journal'] as const) {
  test(`a start sets a database aside whose ${kind} announces what nobody has written; others are there`, () =>
    withTwoDatabases(async (stand, dir) => {
      await stand.stop();
      const file = stand.file('app.db');
      if (kind === 'journal') {
        const image = databaseImage(file);
        const header = { recordCount: 1, nonce: 1, originalPageCount: 0x7fffffff, pageSize: PAGE };
        const record = encodeJournalRecord(1, 1, image.subarray(0, PAGE));
        fs.writeFileSync(`${file}-journal`, Buffer.concat([encodeJournalHeader(header), record]));
      } else {
        runSql(file, 'INSERT INTO t VALUES(2);');
        announce(file, 0x7fffffff);
      }
      const again = new EngineStand(dir);
      try {
        await again.start();
        assert(!fs.existsSync(file), 'it is set aside');
        assert(fs.readdirSync(path.join(dir, 'quarantine')).length > 0);
        const infos = await again.call('info', {});
        assert.equal(infos.find(({ name }) => name === 'other.db')?.status.state, 'ok');
      } finally {
        again.die();
      }
    }));
}
