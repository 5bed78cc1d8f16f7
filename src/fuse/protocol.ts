/**
 * The FUSE protocol, version 7, as spoken over /dev/fuse: one message for each read(2) or write(2),
 * little-endian. Structures that only one module knows are described there.
 *
 * A request (fuse_in_header, 40 bytes, then a structure and names that end in NUL):
 *    0  u32 len       of the whole request
 *    4  u32 opcode
 *    8  u64 unique    to be repeated in the reply
 *   16  u64 nodeid    the file in question; 1 is the root
 *   24  u32 uid
 *   28  u32 gid
 *   32  u32 pid       thread id of the caller; 0 for what the kernel does by itself
 *   36  u16 total_extlen, u16 padding
 *
 * A reply (fuse_out_header, 16 bytes, then a structure unless it is an error):
 *    0  u32 len
 *    4  i32 error     0 or a negative errno
 *    8  u64 unique
 *
 * fuse_attr (88 bytes):
 *    0  u64 ino       16  u64 blocks    40  u64 ctime       60  u32 mode      76  u32 rdev
 *    8  u64 size      24  u64 atime     48  u32 atimensec   64  u32 nlink     80  u32 blksize
 *                     32  u64 mtime     52  u32 mtimensec   68  u32 uid       84  u32 flags
 *                                       56  u32 ctimensec   72  u32 gid
 *
 * fuse_entry_out (128 bytes):
 *    0  u64 nodeid        16  u64 entry_valid (s)    32  u32 entry_valid_nsec
 *    8  u64 generation    24  u64 attr_valid (s)     36  u32 attr_valid_nsec     40  fuse_attr
 *
 * fuse_attr_out (104 bytes): 0 u64 attr_valid (s), 8 u32 attr_valid_nsec, 16 fuse_attr
 *
 * fuse_open_out (16 bytes): 0 u64 fh, 8 u32 open_flags, 12 i32 backing_id
 */

export const IN_HEADER = 40;
export const OUT_HEADER = 16;
export const ENTRY_OUT = 128;
export const ATTR_OUT = 104;
export const OPEN_OUT = 16;

export const ROOT_ID = 1;

/** The largest write that a request carries, and the largest read that is answered. */
export const MAX_TRANSFER = 1024 * 1024;

export const OPCODES = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
} as const;

export type OpName = keyof typeof OPCODES;

/** Reply flags of OPEN, CREATE and OPENDIR. */
export const FOPEN_DIRECT_IO = 1 << 0;
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_PASSTHROUGH = 1 << 7;

/** File types in st_mode. */
export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
