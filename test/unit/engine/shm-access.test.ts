/** Writing to the header of a wal-index that somebody may be about to remove. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { DatabaseFiles } from '../../../src/engine/files.ts';
import { shmAccess } from '../../../src/engine/shm-access.ts';
import { withFolder } from '../os/folder.ts';

it('waits for no inode where removals are held back', () =>
  withFolder((dir) => {
    const shm = path.join(dir, 'app.db-shm');
    fs.writeFileSync(shm, Buffer.alloc(32768));
    const files = new DatabaseFiles(
      { mount: dir, tree: dir, lookUp: () => assert.fail() },
      'app.db',
    );
    files.write = () => assert.fail('write(2) waits for the inode');
    try {
      shmAccess(files).writeShm(100, Buffer.from('mark'));
      assert.equal(fs.readFileSync(shm, 'latin1').slice(100, 105), 'mark\0');
    } finally {
      files.close();
    }
  }));
