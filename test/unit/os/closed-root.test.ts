/** A folder as the root of the process: nothing else is to be reached by a name. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { ClosedRoot } from '../../../src/os/closed-root.ts';
import { withFolder } from './folder.ts';

it('leads nowhere but into the folder, and follows no link there', () =>
  withFolder(async (dir) => {
    const folder = path.join(dir, 'folder');
    fs.mkdirSync(path.join(folder, 'sub'), { recursive: true });
    fs.writeFileSync(path.join(dir, 'outside'), 'outside');
    fs.writeFileSync(path.join(folder, 'file'), 'inside');
    fs.symlinkSync('file', path.join(folder, 'link'));
    fs.symlinkSync('sub/../../../outside', path.join(folder, 'up'));
    const fd = fs.openSync(folder, 'r');
    const before = process.cwd();
    const root = new ClosedRoot(fd);
    try {
      root.enter();
      try {
        assert.deepEqual(fs.readdirSync('/').sort(), ['file', 'link', 'sub', 'up']);
        assert.equal(fs.readFileSync('/file', 'utf8'), 'inside');
        assert.equal(fs.readFileSync('../../file', 'utf8'), 'inside');
        for (const name of ['/link', '/up']) {
          assert.throws(() => fs.readFileSync(name), { code: 'ELOOP' }, name);
        }
        for (const name of [dir, '/outside', '../outside', '/proc/self']) {
          assert.throws(() => fs.statSync(name), { code: 'ENOENT' }, name);
        }
        // libuv's threads are in there too.
        await assert.rejects(fs.promises.stat(dir), { code: 'ENOENT' });
        fs.writeFileSync('/made', '');
      } finally {
        root.leave();
      }
      assert.equal(process.cwd(), before);
      assert.equal(fs.readFileSync(path.join(folder, 'link'), 'utf8'), 'inside');
      assert(fs.existsSync(path.join(folder, 'made')));
    } finally {
      root.close();
      fs.closeSync(fd);
    }
  }));
