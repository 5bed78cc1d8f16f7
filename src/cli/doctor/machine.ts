/** Whether this machine and this process can mount. */
import { lackedCapabilities } from '../../os/capabilities.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const PASSTHROUGH_SINCE = [6, 9] as const;

export function checkKernel(release: string, passthrough: 'auto' | 'on' | 'off'): Finding {
  const [major, minor] = release.split('.').map((part) => Number.parseInt(part, 10));
  const [wantedMajor, wantedMinor] = PASSTHROUGH_SINCE;
  const can = major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  const what = `Linux ${release}`;
  if (!can && passthrough === 'on') {
    return fail('kernel', `${what} has no FUSE passthrough, and fuse.passthrough is on`, AUTO);
  }
  if (!can) {
    return warn(
      'kernel',
      `${what} has no FUSE passthrough: the daemon serves all reads and writes`,
      NEWER,
    );
  }
  if (passthrough === 'off') {
    return warn('kernel', `${what} has FUSE passthrough, but fuse.passthrough is off`, AUTO);
  }
  return ok('kernel', `${what}, with FUSE passthrough`);
}

const AUTO = 'Write fuse.passthrough: auto, or leave it out.';
const NEWER = 'It works, only slower. Linux 6.9 or newer has it.';

/** `error`: what opening /dev/fuse failed with. */
export function checkFuseDevice(error: string | undefined): Finding {
  if (error === undefined) return ok('fuse', '/dev/fuse can be opened');
  const hint =
    error === 'ENOENT' || error === 'ENODEV' || error === 'ENXIO'
      ? 'Load the module: modprobe fuse. In a container: --device /dev/fuse'
      : 'Run as root. In a container: --device /dev/fuse';
  return fail('fuse', `/dev/fuse cannot be opened: ${error}`, hint);
}

/** `status`: the text of /proc/self/status. The daemon runs with the same rights when systemd starts it. */
export function checkPrivileges(status: string, uid: number): Finding {
  if (lackedCapabilities(status, ['CAP_SYS_ADMIN']).length === 0) {
    return ok('rights', 'CAP_SYS_ADMIN, to mount');
  }
  return uid === 0
    ? fail(
        'rights',
        'root without CAP_SYS_ADMIN cannot mount',
        'In a container: --cap-add SYS_ADMIN',
      )
    : fail('rights', `user ${uid} without CAP_SYS_ADMIN cannot mount`, 'Run as root.');
}

/** `conf`: the text of /etc/fuse.conf, '' without one. What other FUSE programs need there is not needed here. */
export function checkAllowOther(allowOther: boolean, conf: string): Finding {
  const named = /^\s*user_allow_other\s*$/m.test(conf);
  if (!allowOther) {
    return warn(
      'users',
      'fuse.allow-other is false: only the user of the daemon can use the mount',
      USERS,
    );
  }
  const reason = 'it is for fusermount, and this daemon mounts by mount(2) itself';
  return ok(
    'users',
    `all users may use the mount; user_allow_other in /etc/fuse.conf is ${named ? 'there, but ' : ''}not needed: ${reason}`,
  );
}

const USERS = 'When applications run as other users: fuse.allow-other: true';
