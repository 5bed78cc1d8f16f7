/**
 * What the snapshot thread does: everything that reads or writes an archive. Each task is one request; one runs at a
 * time, so that an archive has one writer.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import type { Position } from '../ltx/position.ts';
import type { LtxSource } from '../store/log-entry.ts';
import { Archive, type OpenedArchive, onDisk } from './archive.ts';
import type { ArchiveFile } from './archive-file.ts';
import type { CheckLevel } from './image.ts';
import { groups, writeMerged } from './merged-file.ts';
import { withEntries } from './open-entries.ts';
import { openPlace } from './place.ts';
import { type FinishedSnapshot, type SnapshotBase, SnapshotFile } from './snapshot-file.ts';
import { type Tidied, Tidier, type TidyRules } from './tidier.ts';
import { type ListedFile, listVerified } from './verified.ts';
import { claimPlace, leavePlace, type Writer } from './writer.ts';

/**
 * `archive` is the folder of a database everywhere. All throw LiteFsError DISK, whatever the file system refuses, and
 * LTX_CORRUPT.
 */
export interface SnapshotTasks {
  /**
   * Whether archives may be written below `dir`: its id, as the file `memory` has it, and the node that did so before. Throws
   * DATA_DIR, WRONG_STATE as well.
   */
  place(args: {
    dir: string;
    memory: string;
    writer: Writer;
    /** ms since 1970. */
    nowMs: number;
    /** In which directory we have written since our start. */
    had: string | undefined;
  }): { readonly id: string; readonly formerWriter: string | undefined };
  /** Others may write there. */
  leave(args: { dir: string; writer: Writer; nowMs: number }): null;
  /** Removes what a crash has left, and says what is there. */
  open(args: { archive: string }): OpenedArchive;
  /** Whether these files are all there. */
  has(args: { archive: string; files: readonly ArchiveFile[] }): boolean;
  list(args: { archive: string }): readonly ListedFile[];
  /** Moves an archive aside whose transactions the database does not have. */
  retire(args: { archive: string; to: string }): null;
  /** Writes entries of the log as level 0: one file, more when they cannot be merged. */
  increment(args: {
    archive: string;
    entries: readonly LtxSource[];
    compress: boolean;
  }): readonly ArchiveFile[];
  begin(args: { archive: string; base: SnapshotBase }): number;
  pages(args: { snapshot: number; records: Uint8Array }): null;
  /** Ends the snapshot, well or not. ENOENT among the entries: WRONG_STATE, and the snapshot goes on. */
  finish(args: {
    snapshot: number;
    entries: readonly LtxSource[];
    end: Position;
    check: CheckLevel;
    scratchDir: string;
    /** ms since 1970. */
    nowMs: number;
  }): FinishedSnapshot;
  abort(args: { snapshot: number }): null;
  /** Removes what the rules do not keep, then merges what is due. */
  tidy(args: { archive: string } & TidyRules): Tidied;
}

/** Tasks with the state that is between them. */
export function snapshotTasks(): SnapshotTasks {
  const archives = new Map<string, Archive>();
  const tidiers = new Map<string, Tidier>();
  const running = new Map<number, SnapshotFile>();
  let nextId = 1;
  const archiveAt = (root: string): Archive => {
    const archive = archives.get(root) ?? new Archive(root);
    archives.set(root, archive);
    return archive;
  };
  const snapshotOf = (id: number): SnapshotFile => {
    const snapshot = running.get(id);
    if (snapshot) return snapshot;
    throw new LiteFsError('WRONG_STATE', 'that snapshot has ended already');
  };
  const end = (id: number) => {
    running.get(id)?.close();
    running.delete(id);
  };

  return namingFaults({
    place({ dir, memory, writer, nowMs, had }) {
      const id = openPlace(dir, memory);
      return { id, formerWriter: claimPlace(dir, writer, { nowMs, hadIt: had === id }) };
    },
    leave({ dir, writer, nowMs }) {
      leavePlace(dir, writer, nowMs);
      return null;
    },
    open({ archive: root }) {
      const archive = archiveAt(root);
      archive.sweep();
      return archive.open();
    },
    has: ({ archive, files }) => archiveAt(archive).has(files),
    list: ({ archive }) => listVerified(archiveAt(archive)),
    retire({ archive, to }) {
      archives.delete(archive);
      tidiers.delete(archive);
      onDisk(archive, () => fs.renameSync(archive, to));
      return null;
    },
    increment: ({ archive, entries, compress }) =>
      withEntries(entries, (sources) =>
        groups(sources).map((group) => writeMerged(archiveAt(archive), 0, group, compress)),
      ),
    begin({ archive, base }) {
      const id = nextId++;
      running.set(id, new SnapshotFile(archiveAt(archive), base));
      return id;
    },
    pages({ snapshot, records }) {
      snapshotOf(snapshot).pages(records);
      return null;
    },
    finish({ snapshot, entries, end: position, check, scratchDir, nowMs }) {
      const file = snapshotOf(snapshot);
      return withEntries(entries, (open) => {
        try {
          const scratch = path.join(scratchDir, `snapshot-${randomUUID()}`);
          return file.finish(open, position, { check, scratch, nowMs });
        } finally {
          end(snapshot);
        }
      });
    },
    abort({ snapshot }) {
      end(snapshot);
      return null;
    },
    tidy({ archive: root, ...rules }) {
      const tidier = tidiers.get(root) ?? new Tidier(archiveAt(root));
      tidiers.set(root, tidier);
      return tidier.tidy(rules);
    },
  });
}

/** What a disk does to a task is no bug, which would end the node. */
function namingFaults(tasks: SnapshotTasks): SnapshotTasks {
  const named = Object.entries(tasks).map(([name, task]) => [
    name,
    (args: { archive?: string }) =>
      onDisk(args.archive ?? 'the snapshot that is being cut', () => task(args as never)),
  ]);
  return Object.fromEntries(named) as SnapshotTasks;
}
