/** Keeps the number of files of an archive small: merges what is due, removes what need not be kept. */
import { LiteFsError } from '../errors.ts';
import type { Archive } from './archive.ts';
import type { ArchiveFile } from './archive-file.ts';
import { checkFile, writeImage } from './image.ts';
import { groups, writeMerged } from './merged-file.ts';
import { dueMerges, MERGE_LEVELS } from './merging.ts';
import { withEntries } from './open-entries.ts';
import { expiredFiles, type KeepRules, neededSnapshots } from './retention.ts';
import { noteVerified } from './verified.ts';

export interface TidyRules {
  readonly keep: KeepRules;
  readonly nowMs: number;
  readonly timezone: string | undefined;
  readonly compress: boolean;
}

export interface Tidied {
  readonly merged: number;
  readonly removed: number;
  /** Files that were found to be damaged; each message begins with the path. */
  readonly damaged: readonly { readonly file: ArchiveFile; readonly message: string }[];
}

/** For how long a snapshot that was read is taken to be whole. */
const TRUSTED_MS = 24 * 3_600_000;

export class Tidier {
  readonly #archive: Archive;
  /** When snapshots were read and were whole, by path. */
  readonly #whole = new Map<string, number>();
  /** What is wrong with files, by path. */
  readonly #damaged = new Map<string, string>();

  constructor(archive: Archive) {
    this.#archive = archive;
  }

  /** Throws DISK. What may go has gone then also when the disk is full, where nothing can be merged. */
  tidy(rules: TidyRules): Tidied {
    this.#damaged.clear();
    // Asks for each file; what follows is told of those that are added and removed since.
    this.#archive.list();
    const removed = this.#expire(rules);
    const merged = this.#merge(rules);
    const damaged = this.#files().flatMap((file) => {
      const message = this.#damaged.get(this.#archive.pathOf(file));
      return message === undefined ? [] : [{ file, message }];
    });
    return { merged, removed, damaged };
  }

  #merge({ nowMs, compress }: TidyRules): number {
    let merged = 0;
    for (const window of MERGE_LEVELS) {
      // What is damaged is left where it is, and others are merged up to it and behind it.
      let due = dueMerges(this.#intact(), window, nowMs);
      while (due.length > 0) {
        const failed = due.filter((inputs) => !this.#mergeFiles(window.level, inputs, compress));
        merged += due.length - failed.length;
        due = failed.length === 0 ? [] : dueMerges(this.#intact(), window, nowMs);
      }
    }
    return merged;
  }

  /** false: an input was damaged. */
  #mergeFiles(level: number, inputs: readonly ArchiveFile[], compress: boolean): boolean {
    const archive = this.#archive;
    const entries = inputs.map((file) => ({
      path: archive.pathOf(file),
      offset: 0,
      length: file.bytes,
    }));
    try {
      withEntries(entries, (open) => {
        for (const group of groups(open)) {
          if (group.length > 1) writeMerged(archive, level, group, compress);
        }
      });
      return true;
    } catch (error) {
      if (!(error instanceof LiteFsError) || error.code !== 'LTX_CORRUPT') throw error;
      const found = inputs.filter((file) => !this.#isWhole(file, checkFile));
      if (found.length === 0) throw error;
      return false;
    }
  }

  /**
   * Before anything is removed, the snapshots are read on which what is left depends: one that is damaged counts for nothing,
   * so that what could be done without because of it stays.
   */
  #expire({ keep, nowMs, timezone }: TidyRules): number {
    const archive = this.#archive;
    const expired = (files: readonly ArchiveFile[]) => expiredFiles(files, keep, nowMs, timezone);
    for (;;) {
      const trusted = this.#intact();
      const removable = expired(trusted);
      if (removable.length === 0) return 0;
      const unread = neededSnapshots(trusted, keep, nowMs).filter(
        (file) =>
          nowMs - (this.#whole.get(archive.pathOf(file)) ?? Number.NEGATIVE_INFINITY) > TRUSTED_MS,
      );
      const bad = unread.filter(
        (file) => !this.#isWhole(file, (path) => writeImage([path], undefined)),
      );
      if (bad.length > 0) continue;
      for (const file of unread) this.#whole.set(archive.pathOf(file), nowMs);
      noteVerified(archive, unread, 'quick', nowMs);
      const useless = expired(this.#files()).filter((file) => !trusted.includes(file));
      for (const file of [...removable, ...useless]) {
        this.#whole.delete(archive.pathOf(file));
        archive.remove(file);
      }
      return removable.length + useless.length;
    }
  }

  #files(): ArchiveFile[] {
    return this.#archive.list({ trusting: true });
  }

  #intact(): ArchiveFile[] {
    return this.#files().filter((file) => !this.#damaged.has(this.#archive.pathOf(file)));
  }

  #isWhole(file: ArchiveFile, check: (path: string) => unknown): boolean {
    const path = this.#archive.pathOf(file);
    try {
      check(path);
      return true;
    } catch (error) {
      if (!(error instanceof LiteFsError) || error.code !== 'LTX_CORRUPT') throw error;
      this.#damaged.set(path, error.message);
      return false;
    }
  }
}
