import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { type FuseMount, MODES, withMount } from './fuse-mount.ts';

const NOBODY = 65534;

/** Runs a script in the mount as a user without rights. */
function asNobody(mount: FuseMount, script: string): Promise<string> {
  const user = `--reuid=${NOBODY} --regid=${NOBODY} --clear-groups`;
  return mount.sh(`exec setpriv ${user} sh -euc "$1"`, script);
}

for (const passthrough of MODES) {
  test(`the kernel checks modes, and files belong to their maker (${passthrough})`, () =>
    withMount({ passthrough }, async (mount) => {
      const { dir, backing } = mount;
      fs.writeFileSync(`${dir}/secret`, 'x', { mode: 0o600 });
      fs.writeFileSync(`${dir}/public`, 'x', { mode: 0o644 });
      fs.mkdirSync(`${dir}/shared`);
      fs.chmodSync(`${dir}/shared`, 0o1777);
      await asNobody(mount, '! cat secret 2>/dev/null; cat public; ! sh -c "echo x > public" 2>&1');
      await asNobody(
        mount,
        '! touch new 2>/dev/null; ! rm -f public 2>/dev/null; ! chmod 777 public 2>&1',
      );
      await asNobody(
        mount,
        'cd shared; umask 077; echo x > f; mkdir d; ln -s x l; mkfifo p; echo y >> f; chmod 640 f',
      );
      for (const name of ['f', 'd', 'l', 'p']) {
        const stat = fs.lstatSync(`${backing}/shared/${name}`);
        assert.deepEqual([stat.uid, stat.gid], [NOBODY, NOBODY], name);
      }
      assert.equal(fs.statSync(`${backing}/shared/f`).mode & 0o7777, 0o640);
      assert.equal(fs.statSync(`${backing}/shared/d`).mode & 0o7777, 0o700);
      fs.writeFileSync(`${dir}/shared/root`, '');
      await asNobody(mount, '! rm -f shared/root 2>/dev/null; rm shared/f');
      fs.chownSync(`${dir}/public`, NOBODY, 1);
      assert.equal(fs.statSync(`${backing}/public`).gid, 1);
      await asNobody(mount, 'echo mine > public');
    }));

  test(`a file that its owner may not write can be made and filled (${passthrough})`, () =>
    withMount({ passthrough }, async (mount) => {
      fs.chmodSync(mount.dir, 0o777);
      await asNobody(mount, 'umask 0777; echo filled > f; ! cat f 2>/dev/null');
      assert.equal(fs.readFileSync(`${mount.backing}/f`, 'latin1'), 'filled\n');
      assert.equal(fs.statSync(`${mount.backing}/f`).mode & 0o7777, 0);
    }));

  test(`a directory’s group is handed down (${passthrough})`, () =>
    withMount({ passthrough }, async (mount) => {
      fs.mkdirSync(`${mount.dir}/g`);
      fs.chownSync(`${mount.dir}/g`, 0, 1234);
      fs.chmodSync(`${mount.dir}/g`, 0o2777);
      await asNobody(mount, 'cd g; touch f; mkdir d');
      const [file, folder] = [`${mount.backing}/g/f`, `${mount.backing}/g/d`].map((name) =>
        fs.statSync(name),
      );
      assert.deepEqual([file.uid, file.gid], [NOBODY, 1234]);
      assert.deepEqual([folder.uid, folder.gid], [NOBODY, 1234]);
      assert.equal(folder.mode & 0o2000, 0o2000);
    }));

  test(`a program loses its owner’s rights when another writes it (${passthrough})`, () =>
    withMount({ passthrough }, async (mount) => {
      const { dir, backing } = mount;
      for (const name of ['write', 'truncate', 'trunc']) {
        fs.writeFileSync(`${dir}/${name}`, 'program');
        fs.chmodSync(`${dir}/${name}`, 0o6777);
        assert.equal(fs.statSync(`${backing}/${name}`).mode & 0o7777, 0o6777);
      }
      await asNobody(mount, 'echo x >> write; truncate -s 1 truncate; : > trunc');
      for (const name of ['write', 'truncate', 'trunc']) {
        assert.equal(fs.statSync(`${backing}/${name}`).mode & 0o7777, 0o777, name);
      }
    }));
}
