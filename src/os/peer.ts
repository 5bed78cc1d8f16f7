/**
 * Which process is at the other end of a Unix socket, as the kernel noted it when it connected:
 *
 *     struct ucred   0 i32 pid, 4 u32 uid, 8 u32 gid       getsockopt(SOL_SOCKET, SO_PEERCRED)
 *     gid_t[]        its other groups, 4 bytes each         getsockopt(SOL_SOCKET, SO_PEERGROUPS), Linux 4.13
 */
import { checked } from './libc.ts';
import { BYTES, bind } from './native.ts';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
const UCRED_BYTES = 12;
/** NGROUPS_MAX of Linux. */
const GROUPS_MAX = 65_536;

const getsockopt = bind('getsockopt', ['int', 'int', 'int', BYTES, BYTES]);

export interface Peer {
  readonly pid: number;
  readonly uid: number;
  /** The group it runs as, and the others that it is a member of. */
  readonly groups: readonly number[];
}

/**
 * Of a connected Unix socket.
 * @throws SystemError ENOTSOCK, EBADF, or ENOPROTOOPT of another kind of socket
 */
export function peerOf(fd: number): Peer {
  const ucred = option(fd, SO_PEERCRED, UCRED_BYTES);
  const others = option(fd, SO_PEERGROUPS, GROUPS_MAX * 4);
  const groups = [ucred.readUInt32LE(8)];
  for (let at = 0; at < others.length; at += 4) groups.push(others.readUInt32LE(at));
  return { pid: ucred.readInt32LE(0), uid: ucred.readUInt32LE(4), groups };
}

function option(fd: number, name: number, bytesMax: number): Buffer {
  const value = Buffer.alloc(bytesMax);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytesMax);
  checked('getsockopt', getsockopt(fd, SOL_SOCKET, name, value, length));
  return value.subarray(0, length.readUInt32LE());
}
