/** What SQLite commits on one node and the engine captures is, applied on another, the same database. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, it } from 'node:test';
import { databaseImage } from '../../harness/image.ts';
import { SeededRandom } from '../../harness/random.ts';
import { assertSame, withTwo } from './two-nodes.ts';

const STATEMENTS = [
  'INSERT INTO t(data) VALUES(randomblob(20));',
  'INSERT INTO t(data) SELECT randomblob(900) FROM t LIMIT 40;',
  'UPDATE t SET data = randomblob(3000) WHERE id % 3 = 0;',
  'DELETE FROM t WHERE id % 2 = 0;',
  'CREATE INDEX IF NOT EXISTS i ON t(data);',
  'DROP INDEX IF EXISTS i;',
  'VACUUM;',
];

for (const mode of ['wal', 'delete', 'persist', 'memory']) {
  describe(`journal_mode=${mode}`, () => {
    it('any transactions, in batches of any size', async (t) => {
      const random = new SeededRandom();
      t.diagnostic(`LITEFS_LITE_SEED=${random.seed}`);
      await withTwo(mode, (two) => {
        let waiting = [...two.primary.entries];
        for (let round = 0; round < 12; round++) {
          waiting.push(...two.commit(random.pick(STATEMENTS) + random.pick(STATEMENTS)));
          if (random.below(3) > 0) continue;
          for (const { error } of two.replica.apply(...waiting)) assert.equal(error, undefined);
          assertSame(two);
          waiting = [];
        }
        two.replica.apply(...waiting);
        assertSame(two);
      });
    });
  });
}

describe('a replica', () => {
  it('follows a change of the page size', () =>
    withTwo('delete', (two) => {
      two.commit('PRAGMA page_size=512; VACUUM;');
      two.replica.apply(...two.primary.entries);
      assert.equal(two.replica.db.pageSize, 512);
      assertSame(two);
    }));

  it('follows into WAL mode and out of it', () =>
    withTwo('delete', (two) => {
      for (const mode of ['wal', 'delete', 'wal']) {
        two.commit(`PRAGMA journal_mode=${mode}; INSERT INTO t(data) VALUES('${mode}');`);
      }
      two.replica.apply(...two.primary.entries);
      assertSame(two);
    }));

  it('takes part of a batch when the rest is of another history', () =>
    withTwo('wal', (two) => {
      two.replica.apply(...two.primary.entries);
      const [good] = two.commit('INSERT INTO t(data) VALUES(2);');
      const outcomes = two.replica.apply(good, two.primary.entries[0]);
      assert.equal(outcomes[0].error, undefined);
      assert.equal((outcomes[1].error as { code?: string }).code, 'CHECKSUM_MISMATCH');
      assertSame(two);
    }));

  it('touches nothing for an entry that is damaged', () =>
    withTwo('wal', (two) => {
      two.replica.apply(...two.primary.entries);
      const before = databaseImage(two.replica.file);
      const [good] = two.commit('INSERT INTO t(data) VALUES(randomblob(5000));');
      for (const at of [0, 50, good.length >> 1, good.length - 1]) {
        const bad = Buffer.from(good);
        bad[at] ^= 0x40;
        const [{ error }] = two.replica.apply(bad);
        assert.match((error as { code: string }).code, /LTX_CORRUPT|CHECKSUM_MISMATCH/, `at ${at}`);
        assert(databaseImage(two.replica.file).equals(before), `at ${at}`);
      }
      two.replica.apply(good);
      assertSame(two);
    }));
});

describe('a drop', () => {
  it('takes the files, and the next database of that name goes on from there', () =>
    withTwo('delete', (two) => {
      const { primary, replica } = two;
      replica.apply(...primary.entries);
      fs.rmSync(primary.file);
      primary.capture(true);
      replica.apply(...primary.entries.slice(-1));
      assert.equal(fs.existsSync(replica.file), false);
      assert.deepEqual(replica.db.position, { txid: primary.db.position.txid, checksum: 0n });
      replica.apply(...two.commit('CREATE TABLE u(x); INSERT INTO u VALUES(1);'));
      assertSame(two);
    }));
});
