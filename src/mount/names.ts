/** The names in a mount that mean something: companions of a database and virtual files, and which are left for databases. */
import type { Resumption } from '../fuse/policy.ts';
import { encodeName } from '../store/layout.ts';

export type Companion = 'wal' | 'shm' | 'journal';

export interface FileRole {
  /** Path of the database this file belongs to (the path itself when it may be one). */
  readonly database: string;
  readonly companion: Companion | undefined;
}

/** What a file is, by its name alone. */
export function fileRole(path: string): FileRole {
  if (path.endsWith('-wal')) return { database: path.slice(0, -4), companion: 'wal' };
  if (path.endsWith('-shm')) return { database: path.slice(0, -4), companion: 'shm' };
  if (path.endsWith('-journal')) return { database: path.slice(0, -8), companion: 'journal' };
  return { database: path, companion: undefined };
}

export const PRIMARY_FILE = '.primary';
export const LAG_FILE = '.lag';
export const POSITION_SUFFIX = '-pos';

const COMPONENT_BYTES_MAX = 255;

/**
 * Why no database can have this name, as the end of a sentence that begins with it; undefined when one can. The name is a path
 * below the mount, as bytes (store/layout.ts): whoever says it, a user, a file or a peer, it is asked for here.
 */
export function nameFault(name: string): string | undefined {
  const parts = name.split('/');
  if (name.includes('\0') || parts.some((part) => part === '' || part === '.' || part === '..')) {
    return 'is no path below the mount';
  }
  if (parts.some(({ length }) => length > COMPONENT_BYTES_MAX) || encodeName(name) === undefined) {
    return 'is too long';
  }
  if (fileRole(name).companion !== undefined)
    return 'is that of a file of SQLite beside a database';
  if (parts[0] === PRIMARY_FILE || parts[0] === LAG_FILE || name.endsWith(POSITION_SUFFIX)) {
    return "is that of a file of the mount's own";
  }
  return undefined;
}

const RESUME_PREFIX = 'user.litefs-lite.resume.';

/**
 * The extended attribute of the root that the engine asks for to let a deferred operation go on. (A look-up of a
 * name would wait for the directory, which the kernel keeps locked during an unlink.) `perform`: with an error, and
 * done all the same.
 */
export function resumeName(token: bigint, errno: number, perform = false): string {
  return `${RESUME_PREFIX}${token.toString(16)}-${errno}${perform ? '-done' : ''}`;
}

export function parseResumeName(name: string): Resumption | undefined {
  if (!name.startsWith(RESUME_PREFIX)) return undefined;
  const match = /^([0-9a-f]{1,16})-([0-9]{1,3})(-done)?$/.exec(name.slice(RESUME_PREFIX.length));
  if (!match) return undefined;
  const resumption = { token: BigInt(`0x${match[1]}`), errno: Number(match[2]) };
  return match[3] ? { ...resumption, perform: true } : resumption;
}
