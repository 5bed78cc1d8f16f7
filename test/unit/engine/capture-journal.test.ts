import assert from 'node:assert/strict';
import fs from 'node:fs';
import { it } from 'node:test';
import Sqlite from 'better-sqlite3';
import {
  captureJournal,
  type JournalCaptureResult,
} from '../../../src/engine/capture/capture-journal.ts';
import { withFolder } from '../os/folder.ts';
import { finish, NodeStand } from './node-stand.ts';

const ROWS = `CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB);
  WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 50)
  INSERT INTO t SELECT i, randomblob(3000) FROM c;`;

/** Captures with the journal that `use` keeps of a captured database, as at the moment at which its end is held back. */
async function captureAfter(use: (app: Sqlite.Database, keepJournal: () => void) => void) {
  let result: JournalCaptureResult | undefined;
  await withFolder((folder) => {
    const node = new NodeStand(folder);
    try {
      const app = new Sqlite(node.file);
      app.exec(ROWS);
      node.capture(true);
      const journal = `${node.file}-journal`;
      use(app, () => fs.copyFileSync(journal, `${journal}.kept`));
      app.close();
      fs.renameSync(`${journal}.kept`, journal);
      result = finish(captureJournal(node.ctx, node.db));
    } finally {
      node.close();
    }
  });
  return result;
}

/** With pages that are written before the end, so that the journal is whole. */
const SPILL = 'PRAGMA cache_size=5; BEGIN; UPDATE t SET x = randomblob(3000) WHERE id > 10;';

it('does not take a rollback for all that has happened since a commit without a journal', async () => {
  const result = await captureAfter((app, keepJournal) => {
    app.exec('PRAGMA journal_mode=memory; UPDATE t SET x = 1 WHERE id = 1;');
    app.exec(`PRAGMA journal_mode=delete; ${SPILL}`);
    keepJournal();
    app.exec('ROLLBACK');
  });
  assert.equal(result, 'compare');
});

it('finds nothing in a rollback', async () => {
  const result = await captureAfter((app, keepJournal) => {
    app.exec(SPILL);
    keepJournal();
    app.exec('ROLLBACK');
  });
  assert.equal(result, 'unchanged');
});
