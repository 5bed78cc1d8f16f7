import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { cString, errno } from '../../src/os/libc.ts';
import { getxattr, listxattr, removexattr, setxattr } from '../../src/os/xattr.ts';
import { withMount } from './fuse-mount.ts';

const NAME = cString('user.colour');

function get(target: number | Buffer): string | number {
  const value = Buffer.alloc(100);
  const length = getxattr(target, NAME, value, value.length);
  return length < 0 ? length : value.toString('latin1', 0, length);
}

test('extended attributes are the backing file’s', () =>
  withMount({}, async ({ dir, backing }) => {
    fs.writeFileSync(`${dir}/f`, '');
    const file = cString(`${dir}/f`);
    const blue = Buffer.from('bl\0e');
    assert.equal(get(file), -errno.ENODATA);
    assert.equal(setxattr(file, NAME, blue, 4, 2), -errno.ENODATA, 'replace');
    assert.equal(setxattr(file, NAME, blue, 4, 0), 0);
    assert.equal(setxattr(file, NAME, blue, 4, 1), -errno.EEXIST, 'create');
    assert.equal(get(file), 'bl\0e');
    assert.equal(get(cString(`${backing}/f`)), 'bl\0e');
    assert.equal(getxattr(file, NAME, null, 0), 4);
    assert.equal(getxattr(file, NAME, Buffer.alloc(2), 2), -errno.ERANGE);

    const list = Buffer.alloc(1000);
    const length = listxattr(file, list, list.length);
    assert.ok(list.toString('latin1', 0, length).split('\0').includes('user.colour'));
    assert.equal(listxattr(file, null, 0), length);

    const fd = fs.openSync(`${dir}/f`, 'r+');
    fs.unlinkSync(`${dir}/f`);
    assert.equal(get(fd), 'bl\0e', 'of a file without a name');
    assert.equal(removexattr(fd, NAME), 0);
    assert.equal(get(fd), -errno.ENODATA);
    fs.closeSync(fd);
  }));

test('lists of access rights are refused: the kernel would not heed them', () =>
  withMount({}, async ({ dir }) => {
    const acl = cString('system.posix_acl_access');
    fs.writeFileSync(`${dir}/f`, '');
    const empty = Buffer.from([2, 0, 0, 0]);
    assert.equal(setxattr(cString(`${dir}/f`), acl, empty, 4, 0), -errno.EOPNOTSUPP);
  }));

test('a change of attributes is for the policy to allow', () =>
  withMount({}, async ({ dir, backing }) => {
    fs.writeFileSync(`${backing}/denied`, '');
    const file = cString(`${dir}/denied`);
    assert.equal(setxattr(file, NAME, Buffer.from('x'), 1, 0), -errno.EACCES);
    assert.equal(removexattr(file, NAME), -errno.EACCES);
    assert.equal(get(file), -errno.ENODATA);
    assert.throws(() => fs.chmodSync(`${dir}/denied`, 0o600), { code: 'EACCES' });
    assert.throws(() => fs.truncateSync(`${dir}/denied`, 0), { code: 'EACCES' });
    assert.throws(() => fs.renameSync(`${dir}/denied`, `${dir}/x`), { code: 'EACCES' });
    assert.throws(() => fs.unlinkSync(`${dir}/denied`), { code: 'EACCES' });
    assert.throws(() => fs.openSync(`${dir}/denied`, 'r'), { code: 'EACCES' });
    assert.throws(() => fs.writeFileSync(`${dir}/denied2`, ''), { code: 'EACCES' });
    assert.throws(() => fs.mkdirSync(`${dir}/denied2`), { code: 'EACCES' });
    assert.throws(() => fs.symlinkSync('x', `${dir}/denied2`), { code: 'EACCES' });
    assert.throws(() => fs.linkSync(`${dir}/denied`, `${dir}/denied2`), { code: 'EACCES' });
  }));
