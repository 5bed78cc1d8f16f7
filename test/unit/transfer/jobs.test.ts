/** Where an import cannot go, and what it says then. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Sqlite from 'better-sqlite3';
import { runTransfer } from '../../../src/transfer/jobs.ts';
import { withFolder } from '../os/folder.ts';

test('an import into a directory that is not there, or over one that is, says so', () =>
  withFolder(async (dir) => {
    const from = path.join(dir, 'from.db');
    new Sqlite(from).exec('CREATE TABLE t(x)').close();
    const importTo = (name: string) => runTransfer({ kind: 'import', from, to: { dir, name } });
    await assert.rejects(importTo('sub/app.db'), {
      code: 'WRONG_STATE',
      message: `there is no directory for ${dir}/sub/app.db`,
    });
    fs.mkdirSync(path.join(dir, 'sub'));
    await assert.rejects(importTo('sub'), {
      code: 'NOT_A_FILE',
      message: 'sub is a directory, not a file',
    });
    await assert.rejects(importTo('x'.repeat(300)), {
      code: 'WRONG_STATE',
      message: /cannot be opened: ENAMETOOLONG/,
    });
    await importTo('sub/app.db');
    assert.deepEqual(fs.readdirSync(path.join(dir, 'sub')), ['app.db']);
  }));
