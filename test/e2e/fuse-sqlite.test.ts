import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { MODES, withMount } from './fuse-mount.ts';

const ROWS = 60;

/** Inserts rows one by one, each in a transaction of its own, beside others who do the same. */
const WRITER = `
  const Database = require(process.argv[1]);
  const [file, name, rows] = process.argv.slice(2);
  const db = new Database(file, { timeout: 10000 });
  const insert = db.prepare('INSERT INTO t(who, n) VALUES (?, ?)');
  for (let i = 0; i < Number(rows); i++) insert.run(name, i);
  db.close();
`;

const library = new URL('../../node_modules/better-sqlite3/lib/index.js', import.meta.url).pathname;

for (const passthrough of MODES) {
  for (const journal of ['WAL', 'DELETE', 'TRUNCATE', 'PERSIST']) {
    test(`two processes share a database in ${journal} mode (passthrough ${passthrough})`, () =>
      withMount({ passthrough }, async (mount) => {
        const schema = `PRAGMA journal_mode=${journal}; CREATE TABLE t(who, n);`;
        assert.equal((await mount.sh('sqlite3 db "$1"', schema)).trim(), journal.toLowerCase());
        const writer = (name: string) =>
          promisify(execFile)(process.execPath, [
            '-e',
            WRITER,
            library,
            `${mount.dir}/db`,
            name,
            String(ROWS),
          ]);
        await Promise.all([writer('a'), writer('b')]);
        const query = `SELECT who, count(*), CAST(sum(n) AS INT) FROM t GROUP BY who; PRAGMA integrity_check;`;
        const sum = (ROWS * (ROWS - 1)) / 2;
        const expected = `a|${ROWS}|${sum}\nb|${ROWS}|${sum}\nok\n`;
        assert.equal(await mount.sh('sqlite3 db "$1"', query), expected);
        assert.equal(await mount.sh('sqlite3 "$2/db" "$1"', query, mount.backing), expected);
      }));
  }
}
