/**
 * Names of users and groups, by /etc/passwd and /etc/group (passwd(5), group(5)). Not by NSS, which may ask a server and have a
 * thread wait for its answer: users of a directory service have the same numbers on all machines.
 */
import fs from 'node:fs';

/** Of one file: names by number, and numbers by name. */
export interface AccountTable {
  name(id: number): string | undefined;
  id(name: string): number | undefined;
}

export interface Accounts {
  readonly users: AccountTable;
  readonly groups: AccountTable;
}

/** One more stands for nobody. */
const ID_MAX = 0xfffffffe;

/** Parses `name:password:id:…` lines. What is no such line is left out; the first of two lines counts, as in libc. */
export function parseAccounts(text: string): AccountTable {
  const names = new Map<number, string>();
  const ids = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [name, , digits] = line.split(':');
    if (!name || name.startsWith('#') || !/^\d{1,10}$/.test(digits ?? '')) continue;
    const id = Number(digits);
    if (id > ID_MAX) continue;
    if (!names.has(id)) names.set(id, name);
    if (!ids.has(name)) ids.set(name, id);
  }
  return { name: (id) => names.get(id), id: (name) => ids.get(name) };
}

/** The accounts of this machine, read again when a file has changed. A file that cannot be read names nobody. */
export class SystemAccounts implements Accounts {
  readonly #users: CachedTable;
  readonly #groups: CachedTable;

  constructor(files = { users: '/etc/passwd', groups: '/etc/group' }) {
    this.#users = new CachedTable(files.users);
    this.#groups = new CachedTable(files.groups);
  }

  get users(): AccountTable {
    return this.#users.table;
  }

  get groups(): AccountTable {
    return this.#groups.table;
  }
}

const NOBODY: AccountTable = { name: () => undefined, id: () => undefined };

class CachedTable {
  readonly #file: string;
  #look = '';
  #table = NOBODY;

  constructor(file: string) {
    this.#file = file;
  }

  get table(): AccountTable {
    const stat = fs.statSync(this.#file, { throwIfNoEntry: false, bigint: true });
    const look = stat ? `${stat.ino} ${stat.size} ${stat.mtimeNs}` : '';
    if (look !== this.#look) {
      this.#table = stat ? parseAccounts(fs.readFileSync(this.#file, 'utf8')) : NOBODY;
      this.#look = look;
    }
    return this.#table;
  }
}
