/** What SQL finds to be different between two files. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { differingTables } from '../../../src/snapshots/difference.ts';
import { makeDatabase } from '../../harness/archived.ts';
import { withFolder } from '../os/folder.ts';

describe('the difference of two states', () => {
  it("compares what needs its application's collation, and names what it cannot", () =>
    withFolder((folder) => {
      const of = (name: string, rows: string) => {
        const file = path.join(folder, name);
        const sql = `CREATE TABLE plain(x TEXT COLLATE NOCASE, side); CREATE TABLE same(x);
          CREATE TABLE keyed(x TEXT COLLATE NOCASE PRIMARY KEY, y); CREATE INDEX i ON keyed(y COLLATE NOCASE);
          CREATE TABLE bare(x TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID;
          INSERT INTO plain VALUES('a', 1), ('A', 2); INSERT INTO keyed VALUES('k', 1); ${rows}`;
        makeDatabase(file, sql, ['NOCASE', 'icu_root']);
        return file;
      };
      const before = of('before', '');
      const after = of(
        'after',
        `UPDATE plain SET x = 'A'; INSERT INTO keyed VALUES('l', 1), ('m', 2)`,
      );
      const schemaChanged = false;
      assert.deepEqual(differingTables(before, after), [
        {
          table: 'bare',
          rowsBefore: undefined,
          rowsAfter: undefined,
          added: undefined,
          removed: undefined,
          schemaChanged,
          unknown: 'no such collation sequence: icu_root',
        },
        { table: 'keyed', rowsBefore: 1, rowsAfter: 3, added: 2, removed: 0, schemaChanged },
        { table: 'plain', rowsBefore: 2, rowsAfter: 2, added: 1, removed: 1, schemaChanged },
      ]);
    }));

  it('says of a file that is no sound database what SQLite says', () =>
    withFolder((folder) => {
      const [sound, broken] = ['sound', 'broken'].map((name) => path.join(folder, name));
      makeDatabase(sound, 'CREATE TABLE t(x); INSERT INTO t VALUES(1)', ['', '']);
      const bytes = fs.readFileSync(sound);
      bytes.fill(0xff, bytes.length - 4096, bytes.length - 4000);
      fs.writeFileSync(broken, bytes);
      assert.throws(() => differingTables(sound, broken), { code: 'DATABASE_CORRUPT' });
    }));
});
