/**
 * To whom a database and the folders above it belong, and who else may use them. A replica has them as its primary has: a
 * database is never open to more users there, and an application that goes on at the replica finds its files its own.
 *
 * Users and groups travel by name and number. A name that this machine knows counts; else the number does.
 */
import fs from 'node:fs';
import type { Accounts, AccountTable } from '../os/accounts.ts';
import { parentOf, type TreeDoor } from './tree-door.ts';

export interface Ownership {
  readonly uid: number;
  readonly gid: number;
  /** Permission bits. */
  readonly mode: number;
}

/** As another machine may understand it. A name is '' where the number has none. */
export interface NamedOwnership extends Ownership {
  readonly user: string;
  readonly group: string;
}

/** Of a database. */
export interface DatabaseOwnership {
  readonly file: NamedOwnership;
  /** Of the folders above it, beginning with the mount itself. */
  readonly folders: readonly NamedOwnership[];
}

/** What the config of a node has instead of what the primary says. */
export interface OwnershipOverride {
  /** A name of this machine, or a number. root's, when there is no such name (any more). */
  readonly user?: string;
  /** As user. */
  readonly group?: string;
  /** Of databases. Who may read one may enter the folders above it. */
  readonly mode?: number;
}

/** Of a file: set-user-id and the like mean nothing there. Of a folder: also sticky, and that its group is inherited. */
const FILE_MODES = 0o777;
const FOLDER_MODES = 0o3777;
/** One more would have chown(2) leave it as it is. */
const ID_MAX = 0xfffffffe;
const NAME_CHARS_MAX = 256;

/** The names above a file, from the tree itself ('') on. */
export function foldersAbove(name: string): string[] {
  const above = parentOf(name);
  return above === '' ? [''] : [...foldersAbove(above), above];
}

/** As it is in the tree; undefined when the file, or a folder above it, is not there. Throws SystemError. */
export function readOwnership(
  tree: TreeDoor,
  name: string,
  accounts: Accounts,
): DatabaseOwnership | undefined {
  const named = (one: string, modes: number): NamedOwnership | undefined => {
    const stat = tree.stat(one);
    if (!stat) return undefined;
    const [uid, gid, mode] = [Number(stat.uid), Number(stat.gid), Number(stat.mode) & modes];
    const user = accounts.users.name(uid) ?? '';
    return { uid, gid, mode, user, group: accounts.groups.name(gid) ?? '' };
  };
  const folders: NamedOwnership[] = [];
  for (const folder of foldersAbove(name)) {
    const found = named(folder, FOLDER_MODES);
    if (!found) return undefined;
    folders.push(found);
  }
  const file = named(name, FILE_MODES);
  return file && { file, folders };
}

/** What that is on this machine. */
export function resolveOwnership(
  { file, folders }: DatabaseOwnership,
  accounts: Accounts,
  override: OwnershipOverride,
): { readonly file: Ownership; readonly folders: readonly Ownership[] } {
  const { users, groups } = accounts;
  const ours = {
    ...(override.user !== undefined && { uid: accountId(users, override.user) ?? 0 }),
    ...(override.group !== undefined && { gid: accountId(groups, override.group) ?? 0 }),
  };
  const idsOf = ({ user, group, uid, gid }: NamedOwnership) => ({
    uid: users.id(user) ?? uid,
    gid: groups.id(group) ?? gid,
    ...ours,
  });
  const { mode } = override;
  return {
    file: { ...idsOf(file), mode: mode ?? file.mode },
    folders: folders.map((folder) => ({
      ...idsOf(folder),
      mode: mode === undefined ? folder.mode : folderMode(mode),
    })),
  };
}

/** The number of a user or group of this machine that is named or numbered; undefined when there can be none. */
export function accountId(table: AccountTable, text: string): number | undefined {
  if (!/^\d+$/.test(text)) return table.id(text);
  return Number(text) <= ID_MAX ? Number(text) : undefined;
}

/** Who may read a file may enter its folder; who may write it may make files beside it, as SQLite does. */
function folderMode(fileMode: number): number {
  return fileMode | ((fileMode & 0o444) >> 2);
}

export function sameOwnership(a: DatabaseOwnership, b: DatabaseOwnership): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/**
 * Gives an open file or folder owner and permissions. In between it is open to nobody who may not use it before and after.
 * Costs no change when it has them. Throws SystemError.
 */
export function setOwnership(fd: number, { uid, gid, mode }: Ownership): void {
  const now = fs.fstatSync(fd);
  const isOwned = now.uid === uid && now.gid === gid;
  let had = now.mode & 0o7777;
  if (!isOwned && (had & ~mode) !== 0) {
    had &= mode;
    fs.fchmodSync(fd, had);
  }
  if (!isOwned) fs.fchownSync(fd, uid, gid);
  if (!isOwned || had !== mode) fs.fchmodSync(fd, mode);
}

/** Keeps it in a file of ours. Throws SystemError. */
export function saveOwnership(file: string, ownership: DatabaseOwnership): void {
  const next = `${file}.new`;
  fs.writeFileSync(next, `${JSON.stringify(ownership)}\n`, { mode: 0o600 });
  fs.renameSync(next, file);
}

/** What was kept of that database; undefined when there is none, or it is damaged: the primary says it again. Throws SystemError. */
export function loadOwnership(file: string, name: string): DatabaseOwnership | undefined {
  try {
    return parseOwnership(name, JSON.parse(fs.readFileSync(file, 'utf8')));
  } catch (error) {
    const isAbsent = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (isAbsent || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** What comes from elsewhere, without bits that mean nothing; undefined when it is not of a database of that name. */
export function parseOwnership(name: string, value: unknown): DatabaseOwnership | undefined {
  const { file, folders } = (value ?? {}) as { file?: unknown; folders?: unknown };
  if (!Array.isArray(folders) || folders.length !== foldersAbove(name).length) return undefined;
  const above = folders.map((folder) => parseOne(folder, FOLDER_MODES));
  const own = parseOne(file, FILE_MODES);
  if (!own || !above.every((folder) => folder !== undefined)) return undefined;
  return { file: own, folders: above };
}

function parseOne(value: unknown, modes: number): NamedOwnership | undefined {
  const { uid, gid, mode, user, group } = (value ?? {}) as Record<string, unknown>;
  const isWhole = isId(uid) && isId(gid) && Number.isInteger(mode) && isName(user) && isName(group);
  return isWhole ? { uid, gid, mode: Number(mode) & modes, user, group } : undefined;
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= ID_MAX;
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= NAME_CHARS_MAX;
}
