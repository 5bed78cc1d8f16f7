/** The mount of a node where that of a daemon that died still is: beneath it, or above it on older kernels. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { pino } from 'pino';
import { mountDevice } from '../../../src/daemon/own-mount.ts';
import { topDevOf } from '../../../src/os/mount-beneath.ts';
import { isDeadMount, mountsAt, unmount } from '../../../src/os/mounts.ts';
import { withDisk } from '../../harness/mount-points.ts';

const silent = pino({ level: 'silent' });
const never = new AbortController().signal;

/** Runs `body` in a folder with a dead mount of that st_dev. */
const overDead = (body: (dir: string, deadDev: number) => Promise<void> | void) =>
  withDisk(async (disk) => {
    const dir = path.join(disk, 'mount');
    fs.mkdirSync(dir);
    fs.closeSync(mountDevice(dir, true).device);
    assert(isDeadMount(dir));
    await body(dir, topDevOf(dir));
  });

it('comes beneath a dead one, which is seen until ours is ready', () =>
  overDead(async (dir, deadDev) => {
    const own = mountDevice(dir, true);
    try {
      assert.equal(mountsAt(dir).length, 2);
      assert.equal(topDevOf(dir), deadDev);
      assert(isDeadMount(dir), 'an open is refused by the dead one still');
      own.uncover();
      assert.notEqual(topDevOf(dir), deadDev);
      const [left, ...others] = mountsAt(dir);
      assert.deepEqual(others, []);
      assert.equal(left.fsType, 'fuse.litefs-lite');
      assert.deepEqual([left.dev, left.options.includes('allow_other')], [topDevOf(dir), true]);
      own.uncover();
      assert.equal(mountsAt(dir).length, 1, 'there is nothing more to take away');
      assert.equal(await own.release(silent, never), true);
      assert.deepEqual(mountsAt(dir), []);
    } finally {
      fs.closeSync(own.device);
    }
  }));

it('is left alone when somebody else has taken the dead one away', () =>
  overDead((dir, deadDev) => {
    const own = mountDevice(dir, true);
    try {
      unmount(dir, { detach: true });
      own.uncover();
      assert.equal(mountsAt(dir).length, 1);
      assert.notEqual(topDevOf(dir), deadDev);
    } finally {
      unmount(dir, { detach: true });
      fs.closeSync(own.device);
    }
  }));

it('leaves nothing when it is given up before it was ready', () =>
  overDead(async (dir) => {
    const own = mountDevice(dir, true);
    assert.equal(await own.release(silent, never), true);
    fs.closeSync(own.device);
    assert.deepEqual(mountsAt(dir), []);
  }));

it('comes above it where the kernel cannot mount beneath, and takes it along at the end', () =>
  overDead(async (dir, deadDev) => {
    const own = mountDevice(dir, true, () => undefined);
    try {
      assert.equal(mountsAt(dir).length, 2);
      assert.notEqual(topDevOf(dir), deadDev);
      own.uncover();
      assert.equal(mountsAt(dir).length, 2);
      assert.equal(await own.release(silent, never), true);
      assert.deepEqual(mountsAt(dir), []);
    } finally {
      fs.closeSync(own.device);
    }
  }));
