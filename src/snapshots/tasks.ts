/**
 * What the snapshot thread does: everything that reads or writes an archive. Each task is one request; one runs at a
 * time, so that an archive has one writer.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { LiteFsError } from '../errors.ts';
import { canCompact, compact } from '../ltx/compact.ts';
import type { Position } from '../ltx/position.ts';
import { fileSink } from '../ltx/sources.ts';
import type { LtxSource } from '../store/log-entry.ts';
import { Archive, onDisk } from './archive.ts';
import { type ArchiveFile, SNAPSHOT_LEVEL } from './archive-file.ts';
import type { CheckLevel } from './image.ts';
import { dueMerges, MERGE_LEVELS } from './merging.ts';
import { type OpenEntry, withEntries } from './open-entries.ts';
import { expiredFiles, type KeepRules } from './retention.ts';
import { checkSnapshot, type SnapshotBase, SnapshotFile } from './snapshot-file.ts';

export interface Opened {
  readonly files: readonly ArchiveFile[];
  /** After the newest file. */
  readonly position: Position | undefined;
}

/** `archive` is the folder of a database everywhere. All throw LiteFsError DISK and LTX_CORRUPT. */
export interface SnapshotTasks {
  /** Removes what a crash has left, and says what is there. */
  open(args: { archive: string }): Opened;
  list(args: { archive: string }): readonly ArchiveFile[];
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
  }): ArchiveFile;
  abort(args: { snapshot: number }): null;
  /** Merges what is due, then removes what the rules do not keep. */
  tidy(args: {
    archive: string;
    keep: KeepRules;
    nowMs: number;
    timezone: string | undefined;
    compress: boolean;
  }): { readonly merged: number; readonly removed: number };
  /** Re-reads a file as a restore would. Throws what is wrong with it. */
  check(args: { archive: string; file: ArchiveFile; check: CheckLevel; scratchDir: string }): null;
}

/** Tasks with the state that is between them. */
export function snapshotTasks(): SnapshotTasks {
  const archives = new Map<string, Archive>();
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

  return {
    open({ archive: root }) {
      const archive = archiveAt(root);
      archive.sweep();
      return { files: archive.list(), position: archive.newestPosition() };
    },
    list: ({ archive }) => archiveAt(archive).list(),
    retire({ archive, to }) {
      archives.delete(archive);
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
    finish({ snapshot, entries, end: position, check, scratchDir }) {
      const file = snapshotOf(snapshot);
      return withEntries(entries, (open) => {
        try {
          const scratch = path.join(scratchDir, `snapshot-${randomUUID()}`);
          return file.finish(open, position, check, scratch);
        } finally {
          end(snapshot);
        }
      });
    },
    abort({ snapshot }) {
      end(snapshot);
      return null;
    },
    tidy({ archive: root, keep, nowMs, timezone, compress }) {
      const archive = archiveAt(root);
      let merged = 0;
      for (const window of MERGE_LEVELS) {
        for (const inputs of dueMerges(archive.list(), window, nowMs)) {
          mergeFiles(archive, window.level, inputs, compress);
          merged++;
        }
      }
      const expired = expiredFiles(archive.list(), keep, nowMs, timezone);
      for (const file of expired) archive.remove(file);
      return { merged, removed: expired.length };
    },
    check({ archive: root, file, check, scratchDir }) {
      const archive = archiveAt(root);
      const scratch = path.join(scratchDir, `check-${randomUUID()}`);
      if (file.level === SNAPSHOT_LEVEL) checkSnapshot(archive.pathOf(file), check, scratch);
      else checkIncrement(archive.pathOf(file));
      return null;
    },
  };
}

/** Neighbours that can be one file. */
function groups(entries: readonly OpenEntry[]): OpenEntry[][] {
  const result: OpenEntry[][] = [];
  for (const entry of entries) {
    const group = result.at(-1);
    const before = group?.at(-1);
    if (group && before && canCompact(before.header, entry.header)) group.push(entry);
    else result.push([entry]);
  }
  return result;
}

function writeMerged(
  archive: Archive,
  level: number,
  inputs: readonly OpenEntry[],
  compress: boolean,
): ArchiveFile {
  const temporary = archive.temporary(level);
  return onDisk(temporary, () => {
    const fd = fs.openSync(temporary, 'wx', 0o600);
    try {
      const sink = fileSink(fd);
      const sources = inputs.map(({ source }) => source);
      const postAside = inputs[inputs.length - 1].postChecksum();
      const merging = compact(sources, sink, { compress, postAside });
      let step = merging.next();
      while (!step.done) step = merging.next();
      sink.flush();
      const { minTxid, maxTxid, timestampMs } = step.value;
      return archive.commit(temporary, { level, minTxid, maxTxid, timestampMs });
    } catch (error) {
      fs.rmSync(temporary, { force: true });
      throw error;
    } finally {
      fs.closeSync(fd);
    }
  });
}

function mergeFiles(
  archive: Archive,
  level: number,
  inputs: readonly ArchiveFile[],
  compress: boolean,
): void {
  const entries = inputs.map((file) => ({
    path: archive.pathOf(file),
    offset: 0,
    length: file.bytes,
  }));
  withEntries(entries, (open) => {
    for (const group of groups(open)) {
      if (group.length > 1) writeMerged(archive, level, group, compress);
    }
  });
}

/** All of a file, whose header, pages and checksums are compared. */
function checkIncrement(file: string): void {
  const length = fs.statSync(file).size;
  const sink = { write() {} };
  withEntries([{ path: file, offset: 0, length }], ([{ source }]) => {
    for (const _ of compact([source], sink, { compress: false }));
  });
}
