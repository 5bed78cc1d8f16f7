import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { scanTree } from '../../../src/engine/tree-scan.ts';
import { TreeWatcher } from '../../../src/engine/watcher.ts';
import { withFolder } from '../os/folder.ts';

const DATABASE = 'SQLite format 3\0';

it('passes over folders that are removed while it looks', () =>
  withFolder((tree) => {
    for (const folder of ['a', 'b', 'c']) {
      fs.mkdirSync(path.join(tree, folder));
      fs.writeFileSync(path.join(tree, folder, 'app.db'), DATABASE);
    }
    const watcher = new TreeWatcher(tree);
    const remove = (folder: string) => fs.rmSync(path.join(tree, folder), { recursive: true });
    try {
      const found = scanTree(tree, '', (dir) => {
        if (dir === 'a') remove('a');
        watcher.watch(dir);
        if (dir === 'b') remove('b');
      });
      assert.deepEqual(found, ['c/app.db']);
      assert.throws(() => scanTree(path.join(tree, 'none')), { code: 'ENOENT' });
    } finally {
      watcher.close();
    }
  }));
