/**
 * As whom a program runs: user, group and the groups beside it, as login programs have them from /etc/passwd and
 * /etc/group (passwd(5), group(5), initgroups(3)). Not by NSS, as in accounts.ts.
 */

export interface Login {
  readonly uid: number;
  readonly gid: number;
  /** All groups that it is in, `gid` first. */
  readonly groups: readonly number[];
  /** undefined: only the number is known. */
  readonly name: string | undefined;
  /** '' when nothing says it. */
  readonly home: string;
  readonly shell: string;
}

/** The texts of the two files. */
export interface LoginFiles {
  readonly passwd: string;
  readonly group: string;
}

/** What this machine lacks: there is no such user or group, or nothing says which group the user is in. */
export type MissingLogin = 'user' | 'group' | 'group of the user';

/** One more stands for nobody. */
const ID_MAX = 0xfffffffe;

/**
 * A user by name or number, and the group by name or number, by default the user's own. A number that is in neither file is
 * taken as it is, if the group is said. The first line of a name counts, as in libc.
 */
export function findLogin(
  user: string,
  group: string | undefined,
  files: LoginFiles,
): Login | MissingLogin {
  const entry = entryOf(files.passwd, user);
  const uid = idOf(entry?.[2] ?? user);
  if (uid === undefined) return 'user';
  const ownGroup = group === undefined ? entry?.[3] : (entryOf(files.group, group)?.[2] ?? group);
  if (ownGroup === undefined) return 'group of the user';
  const gid = idOf(ownGroup);
  if (gid === undefined) return 'group';
  const name = entry?.[0];
  const others = name === undefined ? [] : groupsWith(files.group, name);
  const [home = '', shell = ''] = entry?.slice(5) ?? [];
  return { uid, gid, groups: [...new Set([gid, ...others])], name, home, shell };
}

/** The line that begins with a name, or else has that number, cut into fields. */
function entryOf(text: string, who: string): string[] | undefined {
  const lines = linesOf(text);
  return lines.find(([name]) => name === who) ?? lines.find(([, , id]) => id === who);
}

function groupsWith(text: string, member: string): number[] {
  return linesOf(text)
    .filter(([, , , members = '']) => members.split(',').includes(member))
    .flatMap(([, , id]) => idOf(id) ?? []);
}

function linesOf(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .filter(([name, , id]) => name !== '' && !name.startsWith('#') && idOf(id) !== undefined);
}

function idOf(digits: string | undefined): number | undefined {
  if (!/^\d{1,10}$/.test(digits ?? '')) return undefined;
  const id = Number(digits);
  return id <= ID_MAX ? id : undefined;
}
