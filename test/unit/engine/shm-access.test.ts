/** Writing to the header of a wal-index that somebody may be about to remove. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { DatabaseFiles } from '../../../src/engine/files/files.ts';
import { shmAccess } from '../../../src/engine/files/shm-access.ts';
import { TreeDoor } from '../../../src/store/tree-door.ts';
import { withFolder } from '../os/folder.ts';

it('waits for no inode where removals are held back', () =>
  withFolder((dir) => {
    const shm = path.join(dir, 'app.db-shm');
    fs.writeFileSync(shm, Buffer.alloc(32768));
    const tree = new TreeDoor(dir);
    const roots = { mount: tree, tree, lookUp: () => assert.fail() };
    const files = new DatabaseFiles(roots, 'app.db', () => {});
    files.write = () => assert.fail('write(2) waits for the inode');
    const served = new DatabaseFiles({ ...roots, passesAll: () => false }, 'app.db', () => {});
    let written = 0;
    served.write = () => written++;
    try {
      shmAccess(files).writeShm(100, Buffer.from('mark'));
      shmAccess(served).writeShm(100, Buffer.from('this'));
      assert.equal(written, 1, 'what the mount itself serves is not to be mapped by its process');
      assert.equal(fs.readFileSync(shm, 'latin1').slice(100, 105), 'mark\0');
    } finally {
      files.close();
      tree.close();
    }
  }));
