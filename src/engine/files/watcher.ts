/** inotify on every directory of the backing tree: tells which databases were written to. */
import { parseCutMark } from '../../mount/cut-marks.ts';
import { fileRole } from '../../mount/names.ts';
import {
  IN_ATTRIB,
  IN_CREATE,
  IN_DELETE,
  IN_IGNORED,
  IN_MODIFY,
  IN_MOVED_TO,
  IN_Q_OVERFLOW,
  Inotify,
} from '../../os/inotify.ts';
import type { TreeDoor } from '../../store/tree-door.ts';

/** In the mask of an event whose subject is a directory. */
const IN_ISDIR = 0x40000000;

export interface WatcherEvents {
  /** The -wal of a database was written, or came to be. */
  walWritten(database: string): void;
  shmTouched(database: string): void;
  /** A -wal was made; walWritten follows. */
  walMade(database: string): void;
  /** The file itself changed, or came to be. */
  fileWritten(path: string): void;
  /** A transaction with a rollback journal begins: it was made, or the mount has marked it (see mount/sqlite-policy.ts). */
  journalBegun(database: string): void;
  /** The file is about to be cut to the size that its header says, and was; the marks of one cut are the same. */
  cutBegun(database: string, mark: number): void;
  cutEnded(database: string, mark: number): void;
  /** A file that is no companion, or a folder ('' is the tree), may have another owner or other permissions. */
  ownershipChanged(path: string): void;
  /** The kernel dropped events: anything may have happened. */
  overflow(): void;
}

export class TreeWatcher {
  readonly #tree: TreeDoor;
  readonly #inotify = new Inotify();
  readonly #dirs = new Map<number, string>();
  #cuts: number | undefined;

  constructor(tree: TreeDoor) {
    this.#tree = tree;
  }

  get fd(): number {
    return this.#inotify.fd;
  }

  watch(dir: string): void {
    const mask = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_ATTRIB;
    const wd = this.#tree.inDirectory(dir, (fd) =>
      this.#inotify.watch(Buffer.from(`/proc/thread-self/fd/${fd}`), mask),
    );
    this.#dirs.set(wd, dir);
  }

  /** The directory of the marks of cuts. */
  watchCuts(dir: string): void {
    this.#cuts = this.#inotify.watch(Buffer.from(dir), IN_CREATE | IN_DELETE);
  }

  /** Reports what has happened since the last call, in order. */
  drain(events: WatcherEvents): void {
    for (const { wd, mask, name } of this.#inotify.read()) {
      if (mask & IN_Q_OVERFLOW) {
        events.overflow();
        continue;
      }
      if (mask & IN_IGNORED) {
        this.#dirs.delete(wd);
        continue;
      }
      if (wd === this.#cuts) {
        const cut = parseCutMark(name);
        if (cut && mask & IN_CREATE) events.cutBegun(cut.database, cut.number);
        else if (cut) events.cutEnded(cut.database, cut.number);
        continue;
      }
      const dir = this.#dirs.get(wd);
      if (dir === undefined) continue;
      // Without a name it is the folder itself.
      const path = name === '' ? dir : dir === '' ? name : `${dir}/${name}`;
      if (mask & IN_ISDIR) {
        if (mask & IN_ATTRIB) events.ownershipChanged(path);
        continue;
      }
      const role = fileRole(path);
      if (role.companion === 'journal') {
        if (mask & (IN_CREATE | IN_ATTRIB)) events.journalBegun(role.database);
      } else if (role.companion !== undefined) {
        if (role.companion === 'wal' && mask & IN_CREATE) events.walMade(role.database);
        if (mask & IN_ATTRIB) continue;
        if (role.companion === 'wal') events.walWritten(role.database);
        else events.shmTouched(role.database);
      } else if (mask & IN_MODIFY) {
        events.fileWritten(path);
      } else if (mask & IN_ATTRIB) {
        events.ownershipChanged(path);
      }
    }
  }

  close(): void {
    this.#inotify.close();
    this.#dirs.clear();
  }
}
