/** What nodes leave of their mount points, and a file system on which one can be guarded, whatever this machine's is. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { unguardBareFolder } from '../../src/daemon/bare-folder.ts';
import { mountsAt, parseMountInfo, unmount } from '../../src/os/mounts.ts';

const DISK_BYTES = 256 * 2 ** 20;

/** Takes away what is mounted there, and what keeps the folder from being removed. */
export function clearMountPoint(dir: string): void {
  if (!fs.existsSync(path.dirname(dir))) return;
  const real = path.join(fs.realpathSync(path.dirname(dir)), path.basename(dir));
  unmount(real, { detach: true });
  while (mountsAt(real).length > 0) unmount(real, { detach: true });
  unguardBareFolder(real);
}

/** Removes a folder in which nodes were, whose mounts have gone: they have made the folders below those immutable. */
export function removeNodes(dir: string): void {
  if (!fs.existsSync(dir)) return;
  for (const entry of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) unguardBareFolder(path.join(entry.parentPath, entry.name));
  }
  fs.rmSync(dir, { recursive: true, force: true });
}

/** An ext4 of its own, which all users may enter. */
export async function withDisk(body: (dir: string) => Promise<void> | void): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-disk-'));
  const dir = path.join(folder, 'disk');
  const image = path.join(folder, 'image');
  try {
    fs.chmodSync(folder, 0o755);
    fs.mkdirSync(dir);
    fs.writeFileSync(image, '');
    fs.truncateSync(image, DISK_BYTES);
    execFileSync('mkfs.ext4', ['-q', image]);
    execFileSync('mount', ['-o', 'loop', image, dir]);
    await body(dir);
  } finally {
    clearBelow(dir);
    clearMountPoint(dir);
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** The last that was mounted first. */
function clearBelow(dir: string): void {
  const mounts = parseMountInfo(fs.readFileSync('/proc/self/mountinfo', 'latin1'));
  const below = mounts.filter(({ point }) => point.startsWith(`${dir}/`));
  for (const { point } of below.reverse()) unmount(point, { detach: true });
}
