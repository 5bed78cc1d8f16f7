/** The way to a folder that an administrator names: over directories, and over links that no other user can change. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { openFolder } from '../../../src/os/walk.ts';
import { withFolder } from './folder.ts';

describe('a folder that is named', () => {
  const found = (given: string) => {
    const { folder, changeable } = openFolder(given);
    folder.close();
    return { path: folder.path, changeable };
  };
  /** `real/deep`, and above it only what others cannot change, or only within /tmp. */
  const inTree = (body: (dir: string, deep: string) => void) =>
    withFolder((given) => {
      const dir = fs.realpathSync(given);
      fs.chmodSync(dir, 0o755);
      const deep = path.join(dir, 'real', 'deep');
      fs.mkdirSync(deep, { recursive: true });
      body(dir, deep);
    });

  it('is found over directories, dots and our own links', () =>
    inTree((dir, deep) => {
      fs.symlinkSync('real', path.join(dir, 'relative'));
      fs.symlinkSync(path.join(dir, 'relative/deep/../deep'), path.join(dir, 'absolute'));
      for (const given of [
        deep,
        `${dir}/relative/./deep/`,
        `${dir}/absolute`,
        `${dir}/real/../real/deep`,
      ]) {
        assert.deepEqual(found(given), { path: deep, changeable: undefined }, given);
      }
      assert.equal(found('/').path, '/');
    }));

  it('is not behind a link in a directory in which others may write', () =>
    inTree((dir, deep) => {
      const open = path.join(dir, 'open');
      fs.mkdirSync(open);
      fs.symlinkSync('../real', path.join(open, 'link'));
      const given = path.join(open, 'link', 'deep');
      assert.equal(found(given).path, deep);
      for (const mode of [0o777, 0o775, 0o757]) {
        fs.chmodSync(open, mode);
        assert.throws(() => openFolder(given), {
          code: 'WRONG_STATE',
          message: /open\/link is a link to \.\.\/real, and others/,
          hint: new RegExp(`name the path that it leads to: ${deep}/`),
        });
      }
      // As in /tmp: what is ours there stays ours.
      fs.chmodSync(open, 0o1777);
      assert.equal(found(given).path, deep);
    }));

  it('tells where others could put something else in the way', () =>
    inTree((dir, deep) => {
      fs.chmodSync(path.join(dir, 'real'), 0o777);
      assert.equal(found(deep).changeable, path.join(dir, 'real'));
      fs.chmodSync(path.join(dir, 'real'), 0o1777);
      assert.equal(found(deep).changeable, undefined);
      fs.chmodSync(deep, 0o777);
      assert.equal(found(deep).changeable, deep);
    }));

  it('is not there: a file, nothing, or links in a circle', () =>
    inTree((dir) => {
      fs.writeFileSync(path.join(dir, 'file'), '');
      fs.symlinkSync('b', path.join(dir, 'a'));
      fs.symlinkSync('a', path.join(dir, 'b'));
      for (const name of ['file', 'file/x', 'none', 'a', 'a/x']) {
        const message = /^cannot find /;
        assert.throws(() => openFolder(path.join(dir, name)), { code: 'USAGE', message }, name);
      }
    }));
});
