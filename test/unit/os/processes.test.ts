import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { isDeadMount, mountAt, parseMountInfo, unmount } from '../../../src/os/mounts.ts';
import { processesUsing, processesWithFileOpen, usersText } from '../../../src/os/processes.ts';
import { withFolder } from './folder.ts';

test('a process is found by the file it has open, under its folder and by identity', () =>
  withFolder((folder) => {
    const real = fs.realpathSync(folder);
    const file = `${real}/f`;
    const other = `${real}/g`;
    fs.writeFileSync(file, 'x');
    fs.writeFileSync(other, 'x');
    const { dev, ino } = fs.statSync(file);
    assert.deepEqual(processesWithFileOpen(dev, ino), []);
    const fd = fs.openSync(file, 'r');
    const byOther = fs.openSync(other, 'r');
    try {
      const mine = (uses: { pid: number }[]) => uses.filter((use) => use.pid === process.pid);
      const [use] = processesWithFileOpen(dev, ino);
      assert.equal(use.pid, process.pid);
      assert.equal(use.path, file);
      assert.equal(use.command, fs.readFileSync('/proc/self/comm', 'utf8').trim());
      assert.equal(mine(processesUsing(real)).length, 2);
      assert.ok(mine(processesUsing(dev)).length >= 2);
      assert.deepEqual(mine(processesUsing(`${real}/nothing`)), []);
    } finally {
      fs.closeSync(fd);
      fs.closeSync(byOther);
    }
  }));

test('who uses a mount is said once for each process', () => {
  const use = (pid: number, command: string, path: string) => ({ pid, command, path });
  const uses = [
    use(7, 'sqlite3', '/m/app.db'),
    use(7, 'sqlite3', '/m/sub/app.db-wal'),
    use(8, 'bash', '/m'),
    use(9, 'bash', '/m/app.db'),
  ];
  const text = 'sqlite3 (7): app.db, sub/app.db-wal; bash (8); bash (9): app.db';
  assert.equal(usersText(uses, '/m'), text);
  assert.equal(usersText([], '/m'), '');
});

test('mountinfo is read with its escapes and optional fields', () => {
  const text = [
    '36 35 98:300 / /mnt/a\\040b\\134c rw,noatime shared:1 master:2 - fuse.litefs-lite litefs-lite rw',
    '37 35 0:5 / /\\303\\251 rw - tmpfs none rw',
    'nonsense',
  ].join('\n');
  assert.deepEqual(parseMountInfo(text), [
    {
      dev: (98 << 8) | (300 & 0xff) | ((300 & ~0xff) << 12),
      point: '/mnt/a b\\c',
      fsType: 'fuse.litefs-lite',
      source: 'litefs-lite',
      options: ['rw'],
    },
    { dev: 5, point: '/é', fsType: 'tmpfs', source: 'none', options: ['rw'] },
  ]);
});

test('a mount is found by its point; a plain folder is none, and is not dead', () =>
  withFolder((folder) => {
    assert.equal(mountAt('/proc')?.fsType, 'proc');
    assert.equal(mountAt(folder), undefined);
    assert.equal(isDeadMount(folder), false);
    assert.equal(unmount(folder), true);
  }));
