import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { withMount } from './fuse-mount.ts';

const virtual = {
  '.state': { told: 'x', found: 'longer than was told' },
  'd/held-pos': { told: '12345', found: 'position' },
};

test('a virtual file is listed, has attributes and is read as it is at its opening', () =>
  withMount({ virtual }, async (mount) => {
    const { dir, backing } = mount;
    fs.mkdirSync(`${dir}/d`);
    fs.writeFileSync(`${dir}/real`, '');
    assert.deepEqual(fs.readdirSync(dir).sort(), ['.state', 'd', 'real']);
    assert.deepEqual(fs.readdirSync(`${dir}/d`), ['held-pos']);
    assert.deepEqual(fs.readdirSync(backing).sort(), ['d', 'real']);
    const stat = fs.statSync(`${dir}/.state`);
    assert.ok(stat.isFile());
    assert.deepEqual([stat.size, stat.mode & 0o777, stat.mtimeMs], [1, 0o444, 1_600_000_000_500]);
    assert.equal(await mount.sh('cat .state'), virtual['.state'].found);
    assert.equal(fs.readFileSync(`${dir}/d/held-pos`, 'latin1').slice(0, 8), 'position');
    const fd = fs.openSync(`${dir}/.state`, 'r');
    const part = Buffer.alloc(4);
    assert.equal(fs.readSync(fd, part, 0, 4, 7), 4);
    assert.equal(part.toString(), 'than');
    assert.equal(fs.readSync(fd, part, 0, 4, 1000), 0);
    fs.closeSync(fd);
    assert.match(await mount.sh('ls -la'), /-r--r--r-- 1 root root +1 .* \.state\n/);
  }));

test('a virtual file can be neither changed nor removed nor replaced', () =>
  withMount({ virtual }, async ({ dir }) => {
    const file = `${dir}/.state`;
    fs.writeFileSync(`${dir}/real`, '');
    assert.throws(() => fs.writeFileSync(file, ''), { code: 'EACCES' });
    assert.throws(() => fs.openSync(file, 'r+'), { code: 'EACCES' });
    assert.throws(() => fs.truncateSync(file, 0), { code: 'EACCES' });
    assert.throws(() => fs.chmodSync(file, 0o777), { code: 'EACCES' });
    assert.throws(() => fs.unlinkSync(file), { code: 'EACCES' });
    assert.throws(() => fs.renameSync(file, `${dir}/other`), { code: 'EACCES' });
    assert.throws(() => fs.renameSync(`${dir}/real`, file), { code: 'EACCES' });
    assert.throws(() => fs.linkSync(file, `${dir}/other`), { code: 'EPERM' });
    assert.throws(() => fs.mkdirSync(file), { code: 'EEXIST' });
  }));

test('a virtual file hides a real one', () =>
  withMount({ virtual }, async ({ dir, backing }) => {
    fs.writeFileSync(`${backing}/.state`, 'hidden');
    assert.equal(fs.readFileSync(`${dir}/.state`, 'latin1'), virtual['.state'].found);
    assert.deepEqual(fs.readdirSync(dir), ['.state']);
  }));

test('an open of a virtual file waits when it must', () =>
  withMount({ virtual, defer: ['open'] }, async (mount) => {
    fs.mkdirSync(`${mount.dir}/d`);
    const read = mount.sh('cat d/held-pos');
    const operation = await mount.nextDeferred();
    assert.deepEqual([operation.kind, operation.path], ['open', 'd/held-pos']);
    mount.resume(operation.token);
    assert.equal(await read, 'position resumed');
    const refused = assert.rejects(mount.sh('cat d/held-pos'), /Input\/output error/);
    mount.resume((await mount.nextDeferred()).token, 5);
    await refused;
  }));
