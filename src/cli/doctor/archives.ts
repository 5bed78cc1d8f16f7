/** Whether snapshots can be written where the config says. */
import { type Finding, fail, ok } from './finding.ts';

export interface ArchivePlace {
  /** The directory is there; else the one above it is what counts. */
  readonly exists: boolean;
  /** Archives were there, and what is there now is another directory. */
  readonly isLost: boolean;
  /** Why nothing can be written there; undefined: it can. */
  readonly error: string | undefined;
}

/** `dir`: snapshots.dir. */
export function checkArchives(dir: string, { exists, isLost, error }: ArchivePlace): Finding {
  if (isLost) {
    return fail(
      'archives',
      `${dir} is not the directory that had the archives`,
      `Is its disk mounted? To begin anew in what is there now: touch ${dir}/.litefs-lite-id`,
    );
  }
  if (error !== undefined) {
    return fail(
      'archives',
      `no snapshots can be written to ${dir}: ${error}`,
      'Is its disk mounted and writable? snapshots.dir may name another directory.',
    );
  }
  return ok('archives', exists ? `snapshots are written to ${dir}` : `${dir} will be made`);
}
