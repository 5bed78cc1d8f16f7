/** Extended attributes; kernel-style results (a length or a negative errno). */
import { cString } from './libc.ts';
import { BYTES, bind, PATH } from './native.ts';

/** The file that attributes belong to: an open one, or a path that is not followed if a link. */
export type XattrTarget = number | Buffer;

const get = bind('getxattr', [PATH, PATH, BYTES, 'size_t'], 'int64_t');
const lget = bind('lgetxattr', [PATH, PATH, BYTES, 'size_t'], 'int64_t');
const fget = bind('fgetxattr', ['int', PATH, BYTES, 'size_t'], 'int64_t');
const lset = bind('lsetxattr', [PATH, PATH, PATH, 'size_t', 'int']);
const fset = bind('fsetxattr', ['int', PATH, PATH, 'size_t', 'int']);
const llist = bind('llistxattr', [PATH, BYTES, 'size_t'], 'int64_t');
const flist = bind('flistxattr', ['int', BYTES, 'size_t'], 'int64_t');
const lremove = bind('lremovexattr', [PATH, PATH]);
const fremove = bind('fremovexattr', ['int', PATH]);

/** With `size` 0 the length of the value, else the value's bytes are put in `into`. */
export function getxattr(
  target: XattrTarget,
  name: Buffer,
  into: Uint8Array | null,
  size: number,
): number {
  return (typeof target === 'number' ? fget : lget)(target, name, into, size);
}

/** @param flags XATTR_CREATE 1, XATTR_REPLACE 2 */
export function setxattr(
  target: XattrTarget,
  name: Buffer,
  value: Uint8Array,
  size: number,
  flags: number,
): number {
  return (typeof target === 'number' ? fset : lset)(target, name, value, size, flags);
}

/** With `size` 0 the length of the list, else the names, each ended by NUL. */
export function listxattr(target: XattrTarget, into: Uint8Array | null, size: number): number {
  return (typeof target === 'number' ? flist : llist)(target, into, size);
}

export function removexattr(target: XattrTarget, name: Buffer): number {
  return (typeof target === 'number' ? fremove : lremove)(target, name);
}

/**
 * Asks for an attribute of what is at `path`; whether there is one. To our own file system the
 * question itself can be a sign: no lock stands before it.
 */
export function getxattrExists(path: string, name: string): boolean {
  return get(Buffer.from(`${path}\0`), cString(name), null, 0) >= 0;
}
