import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { IN_MODIFY, Inotify } from '../../src/os/inotify.ts';
import { pollIn } from '../../src/os/poll.ts';
import { type FuseMount, MODES, withMount } from './fuse-mount.ts';

/** Maps a file for writing, changes it there, and reads through another mapping of it. */
const MMAP = `
import mmap, os, sys
fd = os.open('m', os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 8192)
a = mmap.mmap(fd, 8192)
b = mmap.mmap(os.open('m', os.O_RDWR), 8192)
a[5000:5005] = b'there'
assert b[5000:5005] == b'there'
assert os.pread(fd, 5, 5000) == b'there'
os.pwrite(fd, b'here', 100)
assert b[100:104] == b'here'
os.unlink('m')
b[0:1] = b'x'
assert a[0:1] == b'x'
f = os.open('m2', os.O_RDWR | os.O_CREAT)
os.ftruncate(f, 4096)
c = mmap.mmap(f, 4096)
os.close(f)
c[0:4] = b'late'
c.flush()
`;

function write(file: string, data: string, seek: number): void {
  const script = 'printf %s "$1" | dd of="$2" bs=1 seek="$3" conv=notrunc status=none';
  execFileSync('sh', ['-c', script, 'sh', data, file, String(seek)]);
}

async function staysFresh({ dir, backing }: FuseMount): Promise<void> {
  fs.writeFileSync(`${dir}/f`, 'x');
  const fd = fs.openSync(`${dir}/f`, 'r');
  for (let size = 1; size < 50; size += 7) {
    fs.statSync(`${dir}/f`);
    write(`${dir}/f`, '1234567', size);
    assert.equal(fs.statSync(`${dir}/f`).size, size + 7);
    assert.equal(fs.fstatSync(fd).size, size + 7);
    assert.equal(fs.statSync(`${backing}/f`).size, size + 7);
    const end = Buffer.alloc(7);
    assert.equal(fs.readSync(fd, end, 0, 7, size), 7);
    assert.equal(end.toString(), '1234567');
  }
  execFileSync('truncate', ['-s', '3', `${dir}/f`]);
  assert.equal(fs.fstatSync(fd).size, 3);
  const before = fs.fstatSync(fd, { bigint: true }).mtimeNs;
  write(`${dir}/f`, 'y', 0);
  assert.ok(fs.fstatSync(fd, { bigint: true }).mtimeNs > before);
  fs.closeSync(fd);
}

for (const passthrough of MODES) {
  test(`sizes and times follow what other processes write at once (${passthrough})`, () =>
    withMount({ passthrough }, staysFresh));

  test(`shared memory maps work (${passthrough})`, () =>
    withMount({ passthrough }, async (mount) => {
      await mount.sh('python3 -c "$1"', MMAP);
      assert.equal(fs.readFileSync(`${mount.backing}/m2`, 'latin1').slice(0, 4), 'late');
    }));

  test(`a file reopened shows what was written meanwhile (${passthrough})`, () =>
    withMount({ passthrough }, async ({ dir, backing }) => {
      fs.writeFileSync(`${dir}/f`, 'one');
      assert.equal(fs.readFileSync(`${dir}/f`, 'latin1'), 'one');
      // Behind the mount, while nobody has it open.
      fs.writeFileSync(`${backing}/f`, 'two and more');
      assert.equal(fs.readFileSync(`${dir}/f`, 'latin1').slice(0, 3), 'two');
    }));

  test(`the backing file’s watchers hear of writes (${passthrough})`, () =>
    withMount({ passthrough }, async ({ dir, backing }) => {
      fs.writeFileSync(`${dir}/f`, 'x');
      const inotify = new Inotify();
      try {
        const wd = inotify.watch(Buffer.from(`${backing}/f`), IN_MODIFY);
        write(`${dir}/f`, 'y', 0);
        assert.equal(pollIn([inotify.fd], 5000), true);
        assert.deepEqual(inotify.read()[0], { wd, mask: IN_MODIFY, name: '' });
      } finally {
        inotify.close();
      }
    }));
}

test('with passthrough, reads and writes do not come to us', () =>
  withMount({}, async (mount) => {
    await mount.sh('dd if=/dev/zero of=f bs=4K count=100 status=none; cat f > /dev/null');
    fs.writeFileSync(`${mount.dir}/f-journal`, 'x');
    mount.atEnd((counters) => {
      assert.equal(counters.WRITE, 1, 'the journal’s');
      assert.equal(counters.READ, undefined);
    });
  }));

test('that a file is absent is remembered until it is made, by whatever means', () =>
  withMount({}, async (mount) => {
    const file = `${mount.dir}/f-journal`;
    const makers = [
      () => fs.writeFileSync(file, 'made'),
      () => fs.renameSync(`${mount.dir}/other`, file),
      () => fs.linkSync(`${mount.dir}/other`, file),
      () => fs.symlinkSync('other', file),
      () => fs.mkdirSync(file),
    ];
    for (const make of makers) {
      fs.writeFileSync(`${mount.dir}/other`, 'made');
      for (let i = 0; i < 10; i++) assert.equal(fs.existsSync(file), false);
      make();
      assert.equal(fs.existsSync(file), true);
      fs.rmSync(file, { recursive: true });
    }
    mount.atEnd((counters) => {
      assert.ok(counters.LOOKUP < 10 * makers.length, `${counters.LOOKUP} look-ups`);
    });
  }));

test('what happens is told in order, with paths', () =>
  withMount({}, async (mount) => {
    await mount.sh(
      'mkdir d; echo x > d/f; echo y > d/f; truncate -s 1 d/f; mv d/f g; sync g; rm g',
    );
    await mount.until(() => mount.events.find((event) => event.kind === 'removed'));
    const told = mount.events.map(({ kind, path, ...rest }) => {
      assert.ok(!('pid' in rest) || rest.pid > 0, kind);
      return `${kind} ${path}`;
    });
    assert.deepEqual(
      told.filter((line) => !line.startsWith('released')),
      ['created d', 'created d/f', 'truncated d/f', 'truncated d/f', 'renamed d/f', 'removed g'],
    );
    assert.ok(told.filter((line) => line === 'released d/f').length >= 2);
  }));

test('an idle mount takes no processor time', () =>
  withMount({ passthrough: 'off' }, async (mount) => {
    await mount.sh('for i in 1 2 3 4 5 6 7 8; do echo $i > f; done');
    const before = process.cpuUsage();
    // As time must pass for this to be seen, let it pass elsewhere.
    await mount.sh('sleep 0.5');
    const used = process.cpuUsage(before);
    assert.ok(used.user + used.system < 100_000, `${used.user + used.system} us`);
  }));
