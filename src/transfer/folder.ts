/** The folder in the mount that a database is in, as the whole world of what SQLite does there (os/closed-root.ts). */
import Database from 'better-sqlite3';
import { errorText, LiteFsError } from '../errors.ts';
import { ClosedRoot } from '../os/closed-root.ts';
import { nameText } from '../store/layout.ts';
import { notAFile, parentOf, TreeDoor } from '../store/tree-door.ts';

/** A database by its name (a byte string) below a directory. */
export interface InMount {
  readonly dir: string;
  readonly name: string;
}

/** The same for people. */
export function pathOf({ dir, name }: InMount): string {
  return `${dir}/${nameText(name)}`;
}

const ENDS = ['', '-wal', '-shm', '-journal'];
const NO_DIRECTORY = ['ENOENT', 'ENOTDIR', 'ELOOP'];

export class DatabaseFolder {
  /** Whether the database was there. */
  readonly hasDatabase: boolean;
  readonly #root: ClosedRoot;
  readonly #file: string;

  /**
   * undefined when there is no such folder, or a link on the way to it. Throws NOT_A_FILE when one of SQLite's files is
   * none (it would wait for ever for the other end of a FIFO), WRONG_STATE where the system lacks what is needed.
   */
  static of(database: InMount): DatabaseFolder | undefined {
    const door = new TreeDoor(database.dir);
    try {
      const other = door.firstOther(database.name, ENDS);
      if (other) throw notAFile(other.name, other.kind);
      const root = door.inDirectory(parentOf(database.name), (fd) => closedRoot(fd));
      return new DatabaseFolder(root, database.name, door.hasFile(database.name));
    } catch (error) {
      if (error instanceof LiteFsError) throw error;
      if (NO_DIRECTORY.includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      const text = `${pathOf(database)} cannot be opened: ${errorText(error)}`;
      throw new LiteFsError('WRONG_STATE', text, {
        hint: 'Is its name too long? Nothing was changed.',
        cause: error,
      });
    } finally {
      door.close();
    }
  }

  private constructor(root: ClosedRoot, name: string, hasDatabase: boolean) {
    this.#root = root;
    this.#file = `/${nameText(name.slice(name.lastIndexOf('/') + 1))}`;
    this.hasDatabase = hasDatabase;
  }

  /** Calls back with the path that the database has there; until that resolves, no other path leads to anything. */
  async inside<T>(work: (file: string) => T | Promise<T>): Promise<T> {
    loadSqlite();
    this.#root.enter();
    try {
      return await work(this.#file);
    } finally {
      this.#root.leave();
    }
  }

  close(): void {
    this.#root.close();
  }
}

/** SQLite's code, and its seed from /dev/urandom, come from outside. */
function loadSqlite(): void {
  const db = new Database(':memory:');
  db.prepare('SELECT random()').get();
  db.close();
}

function closedRoot(folder: number): ClosedRoot {
  try {
    return new ClosedRoot(folder);
  } catch (error) {
    const text = `the folder cannot be closed off for a transfer: ${errorText(error)}`;
    throw new LiteFsError('WRONG_STATE', text, {
      hint: 'It needs Linux 5.14, CAP_SYS_ADMIN and CAP_SYS_CHROOT.',
      cause: error,
    });
  }
}
