/** What the owner of a replica's -wal must not do to readers in the middle of a snapshot. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { BACKFILL_ATTEMPTED_OFFSET } from '../../../src/sqlite/wal-index.ts';
import { sqlite3 } from '../../harness/app.ts';
import { assertSame, withTwo } from './two-nodes.ts';

/** More than what a -wal may hold before it is checkpointed (4 MiB). */
const LARGE = 'INSERT INTO t(data) VALUES(randomblob(5000000));';
const AMALGAMATION = path.resolve('node_modules/better-sqlite3/deps/sqlite3');

/** A program that is asked for something by a line, and answers with one. */
function asked(program: string, args: readonly string[]) {
  const child = spawn(program, args);
  const gone = once(child, 'exit');
  return {
    ask: async (line: string) => {
      child.stdin.write(`${line}\n`);
      const [answer] = await once(child.stdout, 'data');
      return String(answer).trim();
    },
    end: async () => {
      child.stdin.end();
      await gone;
    },
  };
}

const BULK = `INSERT INTO t(data) SELECT zeroblob(1000) FROM
  (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 300) SELECT i FROM c);`;
const STATE = "SELECT count(*) || '|' || sum(length(data)) FROM t;";

/**
 * On 25311ce all read marks but the first were cleared when the index was remade, and the checkpoint that followed copied over pages that the
 * reader takes from the file: where there were 5,300,003 bytes it read 5,270,003 in the same transaction.
 */
test('a reader keeps its snapshot while the wal-index is remade', { timeout: 60_000 }, () =>
  withTwo('wal', async (two) => {
    const { primary, replica, commit } = two;
    replica.apply(...primary.entries);
    const apply = (sql: string) => {
      for (const { error } of replica.apply(...commit(sql))) assert.ifError(error);
    };
    for (const sql of [BULK, LARGE, 'INSERT INTO t(data) VALUES(2);']) apply(sql);
    const other = asked('sqlite3', ['-batch', `file:${replica.file}?mode=ro`]);
    assert.match(await other.ask(`BEGIN; ${STATE}`), /^303/);
    // So the mark of this one is not the first.
    apply('INSERT INTO t(data) VALUES(3);');
    const reader = asked('sqlite3', ['-batch', `file:${replica.file}?mode=ro`]);
    try {
      const before = await reader.ask(`PRAGMA cache_size=2; BEGIN; ${STATE}`);
      await other.end();
      for (const length of [900, 800, 700]) {
        // As a process leaves it that is stopped in the middle of publishing.
        fs.writeFileSync(`${replica.file}-shm`, Buffer.alloc(48, 0xff), { flag: 'r+' });
        const update = `UPDATE t SET data = zeroblob(${length}) WHERE id BETWEEN 2 AND 301; ${LARGE}`;
        apply(update);
        assert.equal(await reader.ask(STATE), before);
        assert.equal(await reader.ask('PRAGMA integrity_check;'), 'ok');
      }
      assert.notEqual(await reader.ask(`COMMIT; ${STATE}`), before);
    } finally {
      await reader.end();
    }
    assertSame(two);
  }),
);

/**
 * As applications under the halt lock have it, which may be over by then. On e8b0209 the last to close had EXCLUSIVE, and with that
 * SQLite before 3.51 copies frames under no other lock, beside us: pages went back to what they had been, and the -wal away.
 */
test('a connection that can write does nothing to the files when it closes', () =>
  withTwo('wal', (two) => {
    const { primary, replica, commit } = two;
    replica.apply(...primary.entries);
    replica.apply(...commit(BULK));
    const before = fs.readFileSync(replica.file);
    assert.equal(sqlite3(replica.file, 'SELECT count(*) FROM t'), '301');
    assert(fs.readFileSync(replica.file).equals(before));
    assert(fs.existsSync(`${replica.file}-wal`));
    assertSame(two);
  }));

/** Opens a database, takes a snapshot of it, and tells whether it can be opened later, and what is in it then. */
const SNAPSHOTS = `
#include <stdio.h>
#include <string.h>
#include "sqlite3.h"
static void count(sqlite3 *db) {
  sqlite3_stmt *s;
  sqlite3_prepare_v2(db, "SELECT count(*) || '|' || sum(length(data)) || '|' || group_concat(data) FROM t", -1, &s, 0);
  if (sqlite3_step(s) == SQLITE_ROW) printf("%s\\n", sqlite3_column_text(s, 0));
  else printf("error %s\\n", sqlite3_errmsg(db));
  sqlite3_finalize(s);
}
int main(int argc, char **argv) {
  sqlite3 *db;
  sqlite3_snapshot *snap = 0;
  char line[100];
  int rc;
  setbuf(stdout, 0);
  if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READONLY, 0) != SQLITE_OK) return 1;
  while (fgets(line, sizeof line, stdin)) {
    sqlite3_exec(db, "BEGIN", 0, 0, 0);
    if (line[0] == 't') {
      sqlite3_exec(db, "SELECT count(*) FROM t", 0, 0, 0);
      rc = sqlite3_snapshot_get(db, "main", &snap);
      if (rc != SQLITE_OK) printf("no snapshot: %d\\n", rc);
      else count(db);
    } else {
      sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", 0, 0, 0);
      sqlite3_exec(db, "COMMIT; BEGIN", 0, 0, 0);
      rc = sqlite3_snapshot_open(db, "main", snap);
      if (rc != SQLITE_OK) printf("refused: %d\\n", rc);
      else count(db);
    }
    sqlite3_exec(db, "COMMIT", 0, 0, 0);
  }
  return 0;
}
`;

const hasCompiler =
  spawnSync('gcc', ['--version']).status === 0 &&
  fs.existsSync(path.join(AMALGAMATION, 'sqlite3.c'));
const ERROR_SNAPSHOT = 769;

/**
 * On 25311ce the checkpoint did not say that it was about to copy frames: the snapshot was opened, and had rows of what was
 * committed after it.
 */
test(
  'a snapshot that no read mark protects is refused once a checkpoint has gone past it',
  { timeout: 300_000, skip: hasCompiler ? false : 'there is no gcc' },
  () =>
    withTwo('wal', async (two) => {
      const { primary, replica, commit } = two;
      const dir = path.dirname(replica.ctx.layout.root);
      fs.writeFileSync(path.join(dir, 'snapshots.c'), SNAPSHOTS);
      const program = path.join(dir, 'snapshots');
      const compiled = spawnSync('gcc', [
        ...[
          '-O0',
          '-DSQLITE_ENABLE_SNAPSHOT',
          '-DSQLITE_THREADSAFE=0',
          '-DSQLITE_OMIT_LOAD_EXTENSION',
        ],
        ...[
          '-I',
          AMALGAMATION,
          path.join(dir, 'snapshots.c'),
          path.join(AMALGAMATION, 'sqlite3.c'),
        ],
        ...['-o', program, '-lm'],
      ]);
      assert.equal(compiled.status, 0, String(compiled.stderr));

      replica.apply(...primary.entries);
      replica.apply(...commit('INSERT INTO t(data) VALUES(2);'));
      const taker = asked(program, [replica.file]);
      const holder = asked('sqlite3', ['-batch', `file:${replica.file}?mode=ro`]);
      try {
        const seen = await taker.ask('take');
        assert.match(seen, /^2\|2\|1,2$/);
        assert.equal(await taker.ask('open'), seen, 'nothing has been copied yet');
        replica.apply(...commit('UPDATE t SET data = data + 10;'));
        // Keeps the -wal from being started over, which would be seen.
        assert.equal(await holder.ask('BEGIN; SELECT count(*) FROM t;'), '2');
        replica.apply(...commit(LARGE));
        const index = fs.readFileSync(`${replica.file}-shm`);
        assert.ok(index.readUInt32LE(BACKFILL_ATTEMPTED_OFFSET) > 0);
        assert.equal(await taker.ask('open'), `refused: ${ERROR_SNAPSHOT}`);
      } finally {
        await taker.end();
        await holder.end();
      }
    }),
);
