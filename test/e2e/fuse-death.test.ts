import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { isOpenElsewhere } from '../../src/os/locks.ts';
import { isDeadMount, mountAt, unmount } from '../../src/os/mounts.ts';
import { processesUsing } from '../../src/os/processes.ts';
import { withMount } from './fuse-mount.ts';

test('who outlives the server with an open file is found out, mounted or detached', () =>
  withMount({ passthrough: 'auto' }, async (mount) => {
    const dir = fs.realpathSync(mount.dir);
    const dev = mountAt(dir)?.dev ?? 0;
    assert.equal(mountAt(dir)?.fsType, 'fuse.litefs-lite');
    assert.equal(fs.statSync(dir).dev, dev);
    const script = 'exec 9<> "$1/f"; echo ready; read go; printf late >&9; echo written; read go';
    const user = spawn('sh', ['-c', script, 'sh', dir], { stdio: 'pipe' });
    try {
      await once(user.stdout, 'data');
      assert.equal(isDeadMount(dir), false);
      assert.equal(unmount(dir), false, 'in use');
      await mount.die();
      assert.equal(isDeadMount(dir), true);
      assert.throws(() => fs.readdirSync(dir), { code: 'ENOTCONN' });

      const backing = fs.openSync(`${mount.backing}/f`, 'r');
      assert.equal(isOpenElsewhere(backing), true);
      user.stdin.write('\n');
      await once(user.stdout, 'data');
      assert.equal(fs.readFileSync(backing, 'latin1'), 'late', 'its writes still arrive');

      const [use] = processesUsing(dir);
      assert.deepEqual([use.pid, use.command, use.path], [user.pid, 'sh', `${dir}/f`]);
      assert.equal(unmount(dir, { detach: true }), true);
      assert.equal(mountAt(dir), undefined);
      assert.deepEqual(
        processesUsing(dev).map(({ pid }) => pid),
        [user.pid],
      );
      const gone = once(user, 'exit');
      user.kill();
      await gone;
      assert.deepEqual(processesUsing(dev), []);
      // The kernel closes the backing file a little later than the process ends.
      while (isOpenElsewhere(backing)) await setImmediate();
      fs.closeSync(backing);
    } finally {
      user.kill();
    }
  }));
