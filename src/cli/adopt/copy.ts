/**
 * The copy in the mount, from its name to its first transaction. It and the folders that are made for it are root's alone
 * until it is complete. What has been made is known by its descriptor from then on.
 */
import fs from 'node:fs';
import { LiteFsError } from '../../errors.ts';
import { formatPosition, type Position, samePosition } from '../../ltx/position.ts';
import type { Folder } from '../../os/folder.ts';
import { clearMark, isMarked, setMark } from './mark.ts';
import { inside, positionOf, removeDatabase, withFolderIn } from './mounted.ts';
import type { Place } from './place.ts';
import { checksumOf, type Whole, writeInto } from './whole.ts';

/** A folder that was made for it. */
interface Made {
  readonly parent: Folder;
  readonly name: string;
  readonly folder: Folder;
}

export class MountedCopy {
  readonly place: Place;
  /** Where it lies. */
  readonly folder: Folder;
  readonly #fd: number;
  readonly #made: readonly Made[];
  /** All that is to be closed, but the root of the mount. */
  readonly #open: readonly Folder[];
  #position: Position | undefined;

  /** Makes the folders above it that are missing, and the file, empty. Throws WRONG_STATE, SystemError. */
  constructor(root: Folder, place: Place, mark: string) {
    this.place = place;
    const made: Made[] = [];
    const open: Folder[] = [];
    let at = root;
    try {
      for (const name of place.folders) {
        let next = inside(at, name);
        if (!next) {
          next = at.makeFolder(name);
          made.push({ parent: at, name, folder: next });
          setMark(next.fd, mark);
        }
        open.push(next);
        at = next;
      }
      this.#fd = at.makeFile(place.base);
      setMark(this.#fd, mark);
    } catch (error) {
      removeFolders(made);
      for (const folder of open) folder.close();
      throw error;
    }
    this.folder = at;
    this.#made = made;
    this.#open = open;
  }

  /** As of when it was complete. */
  get position(): string {
    return this.#position ? formatPosition(this.#position) : '';
  }

  fill(whole: Whole): void {
    writeInto(this.#fd, whole);
  }

  /** Gives it the owner and mode of the original, and the folders those of the original's folder. All is on disk then. */
  giveTo(file: fs.Stats, folder: fs.Stats): void {
    give(this.#fd, file);
    for (const made of this.#made) give(made.folder.fd, folder);
    fs.fsyncSync(this.#fd);
    for (const { parent, folder: own } of this.#made) {
      own.sync();
      parent.sync();
    }
    this.folder.sync();
  }

  /** Sees that the node knows it, as it was filled. Throws WRONG_STATE, CHECKSUM_MISMATCH. */
  confirm(whole: Whole): void {
    const { path } = this.place;
    this.#position = positionOf(this.folder, this.place.base);
    if (!this.#position) {
      throw new LiteFsError('WRONG_STATE', `${path} would not be replicated`, {
        hint: 'Its name fits none of lease.databases: add it there, or take another: --as NAME',
      });
    }
    if (this.#position.checksum === checksumOf(whole)) return;
    throw new LiteFsError('CHECKSUM_MISMATCH', `${path} is not what was copied there`, {
      hint: 'Did another program write to it? The original is where it was.',
    });
  }

  /** Whether its name still is its own. */
  isThere(): boolean {
    return this.folder.has(this.place.base, this.#fd);
  }

  /** Whether nothing was committed to it since. */
  isUntouched(): boolean {
    const now = positionOf(this.folder, this.place.base);
    return now !== undefined && this.#position !== undefined && samePosition(now, this.#position);
  }

  /** It is what the application uses from now on. */
  complete(): void {
    clearMark(this.#fd);
    for (const { folder } of this.#made) clearMark(folder.fd);
  }

  /** Removes what was made, as far as it is there. */
  takeBack(): void {
    if (this.isThere()) removeDatabase(this.folder, this.place.base);
    removeFolders(this.#made);
  }

  close(): void {
    fs.closeSync(this.#fd);
    for (const folder of this.#open) folder.close();
  }
}

/** Removes the folders that a run that was cut off has made for it, as far as they are empty. */
export function removeMarkedFolders(root: Folder, { folders }: Place, mark: string): void {
  for (let depth = folders.length; depth > 0; depth--) {
    withFolderIn(root, folders.slice(0, depth - 1), (parent) => {
      const name = folders[depth - 1];
      const folder = parent && inside(parent, name);
      if (!folder) return;
      const isOurs = isMarked(folder.fd, mark);
      folder.close();
      if (isOurs) removeEmpty(parent, name);
    });
  }
}

function removeFolders(made: readonly Made[]): void {
  for (const { parent, name, folder } of made.toReversed()) {
    if (parent.has(name, folder.fd)) removeEmpty(parent, name);
  }
}

/** What another has put in it keeps it. */
function removeEmpty(parent: Folder, name: string): void {
  try {
    parent.removeFolder(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
  }
}

/** The owner first: a mode that is meant for one owner must not be another's for a moment. */
export function give(fd: number, { uid, gid, mode }: fs.Stats): void {
  fs.fchownSync(fd, uid, gid);
  fs.fchmodSync(fd, mode & 0o7777);
}
