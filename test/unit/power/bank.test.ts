/** What the harness of power cuts goes by: it must see what is wrong with a database, and know what a position says. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { positionOf } from '../../harness/image.ts';
import { advance, createBank, faultOf, stateOf } from '../../harness/power/bank.ts';
import { checksumOf } from '../../harness/power/pages.ts';

function bank(steps: number): Sqlite.Database {
  const db = new Sqlite(':memory:');
  createBank(db, 77);
  for (let i = 0; i < steps; i++) advance(db, i === 0 || i === 40 ? i + 1 : undefined);
  return db;
}

describe('a bank', () => {
  it('knows every row of each of its states', () => {
    for (const steps of [0, 1, 30, 90]) {
      const db = bank(steps);
      assert.equal(faultOf(db), undefined);
      assert.equal(stateOf(db)?.k, steps);
    }
  });

  it('sees what is of another state', () => {
    for (const change of [
      'UPDATE t SET v = v + 1 WHERE id = 7',
      'UPDATE t SET pad = zeroblob(60) WHERE id = 7',
      'UPDATE meta SET k = k - 1',
      'DELETE FROM notes WHERE k = 60',
      'UPDATE epochs SET epoch = 5 WHERE first = 41',
      'DELETE FROM t WHERE id = 500',
    ]) {
      const db = bank(90);
      db.exec(change);
      assert.notEqual(faultOf(db), undefined, change);
    }
  });

  it('has other rows in another epoch', () => {
    const [a, b] = [new Sqlite(':memory:'), new Sqlite(':memory:')];
    for (const [db, epoch] of [
      [a, 1],
      [b, 2],
    ] as const) {
      createBank(db, 77);
      advance(db, epoch);
    }
    assert.notDeepEqual(a.prepare('SELECT * FROM t').all(), b.prepare('SELECT * FROM t').all());
  });
});

describe('the checksum of pages', () => {
  it('is the one that positions have', () => {
    const image = bank(5).serialize();
    assert.equal(checksumOf(image), positionOf(1, image).slice(17));
    image[5000] ^= 1;
    assert.notEqual(checksumOf(image), positionOf(1, bank(5).serialize()).slice(17));
  });
});
