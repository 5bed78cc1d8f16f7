/** The bare mount point: immutable also for root, on the way to data.dir too, and a folder like others again afterwards. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { type Logger, pino } from 'pino';
import {
  guardBareFolder,
  guardedFolders,
  openBareFolder,
  realFolder,
  unguardBareFolder,
} from '../../../src/daemon/bare-folder.ts';
import { guardAhead, guardMountPoint, prepareMountPoint } from '../../../src/daemon/mount-point.ts';
import { mountFuse, unmount } from '../../../src/os/mounts.ts';
import { LAUNCHER } from '../../harness/cli.ts';
import { withDisk } from '../../harness/mount-points.ts';

const ELSEWHERE = '/elsewhere/data';
const silent = pino({ level: 'silent' });

/** A folder on an ext4 of its own, which goes whatever is guarded in it. */
const withFolder = (body: (dir: string) => void) =>
  withDisk((disk) => {
    const dir = path.join(disk, 'mount');
    fs.mkdirSync(dir);
    body(dir);
  });

/** What making a file there fails with; '' when it does not. The file is removed. */
function failure(dir: string): string {
  const file = path.join(dir, 'app.db');
  try {
    fs.writeFileSync(file, '');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'none';
  }
  fs.rmSync(file);
  return '';
}

/** Mounts a connection there that nobody serves any more. */
function mountDead(dir: string): void {
  const device = fs.openSync('/dev/fuse', 'r+');
  mountFuse(dir, device, { allowOther: true, fsName: 'litefs-lite' });
  fs.closeSync(device);
}

function logged(body: (log: Logger) => void): string[] {
  const lines: string[] = [];
  const stream = { write: (line: string) => lines.push(JSON.parse(line).msg) };
  body(pino({ level: 'debug' }, stream));
  return lines;
}

describe('a guarded folder', () => {
  it('takes nothing in, from nobody, until that is undone', () =>
    withFolder((dir) => {
      assert.deepEqual(guardBareFolder(dir, ELSEWHERE), { kind: 'changed' });
      assert.equal(failure(dir), 'EPERM');
      assert.throws(() => fs.rmdirSync(dir), { code: 'EPERM' });
      assert.deepEqual(guardBareFolder(dir, ELSEWHERE), { kind: 'was so' });
      assert.deepEqual(unguardBareFolder(dir), { kind: 'changed' });
      assert.equal(failure(dir), '');
      assert.deepEqual(unguardBareFolder(dir), { kind: 'was so' });
    }));

  it('may have data.dir in it, or deeper, which goes on being written', () =>
    withFolder((dir) => {
      const data = path.join(dir, 'a/b/data');
      fs.mkdirSync(data, { recursive: true });
      const folders = guardedFolders(dir, data);
      assert.deepEqual(folders, [dir, `${dir}/a`, `${dir}/a/b`]);
      assert.deepEqual(guardBareFolder(dir, data), { kind: 'changed' });
      for (const folder of folders) assert.equal(failure(folder), 'EPERM', folder);
      assert.equal(failure(data), '');
      unguardBareFolder(dir);
      for (const folder of folders) assert.equal(failure(folder), '', folder);
    }));

  it('is found below a mount, live or dead, but not below one of another', () =>
    withFolder((dir) => {
      const link = `${dir}-link`;
      fs.symlinkSync(dir, link);
      mountDead(dir);
      mountDead(dir);
      assert.equal(realFolder(link), dir);
      assert.deepEqual(guardBareFolder(dir, ELSEWHERE), { kind: 'changed' });
      for (let i = 0; i < 2; i++) unmount(dir, { detach: true });
      assert.equal(failure(dir), 'EPERM');
      execFileSync('mount', ['-t', 'tmpfs', 'none', dir]);
      mountDead(dir);
      assert.deepEqual(unguardBareFolder(dir), { kind: 'cannot tell' });
      assert.equal(openBareFolder(dir), undefined);
      assert.equal(realFolder(`${dir}-not`), undefined);
    }));

  it('is not to be had on a file system without the attribute, and where that may not be: it is said with what to do', () =>
    withFolder((dir) => {
      execFileSync('mount', ['-t', 'ramfs', 'none', dir]);
      const lines = logged((log) => guardMountPoint(dir, ELSEWHERE, log));
      assert.equal(lines.length, 1);
      assert.match(lines[0], /cannot be made immutable \(its file system has no such attribute\)/);
      assert.match(lines[0], /Have it on ext4, xfs or btrfs\. Or have applications start after/);
      unmount(dir);
      const config = `${dir}.yml`;
      fs.writeFileSync(config, JSON.stringify({ fuse: { dir }, data: { dir: `${dir}-data` } }));
      const guard = ['mount-point', 'guard', '--config', config];
      const without = ['--bounding-set', '-linux_immutable', LAUNCHER];
      const run = spawnSync('setpriv', [...without, ...guard], { encoding: 'utf8' });
      assert.equal(run.status, 73);
      assert.match(run.stderr, /CAP_LINUX_IMMUTABLE is lacking\n {2}.*--cap-add LINUX_IMMUTABLE/);
      assert.equal(failure(dir), '');
    }));
});

describe('a start', () => {
  it('guards its mount point, and says so once', () =>
    withFolder((dir) => {
      const lines = logged((log) => {
        for (let i = 0; i < 2; i++) guardMountPoint(dir, ELSEWHERE, log);
      });
      assert.equal(lines.length, 1);
      assert.match(lines[0], /immutable from now on.*litefs-lite mount-point unguard /);
      assert.equal(prepareMountPoint(dir, ELSEWHERE, silent), dir);
    }));

  it('makes another data.dir in it than before', () =>
    withFolder((dir) => {
      const [old, next] = [path.join(dir, 'of/old'), path.join(dir, 'of/next')];
      assert.deepEqual(guardAhead(dir, old), { kind: 'changed' });
      assert.throws(() => fs.mkdirSync(next), { code: 'EPERM' });
      prepareMountPoint(dir, next, silent);
      fs.mkdirSync(next);
      guardMountPoint(dir, next, silent);
      assert.equal(failure(path.join(dir, 'of')), 'EPERM');
      assert.deepEqual(guardAhead(dir, path.join(dir, 'of/third')), { kind: 'changed' });
      assert.deepEqual(fs.readdirSync(path.join(dir, 'of')).sort(), ['next', 'old', 'third']);
    }));

  it('says how to move away what lies in it', () =>
    withFolder((dir) => {
      fs.writeFileSync(path.join(dir, 'other'), '');
      const start = () => prepareMountPoint(dir, ELSEWHERE, silent);
      assert.throws(start, { code: 'MOUNT_POINT', hint: /^Move these files away/ });
      assert.match(
        JSON.stringify(guardAhead(dir, ELSEWHERE)),
        /"cannot".*is not empty: it has other/,
      );
      assert.equal(failure(dir), '', 'what is in use is not guarded');
      guardBareFolder(dir, ELSEWHERE);
      assert.throws(start, { code: 'MOUNT_POINT', hint: /^Run: chattr -i \S+, and move these/ });
    }));

  it('keeps one dead mount, and looks below it', () =>
    withFolder((dir) => {
      guardBareFolder(dir, ELSEWHERE);
      for (let i = 0; i < 3; i++) mountDead(dir);
      assert.equal(prepareMountPoint(dir, ELSEWHERE, silent), dir);
      assert.throws(() => fs.readdirSync(dir), { code: 'ENOTCONN' });
      unmount(dir, { detach: true });
      assert.deepEqual(fs.readdirSync(dir), []);
      unguardBareFolder(dir);
      fs.writeFileSync(path.join(dir, 'below'), '');
      mountDead(dir);
      assert.throws(() => prepareMountPoint(dir, ELSEWHERE, silent), {
        code: 'MOUNT_POINT',
        message: /is not empty: it has below/,
      });
    }));

  it('takes a dead mount away that hides data.dir', () =>
    withFolder((dir) => {
      const data = path.join(dir, 'data');
      fs.mkdirSync(data);
      mountDead(dir);
      assert.equal(prepareMountPoint(dir, data, silent), dir);
      assert.deepEqual(fs.readdirSync(dir), ['data']);
    }));
});
