/** The tree of files that each box is a copy of: a Debian with systemd and what the package depends on, made once. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const SUITE = process.env.DEBIAN_SUITE ?? 'bookworm';
const MIRROR = process.env.DEBIAN_MIRROR ?? 'http://deb.debian.org/debian';
const PACKAGES = [
  ...['systemd', 'systemd-sysv', 'dbus', 'iproute2', 'procps', 'e2fsprogs', 'util-linux'],
  ...['libatomic1', 'sqlite3', 'curl'],
];

/**
 * Its path. Made with debootstrap when it is not below `cache`, which takes minutes and Debian's mirror.
 * @throws when debootstrap fails
 */
export function debianTree(cache: string): string {
  const recipe = [SUITE, ...PACKAGES].join(',');
  const key = createHash('sha256').update(recipe).digest('hex').slice(0, 12);
  const tree = path.join(cache, `${SUITE}-${key}`);
  if (fs.existsSync(tree)) return tree;
  fs.mkdirSync(cache, { recursive: true });
  const making = `${tree}.${process.pid}`;
  try {
    const what = ['--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, making, MIRROR];
    execFileSync('debootstrap', what, { stdio: ['ignore', 'ignore', 'inherit'] });
    fs.rmSync(path.join(making, 'var/cache/apt'), { recursive: true, force: true });
    fs.renameSync(making, tree);
  } finally {
    fs.rmSync(making, { recursive: true, force: true });
  }
  return tree;
}
