/** What a command may make a file of a database over. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { checkOutput } from '../../../src/snapshots/output.ts';
import { withFolder } from '../os/folder.ts';

describe('the output of a command', () => {
  it('is no link, directory or device, also with --force: a file would take its place', () =>
    withFolder((folder) => {
      const at = (name: string) => path.join(folder, name);
      fs.writeFileSync(at('file'), '');
      fs.symlinkSync('file', at('link'));
      fs.symlinkSync('nowhere', at('dangling'));
      execFileSync('mkfifo', [at('fifo')]);
      for (const force of [false, true]) {
        const refused = (file: string, message: RegExp) =>
          assert.throws(() => checkOutput(file, force), { code: 'USAGE', message });
        refused(at('link'), /link is a link to file$/);
        refused(at('dangling'), /is a link to nowhere$/);
        refused(at('fifo'), /fifo is no regular file/);
        refused('/dev/null', /null is no regular file/);
        refused(folder, /is a directory/);
      }
      assert.throws(() => checkOutput(at('none/file'), true), { code: 'DISK' });
    }));

  it('replaces a file, or what SQLite would take for its journal, with --force only', () =>
    withFolder((folder) => {
      const file = path.join(folder, 'new.db');
      checkOutput(file, false);
      for (const suffix of ['-journal', '-wal', '']) {
        fs.writeFileSync(file + suffix, '');
        assert.throws(() => checkOutput(file, false), {
          code: 'USAGE',
          message: `${file}${suffix} exists`,
        });
        checkOutput(file, true);
      }
    }));
});
