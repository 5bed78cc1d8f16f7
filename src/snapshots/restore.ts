/** A restore: plan, make, check, and only then the name. */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, isOutsideFault, LiteFsError } from '../errors.ts';
import { formatTxid } from '../ltx/position.ts';
import { setOwnership } from '../store/ownership.ts';
import { type Archive, fsyncFolder, tryOnDisk } from './archive.ts';
import type { ArchiveFile } from './archive-file.ts';
import { type CheckLevel, DamagedFile, type Progress, writeImage } from './image.ts';
import { ARCHIVED_SO, checkIntegrity } from './integrity.ts';
import { lastUntil } from './moment.ts';
import { checkOutput, SIDE_FILES } from './output.ts';
import { planRestore, restorePoints, type Target } from './plan.ts';
import { sweepTemporaries, temporaryIn } from './temporaries.ts';
import { formatTime } from './when.ts';

export interface RestoreOptions {
  readonly check: CheckLevel;
  /** Over a file that exists. */
  readonly force: boolean;
  progress?(progress: Progress): void;
  /** A file that was damaged; others are tried. */
  damaged?(message: string): void;
  /** The name that the output has until it is ready. */
  begun?(temporary: string): void;
}

export interface Restored {
  readonly txid: number;
  readonly timestampMs: number;
  readonly bytes: number;
  readonly files: number;
  /** Why PRAGMA integrity_check could not check all of it. */
  readonly unchecked?: string;
}

/**
 * Makes the state that `target` names at `output`. A damaged file is done without when others have the same content;
 * an older state is never made in the place of the wanted one.
 * @throws LiteFsError RESTORE_POINT, LTX_CORRUPT, DATABASE_CORRUPT, DISK, USAGE when that cannot be the output
 */
export function restore(
  archive: Archive,
  target: Target,
  output: string,
  options: RestoreOptions,
): Restored {
  checkOutput(output, options.force);
  const folder = path.dirname(output);
  sweepTemporaries(folder);
  const temporary = temporaryIn(folder);
  options.begun?.(temporary);
  try {
    const restored = make(archive, target, { output, temporary }, options);
    const of = `${archive.root} at ${formatTxid(restored.txid)}`;
    const unchecked =
      options.check === 'full' ? checkIntegrity(temporary, { of, hint: ARCHIVED_SO }) : undefined;
    onOutput(output, () => {
      ownAs(output, temporary);
      // A journal of the former file would be taken for one of the new.
      for (const suffix of SIDE_FILES) fs.rmSync(output + suffix, { force: true });
      fs.renameSync(temporary, output);
      fsyncFolder(path.dirname(output));
    });
    return { ...restored, unchecked };
  } finally {
    tryOnDisk(() => fs.rmSync(temporary, { force: true }));
  }
}

/** What takes the place of a file belongs to whom that belonged. A new one is its maker's alone. */
function ownAs(former: string, file: string): void {
  const stat = fs.statSync(former, { throwIfNoEntry: false });
  if (!stat) return;
  const fd = fs.openSync(file, 'r');
  try {
    // Who is not root cannot give it away.
    const { uid, gid } = process.getuid?.() === 0 ? stat : fs.fstatSync(fd);
    setOwnership(fd, { uid, gid, mode: stat.mode & 0o777 });
  } finally {
    fs.closeSync(fd);
  }
}

function make(
  archive: Archive,
  target: Target,
  { output, temporary }: { readonly output: string; readonly temporary: string },
  options: RestoreOptions,
): Restored {
  const files = archive.list();
  const damaged = new Map<ArchiveFile, LiteFsError>();
  let wanted = target.kind === 'time' ? lastUntil(archive, files, target.timeMs, options) : target;
  for (;;) {
    let plan: ReturnType<typeof planRestore>;
    try {
      plan = planRestore(
        files.filter((file) => !damaged.has(file)),
        wanted,
      );
    } catch (error) {
      const [first] = damaged.values();
      throw first ? cannotDoWithout(first, error as LiteFsError) : error;
    }
    wanted = { kind: 'txid', txid: plan.txid };
    const paths = plan.files.map((file) => archive.pathOf(file));
    try {
      const { pageSize, commit } = onOutput(output, () =>
        writeImage(paths, temporary, options.progress),
      );
      if (commit === 0) {
        throw hadBeenRemoved(files, plan.txid);
      }
      const { txid, timestampMs } = plan;
      return { txid, timestampMs, bytes: commit * pageSize, files: plan.files.length };
    } catch (error) {
      tryOnDisk(() => fs.rmSync(temporary, { force: true }));
      if (!(error instanceof LiteFsError) || error.code !== 'LTX_CORRUPT') throw error;
      const at = error instanceof DamagedFile ? paths.indexOf(error.file) : paths.length - 1;
      const culprit = plan.files[at];
      const named = error instanceof DamagedFile ? error : new DamagedFile(paths[at], error);
      damaged.set(culprit, named);
      options.damaged?.(named.message);
    }
  }
}

/** `txid`: of the removal. */
function hadBeenRemoved(files: readonly ArchiveFile[], txid: number): LiteFsError {
  const last = restorePoints(files).findLast((point) => point.txid < txid);
  const hint =
    last &&
    `The last state before the removal: --txid ${formatTxid(last.txid)} (${formatTime(last.timestampMs)})`;
  return new LiteFsError('RESTORE_POINT', 'the database had been removed at that time', { hint });
}

/** What the file system refuses is of the output: files of the archive that cannot be read are damaged. */
function onOutput<T>(output: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (error instanceof LiteFsError || !isOutsideFault(error)) throw error;
    throw new LiteFsError('DISK', `${output} cannot be written: ${errorText(error)}`, {
      hint: `Is the disk of ${path.dirname(output)} writable, and not full? Can the archive be read by this user?`,
      cause: error,
    });
  }
}

function cannotDoWithout(damage: LiteFsError, error: LiteFsError): LiteFsError {
  return new LiteFsError('LTX_CORRUPT', damage.message, {
    hint: `No other files make that state. ${error.hint ?? ''}`.trim(),
    cause: damage,
  });
}
