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
    const importTo = (to: string) => runTransfer({ kind: 'import', from, to: path.join(dir, to) });
    await assert.rejects(importTo('sub/app.db'), {
      code: 'WRONG_STATE',
      message: `there is no directory ${dir}/sub`,
    });
    fs.mkdirSync(path.join(dir, 'sub'));
    await assert.rejects(importTo('sub'), { code: 'WRONG_STATE', message: /cannot be opened/ });
    await importTo('sub/app.db');
  }));
