/** Who has the halt lock: one holder a database, and an end for those that are not heard of. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HaltTable } from '../../../src/lease/halt-table.ts';

const claim = (table: HaltTable, database: string, id: number, expiresMs?: number) =>
  table.claim({ database, id, holder: `node-${id}`, expiresMs }, database);

test('a database has one holder, whose name the next one hears', () => {
  const table = new HaltTable();
  claim(table, 'a.db', 1);
  claim(table, 'b.db', 2);
  assert.throws(() => claim(table, 'a.db', 3), /halt lock of a\.db is held by node-1/);
  assert.equal(table.get('a.db')?.id, 1);
});

test('only the very lock is released', () => {
  const table = new HaltTable();
  claim(table, 'a.db', 1);
  assert.equal(table.release('a.db', 2), false);
  assert.equal(table.release('b.db', 1), false);
  assert.equal(table.release('a.db', 1), true);
  claim(table, 'a.db', 2);
});

test('those whose time is over are told, and those without one never', () => {
  const table = new HaltTable();
  claim(table, 'a.db', 1, 100);
  claim(table, 'b.db', 2);
  assert.deepEqual(table.expired(99), []);
  assert.deepEqual(
    table.expired(100).map(({ id }) => id),
    [1],
  );
  const entry = table.get('a.db');
  if (entry) entry.expiresMs = 200;
  assert.deepEqual(table.expired(199), []);
});
