/** A file that somebody has put on a replica, under a name that its primary comes to have: it is kept. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { ResyncTask } from '../../../src/engine/apply/resync.ts';
import { sqlite3 } from '../../harness/app.ts';
import { finish } from './node-stand.ts';
import { assertSame, withTwo } from './two-nodes.ts';

for (const mode of ['wal', 'delete']) {
  for (const way of ['transactions', 'a resync'] as const) {
    it(`by ${way}, of a database in mode ${mode}`, () =>
      withTwo(mode, (two) => {
        const { primary, replica } = two;
        sqlite3(replica.file, "CREATE TABLE own(x); INSERT INTO own VALUES('mine')");
        const own = fs.readFileSync(replica.file);
        if (way === 'transactions') {
          for (const { error } of replica.apply(...primary.entries)) assert.ifError(error);
        } else {
          const base = { position: primary.db.position, pageSize: 4096, pageCount: 0 };
          const resync = new ResyncTask(replica.ctx, replica.db, { ...base, diverged: false });
          for (const bytes of primary.entries) finish(resync.entry({ bytes }));
          finish(resync.finish(primary.db.position));
        }
        assertSame(two);
        const kept = path.join(replica.ctx.layout.divergence, 'app.db');
        const folders = fs.readdirSync(kept);
        assert.equal(folders.length, 1);
        const dir = path.join(kept, folders[0]);
        assert.deepEqual(fs.readFileSync(path.join(dir, 'app.db')), own);
        const about = JSON.parse(fs.readFileSync(path.join(dir, 'about.json'), 'utf8'));
        assert.equal(about.had, null);
      }));
  }
}

it('nothing is kept of a database that is new here', () =>
  withTwo('wal', ({ primary, replica }) => {
    for (const { error } of replica.apply(...primary.entries)) assert.ifError(error);
    assert.deepEqual(fs.readdirSync(replica.ctx.layout.divergence), []);
  }));
