/**
 * What changes a database file and makes no inotify event where the kernel passes files through: on 25311ce it was captured
 * neither then nor at a restart.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { inSync, until } from '../harness/cluster.ts';
import { describePair } from '../harness/replicated.ts';

/** Arguments: how, what to write over, and what with. */
const PROGRAM = `
import mmap, os, sys
how, target, source = sys.argv[1:]
a, b = os.open(source, os.O_RDONLY), os.open(target, os.O_RDWR)
size = os.fstat(a).st_size
if how == 'copy_file_range':
    assert os.copy_file_range(a, b, size, 0, 0) == size
elif how == 'sendfile':
    assert os.sendfile(b, a, 0, size) == size
else:
    view = mmap.mmap(b, size)
    view[:] = os.read(a, size)
`;
const ROWS = 500;
const WAYS = ['copy_file_range', 'sendfile', 'mmap'];

describePair('a file that is changed without events', (pair) => {
  for (const mode of ['delete', 'wal']) {
    for (const how of WAYS) {
      it(`by ${how}, in journal mode ${mode}: it is captured, and once`, async () => {
        const { primary, replica } = pair;
        const name = `${how}-${mode}.db`;
        const [file, source] = [primary.file(name), primary.file(`of-${name}`)];
        make(file, mode);
        fs.copyFileSync(file, source);
        run(source, 'UPDATE t SET x = 2');
        await inSync(primary, replica, name);
        await inSync(primary, replica, `of-${name}`);
        const from = primary.log.length;
        execFileSync('python3', ['-c', PROGRAM, how, file, source]);
        await until('it is on the replica', () => sumOf(replica.file(name)) === 2 * ROWS);
        await inSync(primary, replica, name);
        run(file, 'UPDATE t SET x = 3');
        await inSync(primary, replica, name);
        assert.equal(sumOf(replica.file(name)), 3 * ROWS);
        const compared = primary.log
          .slice(from)
          .filter(({ msg }) => msg.startsWith(`compared every page of ${name}`));
        assert.equal(compared.length, 1);
      });
    }
  }
});

function make(file: string, mode: string): void {
  run(
    file,
    `PRAGMA journal_mode=${mode}; CREATE TABLE t(x);
     WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ${ROWS})
     INSERT INTO t SELECT 1 FROM c;`,
  );
}

function run(file: string, sql: string): void {
  const db = new Sqlite(file);
  db.exec(sql);
  db.close();
}

function sumOf(file: string): unknown {
  const db = new Sqlite(file, { readonly: true });
  try {
    return db.prepare('SELECT sum(x) FROM t').pluck().get();
  } finally {
    db.close();
  }
}
