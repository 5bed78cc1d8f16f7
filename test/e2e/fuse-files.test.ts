import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { MODES, withMount } from './fuse-mount.ts';

for (const passthrough of MODES) {
  test(`files are made, read, changed and removed (${passthrough})`, () =>
    withMount({ passthrough }, async (mount) => {
      assert.equal(mount.passthrough, passthrough === 'auto');
      fs.writeFileSync(`${mount.dir}/f`, 'hello');
      assert.equal(fs.readFileSync(`${mount.backing}/f`, 'latin1'), 'hello');
      assert.equal(fs.readFileSync(`${mount.dir}/f`, 'latin1'), 'hello');
      fs.appendFileSync(`${mount.dir}/f`, ' there');
      assert.equal(fs.readFileSync(`${mount.dir}/f`, 'latin1'), 'hello there');
      fs.truncateSync(`${mount.dir}/f`, 4);
      assert.equal(fs.readFileSync(`${mount.dir}/f`, 'latin1'), 'hell');
      fs.rmSync(`${mount.dir}/f`);
      assert.equal(fs.existsSync(`${mount.backing}/f`), false);
      assert.equal(fs.existsSync(`${mount.dir}/f`), false);
    }));
}
