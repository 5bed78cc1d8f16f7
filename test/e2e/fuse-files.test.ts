import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { cString, errno, rename } from '../../src/os/libc.ts';
import { type FuseMount, MODES, withMount } from './fuse-mount.ts';

/** Runs a test in a mount with passthrough and in one without. */
function inBothModes(name: string, body: (mount: FuseMount) => Promise<void>): void {
  for (const passthrough of MODES) {
    test(`${name} (passthrough ${passthrough})`, () => withMount({ passthrough }, body));
  }
}

inBothModes('files are made, read, changed and removed', async ({ dir, backing }) => {
  fs.writeFileSync(`${dir}/f`, 'hello');
  assert.equal(fs.readFileSync(`${backing}/f`, 'latin1'), 'hello');
  assert.equal(fs.readFileSync(`${dir}/f`, 'latin1'), 'hello');
  fs.appendFileSync(`${dir}/f`, ' there');
  assert.equal(fs.readFileSync(`${dir}/f`, 'latin1'), 'hello there');
  fs.truncateSync(`${dir}/f`, 4);
  assert.equal(fs.readFileSync(`${dir}/f`, 'latin1'), 'hell');
  fs.writeFileSync(`${dir}/f`, 'new');
  assert.equal(fs.readFileSync(`${dir}/f`, 'latin1'), 'new');
  assert.throws(() => fs.openSync(`${dir}/f`, 'wx'), { code: 'EEXIST' });
  fs.rmSync(`${dir}/f`);
  assert.equal(fs.existsSync(`${backing}/f`), false);
  assert.equal(fs.existsSync(`${dir}/f`), false);
});

test('passthrough is as asked for', async () => {
  await withMount({ passthrough: 'auto' }, async (mount) => assert.equal(mount.passthrough, true));
  await withMount({ passthrough: 'off' }, async (mount) => assert.equal(mount.passthrough, false));
});

inBothModes('large files come through whole', async (mount) => {
  await mount.sh('dd if=/dev/urandom of=big bs=1M count=5 status=none; cp big copy; cmp big copy');
  await mount.sh('cat big copy > both; dd if=both bs=5M skip=1 status=none | cmp - big');
  await mount.sh('cmp "$1/both" both', mount.backing);
  await mount.sh('mkdir d; tar cf - big copy | tar xf - -C d; cmp d/copy big');
});

inBothModes('offsets past 2 and 4 GiB are what they are', async ({ dir, backing }) => {
  const offsets = [2 ** 31 - 2, 2 ** 32 - 2, 2 ** 33 + 5];
  const fd = fs.openSync(`${dir}/sparse`, 'w+');
  for (const offset of offsets) fs.writeSync(fd, `at ${offset}`, offset);
  fs.closeSync(fd);
  for (const folder of [dir, backing]) {
    assert.equal(fs.statSync(`${folder}/sparse`).size, (offsets.at(-1) ?? 0) + 13);
    const read = fs.openSync(`${folder}/sparse`, 'r');
    for (const offset of offsets) {
      const bytes = Buffer.alloc(`at ${offset}`.length);
      fs.readSync(read, bytes, 0, bytes.length, offset);
      assert.equal(bytes.toString(), `at ${offset}`);
    }
    fs.closeSync(read);
  }
  fs.truncateSync(`${dir}/sparse`, 2 ** 32 + 1);
  assert.equal(fs.statSync(`${backing}/sparse`).size, 2 ** 32 + 1);
});

inBothModes('names may be any bytes', async ({ dir, backing }) => {
  const odd = Buffer.from([0x66, 0xff, 0xfe, 0x20, 0x0a, 0x22, 0xc3, 0x28, 0x01]);
  const at = (folder: string) => Buffer.concat([Buffer.from(`${folder}/`), odd]);
  fs.mkdirSync(at(dir));
  fs.writeFileSync(Buffer.concat([at(dir), Buffer.from('/'), odd]), 'x');
  assert.deepEqual(fs.readdirSync(at(backing), { encoding: 'buffer' }), [odd]);
  assert.deepEqual(fs.readdirSync(at(dir), { encoding: 'buffer' }), [odd]);
  fs.symlinkSync(odd, `${dir}/link`);
  assert.deepEqual(fs.readlinkSync(`${dir}/link`, { encoding: 'buffer' }), odd);
  const longest = 'n'.repeat(255);
  fs.writeFileSync(`${dir}/${longest}`, '');
  assert.ok(fs.readdirSync(dir).includes(longest));
  assert.throws(() => fs.writeFileSync(`${dir}/${longest}n`, ''), { code: 'ENAMETOOLONG' });
});

inBothModes('a removed file lives as long as it is open', async ({ dir, backing }) => {
  const fd = fs.openSync(`${dir}/f`, 'w+');
  fs.writeSync(fd, 'before');
  fs.unlinkSync(`${dir}/f`);
  assert.equal(fs.existsSync(`${backing}/f`), false);
  fs.writeSync(fd, 'after', 6);
  assert.equal(fs.fstatSync(fd).size, 11);
  assert.equal(fs.fstatSync(fd).nlink, 0);
  fs.ftruncateSync(fd, 8);
  fs.fchmodSync(fd, 0o600);
  fs.fsyncSync(fd);
  assert.equal(fs.readFileSync(`/proc/self/fd/${fd}`, 'latin1'), 'beforeaf');
  // A new file of the name is another one.
  fs.writeFileSync(`${dir}/f`, 'other');
  assert.equal(fs.fstatSync(fd).size, 8);
  assert.equal(fs.readFileSync(`${dir}/f`, 'latin1'), 'other');
  fs.closeSync(fd);
});

inBothModes('a reader’s file can be written by a later writer', async ({ dir }) => {
  fs.writeFileSync(`${dir}/f`, 'aaaa');
  const reader = fs.openSync(`${dir}/f`, 'r');
  const writer = fs.openSync(`${dir}/f`, 'r+');
  fs.writeSync(writer, 'bb', 0);
  const out = Buffer.alloc(4);
  fs.readSync(reader, out, 0, 4, 0);
  assert.equal(out.toString(), 'bbaa');
  fs.closeSync(writer);
  fs.closeSync(reader);
});

inBothModes('a rename replaces, moves whole trees, and exchanges', async (mount) => {
  const { dir, backing } = mount;
  fs.writeFileSync(`${dir}/a`, 'A');
  fs.writeFileSync(`${dir}/b`, 'B');
  const replaced = fs.openSync(`${dir}/b`, 'r+');
  fs.renameSync(`${dir}/a`, `${dir}/b`);
  assert.equal(fs.readFileSync(`${dir}/b`, 'latin1'), 'A');
  assert.equal(fs.existsSync(`${dir}/a`), false);
  fs.writeSync(replaced, 'still there', 0);
  assert.equal(fs.readFileSync(`${dir}/b`, 'latin1'), 'A');
  fs.closeSync(replaced);

  fs.mkdirSync(`${dir}/d/e`, { recursive: true });
  fs.writeFileSync(`${dir}/d/e/f`, 'deep');
  const open = fs.openSync(`${dir}/d/e/f`, 'r+');
  fs.renameSync(`${dir}/d`, `${dir}/moved`);
  assert.equal(fs.readFileSync(`${dir}/moved/e/f`, 'latin1'), 'deep');
  fs.closeSync(open);
  await mount.until(() =>
    mount.events.find((event) => event.kind === 'released' && event.path === 'moved/e/f'),
  );

  const call = (from: string, to: string, flags: number) =>
    rename(cString(`${dir}/${from}`), cString(`${dir}/${to}`), flags);
  const NOREPLACE = 1;
  const EXCHANGE = 2;
  assert.equal(call('b', 'moved', EXCHANGE), 0);
  assert.equal(fs.readFileSync(`${dir}/moved`, 'latin1'), 'A');
  assert.equal(fs.readFileSync(`${dir}/b/e/f`, 'latin1'), 'deep');
  assert.equal(fs.readFileSync(`${backing}/b/e/f`, 'latin1'), 'deep');
  assert.equal(call('moved', 'b', NOREPLACE), -errno.EEXIST);
  assert.equal(call('moved', 'free', NOREPLACE), 0);
  assert.equal(fs.readFileSync(`${dir}/free`, 'latin1'), 'A');
  assert.throws(() => fs.renameSync(`${dir}/b`, `${dir}/b/e/x`), { code: 'EINVAL' });
  fs.mkdirSync(`${dir}/full/x`, { recursive: true });
  assert.throws(() => fs.renameSync(`${dir}/b`, `${dir}/full`), { code: 'ENOTEMPTY' });
});

inBothModes('hard links are one file', async ({ dir, backing }) => {
  fs.writeFileSync(`${dir}/one`, 'x');
  fs.mkdirSync(`${dir}/d`);
  fs.linkSync(`${dir}/one`, `${dir}/d/two`);
  const [one, two] = [fs.statSync(`${dir}/one`), fs.statSync(`${dir}/d/two`)];
  assert.equal(one.ino, two.ino);
  assert.equal(two.nlink, 2);
  fs.appendFileSync(`${dir}/d/two`, 'y');
  assert.equal(fs.readFileSync(`${dir}/one`, 'latin1'), 'xy');
  const fd = fs.openSync(`${dir}/one`, 'r+');
  fs.unlinkSync(`${dir}/one`);
  assert.equal(fs.fstatSync(fd).nlink, 1);
  fs.writeSync(fd, 'z', 2);
  assert.equal(fs.readFileSync(`${dir}/d/two`, 'latin1'), 'xyz');
  fs.closeSync(fd);
  fs.renameSync(`${dir}/d/two`, `${dir}/three`);
  assert.equal(fs.readFileSync(`${backing}/three`, 'latin1'), 'xyz');
});

inBothModes('appenders in several processes lose nothing', async (mount) => {
  const loop = 'i=0; while [ $i -lt 200 ]; do echo "$0 $i"; i=$((i+1)); done >> log';
  await Promise.all(['a', 'b', 'c'].map((name) => mount.sh(loop.replace('$0', name))));
  const lines = fs.readFileSync(`${mount.dir}/log`, 'latin1').trimEnd().split('\n');
  assert.equal(lines.length, 600);
  assert.equal(new Set(lines).size, 600);
});

inBothModes('times are kept to the nanosecond', async (mount) => {
  const { dir, backing } = mount;
  fs.writeFileSync(`${dir}/f`, 'x');
  const file = fs.openSync(`${dir}/f`, 'r+');
  fs.utimesSync(`${dir}/f`, 1_000_000_000.25, 1_100_000_000.5);
  const check = () => {
    for (const place of [dir, backing]) {
      const stat = fs.statSync(`${place}/f`, { bigint: true });
      assert.equal(stat.atimeNs, 1_000_000_000_250_000_000n);
      assert.equal(stat.mtimeNs, 1_100_000_000_500_000_000n);
    }
  };
  check();
  fs.closeSync(file);
  check();
  await mount.sh('ln -s f link; touch -h -d @-10 link');
  assert.equal(fs.lstatSync(`${dir}/link`).mtimeMs, -10_000);
  check();
});

inBothModes('touch sets one time, or both to now', async (mount) => {
  const { dir, backing } = mount;
  const times = () =>
    [`${dir}/f`, `${backing}/f`].map((file) => {
      const { atimeNs, mtimeNs } = fs.statSync(file, { bigint: true });
      return `${atimeNs} ${mtimeNs}`;
    });
  const both = (text: string) => [text, text];
  await mount.sh('echo x > f; touch -d @1000.000000005 f');
  assert.deepEqual(times(), both('1000000000005 1000000000005'));
  await mount.sh('touch -m -d @3000.000000007 f');
  assert.deepEqual(times(), both('1000000000005 3000000000007'));
  await mount.sh('touch -a -d @2000.000000006 f');
  assert.deepEqual(times(), both('2000000000006 3000000000007'));
  await mount.sh('cat f; touch -m -d @4000 f; exec 9<> f; touch -m -d @5000 /dev/fd/9');
  assert.equal(times()[0].split(' ')[1], '5000000000000');
  const before = Date.now() - 1000;
  await mount.sh('touch f');
  assert.ok(fs.statSync(`${mount.dir}/f`).mtimeMs > before);
});

inBothModes('special files, links and modes are mirrored', async (mount) => {
  const { dir, backing } = mount;
  await mount.sh('mkfifo fifo; mknod null c 1 3; ln -s nowhere/at/all link; umask 027; mkdir d');
  assert.ok(fs.statSync(`${backing}/fifo`).isFIFO());
  assert.equal(fs.statSync(`${dir}/null`).rdev, 0x103);
  assert.equal(fs.readlinkSync(`${dir}/link`), 'nowhere/at/all');
  assert.equal(fs.statSync(`${backing}/d`).mode & 0o7777, 0o750);
  await mount.sh('(sleep 0; echo through) > fifo & cat fifo > out; wait');
  assert.equal(fs.readFileSync(`${dir}/out`, 'latin1'), 'through\n');
  fs.chmodSync(`${dir}/d`, 0o1777);
  assert.equal(fs.statSync(`${backing}/d`).mode & 0o7777, 0o1777);
  assert.throws(() => fs.rmdirSync(`${dir}/out`), { code: 'ENOTDIR' });
});

inBothModes('room is reserved, holes are punched and found', async (mount) => {
  const { dir } = mount;
  await mount.sh('fallocate -l 1M f; fallocate -p -o 64K -l 64K f; truncate -s 4M sparse');
  assert.equal(fs.statSync(`${dir}/f`).size, 1 << 20);
  assert.ok(fs.statSync(`${dir}/f`).blocks * 512 <= (1 << 20) - (64 << 10));
  assert.equal(fs.statSync(`${dir}/sparse`).blocks, 0);
  await mount.sh(
    'printf x | dd of=sparse bs=1 seek=2M conv=notrunc status=none; cp --sparse=auto sparse c',
  );
  assert.ok(fs.statSync(`${mount.backing}/c`).blocks * 512 < 1 << 20);
  await mount.sh('cmp sparse c');
});

inBothModes('the room left is told', async ({ dir, backing }) => {
  const [mine, real] = [fs.statfsSync(dir), fs.statfsSync(backing)];
  assert.deepEqual([mine.bsize, mine.blocks, mine.files], [real.bsize, real.blocks, real.files]);
  assert.ok(mine.bavail > 0);
});

/** A path of so many bytes below `dir`, whose directories are there. */
function deepPath(dir: string, bytes: number): string {
  let above = dir;
  while (bytes - above.length > 250) {
    above = `${above}/${'d'.repeat(200)}`;
    fs.mkdirSync(above);
  }
  return `${above}/${'f'.repeat(bytes - above.length - 1)}`;
}

inBothModes('a path is as long as the kernel takes it', async ({ dir, backing }) => {
  assert(backing.length > dir.length, 'it would be too long in the backing tree');
  const file = deepPath(dir, 4095);
  const other = `${file.slice(0, -1)}g`;
  fs.writeFileSync(file, 'deep');
  assert.equal(fs.readFileSync(file, 'latin1'), 'deep');
  fs.chmodSync(file, 0o640);
  fs.truncateSync(file, 3);
  fs.utimesSync(file, 1, 2);
  const { mode, size, mtimeMs } = fs.statSync(file);
  assert.deepEqual([mode & 0o777, size, mtimeMs], [0o640, 3, 2000]);
  fs.renameSync(file, other);
  fs.linkSync(other, file);
  assert.equal(fs.statSync(file).nlink, 2);
  fs.unlinkSync(other);
  fs.symlinkSync('nowhere', other);
  assert.equal(fs.readlinkSync(other), 'nowhere');
  fs.unlinkSync(other);
  fs.mkdirSync(other);
  assert.deepEqual(fs.readdirSync(other), []);
  fs.rmdirSync(other);
  assert.deepEqual(fs.readdirSync(file.slice(0, file.lastIndexOf('/'))), [
    file.slice(file.lastIndexOf('/') + 1),
  ]);
  fs.unlinkSync(file);
});
