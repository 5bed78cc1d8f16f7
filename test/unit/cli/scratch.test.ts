/** The folder for copies that SQLite opens by their path: ours alone, and gone in the end. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { withScratch } from '../../../src/cli/adopt/scratch.ts';
import { withFolder } from '../os/folder.ts';

describe('the scratch folder', () => {
  const { TMPDIR } = process.env;
  afterEach(() => {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
  });

  it('is in $TMPDIR, private, and removed whatever happens', () =>
    withFolder(async (dir) => {
      process.env.TMPDIR = dir;
      await assert.rejects(
        withScratch((scratch) => {
          assert.equal(path.dirname(scratch), fs.realpathSync(dir));
          assert.equal(fs.statSync(scratch).mode & 0o777, 0o700);
          fs.writeFileSync(path.join(scratch, 'database'), 'x');
          throw new Error('full');
        }),
        /full/,
      );
      assert.deepEqual(fs.readdirSync(dir), []);
    }));

  it('is nowhere that another user can rename it', () =>
    withFolder(async (dir) => {
      process.env.TMPDIR = path.join(dir, 'deep');
      fs.mkdirSync(process.env.TMPDIR);
      fs.chmodSync(dir, 0o777);
      await assert.rejects(
        withScratch(() => {}),
        { code: 'USAGE', message: /is not safe: others than root can change / },
      );
      assert.deepEqual(fs.readdirSync(process.env.TMPDIR), []);
    }));
});
