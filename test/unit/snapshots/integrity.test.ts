/** What counts as damage of a database, what cannot be told here, and what the disk does. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type ErrorCode, LiteFsError } from '../../../src/errors.ts';
import { Archive } from '../../../src/snapshots/archive.ts';
import { checkIntegrity } from '../../../src/snapshots/integrity.ts';
import { restore } from '../../../src/snapshots/restore.ts';
import { sqlite3 } from '../../harness/app.ts';
import { addSnapshot, makeDatabase } from '../../harness/archived.ts';

const fails = (code: ErrorCode, message: RegExp) => (error: unknown) => {
  assert(error instanceof LiteFsError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return true;
};

describe('the check of a database', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-test-'));
    file = path.join(folder, 'some.db');
  });
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  const unknown = [
    [
      'a collation',
      'CREATE TABLE t(x COLLATE NOCASE); CREATE INDEX i ON t(x)',
      'NOCASE',
      'icu_root',
    ],
    ['a tokenizer', 'CREATE VIRTUAL TABLE t USING fts4(x, tokenize=simple)', 'simple', 'icu'],
    ['a function', 'CREATE TABLE t(x CHECK(abs(x) > 0))', 'abs', 'our_own'],
  ] as const;
  for (const [what, sql, was, now] of unknown) {
    it(`takes ${what} of the application for no damage: it is archived, and restored`, () => {
      makeDatabase(file, `${sql}; INSERT INTO t VALUES(1); CREATE TABLE other(x)`, [was, now]);
      const root = path.join(folder, 'app.db');
      const { unchecked } = addSnapshot({ archive: root, file, txid: 1, check: 'full' });
      assert.match(unchecked ?? '', new RegExp(now));
      const output = path.join(folder, 'restored.db');
      const options = { check: 'full', force: false } as const;
      const restored = restore(new Archive(root), { kind: 'latest' }, output, options);
      assert.match(restored.unchecked ?? '', new RegExp(now));
      assert.deepEqual(fs.readFileSync(output), fs.readFileSync(file));
    });
  }

  it('finds damage beside what it cannot check', () => {
    const sql = `CREATE TABLE t(x COLLATE NOCASE); CREATE INDEX i ON t(x);
      CREATE TABLE other(x); CREATE INDEX j ON other(x); INSERT INTO other VALUES('here')`;
    makeDatabase(file, sql, ['NOCASE', 'icu_root']);
    const bytes = fs.readFileSync(file);
    bytes[bytes.lastIndexOf('here')] = 'H'.charCodeAt(0);
    fs.writeFileSync(file, bytes);
    assert.throws(
      () => checkIntegrity(file, { of: 'app.db' }),
      fails('DATABASE_CORRUPT', /^app\.db: integrity_check says: .*missing from index j/),
    );
  });

  it('names the archive of what is damaged, and keeps none of it', () => {
    sqlite3(file, `CREATE TABLE t(x); CREATE INDEX i ON t(x); INSERT INTO t VALUES('here')`);
    const bytes = fs.readFileSync(file);
    bytes[bytes.lastIndexOf('here')] = 'H'.charCodeAt(0);
    fs.writeFileSync(file, bytes);
    const archive = new Archive(path.join(folder, 'app.db'));
    assert.throws(
      () => addSnapshot({ archive: archive.root, file, txid: 1, check: 'full' }),
      fails('DATABASE_CORRUPT', new RegExp(`^${archive.root}: integrity_check says`)),
    );
    assert.deepEqual(archive.list(), []);
  });

  it('calls a file damaged that is no database', () => {
    fs.writeFileSync(file, 'x'.repeat(8192));
    assert.throws(
      () => checkIntegrity(file, { of: 'app.db' }),
      fails('DATABASE_CORRUPT', /^app\.db: integrity_check says: file is not a database/),
    );
  });

  it('does not call the disk’s fault damage', () => {
    fs.mkdirSync(file);
    assert.throws(() => checkIntegrity(file, { of: 'app.db' }), fails('DISK', /cannot be checked/));
  });
});
