import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { scanTree } from '../../../src/engine/files/tree-scan.ts';
import { TreeWatcher } from '../../../src/engine/files/watcher.ts';
import { TreeDoor } from '../../../src/store/tree-door.ts';
import { withFolder } from '../os/folder.ts';

const DATABASE = 'SQLite format 3\0';

it('passes over folders that are removed while it looks', () =>
  withFolder((dir) => {
    for (const folder of ['a', 'b', 'c']) {
      fs.mkdirSync(path.join(dir, folder));
      fs.writeFileSync(path.join(dir, folder, 'app.db'), DATABASE);
    }
    const tree = new TreeDoor(dir);
    const watcher = new TreeWatcher(tree);
    const remove = (folder: string) => fs.rmSync(path.join(dir, folder), { recursive: true });
    try {
      const found = scanTree(tree, '', (entered) => {
        if (entered === 'a') remove('a');
        watcher.watch(entered);
        if (entered === 'b') remove('b');
      });
      assert.deepEqual(found, ['c/app.db']);
      assert.throws(() => new TreeDoor(path.join(dir, 'none')), { code: 'ENOENT' });
    } finally {
      watcher.close();
      tree.close();
    }
  }));
