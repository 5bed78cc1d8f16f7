/** Whether applications still have files open from before is known with leases, and without: another user's file in a container. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import Sqlite from 'better-sqlite3';
import { withFolder } from '../os/folder.ts';

const MODULE = pathToFileURL(path.resolve('src/daemon/old-handles.ts')).href;
const SCRIPT = `
  import { waitForOldHandles } from ${JSON.stringify(MODULE)};
  const [tree] = process.argv.slice(1);
  const log = { warn: console.error, info: console.error };
  await waitForOldHandles(tree, '/nowhere', 0, log).then(
    () => process.stdout.write('free'),
    ({ code, message }) => process.stdout.write(code + ': ' + message),
  );`;

/** What a daemon's start comes to. `caps`: what setpriv does with the bounding set. */
function startOn(tree: string, caps: string): { end: string; log: string } {
  const node = [process.execPath, '--input-type=module', '-e', SCRIPT, tree];
  const { stdout, stderr } = spawnSync('setpriv', [`--bounding-set=${caps}`, ...node], {
    encoding: 'utf8',
  });
  return { end: stdout, log: stderr };
}

describe('files that are open from before', () => {
  for (const [title, caps] of [
    ['with leases', '+all'],
    ['without CAP_LEASE', '-lease'],
  ]) {
    test(`${title}: another user's database is free until somebody has it open`, () =>
      withFolder(async (dir) => {
        const file = path.join(dir, 'a.db');
        new Sqlite(file).exec('CREATE TABLE t(x)').close();
        fs.chownSync(file, 4301, 4301);
        const { end, log } = startOn(dir, caps);
        assert.equal(end, 'free', log);
        assert.equal(/told by the processes that can be seen/.test(log), caps === '-lease');
        const user = spawn('sh', ['-c', 'exec 9<> "$1"; echo ready; read go', 'sh', file]);
        try {
          await once(user.stdout, 'data');
          const text = startOn(dir, caps).end;
          assert.match(text, new RegExp(`^OLD_HANDLES: still open.*sh \\(${user.pid}\\): a\\.db$`));
        } finally {
          const gone = once(user, 'close');
          user.kill();
          await gone;
        }
        assert.equal(startOn(dir, caps).end, 'free');
      }));
  }
});
