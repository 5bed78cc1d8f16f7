/** An open directory stays what it is, and its names lead nowhere else. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { Folder, folderOf, targetOf } from '../../../src/os/folder.ts';
import { withFolder } from './folder.ts';

const inFolder = (body: (folder: Folder, dir: string) => void) =>
  withFolder((dir) => {
    const fd = fs.openSync(dir, 'r');
    const folder = folderOf(fd, dir);
    fs.closeSync(fd);
    try {
      body(folder, dir);
    } finally {
      folder.close();
    }
  });

describe('an open directory', () => {
  it('opens regular files alone', () =>
    inFolder((folder, dir) => {
      fs.writeFileSync(path.join(dir, 'file'), 'x');
      fs.symlinkSync('file', path.join(dir, 'link'));
      fs.mkdirSync(path.join(dir, 'dir'));
      execFileSync('mkfifo', [path.join(dir, 'pipe')]);
      for (const name of ['link', 'dir', 'pipe', 'none']) {
        assert.equal(folder.openFile(name), undefined, name);
      }
      const fd = folder.openFile('file');
      assert(fd !== undefined);
      assert.equal(fs.readFileSync(fd, 'latin1'), 'x');
      assert(folder.has('file', fd));
      fs.renameSync(path.join(dir, 'file'), path.join(dir, 'other'));
      fs.writeFileSync(path.join(dir, 'file'), 'y');
      assert(!folder.has('file', fd));
      fs.closeSync(fd);
    }));

  it('is the same when its path leads elsewhere, and so are those in it', () =>
    inFolder((folder, dir) => {
      fs.mkdirSync(path.join(dir, 'sub'));
      const sub = folder.folder('sub');
      assert(sub instanceof Folder);
      fs.renameSync(path.join(dir, 'sub'), path.join(dir, 'moved'));
      fs.symlinkSync('/', path.join(dir, 'sub'));
      fs.closeSync(sub.makeFile('new'));
      assert.deepEqual(fs.readdirSync(path.join(dir, 'moved')), ['new']);
      assert.throws(() => folder.folder('sub'), { code: /^(ELOOP|ENOTDIR)$/ });
      sub.close();
    }));

  it('makes what is not there, and only that', () =>
    inFolder((folder, dir) => {
      fs.symlinkSync(path.join(dir, 'elsewhere'), path.join(dir, 'taken'));
      const owner = fs.statSync(dir);
      for (const make of [
        () => folder.makeFile('taken'),
        () => folder.makeFolder('taken'),
        () => folder.makeLink('taken', 'x', owner),
      ]) {
        assert.throws(make, { code: 'EEXIST' });
      }
      assert.deepEqual(fs.readdirSync(dir), ['taken']);
      const link = folder.makeLink('link', '/where/ever', owner);
      assert.equal(targetOf(link), '/where/ever');
      assert(folder.has('link', link.fd));
      fs.closeSync(link.fd);
      folder.makeFolder('made').close();
      assert.equal(fs.statSync(path.join(dir, 'made')).mode & 0o777, 0o700);
    }));

  it('moves to a free name, and exchanges two', () =>
    inFolder((folder, dir) => {
      for (const name of ['a', 'b']) fs.writeFileSync(path.join(dir, name), name);
      assert.throws(() => folder.move('a', 'b'), { code: 'EEXIST' });
      folder.exchange('a', 'b');
      assert.equal(fs.readFileSync(path.join(dir, 'a'), 'latin1'), 'b');
      folder.move('a', 'c');
      folder.sync();
      assert.deepEqual(fs.readdirSync(dir), ['b', 'c']);
      assert.equal(folder.remove('c'), true);
      assert.equal(folder.remove('c'), false);
    }));

  it('takes no path for a name', () =>
    inFolder((folder) => {
      for (const name of ['..', '.', '', 'a/b', '/etc/passwd']) {
        assert.throws(() => folder.look(name), assert.AssertionError, name);
        assert.throws(() => folder.remove(name), assert.AssertionError, name);
      }
    }));
});
