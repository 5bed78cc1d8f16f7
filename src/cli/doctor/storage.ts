/** Whether data.dir and the mount point will do. */
import { formatBytes } from '../table.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** f_type of statfs(2), see its manual page. */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  801189825: 'zfs',
  4076150800: 'f2fs',
  3393526350: 'bcachefs',
  2035054128: 'overlay',
  16914836: 'tmpfs',
  2240043254: 'ramfs',
  26985: 'nfs',
  4283649346: 'cifs',
  4266872130: 'smb',
  20859: 'smb',
  16914839: '9p',
  12805120: 'ceph',
  1702057286: 'fuse',
  19780: 'vfat',
  538032816: 'exfat',
};
const LOCAL = new Set(['ext4', 'xfs', 'btrfs', 'zfs', 'f2fs', 'bcachefs']);
const VOLATILE = new Set(['tmpfs', 'ramfs']);
const FAT = new Set(['vfat', 'exfat']);

const SPACE_BYTES_MIN = 64 * 2 ** 20;
const SPACE_BYTES_WANTED = 512 * 2 ** 20;
const SPACE_SHARE_WANTED = 0.05;

export interface Volume {
  readonly freeBytes: number;
  readonly bytes: number;
  /** f_type of statfs(2). */
  readonly type: number;
}

export function checkSpace(dir: string, { freeBytes, bytes }: Volume): Finding {
  const share = bytes === 0 ? 0 : freeBytes / bytes;
  const text = `${formatBytes(freeBytes)} free of ${formatBytes(bytes)} (${Math.floor(share * 100)} %) for ${dir}`;
  const hint = 'Free space, or keep less of the log: data.retention, data.retention-bytes.';
  if (freeBytes < SPACE_BYTES_MIN) return fail('space', text, hint);
  if (freeBytes < SPACE_BYTES_WANTED || share < SPACE_SHARE_WANTED)
    return warn('space', text, hint);
  return ok('space', text);
}

export function checkFileSystem(dir: string, { type }: Volume): Finding {
  const name = FILE_SYSTEMS[type];
  const text = `${dir} is on ${name ?? `a file system of type 0x${type.toString(16)}`}`;
  if (name === undefined) {
    return warn(
      'disk',
      `${text}, which was never tried`,
      'It needs leases, inotify and byte-range locks.',
    );
  }
  if (LOCAL.has(name)) return ok('disk', text);
  if (VOLATILE.has(name)) {
    return warn(
      'disk',
      `${text}: all of it is gone after a restart`,
      'Name a directory on a disk as data.dir.',
    );
  }
  if (name === 'overlay') {
    return warn('disk', `${text}: it goes with the container`, 'Mount a volume there.');
  }
  const why = FAT.has(name) ? 'which has no owners and no links' : 'which is not local';
  return fail('disk', `${text}, ${why}`, 'Name a directory on a local disk as data.dir.');
}

export interface InotifyLimits {
  readonly watches: number;
  readonly instances: number;
  /** What making a watch failed with; undefined: it could be made. */
  readonly error: string | undefined;
}

const WATCHES_WANTED = 1024;
const INSTANCES_WANTED = 16;

/** The engine hears of commits by inotify: one instance, and a watch for each folder. */
export function checkInotify({ watches, instances, error }: InotifyLimits): Finding {
  const text = `${watches} watches and ${instances} instances for each user`;
  const hint = 'sysctl fs.inotify.max_user_watches=65536 fs.inotify.max_user_instances=256';
  if (error !== undefined) return fail('inotify', `${text}, and none is left: ${error}`, hint);
  if (watches < WATCHES_WANTED || instances < INSTANCES_WANTED) return warn('inotify', text, hint);
  return ok('inotify', text);
}

export interface MountPoint {
  /** The daemon that was there is gone. */
  readonly dead: boolean;
  /** The source of what is mounted there, when something is. */
  readonly mounted: string | undefined;
  /** Names in the directory, data.dir left out; undefined when there is none. */
  readonly names: readonly string[] | undefined;
}

/** `running`: our node answers, so that the mount is its own. */
export function checkMountPoint(dir: string, point: MountPoint, running: boolean): Finding {
  const { dead, mounted, names } = point;
  if (dead) {
    return warn(
      'mount',
      `${dir} is still mounted by a daemon that died`,
      'The next start replaces it: systemctl restart litefs-lite',
    );
  }
  if (running && mounted === 'litefs-lite') return ok('mount', `${dir} is mounted`);
  if (running) {
    return fail(
      'mount',
      `the node runs, and ${dir} is not mounted`,
      'Restart it: systemctl restart litefs-lite',
    );
  }
  if (mounted !== undefined) {
    return fail(
      'mount',
      `${mounted} is mounted on ${dir}`,
      `Stop what mounted it, or run: umount ${dir}`,
    );
  }
  if (names === undefined) return ok('mount', `${dir} will be made`);
  if (names.length === 0) return ok('mount', `${dir} is empty, and can be mounted`);
  const some = names.slice(0, 3).join(', ');
  return fail(
    'mount',
    `${dir} is not empty: it has ${some}`,
    'Move that away. Once mounted, databases go in by: litefs-lite adopt',
  );
}

/** `guarded`: whether the folder below the mount is immutable; undefined when that cannot be told, as by users. */
export function checkGuard(dir: string, guarded: boolean | undefined): Finding[] {
  if (guarded === undefined) return [];
  if (guarded) return [ok('guard', `nobody writes in ${dir} while it is not mounted`)];
  return [
    warn(
      'guard',
      `an application that starts before the node writes below the mount, in ${dir}, where it is lost`,
      `litefs-lite mount-point guard; if that says it cannot be: After= and Requires=litefs-lite.service`,
    ),
  ];
}
