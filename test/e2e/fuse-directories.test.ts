import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { withMount } from './fuse-mount.ts';

const MANY = 5000;

test('a large directory is listed whole, also while it is emptied', () =>
  withMount({}, async (mount) => {
    const { dir, backing } = mount;
    const names = Array.from({ length: MANY }, (_, i) => `file-${i}-${'x'.repeat(i % 50)}`);
    fs.mkdirSync(`${backing}/d`);
    for (const name of names) fs.writeFileSync(`${backing}/d/${name}`, '');
    assert.deepEqual(fs.readdirSync(`${dir}/d`).sort(), [...names].sort());
    const listed = (await mount.sh('ls -lU d | wc -l')).trim();
    assert.equal(Number(listed), MANY + 1);
    // One by one, in the order in which they come.
    const open = fs.opendirSync(`${dir}/d`, { bufferSize: 8 });
    let removed = 0;
    for (let entry = open.readSync(); entry; entry = open.readSync()) {
      fs.unlinkSync(`${dir}/d/${entry.name}`);
      removed++;
    }
    open.closeSync();
    assert.equal(removed, MANY);
    fs.rmdirSync(`${dir}/d`);
    assert.equal(fs.existsSync(`${backing}/d`), false);
  }));

test('whole trees are made and removed by the usual tools', () =>
  withMount({}, async (mount) => {
    await mount.sh(`
      for a in 1 2 3 4 5; do for b in 1 2 3 4 5; do mkdir -p t/$a/$b; echo $a$b > t/$a/$b/f; done; done
      cp -a t u; diff -r t u; find t -type f | wc -l | grep -qx 25
      mv t/3 u/moved; diff -r u/3 u/moved; rm -r t u`);
    assert.deepEqual(fs.readdirSync(mount.backing), []);
  }));

test('the numbers in a listing are those of stat', () =>
  withMount({}, async (mount) => {
    fs.writeFileSync(`${mount.dir}/f`, '');
    const { ino } = fs.statSync(`${mount.dir}/f`);
    assert.equal(ino, fs.statSync(`${mount.backing}/f`).ino);
    assert.match(await mount.sh('ls -i'), new RegExp(`^ *${ino} f\n`));
    assert.equal((await mount.sh('ls -fa')).split('\n').sort().join(), ',.,..,f');
    await mount.sh('mkdir d; cd d; rmdir ../d; ! touch x 2>/dev/null');
  }));

test('what changes behind the mount is found when it is looked for', () =>
  withMount({}, async ({ dir, backing }) => {
    fs.writeFileSync(`${dir}/f`, 'mine');
    fs.rmSync(`${backing}/f`);
    assert.throws(() => fs.readFileSync(`${dir}/f`), { code: 'ENOENT' });
    fs.writeFileSync(`${backing}/f`, 'another');
    assert.equal(fs.readFileSync(`${dir}/f`, 'latin1'), 'another');
    fs.writeFileSync(`${backing}/new`, 'x');
    assert.deepEqual(fs.readdirSync(dir).sort(), ['f', 'new']);
  }));
