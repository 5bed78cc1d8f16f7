import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openDataDir } from '../../../src/daemon/data-dir.ts';
import { withFolder } from '../os/folder.ts';

/** On the version before, the second daemon had emptied the folders of the first one before it was refused. */
test('a second daemon is refused before it touches what the first one is at work on', () =>
  withFolder((folder) => {
    const dir = path.join(folder, 'data');
    const open = () => openDataDir(dir, path.join(folder, 'mount'));
    const first = open();
    const parts = [first.layout.spool, first.layout.cuts].map((each) => path.join(each, 'part'));
    try {
      for (const part of parts) fs.writeFileSync(part, '');
      assert.throws(open, { code: 'DATA_DIR' });
      for (const part of parts) assert(fs.existsSync(part), part);
    } finally {
      first.release();
    }
    const next = open();
    for (const part of parts) assert(!fs.existsSync(part), `${part} is of a former run`);
    next.release();
  }));
