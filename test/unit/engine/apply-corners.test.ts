/** Transactions of rare kinds on a replica in WAL mode, and its checkpoints. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { CHECKSUM_FLAG } from '../../../src/kernels/checksum.ts';
import { compact } from '../../../src/ltx/compact.ts';
import { LtxEncoder } from '../../../src/ltx/encoder.ts';
import { memorySink, memorySource } from '../../../src/ltx/sources.ts';
import { walFrames } from '../sqlite/fixtures.ts';
import { finish } from './node-stand.ts';
import { assertSame, withTwo } from './two-nodes.ts';

/** More than what a -wal may hold before it is checkpointed (4 MiB). */
const LARGE = 'INSERT INTO t(data) VALUES(randomblob(5000000));';
const WAL_HEADER_BYTES = 32;

test('an entry that begins before the position is applied, and the log begins with it', () =>
  withTwo('wal', (two) => {
    const { primary, replica, commit } = two;
    replica.apply(...primary.entries);
    for (let i = 0; i < 3; i++) commit(`INSERT INTO t(data) VALUES(${i});`);
    const sink = memorySink();
    finish(compact(primary.entries.map(memorySource), sink, { compress: true }));
    assert.equal(replica.apply(sink.bytes())[0].error, undefined);
    assertSame(two);
    assert.equal(replica.db.log.first?.minTxid, 1);
    assert.equal(replica.db.log.entryCount, 1);
  }));

test('a large entry comes as a file, which the log takes over', () =>
  withTwo('wal', (two) => {
    const { primary, replica, commit } = two;
    replica.apply(...primary.entries);
    const [large] = commit(LARGE);
    const received = path.join(replica.ctx.layout.spool, 'received');
    fs.writeFileSync(received, large);
    assert.equal(replica.apply({ path: received })[0].error, undefined);
    assertSame(two);
    const kept = replica.db.log.last?.path ?? '';
    assert(fs.readFileSync(kept).equals(large));
    assert.match(kept, /\.ltx$/);
  }));

test('a change of the page size begins the -wal again, with pages of that size', () =>
  withTwo('wal', (two) => {
    const { primary, replica } = two;
    replica.apply(...primary.entries);
    primary.sql(
      'PRAGMA journal_mode=delete; PRAGMA page_size=8192; VACUUM; PRAGMA journal_mode=wal;',
    );
    primary.capture(true);
    two.commit('INSERT INTO t(data) VALUES(2);');
    replica.apply(...primary.entries.slice(1));
    assert.equal(replica.db.pageSize, 8192);
    assertSame(two);
    assert(fs.existsSync(`${replica.file}-wal`), 'readers could not make it');
  }));

test('a transaction that changes the size only is a commit all the same', () =>
  withTwo('wal', ({ primary, replica, commit }) => {
    commit('INSERT INTO t(data) VALUES(randomblob(20000));');
    replica.apply(...primary.entries);
    const { position, pageSize, pageCount, sums } = replica.db;
    const header = replica.db.nextHeader({
      pageSize,
      commit: pageCount - 1,
      transactions: 1,
      timestampMs: 0,
      nodeId: 1n,
    });
    const sink = memorySink();
    const checksum = (position.checksum ^ sums.get(pageCount)) | CHECKSUM_FLAG;
    new LtxEncoder(sink, header, { compress: true }).finish(checksum);
    assert.equal(replica.apply(sink.bytes())[0].error, undefined);
    assert.equal(replica.db.pageCount, pageCount - 1);
    const last = walFrames(fs.readFileSync(`${replica.file}-wal`)).frames.at(-1);
    assert.deepEqual([last?.pgno, last?.commitPages], [1, pageCount - 1]);
  }));

test('a -wal that has grown is copied into the file and started over', () =>
  withTwo('wal', (two) => {
    const { primary, replica, commit } = two;
    replica.apply(...primary.entries);
    for (let round = 0; round < 3; round++) {
      replica.apply(...commit(LARGE));
      assert.equal(replica.db.owner.framesToCopy, 0, `round ${round}`);
      assertSame(two);
      replica.apply(...commit('UPDATE t SET data = randomblob(9) WHERE id = 1;'));
      assert(replica.db.owner.cursor.frame < 10);
      assertSame(two);
    }
  }));

test(
  'a reader keeps its snapshot; the -wal is started over when it has gone',
  { timeout: 30_000 },
  () =>
    withTwo('wal', async (two) => {
      const { primary, replica, commit } = two;
      replica.apply(...primary.entries);
      replica.apply(...commit('INSERT INTO t(data) VALUES(2);'));

      const reader = spawn('sqlite3', ['-batch', `file:${replica.file}?mode=ro`]);
      const ask = async (sql: string) => {
        reader.stdin.write(`${sql}\n`);
        const [answer] = await once(reader.stdout, 'data');
        return String(answer).trim();
      };
      try {
        assert.equal(await ask('BEGIN; SELECT count(*) FROM t;'), '2');
        replica.apply(...commit(LARGE));
        replica.apply(...commit(LARGE));
        assert(replica.db.owner.framesToCopy > 0, 'the reader needs the -wal');
        assert.equal(await ask('SELECT count(*) FROM t;'), '2');
        assert.equal(await ask('COMMIT; SELECT count(*) FROM t;'), '4');
      } finally {
        const gone = once(reader, 'exit');
        reader.stdin.end();
        await gone;
      }
      assertSame(two);
      // What the reader has kept is copied, and the next transaction begins the -wal again.
      for (let id = 3; id < 5; id++) replica.apply(...commit(`INSERT INTO t(data) VALUES(${id});`));
      assert(replica.db.owner.cursor.frame < 10);
      assert(fs.statSync(`${replica.file}-wal`).size >= WAL_HEADER_BYTES);
      assertSame(two);
    }),
);
